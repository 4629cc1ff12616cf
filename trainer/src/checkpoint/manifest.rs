//! `DONE.json`: written last, it says what a complete checkpoint holds.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{CheckpointError, FileSystem};

/// Name of the manifest in a checkpoint's folder.
const NAME: &str = "DONE.json";

/// One file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct FileRecord {
    /// Relative to the checkpoint, with `/`.
    pub path: String,
    /// Size.
    pub bytes: u64,
    /// Hexadecimal.
    pub sha256: String,
}

/// The content of `DONE.json`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Manifest {
    /// Steps done.
    pub step: u64,
    /// What "best" goes by; larger is better.
    pub score: Option<f64>,
    /// Every other file.
    pub files: Vec<FileRecord>,
}

impl Manifest {
    /// Syncs and digests all files below `folder`, and syncs the folders.
    pub(super) fn of(files: &impl FileSystem, folder: &Path, step: u64, score: Option<f64>) -> Result<Self, CheckpointError> {
        let mut manifest = Self { step, score, files: Vec::new() };
        manifest.add(files, folder, "")?;
        Ok(manifest)
    }

    fn add(&mut self, files: &impl FileSystem, folder: &Path, prefix: &str) -> Result<(), CheckpointError> {
        for path in files.list(folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = format!("{prefix}{name}");
            if files.is_folder(&path) {
                self.add(files, &path, &format!("{name}/"))?;
                continue;
            }
            files.sync(&path)?;
            let (bytes, sha256) = files.digest(&path)?;
            self.files.push(FileRecord { path: name, bytes, sha256 });
        }
        files.sync(folder)
    }

    pub(super) fn write(&self, files: &impl FileSystem, folder: &Path) -> Result<(), CheckpointError> {
        let path = folder.join(NAME);
        let json = serde_json::to_vec_pretty(self).map_err(|error| unreadable(&path, &error))?;
        files.write(&path, &json)?;
        files.sync(folder)
    }

    pub(super) fn read(files: &impl FileSystem, folder: &Path) -> Result<Self, CheckpointError> {
        let path = folder.join(NAME);
        serde_json::from_slice(&files.read(&path)?).map_err(|error| unreadable(&path, &error))
    }

    /// Compares every file with its record.
    pub(super) fn verify(&self, files: &impl FileSystem, folder: &Path) -> Result<(), CheckpointError> {
        for record in &self.files {
            let path: PathBuf = folder.join(&record.path);
            let found = files.digest(&path)?;
            if found != (record.bytes, record.sha256.clone()) {
                let reason = format!("{} bytes with SHA-256 {}, where {NAME} records {} with {}", found.0, found.1, record.bytes, record.sha256);
                return Err(CheckpointError::Content { path, reason });
            }
        }
        Ok(())
    }
}

fn unreadable(path: &Path, error: &serde_json::Error) -> CheckpointError {
    CheckpointError::Content { path: path.to_owned(), reason: error.to_string() }
}
