mod images;

fn main() {}
