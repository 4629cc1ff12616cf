//! Files stay short enough to be read in one go.

use super::{SourceFile, Violation};

pub(super) fn check(file: &SourceFile, _: &[SourceFile]) -> Vec<Violation> {
    let max = match file.path.rsplit_once('.') {
        _ if file.path == "ARCHITECTURE.md" => 150,
        Some((_, "rs")) => 600,
        Some((_, "wgsl")) => 400,
        _ => return Vec::new(),
    };
    let lines = file.text.lines().count();
    if lines <= max { Vec::new() } else { vec![Violation::new(file, lines, format!("{lines} lines, more than {max}"))] }
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn one_line_over_the_limit_is_too_long() {
        for (path, max) in [("src/a.rs", 600), ("shaders/a.wgsl", 400), ("ARCHITECTURE.md", 150)] {
            assert!(check(&file(path, &"x\n".repeat(max)), &[]).is_empty());
            assert_eq!(check(&file(path, &"x\n".repeat(max + 1)), &[]).len(), 1);
        }
        assert!(check(&file("README.md", &"x\n".repeat(1000)), &[]).is_empty());
    }
}
