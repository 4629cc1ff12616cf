//! The one who writes.

use std::future::ready;
use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable};

use super::super::store::{Array, Changes, IndexFuture, IndexStore, Parts, Picture, Space, WritableStore};
use super::super::{IndexError, Stamp, Unreadable};
use super::arrays::{Arrays, is_beside, new_path, private, remove_file};
use super::tables::{
    FILES, FORMAT, FORMAT_NOW, FileRow, META, MODE, PICTURES, PictureRow, ROWS, SPACE, STAMP, UNREADABLE, UnreadableRow, check_format,
    database, meta,
};
use super::{Writing, faults};

impl Writing {
    /// Opens the index at `path`, or makes one. Only its owner can read the files.
    pub(in super::super) fn open(path: &Path, stamp: &Stamp) -> Result<Self, IndexError> {
        let is_new = std::fs::metadata(path).map_or(true, |metadata| metadata.len() == 0);
        let (database, Space { generation, .. }) = if is_new { create(path, stamp)? } else { open(path, stamp)? };
        let arrays = Arrays::new(path);
        arrays.touch(Array::Vectors, generation)?;
        arrays.touch(Array::Thumbnails, generation)?;
        arrays.remove_leftovers(generation);
        Ok(Self { database, arrays, stamp: stamp.clone() })
    }

    fn transact(&self, space: Space, changes: &Changes) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut tables = Tables {
                files: transaction.open_table(FILES)?,
                rows: transaction.open_table(ROWS)?,
                pictures: transaction.open_table(PICTURES)?,
                unreadable: transaction.open_table(UNREADABLE)?,
            };
            tables.change(changes)?;
            transaction.open_table(META)?.insert(SPACE, json(&space).as_slice())?;
        }
        Ok(transaction.commit()?)
    }
}

impl WritableStore for Writing {
    fn append(&mut self, array: Array, generation: u64, end: u64, bytes: Vec<u8>) -> IndexFuture<'_, ()> {
        Box::pin(ready(self.arrays.append(array, generation, end, &bytes)))
    }

    fn renew<'a>(&'a mut self, array: Array, generation: u64, parts: Parts<'a>) -> IndexFuture<'a, ()> {
        Box::pin(ready(self.arrays.renew(array, generation, parts)))
    }

    fn commit(&mut self, space: Space, changes: Changes) -> IndexFuture<'_, ()> {
        let committed = self.transact(space, &changes).map_err(|error| database(self.place(), error));
        if committed.is_ok() && changes.anew {
            self.arrays.remove_leftovers(space.generation);
        }
        Box::pin(ready(committed))
    }
}

/// The tables of a transaction.
struct Tables<'a> {
    files: redb::Table<'a, &'static str, FileRow>,
    rows: redb::Table<'a, u32, &'static str>,
    pictures: redb::Table<'a, u32, PictureRow>,
    unreadable: redb::Table<'a, &'static str, UnreadableRow>,
}

impl Tables<'_> {
    fn change(&mut self, changes: &Changes) -> Result<(), redb::StorageError> {
        if changes.anew {
            self.files.retain(|_, _| false)?;
            self.rows.retain(|_, _| false)?;
            self.pictures.retain(|_, _| false)?;
        }
        for path in &changes.gone {
            self.forget(path)?;
        }
        for (path, Picture { state, row, thumbnail, size }) in &changes.pictures {
            self.forget(path)?;
            self.files.insert(path.as_str(), (state.bytes, state.secs, state.nanos, *row))?;
            self.rows.insert(row, path.as_str())?;
            self.pictures.insert(row, (thumbnail.0, thumbnail.1, size[0], size[1]))?;
        }
        for Unreadable { path, state, reason } in &changes.unreadable {
            self.forget(path)?;
            self.unreadable.insert(path.as_str(), (state.bytes, state.secs, state.nanos, reason.as_str()))?;
        }
        Ok(())
    }

    /// Forgets a file, whatever was known of it.
    fn forget(&mut self, path: &str) -> Result<(), redb::StorageError> {
        let row = self.files.remove(path)?.map(|state| state.value().3);
        if let Some(row) = row {
            self.rows.remove(row)?;
            self.pictures.remove(row)?;
        }
        self.unreadable.remove(path).map(drop)
    }
}

/// Makes an index under another name, which becomes its own when everything is in it: a half-made database is none.
fn create(path: &Path, stamp: &Stamp) -> Result<(Database, Space), IndexError> {
    let new = new_path(path);
    remove_file(&new)?;
    let made = open(&new, stamp)?;
    let refused = |reason| IndexError::Io { action: "make", file: path.to_owned(), reason };
    // A link does not replace what somebody else has made meanwhile, as another name would; not every file system has links.
    match faults::check().and_then(|()| std::fs::hard_link(&new, path)) {
        Ok(()) => remove_file(&new)?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && std::fs::metadata(path).is_ok_and(|file| file.len() > 0) => {
            drop(made);
            remove_file(&new)?;
            return open(path, stamp);
        }
        Err(_) => faults::check().and_then(|()| std::fs::rename(&new, path)).map_err(refused)?,
    }
    Ok(made)
}

fn open(path: &Path, stamp: &Stamp) -> Result<(Database, Space), IndexError> {
    let backend = faults::Backend::new(private(path, false)?).map_err(|error| database(path, error))?;
    let opened = redb::Builder::new().set_concurrency_mode(MODE).set_check_integrity_on_open(true).create_with_backend(backend);
    let opened = opened.map_err(|error| database(path, error))?;
    let space = begin(path, &opened, stamp)?;
    Ok((opened, space))
}

/// Writes the stamp into a new index, or compares it with that of an old one.
fn begin(path: &Path, opened: &Database, stamp: &Stamp) -> Result<Space, IndexError> {
    let prepare = || -> Result<(), redb::Error> {
        let transaction = opened.begin_write()?;
        {
            let mut meta = transaction.open_table(META)?;
            if meta.get(STAMP)?.is_none() {
                meta.insert(FORMAT, json(&FORMAT_NOW).as_slice())?;
                meta.insert(STAMP, json(stamp).as_slice())?;
                meta.insert(SPACE, json(&Space::default()).as_slice())?;
                transaction.open_table(FILES)?;
                transaction.open_table(ROWS)?;
                transaction.open_table(PICTURES)?;
                transaction.open_table(UNREADABLE)?;
            }
        }
        Ok(transaction.commit()?)
    };
    prepare().map_err(|error| database(path, error))?;
    let transaction = opened.begin_read().map_err(|error| database(path, error))?;
    let table = transaction.open_table(META).map_err(|error| database(path, error))?;
    check_format(path, &table)?;
    let was: Stamp = meta(path, &table, STAMP)?;
    if was != *stamp {
        return Err(IndexError::OtherStamp { file: path.to_owned(), was: was.to_string(), is: stamp.to_string() });
    }
    meta(path, &table, SPACE)
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    // These are plain structs of strings and numbers, which have a form in JSON.
    serde_json::to_vec(value).unwrap_or_default()
}

/// Removes an index with all its files.
///
/// # Errors
/// It is being written, or the system refuses.
pub fn delete(path: &Path) -> Result<(), IndexError> {
    // Whoever writes it holds its lock.
    match redb::Builder::new().set_concurrency_mode(MODE).open(path).map_err(|error| database(path, error)) {
        Ok(_) | Err(IndexError::Damaged { .. }) => {}
        Err(error) => return Err(error),
    }
    // The database goes first: without it the others are nothing, and with it an index without them would be damaged.
    remove_file(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let refused = |reason| IndexError::Io { action: "read", file: folder.to_owned(), reason };
    for file in std::fs::read_dir(folder).map_err(refused)? {
        let file = file.map_err(refused)?;
        if is_beside(&file.file_name().to_string_lossy(), &name) {
            remove_file(&file.path())?;
        }
    }
    Ok(())
}
