//! What the database holds, and where the vectors are.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use redb::{ConcurrencyMode, TableDefinition};
use serde::{Deserialize, Serialize};

use super::IndexError;
use crate::config::VisionGeometry;
use crate::encoder::Encoder;
use crate::image::Resampling;

/// [`FORMAT`], [`STAMP`] and [`SPACE`] by name, as JSON.
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// Bytes, seconds and nanoseconds of the last change, row.
pub(super) type FileRow = (u64, i64, u32, u32);

/// By path below the folder.
pub(super) const FILES: TableDefinition<'_, &str, FileRow> = TableDefinition::new("files");
/// Paths by row. Rows of files that are gone are missing.
pub(super) const ROWS: TableDefinition<'_, u32, &str> = TableDefinition::new("rows");

/// Place and length of a thumbnail in its file, height and width of the picture, all by row.
pub(super) type PictureRow = (u64, u32, u32, u32);
pub(super) const PICTURES: TableDefinition<'_, u32, PictureRow> = TableDefinition::new("pictures");
/// Bytes, seconds and nanoseconds of the last change, and why the file cannot be read; by path.
pub(super) const UNREADABLE: TableDefinition<'_, &str, (u64, i64, u32, &str)> = TableDefinition::new("unreadable");

pub(super) const FORMAT: &str = "format";
/// Goes up when the tables or the files change their meaning.
pub(super) const FORMAT_NOW: u32 = 3;
/// How a file of thumbnails begins, so that nobody takes it for the first of them.
pub(super) const THUMBNAILS_MAGIC: &[u8] = b"polyglance thumbnails\n";
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
    /// The bits of the model's scale and bias of logits: a name may come to mean another training run, which has others.
    pub calibration: [u32; 2],
}

impl Stamp {
    /// How an index of the folder `root` is made with a model that is called `model`.
    ///
    /// # Errors
    /// There is no such folder, or its path is not valid Unicode.
    pub fn new(
        root: &Path,
        model: &str,
        encoder: &Encoder,
        max_num_patches: Option<usize>,
        resampling: Resampling,
    ) -> Result<Self, IndexError> {
        let refused = |reason| IndexError::Io { action: "index", file: root.to_owned(), reason };
        let whole = std::fs::canonicalize(root).map_err(refused)?;
        let whole = whole.to_str().ok_or_else(|| refused(std::io::Error::other("its path is not valid Unicode")))?;
        let vision = encoder.config().vision;
        let is_naflex = matches!(vision.geometry, VisionGeometry::NaFlex { .. });
        Ok(Self {
            root: whole.to_owned(),
            model: model.to_owned(),
            dim: encoder.config().embedding_dim(),
            max_num_patches: is_naflex.then(|| max_num_patches.unwrap_or(vision.preprocessing.max_num_patches)),
            resampling: resampling.name().to_owned(),
            calibration: calibration(encoder),
        })
    }

    /// Whether this is the very model that an index was made with, whatever either is called.
    pub fn fits(&self, encoder: &Encoder) -> bool {
        self.dim == encoder.config().embedding_dim() && self.calibration == calibration(encoder)
    }
}

fn calibration(encoder: &Encoder) -> [u32; 2] {
    [encoder.logit_scale(), encoder.logit_bias()].map(f32::to_bits)
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of {} with {}", self.root, self.model)?;
        if let Some(patches) = self.max_num_patches {
            write!(f, " at {patches} patches")?;
        }
        let [scale, bias] = self.calibration.map(f32::from_bits);
        write!(f, " ({} values, scaled as {} does; logits by {scale} and {bias})", self.dim, self.resampling)
    }
}

/// Which vectors count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Space {
    /// Of the file with the vectors.
    pub(super) generation: u64,
    /// Rows of it, those of files that are gone included.
    pub(super) rows: u32,
    /// Bytes of the file with the thumbnails.
    pub(super) thumbnail_bytes: u64,
}

/// A picture of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Below the folder, with `/` on every system.
    pub path: String,
    /// The file as it was when it was read.
    pub state: FileState,
    /// Height and width in pixels.
    pub size: [u32; 2],
    /// An encoded small picture; may be empty.
    pub thumbnail: Vec<u8>,
}

/// A file that seemed to be a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Below the folder.
    pub path: String,
    /// The file as it was when it was tried.
    pub state: FileState,
    /// Why it could not be read, for people.
    pub reason: String,
}

/// By what a change of a file is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileState {
    /// Length.
    pub bytes: u64,
    /// Seconds since 1970 of the last change.
    pub secs: i64,
    /// Nanoseconds after that.
    pub nanos: u32,
}

impl FileState {
    /// That of a file as it is now.
    ///
    /// # Errors
    /// The system refuses.
    pub fn of(path: &Path) -> std::io::Result<Self> {
        std::fs::metadata(path).map(|metadata| Self::from(&metadata))
    }
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
    beside(index, "vectors", generation)
}

/// Where the thumbnails of a generation are.
pub(super) fn thumbnails_path(index: &Path, generation: u64) -> PathBuf {
    beside(index, "thumbnails", generation)
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

/// An error of the database with its file.
pub(super) fn database(file: &Path, error: impl Into<redb::Error>) -> IndexError {
    let file = file.to_owned();
    match error.into() {
        redb::Error::DatabaseAlreadyOpen => IndexError::Database {
            file,
            reason: "another window or process is writing it; close that, or wait until it is done".to_owned(),
        },
        // Another file, or one whose first bytes are gone.
        redb::Error::Io(reason) if reason.kind() == std::io::ErrorKind::InvalidData => {
            IndexError::Damaged { file, reason: reason.to_string() }
        }
        redb::Error::Io(reason) => IndexError::Io { action: "use", file, reason },
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

/// Refuses an index of another format.
pub(super) fn check_format(file: &Path, table: &impl redb::ReadableTable<&'static str, &'static [u8]>) -> Result<(), IndexError> {
    match meta::<u32>(file, table, FORMAT)? {
        FORMAT_NOW => Ok(()),
        other => Err(IndexError::Damaged {
            file: file.to_owned(),
            reason: format!("it is of format {other}, and this program reads {FORMAT_NOW}"),
        }),
    }
}
