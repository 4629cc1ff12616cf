//! The few operations on files that a checkpoint needs, behind a trait so that tests can fail any of them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::CheckpointError;

/// A place for checkpoints.
pub trait FileSystem {
    /// Creates a folder and its parents; one that exists is fine.
    ///
    /// # Errors
    /// The system refuses; so for every operation.
    fn create_folder(&self, path: &Path) -> Result<(), CheckpointError>;
    /// Writes a new small file and syncs it.
    ///
    /// # Errors
    /// As above.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), CheckpointError>;
    /// Reads a small file.
    ///
    /// # Errors
    /// As above.
    fn read(&self, path: &Path) -> Result<Vec<u8>, CheckpointError>;
    /// Size and SHA-256 (hexadecimal) of a file.
    ///
    /// # Errors
    /// As above.
    fn digest(&self, path: &Path) -> Result<(u64, String), CheckpointError>;
    /// Forces a file's content or a folder's entries to the disk.
    ///
    /// # Errors
    /// As above.
    fn sync(&self, path: &Path) -> Result<(), CheckpointError>;
    /// Gives a folder another name that is free.
    ///
    /// # Errors
    /// As above.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), CheckpointError>;
    /// Removes a folder with all it holds; a missing one is fine.
    ///
    /// # Errors
    /// As above.
    fn remove(&self, path: &Path) -> Result<(), CheckpointError>;
    /// What a folder holds, in order of name; a missing one holds nothing.
    ///
    /// # Errors
    /// As above.
    fn list(&self, path: &Path) -> Result<Vec<PathBuf>, CheckpointError>;
    /// Whether there is anything under this name.
    fn exists(&self, path: &Path) -> bool;
    /// Whether it is a folder.
    fn is_folder(&self, path: &Path) -> bool;
}

/// The real one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

fn named<T>(action: &'static str, path: &Path, result: io::Result<T>) -> Result<T, CheckpointError> {
    result.map_err(|source| CheckpointError::Io { action, path: path.to_owned(), source })
}

fn or_missing<T: Default>(result: io::Result<T>) -> io::Result<T> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        other => other,
    }
}

impl FileSystem for Disk {
    fn create_folder(&self, path: &Path) -> Result<(), CheckpointError> {
        named("create the folder", path, fs::create_dir_all(path))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
        let write = || {
            let mut file = File::create(path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        named("write", path, write())
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, CheckpointError> {
        named("read", path, fs::read(path))
    }

    fn digest(&self, path: &Path) -> Result<(u64, String), CheckpointError> {
        named("read", path, File::open(path).and_then(digest))
    }

    fn sync(&self, path: &Path) -> Result<(), CheckpointError> {
        // Windows cannot open folders, and commits renames by itself.
        if cfg!(windows) && path.is_dir() {
            return Ok(());
        }
        named("sync", path, File::open(path).and_then(|file| file.sync_all()))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), CheckpointError> {
        named("rename", from, fs::rename(from, to))
    }

    fn remove(&self, path: &Path) -> Result<(), CheckpointError> {
        named("remove", path, or_missing(fs::remove_dir_all(path)))
    }

    fn list(&self, path: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
        let list = || fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
        let mut paths = named("list", path, or_missing(list()))?;
        paths.sort();
        Ok(paths)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }
}

fn digest(mut file: File) -> io::Result<(u64, String)> {
    let (mut hasher, mut buffer, mut size) = (Sha256::new(), vec![0; 1 << 20], 0);
    loop {
        let read = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        hasher.update(bytes);
        size += read as u64;
    }
    Ok((size, hex(&hasher.finalize())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
