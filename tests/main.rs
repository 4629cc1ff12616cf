mod images;

fn main() {}
//! The integration tests: one binary, one module per subject.

mod reference;
