//! The files beside the database.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::Mmap;

use super::super::IndexError;
use super::super::store::{Array, Parts, Space};
use super::faults;

/// The arrays of an index.
pub(super) struct Arrays {
    index: PathBuf,
    /// The files of a generation, as long as they were. Their pages are found quickly once they were read.
    maps: Mutex<Option<Arc<Maps>>>,
}

/// Files of one generation.
pub(super) struct Maps {
    generation: u64,
    pub(super) vectors: Mmap,
    pub(super) thumbnails: Mmap,
}

impl Arrays {
    pub(super) fn new(index: &Path) -> Self {
        Self { index: index.to_owned(), maps: Mutex::default() }
    }

    /// The database.
    pub(super) fn index(&self) -> &Path {
        &self.index
    }

    /// The arrays at least as long as `space` tells.
    pub(super) fn maps(&self, space: Space, dim: usize) -> Result<Arc<Maps>, IndexError> {
        let vectors = u64::from(space.rows) * dim as u64 * 2;
        let mut known = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |maps: &&Arc<Maps>| {
            maps.generation == space.generation
                && maps.vectors.len() as u64 >= vectors
                && maps.thumbnails.len() as u64 >= space.thumbnail_bytes
        };
        if let Some(maps) = known.as_ref().filter(fits) {
            return Ok(Arc::clone(maps));
        }
        let maps = Arc::new(Maps {
            generation: space.generation,
            vectors: map(&self.path(Array::Vectors, space.generation), vectors)?,
            thumbnails: map(&self.path(Array::Thumbnails, space.generation), space.thumbnail_bytes)?,
        });
        *known = Some(Arc::clone(&maps));
        Ok(maps)
    }

    /// Makes sure that an array is there.
    pub(super) fn touch(&self, array: Array, generation: u64) -> Result<(), IndexError> {
        private(&self.path(array, generation), false).map(drop)
    }

    /// Writes at this end, and waits until it is on the disk.
    pub(super) fn append(&self, array: Array, generation: u64, end: u64, bytes: &[u8]) -> Result<(), IndexError> {
        let path = self.path(array, generation);
        let mut file = private(&path, false)?;
        let refused = |reason| IndexError::Io { action: "write", file: path.clone(), reason };
        file.seek(SeekFrom::Start(end)).map_err(refused)?;
        faults::check().and_then(|()| file.write_all(bytes)).map_err(refused)?;
        faults::check().and_then(|()| file.sync_data()).map_err(refused)
    }

    /// A new file of these parts.
    pub(super) fn renew(&self, array: Array, generation: u64, parts: Parts<'_>) -> Result<(), IndexError> {
        let path = self.path(array, generation);
        let made = Self::make(&path, parts);
        if made.is_err() {
            // Half of it only takes room, of which there may be too little.
            let _ = remove_file(&path);
        }
        made
    }

    fn make(path: &Path, parts: Parts<'_>) -> Result<(), IndexError> {
        let refused = |reason| IndexError::Io { action: "write", file: path.to_owned(), reason };
        let mut writer = BufWriter::new(private(path, true)?);
        for part in parts {
            let part = part?;
            faults::check().and_then(|()| writer.write_all(&part)).map_err(refused)?;
        }
        let file = writer.into_inner().map_err(|error| refused(error.into_error()))?;
        faults::check().and_then(|()| file.sync_all()).map_err(refused)
    }

    /// Removes what belongs to other generations, as far as it can be: somebody may still read it, and the next writer tries again.
    pub(super) fn remove_leftovers(&self, generation: u64) {
        // Some systems remove nothing that is mapped.
        *self.maps.lock().unwrap_or_else(PoisonError::into_inner) = None;
        for other in [generation.checked_sub(1), generation.checked_add(1)].into_iter().flatten() {
            for array in [Array::Vectors, Array::Thumbnails] {
                if let Err(error) = remove_file(&self.path(array, other)) {
                    tracing::warn!(%error, "a file that nobody needs could not be removed");
                }
            }
        }
    }

    fn path(&self, array: Array, generation: u64) -> PathBuf {
        beside(&self.index, array.name(), generation)
    }
}

/// A file as long as this at least.
fn map(path: &Path, wanted: u64) -> Result<Mmap, IndexError> {
    let refused = |reason| IndexError::Io { action: "read", file: path.to_owned(), reason };
    let file = File::open(path).map_err(refused)?;
    let len = file.metadata().map_err(refused)?.len();
    if len < wanted {
        return Err(IndexError::Damaged { file: path.to_owned(), reason: format!("it has {len} bytes of {wanted}") });
    }
    // SAFETY: the map is read-only. A writer only ever appends to the file behind what was committed, or makes another one; that no other program
    // shortens it cannot be enforced, as with checkpoints.
    unsafe { Mmap::map(&file) }.map_err(refused)
}

/// What an index is called while this process makes it.
pub(super) fn new_path(index: &Path) -> PathBuf {
    beside(index, "new", u64::from(std::process::id()))
}

/// Whether a file of this name belongs to an index of that name.
pub(super) fn is_beside(name: &str, index: &str) -> bool {
    let mark = name.strip_prefix(index).and_then(|rest| rest.strip_prefix('.')).unwrap_or_default();
    let generation = ["vectors-", "thumbnails-", "new-"].iter().find_map(|what| mark.strip_prefix(what));
    generation.is_some_and(|generation| generation.parse::<u64>().is_ok())
}

fn beside(index: &Path, what: &str, generation: u64) -> PathBuf {
    let mut name = index.as_os_str().to_owned();
    name.push(format!(".{what}-{generation}"));
    name.into()
}

/// A file that nobody else can read.
pub(super) fn private(path: &Path, is_new: bool) -> Result<File, IndexError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(is_new);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let opened = faults::check().and_then(|()| options.open(path));
    opened.map_err(|reason| IndexError::Io { action: "open", file: path.to_owned(), reason })
}

pub(super) fn remove_file(path: &Path) -> Result<(), IndexError> {
    match faults::check().and_then(|()| std::fs::remove_file(path)) {
        Err(reason) if reason.kind() != std::io::ErrorKind::NotFound => {
            Err(IndexError::Io { action: "remove", file: path.to_owned(), reason })
        }
        _ => Ok(()),
    }
}
