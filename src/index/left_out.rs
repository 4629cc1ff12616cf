//! What a folder held besides pictures that can be decoded, and what to do about it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::image::{ExtensionSupport, extension_support};

/// Files found but not read, by extension, and places that could not be searched. Its text is a report for people, with advice on how to convert them.
#[derive(Debug, Default)]
pub struct LeftOut {
    /// Files, by their lower-case extension.
    by_extension: BTreeMap<String, Vec<PathBuf>>,
    /// Places, each with its reason.
    troubles: Vec<String>,
}

/// Places listed with their reasons; the rest are only counted.
const TROUBLES: usize = 100;
/// Examples listed for one extension; the rest are only counted.
const EXAMPLES: usize = 3;

impl LeftOut {
    /// Counts a file that will not be read.
    pub fn file(&mut self, path: PathBuf) {
        self.by_extension.entry(extension(&path)).or_default().push(path);
    }

    /// Takes over what somebody else has counted.
    pub fn merge(&mut self, other: Self) {
        for (extension, files) in other.by_extension {
            self.by_extension.entry(extension).or_default().extend(files);
        }
        self.troubles.extend(other.troubles);
    }

    /// Notes a place that could not be searched.
    pub fn trouble(&mut self, path: &Path, reason: &str) {
        self.troubles.push(format!("{}: {reason}", path.display()));
    }

    /// Whether pictures may be missing from the result. Text files beside the photos do not count.
    pub fn lost_pictures(&self) -> bool {
        !self.troubles.is_empty() || self.by_extension.keys().any(|extension| advice(extension).is_some())
    }
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (pictures, others): (Vec<_>, Vec<_>) = self.by_extension.iter().partition(|(extension, _)| advice(extension).is_some());
        if !pictures.is_empty() {
            writeln!(f, "left out {}, which cannot be decoded:", plural(count(&pictures), "picture"))?;
        }
        for (extension, files) in pictures {
            writeln!(f, "  {}: {}", summary(extension, files), advice(extension).unwrap_or_default())?;
        }
        if !others.is_empty() {
            let kinds: Vec<String> = others.iter().map(|(extension, files)| summary(extension, files)).collect();
            writeln!(f, "left out {}, not pictures: {}", plural(count(&others), "file"), kinds.join(", "))?;
        }
        self.troubles.iter().take(TROUBLES).try_for_each(|trouble| writeln!(f, "left out {trouble}"))?;
        match self.troubles.len().checked_sub(TROUBLES) {
            Some(more @ 1..) => writeln!(f, "left out {more} places more"),
            _ => Ok(()),
        }
    }
}

/// Files of several extensions.
fn count(group: &[(&String, &Vec<PathBuf>)]) -> usize {
    group.iter().map(|(_, files)| files.len()).sum()
}

/// "1 file", "2 files".
pub fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// `2 .heic (a.heic, b.heic)`.
fn summary(extension: &str, files: &[PathBuf]) -> String {
    let kind = if extension.is_empty() { "without extension".to_owned() } else { format!(".{extension}") };
    let examples: Vec<String> = files.iter().take(EXAMPLES).map(|file| file.display().to_string()).collect();
    let more = if files.len() > EXAMPLES { ", …" } else { "" };
    format!("{} {kind} ({}{more})", files.len(), examples.join(", "))
}

/// The extension in lower case, without the dot; empty if there is none.
pub(super) fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// What to do with a picture format that cannot be decoded; `None` for any other extension.
fn advice(extension: &str) -> Option<&'static str> {
    match extension_support(extension) {
        ExtensionSupport::Unsupported(format) => Some(format.advice),
        ExtensionSupport::Decodable | ExtensionSupport::NotAnImage => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_counts_by_extension_and_advises() {
        let mut left_out = LeftOut::default();
        for name in ["a.HEIC", "b.heic", "c.heic", "d.heic", "notes.txt", "LICENSE"] {
            left_out.file(PathBuf::from(name));
        }
        left_out.trouble(Path::new("loop"), "not followed");
        let report = left_out.to_string();
        assert!(report.contains("left out 4 pictures, which cannot be decoded:\n  4 .heic (a.HEIC, b.heic, c.heic, …): "), "{report}");
        assert!(report.contains("heif-convert"), "{report}");
        assert!(report.contains("left out 2 files, not pictures: 1 without extension (LICENSE), 1 .txt (notes.txt)"), "{report}");
        assert!(report.contains("left out loop: not followed"), "{report}");
        assert!(left_out.lost_pictures());
    }

    #[test]
    fn text_files_are_no_lost_pictures() {
        let mut left_out = LeftOut::default();
        left_out.file(PathBuf::from("notes.txt"));
        assert!(!left_out.lost_pictures());
        assert_eq!(LeftOut::default().to_string(), "");
    }
}
