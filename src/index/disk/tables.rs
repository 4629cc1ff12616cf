//! What the database holds.

use std::path::Path;

use redb::{ConcurrencyMode, ReadableTable, TableDefinition};

use super::super::store::Picture;
use super::super::{FileState, IndexError};

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

/// Bytes, seconds and nanoseconds of the last change, and why the file cannot be read.
pub(super) type UnreadableRow = (u64, i64, u32, &'static str);
/// By path below the folder.
pub(super) const UNREADABLE: TableDefinition<'_, &str, UnreadableRow> = TableDefinition::new("unreadable");

pub(super) const FORMAT: &str = "format";
/// Goes up when the tables or the files change their meaning.
pub(super) const FORMAT_NOW: u32 = 3;
pub(super) const STAMP: &str = "stamp";
pub(super) const SPACE: &str = "space";

/// One process writes, and others read what it has committed.
pub(super) const MODE: ConcurrencyMode = ConcurrencyMode::SingleWriter;

/// What the two tables know of a picture.
pub(super) fn picture(
    (bytes, secs, nanos, row): FileRow,
    pictures: &impl ReadableTable<u32, PictureRow>,
) -> Result<Picture, redb::StorageError> {
    let (start, len, height, width) = pictures.get(row)?.map(|picture| picture.value()).unwrap_or_default();
    Ok(Picture { state: FileState { bytes, secs, nanos }, row, thumbnail: (start, len), size: [height, width] })
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
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<T, IndexError> {
    let damaged = |reason: String| IndexError::Damaged { file: file.to_owned(), reason };
    let value = table.get(name).map_err(|error| database(file, error))?.ok_or_else(|| damaged(format!("it has no {name}")))?;
    serde_json::from_slice(value.value()).map_err(|error| damaged(format!("its {name} is {error}")))
}

/// Refuses an index of another format.
pub(super) fn check_format(file: &Path, table: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<(), IndexError> {
    match meta::<u32>(file, table, FORMAT)? {
        FORMAT_NOW => Ok(()),
        other => Err(IndexError::Damaged {
            file: file.to_owned(),
            reason: format!("it is of format {other}, and this program reads {FORMAT_NOW}"),
        }),
    }
}
