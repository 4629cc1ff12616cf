//! What the database holds, and where the vectors are.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use redb::{ConcurrencyMode, TableDefinition};
use serde::{Deserialize, Serialize};

use super::IndexError;

/// [`STAMP`] and [`SPACE`] by name, as JSON.
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// Bytes, seconds and nanoseconds of the last change, row.
pub(super) type FileRow = (u64, i64, u32, u32);

/// By path below the folder.
pub(super) const FILES: TableDefinition<'_, &str, FileRow> = TableDefinition::new("files");
/// Paths by row. Rows of files that are gone are missing.
pub(super) const ROWS: TableDefinition<'_, u32, &str> = TableDefinition::new("rows");

pub(super) const STAMP: &str = "stamp";
pub(super) const SPACE: &str = "space";

/// One process writes, and others read what it has committed.
pub(super) const MODE: ConcurrencyMode = ConcurrencyMode::SingleWriter;

/// How an index was made: what it is compared with must be made alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The folder, as an absolute path.
    pub root: String,
    /// The model, as it was named.
    pub model: String,
    /// Values of an embedding.
    pub dim: usize,
    /// Most patches of a picture, for NaFlex models.
    pub max_num_patches: Option<usize>,
    /// How pictures are scaled.
    pub resampling: String,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of {} with {}", self.root, self.model)?;
        if let Some(patches) = self.max_num_patches {
            write!(f, " at {patches} patches")?;
        }
        write!(f, " ({} values, scaled as {} does)", self.dim, self.resampling)
    }
}

/// Which vectors count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Space {
    /// Of the file with the vectors.
    pub(super) generation: u64,
    /// Rows of it, those of files that are gone included.
    pub(super) rows: u32,
}

/// By what a change of a file is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileState {
    /// Length.
    pub bytes: u64,
    /// Seconds since 1970 of the last change; negative before.
    pub secs: i64,
    /// Nanoseconds after that.
    pub nanos: u32,
}

impl From<&std::fs::Metadata> for FileState {
    fn from(metadata: &std::fs::Metadata) -> Self {
        // A system without times of change, or a file from before 1970, is told by its length alone.
        let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        Self { bytes: metadata.len(), secs: since.as_secs() as i64, nanos: since.subsec_nanos() }
    }
}

/// Where the vectors of a generation are.
pub(super) fn vectors_path(index: &Path, generation: u64) -> PathBuf {
    let mut name = index.as_os_str().to_owned();
    name.push(format!(".vectors-{generation}"));
    name.into()
}

/// An error of the database with its file.
pub(super) fn database(file: &Path, error: impl Into<redb::Error>) -> IndexError {
    let file = file.to_owned();
    match error.into() {
        redb::Error::DatabaseAlreadyOpen => {
            IndexError::Database { file, reason: "another process is writing it; wait until that is done".to_owned() }
        }
        redb::Error::Io(reason) => IndexError::Io { action: "open", file, reason },
        redb::Error::Corrupted(reason) => IndexError::Damaged { file, reason },
        error => IndexError::Database { file, reason: error.to_string() },
    }
}

/// A value of the table [`META`].
pub(super) fn meta<T: serde::de::DeserializeOwned>(
    file: &Path,
    table: &impl redb::ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<T, IndexError> {
    let damaged = |reason: String| IndexError::Damaged { file: file.to_owned(), reason };
    let value = table.get(name).map_err(|error| database(file, error))?.ok_or_else(|| damaged(format!("it has no {name}")))?;
    serde_json::from_slice(value.value()).map_err(|error| damaged(format!("its {name} is {error}")))
}
