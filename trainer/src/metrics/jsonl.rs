//! `metrics.jsonl`: one JSON object per line, in order of step.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use polyglance::weights::replace_file;
use serde::{Deserialize, Serialize};

use super::MetricsError;

/// A file that only grows, apart from dropping at its opening what a resumed run will write again.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: File,
}

#[derive(Deserialize)]
struct Line {
    step: u64,
}

impl JsonLines {
    /// Opens or creates the file; lines of steps after `step` and half lines are dropped.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(path: &Path, step: u64) -> Result<Self, MetricsError> {
        let failed = |source| MetricsError { path: path.to_owned(), source };
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            other => other.map_err(failed)?,
        };
        let keep = |line: &&str| line.ends_with('\n') && serde_json::from_str::<Line>(line).is_ok_and(|line| line.step <= step);
        let kept: String = text.split_inclusive('\n').filter(keep).collect();
        if kept.len() != text.len() {
            replace_file(path, |writer| writer.write_all(kept.as_bytes())).map_err(|error| failed(io::Error::other(error)))?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Appends one object, which has a `step`.
    ///
    /// # Errors
    /// The disk is full or refuses.
    pub fn write(&mut self, record: &impl Serialize) -> Result<(), MetricsError> {
        let line = serde_json::to_string(record).map_err(io::Error::other).map(|json| json + "\n");
        let written = line.and_then(|line| self.file.write_all(line.as_bytes()));
        written.map_err(|source| MetricsError { path: self.path.clone(), source })
    }
}
