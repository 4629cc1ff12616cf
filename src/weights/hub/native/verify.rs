//! Finding and mending rot: files of the cache whose bytes are no longer those that were downloaded.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::cache::{Repository, load_manifest};
use super::http::{Answer, RemoteFile};
use super::manifest::{Hasher, Manifest};
use super::{Hub, HubError, HubId};

/// A file whose bytes are no longer those that were downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file in its snapshot folder.
    pub file: PathBuf,
    /// The byte ranges that differ.
    pub ranges: Vec<Range<u64>>,
}

impl Hub {
    /// Compares a snapshot's files with the checksums recorded when they were downloaded. Files that other tools downloaded have none
    /// and are passed over. Reads every byte.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn verify(&self, snapshot: &Path) -> Result<Vec<Damage>, HubError> {
        let mut damaged = Vec::new();
        for entry in fs::read_dir(snapshot).map_err(io_error(snapshot))? {
            let file = entry.map_err(io_error(snapshot))?.path();
            let Some((_, manifest)) = recorded(&file) else { continue };
            let mut found = Hasher::default();
            File::open(&file).and_then(|blob| found.update_from(blob)).map_err(io_error(&file))?;
            let ranges = manifest.damage(&found.finish().1);
            if !ranges.is_empty() {
                damaged.push(Damage { file, ranges });
            }
        }
        damaged.sort_by(|a, b| a.file.cmp(&b.file));
        Ok(damaged)
    }

    /// Downloads the damaged ranges again, and nothing else. Each is checked before it is written.
    ///
    /// # Errors
    /// Offline mode, the hub no longer serves these bytes, or the file cannot be written.
    pub fn repair(&self, id: &HubId, damage: &[Damage]) -> Result<(), HubError> {
        if self.options.offline && !damage.is_empty() {
            return Err(HubError::Offline { id: id.to_string(), cache: self.options.cache.clone() });
        }
        for Damage { file, ranges } in damage {
            let Some((repository, manifest)) = recorded(file) else { continue };
            let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let commit = file.parent().map(name).unwrap_or_default();
            let remote = self.client.describe(id, &commit, &name(file))?;
            let _lock = repository.lock(&remote.etag, || Ok(()))?;
            let mut blob = File::options().write(true).open(file).map_err(io_error(file))?;
            for range in ranges.iter().filter(|range| range.start < manifest.bytes()) {
                let bytes = self.fetch_chunk(&remote, range.start..range.end.min(manifest.bytes()), &manifest)?;
                blob.seek(SeekFrom::Start(range.start)).and_then(|_| blob.write_all(&bytes)).map_err(io_error(file))?;
            }
            blob.set_len(manifest.bytes()).and_then(|()| blob.sync_all()).map_err(io_error(file))?;
        }
        Ok(())
    }

    fn fetch_chunk(&self, remote: &RemoteFile, range: Range<u64>, manifest: &Manifest) -> Result<Vec<u8>, HubError> {
        let wrong = |reason: &str| HubError::NotAHub { url: remote.url.clone(), reason: reason.to_owned() };
        let Answer::Rest(body) = self.client.read_range(remote, range.start, Some(range.end))? else {
            return Err(wrong("the server sends no ranges, so the file must be fetched whole: delete it and fetch again"));
        };
        let mut bytes = Vec::new();
        let len = range.end - range.start;
        body.into_reader().take(len).read_to_end(&mut bytes).map_err(|error| wrong(&error.to_string()))?;
        if manifest.is_chunk(range.start, &bytes) { Ok(bytes) } else { Err(wrong("the file has changed there: delete it and fetch again")) }
    }
}

/// The checksums of a file of a snapshot.
fn recorded(file: &Path) -> Option<(Repository, Manifest)> {
    let (repository, etag) = Repository::of_file(file)?;
    let manifest = load_manifest(&repository.manifest(&etag))?;
    Some((repository, manifest))
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> HubError + use<> {
    let path = path.to_owned();
    move |source| HubError::Io { path: path.clone(), source }
}
