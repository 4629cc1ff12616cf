//! No path that exists on one person's machine only.

use super::{SourceFile, Violation};

/// First folders of paths that belong to a person or to one machine's set-up.
const PRIVATE_FOLDERS: [&str; 5] = ["home", "Users", "root", "work", "farm"];

pub(super) fn check(file: &SourceFile, _: &[SourceFile]) -> Vec<Violation> {
    if file.path.ends_with(".lock") {
        return Vec::new();
    }
    let named = |line: &str| PRIVATE_FOLDERS.iter().any(|folder| names_folder(line, folder));
    let broken = file.text.lines().enumerate().filter(|(_, line)| named(line));
    broken.map(|(index, _)| Violation::new(file, index + 1, "an absolute path of one machine")).collect()
}

/// Whether `/folder/` stands in the line as the start of a path (not in `tests/work/` or `https://host/root/`).
fn names_folder(line: &str, folder: &str) -> bool {
    let absolute = format!("/{folder}/");
    let continues = |c: char| c.is_alphanumeric() || "_.-~*}/".contains(c);
    line.match_indices(&absolute).any(|(at, _)| !line[..at].ends_with(continues))
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn private_paths_are_found_and_relative_ones_are_not() {
        let path = ["", "home", "ada", "model"].join("/");
        let broken = check(&file("docs/a.md", &format!("fine\n`polyglance inspect {path}`\n")), &[]);
        assert_eq!(broken.iter().map(|violation| violation.line).collect::<Vec<_>>(), [2]);
        let fine = ["a", "home", "b https:", "", "host", "root", "x ..", "work", "y"].join("/");
        assert!(check(&file("docs/a.md", &fine), &[]).is_empty());
    }
}
