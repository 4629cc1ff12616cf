//! The cache folder that the Python tools share.
//!
//! ```text
//! models--owner--name/refs/main                        commit that the branch meant when last asked
//!                     snapshots/<commit>/config.json   link to ../../blobs/<etag>
//!                     blobs/<etag>                     contents
//! .locks/models--owner--name/<etag>.lock               held while that blob is written
//! ```
//!
//! Source: `huggingface_hub` 2.4, `file_download.py`, `_hf_hub_download_to_cache_dir`.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::manifest::Manifest;
use super::reference::{is_commit, is_name};
use super::{HubError, HubId};
use crate::weights::replace_file;
use crate::weights::safetensors::is_shard_name;

/// One repository's part of the cache.
pub(super) struct Repository {
    root: PathBuf,
    locks: PathBuf,
}

impl Repository {
    pub(super) fn new(cache: &Path, id: &HubId) -> Self {
        let folder = format!("models--{}", id.repository().replace('/', "--"));
        Self { root: cache.join(&folder), locks: cache.join(".locks").join(folder) }
    }

    /// The repository that `snapshot/file` belongs to and the blob that it links to, if it lies in a cache at all.
    pub(super) fn of_file(file: &Path) -> Option<(Self, String)> {
        let blob = file.canonicalize().ok()?;
        let etag = blob.file_name()?.to_str()?.to_owned();
        let root = blob.parent().filter(|parent| parent.ends_with("blobs"))?.parent()?;
        let locks = root.parent()?.join(".locks").join(root.file_name()?);
        Some((Self { root: root.to_owned(), locks }, etag))
    }

    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(etag)
    }

    pub(super) fn incomplete(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(format!("{etag}.incomplete"))
    }

    /// Where the checksums of a blob's chunks are kept: out of the folders that other tools walk.
    pub(super) fn manifest(&self, etag: &str) -> PathBuf {
        self.root.join(".polyglance").join(format!("{etag}.json"))
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// The commit that a revision meant when it was last fetched.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let commit = fs::read_to_string(self.root.join("refs").join(revision)).ok()?;
        Some(commit.trim().to_owned()).filter(|commit| is_name(commit))
    }

    /// Records what a revision means. Done last, so that an interrupted fetch leaves the old snapshot current.
    pub(super) fn set_commit(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.root.join("refs").join(revision);
        create_parent(&path)?;
        write_whole(&path, commit.as_bytes())
    }

    /// Makes `snapshots/<commit>/<file>` mean the blob.
    pub(super) fn link(&self, commit: &str, file: &str, etag: &str) -> Result<(), HubError> {
        let (pointer, blob) = (self.snapshot(commit).join(file), self.blob(etag));
        // Left alone if right: the cache may be shared read-only, and others may be reading.
        if pointer.canonicalize().ok().is_some_and(|target| blob.canonicalize().is_ok_and(|blob| target == blob)) {
            return Ok(());
        }
        create_parent(&pointer)?;
        let failed = |source| HubError::Io { path: pointer.clone(), source };
        match fs::remove_file(&pointer) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let target = Path::new("..").join("..").join("blobs").join(etag);
        // Without the right to make links (Windows), a second name for the same bytes, then a copy.
        symlink(&target, &pointer)
            .or_else(|_| fs::hard_link(&blob, &pointer))
            .or_else(|_| fs::copy(&blob, &pointer).map(drop))
            .map_err(failed)
    }

    /// Takes the lock that `huggingface_hub` takes for this blob, so that two processes do not download it at once.
    /// `wait` is called again and again while another process holds it, and may give up.
    pub(super) fn lock(&self, etag: &str, mut wait: impl FnMut() -> Result<(), HubError>) -> Result<File, HubError> {
        let path = self.locks.join(format!("{etag}.lock"));
        create_parent(&path)?;
        let failed = |source| HubError::Io { path: path.clone(), source };
        let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => {
                    wait()?;
                    std::thread::sleep(Duration::from_millis(50));
                }
                // Some network file systems have no locks; the rename at the end keeps the cache whole without them.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }

    /// Whether a snapshot has a configuration and all its weights.
    pub(super) fn is_complete(&self, commit: &str) -> bool {
        let folder = self.snapshot(commit);
        let has = |name: &str| folder.join(name).is_file();
        let shards = || {
            let index = fs::read(folder.join("model.safetensors.index.json")).ok()?;
            let index: serde_json::Value = serde_json::from_slice(&index).ok()?;
            let map = index.get("weight_map")?.as_object()?;
            Some(map.values().all(|shard| shard.as_str().is_some_and(|shard| is_shard_name(shard) && has(shard))))
        };
        let has_archive = || {
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "npz")).count() == 1
        };
        (has("config.json") && (has("model.safetensors") || shards() == Some(true))) || has_archive()
    }
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_target: &Path, _link: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn create_parent(path: &Path) -> Result<(), HubError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(|source| HubError::Io { path: parent.to_owned(), source })
}

/// Writes a small file, old or new.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), HubError> {
    replace_file(path, |writer| writer.write_all(bytes)).map_err(|error| match error {
        crate::weights::WeightsError::Io { file, source, .. } => HubError::Io { path: file, source },
        other => HubError::Io { path: path.to_owned(), source: io::Error::other(other) },
    })
}

/// A manifest that was saved before.
pub(super) fn load_manifest(path: &Path) -> Option<Manifest> {
    Manifest::from_json(&fs::read(path).ok()?)
}

pub(super) fn save_manifest(manifest: &Manifest, path: &Path) -> Result<(), HubError> {
    create_parent(path)?;
    let json = serde_json::to_vec(manifest).map_err(|error| HubError::Io { path: path.to_owned(), source: io::Error::other(error) })?;
    write_whole(path, &json)
}
