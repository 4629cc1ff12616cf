//! `cargo xtask tidy`: the invariants of ARCHITECTURE.md, most of them absences, checked on the text of the tracked files.
//!
//! What a compiler lint can see is left to clippy; here stand the rules about which file may name what.

use std::{fs, process::Command};

use anyhow::{Context, Result, bail};

use crate::shell::{capture, root};

mod absences;
mod layers;
mod manifests;
mod paths;
mod shaders;
mod sizes;
mod syntax;

/// A text file of the repository.
struct SourceFile {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

/// A broken rule.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    path: String,
    /// Counted from 1.
    line: usize,
    message: String,
}

/// A rule sees one file, and the whole tree for references between files.
type Rule = fn(&SourceFile, &[SourceFile]) -> Vec<Violation>;

impl Violation {
    fn new(file: &SourceFile, line: usize, message: impl Into<String>) -> Self {
        Self { path: file.path.clone(), line, message: message.into() }
    }
}

/// Checks every rule on every file.
///
/// # Errors
/// Any violation; all are printed first.
pub(crate) fn run() -> Result<()> {
    let files = read_tree()?;
    let violations = check(&files);
    for Violation { path, line, message } in &violations {
        println!("{path}:{line}: {message}");
    }
    match violations.len() {
        0 => {
            println!("{} files are tidy", files.len());
            Ok(())
        }
        count => bail!("{count} rules of ARCHITECTURE.md are broken"),
    }
}

fn check(files: &[SourceFile]) -> Vec<Violation> {
    let rules: [Rule; 6] = [absences::check, layers::check, manifests::check, paths::check, shaders::check, sizes::check];
    let mut violations: Vec<_> = files.iter().flat_map(|file| rules.iter().flat_map(|rule| rule(file, files))).collect();
    violations.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    violations
}

/// Every text file that git tracks or would add.
fn read_tree() -> Result<Vec<SourceFile>> {
    let listed = capture(Command::new("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root()))
        .context("`git ls-files` failed; tidy needs a git checkout")?;
    // A file that is deleted but still tracked, or is not text, has nothing to check.
    let read = |path: &str| Some(SourceFile { path: path.to_owned(), text: String::from_utf8(fs::read(root().join(path)).ok()?).ok()? });
    Ok(listed.split('\0').filter(|path| !path.is_empty()).filter_map(read).collect())
}

#[cfg(test)]
fn file(path: &str, text: &str) -> SourceFile {
    SourceFile { path: path.to_owned(), text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_of_all_rules_are_listed_by_file() {
        let files = [file("src/tasks/b.rs", "use crate::cli;\n"), file("src/cpu/a.rs", "let t = Instant::now();\nuse wgpu::Device;\n")];
        let found: Vec<_> = check(&files).into_iter().map(|violation| (violation.path, violation.line)).collect();
        let expected = [("src/cpu/a.rs", 1), ("src/cpu/a.rs", 2), ("src/tasks/b.rs", 1)];
        assert_eq!(found, expected.map(|(path, line)| (path.to_owned(), line)));
    }
}
