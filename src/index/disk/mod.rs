//! An index on a disk, and pictures that are there.
//!
//! ```text
//! photos.index                redb: the stamp, the files by path, the rows by number
//! photos.index.vectors-0      f16 [rows, dim], appended to; the number goes up when it is written anew
//! photos.index.thumbnails-0   JPEG files one after another, likewise
//! ```
//!
//! Old or new: arrays are appended to and synced first, and become part of the index by one transaction of the database. What a crash leaves behind
//! the end that is known is overwritten. One process writes, any number read meanwhile.

mod arrays;
mod faults;
mod folder;
mod shelf;
mod tables;
mod writing;

pub use folder::{DiskFolder, Listing, below, kind, read_picture};
pub use shelf::DiskShelf;
pub use writing::delete;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::f16;
use redb::{Database, ReadOnlyDatabase, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use self::arrays::{Arrays, Maps};
use self::tables::{
    FILES, FileRow, META, MODE, PICTURES, PictureRow, ROWS, SPACE, STAMP, UNREADABLE, UnreadableRow, check_format, database, meta, picture,
};
use super::store::{IndexStore, Picture, Snapshot, Space};
use super::{FileState, IndexError, Stamp, Unreadable};

/// An index with its database open.
pub(super) struct Opened<D> {
    database: D,
    arrays: Arrays,
    stamp: Stamp,
}

/// To read it.
pub(super) type Reading = Opened<ReadOnlyDatabase>;
/// To write it.
pub(super) type Writing = Opened<Database>;

impl Reading {
    pub(super) fn open(path: &Path) -> Result<Self, IndexError> {
        let open = || redb::Builder::new().set_concurrency_mode(MODE).open_read_only(path);
        let mut opened = open();
        if matches!(opened, Err(redb::DatabaseError::RepairAborted)) {
            // Its writer has crashed. To open it for writing mends it.
            redb::Builder::new().set_concurrency_mode(MODE).open(path).map_err(|error| database(path, error))?;
            opened = open();
        }
        let opened = opened.map_err(|error| database(path, error))?;
        let stamp = {
            let transaction = opened.begin_read().map_err(|error| database(path, error))?;
            let table = transaction.open_table(META).map_err(|error| database(path, error))?;
            check_format(path, &table)?;
            meta(path, &table, STAMP)?
        };
        Ok(Self { database: opened, arrays: Arrays::new(path), stamp })
    }
}

impl<D: ReadableDatabase + Send + Sync> IndexStore for Opened<D> {
    fn place(&self) -> &Path {
        self.arrays.index()
    }

    fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// The database as it is now, and the arrays that it knows.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, IndexError> {
        let (index, dim) = (self.place(), self.stamp.dim);
        let mut attempts = 0..3;
        loop {
            let transaction = self.database.begin_read().map_err(|error| database(index, error))?;
            let space: Space = {
                let table = transaction.open_table(META).map_err(|error| database(index, error))?;
                meta(index, &table, SPACE)?
            };
            match self.arrays.maps(space, dim) {
                // The writer has written them anew meanwhile, and committed that.
                Err(IndexError::Io { reason, .. }) if reason.kind() == std::io::ErrorKind::NotFound && attempts.next().is_some() => {}
                maps => return Ok(Box::new(Moment::new(index, &transaction, maps?, space, dim).map_err(|error| database(index, error))?)),
            }
        }
    }
}

/// The tables of a transaction, and maps of the arrays as long as it knows them.
struct Moment {
    index: PathBuf,
    files: ReadOnlyTable<&'static str, FileRow>,
    rows: ReadOnlyTable<u32, &'static str>,
    pictures: ReadOnlyTable<u32, PictureRow>,
    unreadable: ReadOnlyTable<&'static str, UnreadableRow>,
    maps: Arc<Maps>,
    space: Space,
    dim: usize,
}

impl Moment {
    fn new(index: &Path, transaction: &ReadTransaction, maps: Arc<Maps>, space: Space, dim: usize) -> Result<Self, redb::TableError> {
        Ok(Self {
            index: index.to_owned(),
            files: transaction.open_table(FILES)?,
            rows: transaction.open_table(ROWS)?,
            pictures: transaction.open_table(PICTURES)?,
            unreadable: transaction.open_table(UNREADABLE)?,
            maps,
            space,
            dim,
        })
    }

    fn read<T>(&self, read: impl FnOnce() -> Result<T, redb::StorageError>) -> Result<T, IndexError> {
        read().map_err(|error| database(&self.index, error))
    }
}

impl Snapshot for Moment {
    fn space(&self) -> Space {
        self.space
    }

    fn count(&self) -> Result<u64, IndexError> {
        self.read(|| self.files.len())
    }

    fn picture(&self, path: &str) -> Result<Option<Picture>, IndexError> {
        self.read(|| self.files.get(path)?.map(|file| picture(file.value(), &self.pictures)).transpose())
    }

    fn row(&self, row: u32) -> Result<Option<(String, [u32; 2])>, IndexError> {
        self.read(|| {
            let Some(path) = self.rows.get(row)? else { return Ok(None) };
            let (_, _, height, width) = self.pictures.get(row)?.map(|picture| picture.value()).unwrap_or_default();
            Ok(Some((path.value().to_owned(), [height, width])))
        })
    }

    fn for_each(&self, visit: &mut dyn FnMut(&str, Picture) -> ControlFlow<()>) -> Result<(), IndexError> {
        self.read(|| {
            for entry in self.files.iter()? {
                let (path, file) = entry?;
                if visit(path.value(), picture(file.value(), &self.pictures)?).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn unreadable(&self) -> Result<BTreeMap<String, Unreadable>, IndexError> {
        self.read(|| {
            let mut all = BTreeMap::new();
            for entry in self.unreadable.iter()? {
                let (path, value) = entry?;
                let ((bytes, secs, nanos, reason), path) = (value.value(), path.value().to_owned());
                let state = FileState { bytes, secs, nanos };
                all.insert(path.clone(), Unreadable { path, state, reason: reason.to_owned() });
            }
            Ok(all)
        })
    }

    fn vectors(&self, rows: Range<u32>) -> Result<Cow<'_, [f16]>, IndexError> {
        let bytes = self.maps.vectors.get(rows.start as usize * self.dim * 2..rows.end as usize * self.dim * 2).unwrap_or_default();
        Ok(bytemuck::try_cast_slice(bytes).unwrap_or_default().into())
    }

    /// All: they are mapped.
    fn rows_at_once(&self) -> u32 {
        u32::MAX
    }

    fn thumbnail(&self, Picture { thumbnail: (start, len), .. }: &Picture) -> Result<Cow<'_, [u8]>, IndexError> {
        let start = usize::try_from(*start).unwrap_or(usize::MAX);
        Ok(self.maps.thumbnails.get(start..).and_then(|rest| rest.get(..*len as usize)).unwrap_or_default().into())
    }

    fn bytes(&self) -> Result<u64, IndexError> {
        let refused = |reason| IndexError::Io { action: "read", file: self.index.clone(), reason };
        let database = std::fs::metadata(&self.index).map_err(refused)?;
        Ok(database.len() + self.maps.vectors.len() as u64 + self.maps.thumbnails.len() as u64)
    }
}
