//! Where bytes come from: [`ByteSource`] and the sources every target has.
//!
//! Reads are asynchronous so that HTTP ranges and browser blobs fit behind the same trait, and return [`Cow`] so that a mapped file
//! hands out its pages without copying them.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;

use super::WeightsError;
use crate::platform::Shareable;

/// What [`ByteSource::read_at`] returns.
#[cfg(not(target_family = "wasm"))]
pub type ReadFuture<'a> = Pin<Box<dyn Future<Output = Result<Cow<'a, [u8]>, WeightsError>> + Send + 'a>>;

/// What [`ByteSource::read_at`] returns.
#[cfg(target_family = "wasm")]
pub type ReadFuture<'a> = Pin<Box<dyn Future<Output = Result<Cow<'a, [u8]>, WeightsError>> + 'a>>;

/// A file of known length, read by range.
pub trait ByteSource: Shareable {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether there are no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Exactly `len` bytes from `offset`.
    ///
    /// # Errors
    /// The range is outside the source, or the bytes cannot be had.
    fn read_at(&self, offset: u64, len: usize) -> ReadFuture<'_>;
}

/// Bytes in memory.
pub struct MemorySource {
    name: String,
    bytes: Cow<'static, [u8]>,
}

impl MemorySource {
    /// A source over `bytes`; `name` stands in errors.
    pub fn new(name: impl Into<String>, bytes: impl Into<Cow<'static, [u8]>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }
}

impl ByteSource for MemorySource {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, len: usize) -> ReadFuture<'_> {
        let range = slice(&self.bytes, &self.name, offset, len);
        Box::pin(std::future::ready(range.map(Cow::Borrowed)))
    }
}

fn slice<'a>(bytes: &'a [u8], name: &str, offset: u64, len: usize) -> Result<&'a [u8], WeightsError> {
    let start = usize::try_from(offset).ok();
    let range = start.and_then(|start| bytes.get(start..start.checked_add(len)?));
    range.ok_or_else(|| WeightsError::OutOfBounds { file: name.to_owned(), offset, wanted: len as u64, len: bytes.len() as u64 })
}

#[cfg(not(target_family = "wasm"))]
pub use file::FileSource;

#[cfg(not(target_family = "wasm"))]
mod file {
    use std::fs::File;
    use std::path::Path;

    use memmap2::Mmap;

    use super::{ByteSource, Cow, ReadFuture, WeightsError, slice};

    /// A file mapped into memory: only pages that are read become resident.
    pub struct FileSource {
        name: String,
        /// `None` for an empty file, which cannot be mapped.
        map: Option<Mmap>,
    }

    impl FileSource {
        /// Maps the file at `path`.
        ///
        /// # Errors
        /// The file cannot be opened or mapped.
        pub fn open(path: &Path) -> Result<Self, WeightsError> {
            let refused = |source| WeightsError::Io { action: "open", file: path.to_owned(), source };
            let file = File::open(path).map_err(refused)?;
            let metadata = file.metadata().map_err(refused)?;
            if !metadata.is_file() {
                return Err(refused(std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is not a regular file")));
            }
            let map = if metadata.len() == 0 {
                None
            } else {
                // SAFETY: the map is read-only and private to this struct. Rust cannot stop another process from shortening the file
                // meanwhile; checkpoints are replaced by rename, never in place, by this crate and by the hub's own tools alike.
                Some(unsafe { Mmap::map(&file) }.map_err(refused)?)
            };
            Ok(Self { name: path.display().to_string(), map })
        }

        fn bytes(&self) -> &[u8] {
            self.map.as_deref().unwrap_or_default()
        }
    }

    impl ByteSource for FileSource {
        fn len(&self) -> u64 {
            self.bytes().len() as u64
        }

        fn read_at(&self, offset: u64, len: usize) -> ReadFuture<'_> {
            let range = slice(self.bytes(), &self.name, offset, len);
            Box::pin(std::future::ready(range.map(Cow::Borrowed)))
        }
    }
}
