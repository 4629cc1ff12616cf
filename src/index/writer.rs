//! [`Writer`]: adds files to an index, and takes them out.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use half::f16;
use redb::{Database, ReadableDatabase, ReadableTable};

use super::schema::{
    FILES, FORMAT, FORMAT_NOW, FileRow, FileState, META, MODE, PICTURES, PictureRow, ROWS, SPACE, STAMP, Space, Stamp, THUMBNAILS_MAGIC,
    UNREADABLE, check_format, database, is_beside, meta, new_path, thumbnails_path, vectors_path,
};
use super::{Entry, IndexError, Unreadable, faults, reader};

/// The one who writes an index.
pub struct Writer {
    path: PathBuf,
    database: Database,
    vectors: Appended,
    thumbnails: Appended,
    stamp: Stamp,
    space: Space,
}

/// Rows of files that are gone, as a share of all, from which the vectors are written anew.
const GONE_SHARE: f64 = 0.1;

/// The tables of a transaction.
struct Tables<'a> {
    files: redb::Table<'a, &'static str, FileRow>,
    rows: redb::Table<'a, u32, &'static str>,
    pictures: redb::Table<'a, u32, PictureRow>,
    unreadable: redb::Table<'a, &'static str, (u64, i64, u32, &'static str)>,
}

impl Tables<'_> {
    /// Forgets a file, whatever was known of it.
    fn forget(&mut self, path: &str) -> Result<(), redb::StorageError> {
        let row = self.files.remove(path)?.map(|state| state.value().3);
        if let Some(row) = row {
            self.rows.remove(row)?;
            self.pictures.remove(row)?;
        }
        self.unreadable.remove(path).map(drop)
    }

    fn insert(&mut self, path: &str, state: FileState, row: u32, picture: PictureRow) -> Result<(), redb::StorageError> {
        self.files.insert(path, (state.bytes, state.secs, state.nanos, row))?;
        self.rows.insert(row, path)?;
        self.pictures.insert(row, picture).map(drop)
    }
}

impl Writer {
    /// Opens the index at `path`, or makes one. Only its owner can read the files.
    ///
    /// # Errors
    /// The index was made otherwise than `stamp` says, is damaged or being written by another process, or the system refuses.
    pub fn open(path: &Path, stamp: &Stamp) -> Result<Self, IndexError> {
        let is_new = std::fs::metadata(path).map_or(true, |metadata| metadata.len() == 0);
        let (database, space) = if is_new { create(path, stamp)? } else { open(path, stamp)? };
        let vectors = Appended::open(vectors_path(path, space.generation))?;
        let thumbnails = Appended::open(thumbnails_path(path, space.generation))?;
        let writer = Self { path: path.to_owned(), database, vectors, thumbnails, stamp: stamp.clone(), space };
        writer.remove_leftovers();
        Ok(writer)
    }

    /// How it is made.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// The pictures that are known, by their path below the folder.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn known(&self) -> Result<BTreeMap<String, FileState>, IndexError> {
        let state = |(path, (bytes, secs, nanos, _), _)| (path, FileState { bytes, secs, nanos });
        Ok(self.files()?.into_iter().map(state).collect())
    }

    /// The files that could not be read, by their path below the folder.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn unreadable(&self) -> Result<BTreeMap<String, Unreadable>, IndexError> {
        let transaction = self.database.begin_read().map_err(|error| database(&self.path, error))?;
        reader::unreadable(&self.path, &transaction)
    }

    /// The table of files, in the order of their paths.
    fn files(&self) -> Result<Vec<(String, FileRow, PictureRow)>, IndexError> {
        let read = || -> Result<_, redb::Error> {
            let transaction = self.database.begin_read()?;
            let (files, pictures) = (transaction.open_table(FILES)?, transaction.open_table(PICTURES)?);
            let mut all = Vec::new();
            for entry in files.iter()? {
                let (path, row) = entry?;
                let picture = pictures.get(row.value().3)?.map(|picture| picture.value()).unwrap_or_default();
                all.push((path.value().to_owned(), row.value(), picture));
            }
            Ok(all)
        };
        read().map_err(|error| database(&self.path, error))
    }

    /// Adds pictures with their embeddings, `[pictures, dim]` of unit length, in place of what was known of them. All or, after a crash, none.
    ///
    /// # Errors
    /// The system refuses; the index is as before.
    pub fn add(&mut self, entries: &[Entry], embeds: &[f32]) -> Result<(), IndexError> {
        let too_many = || IndexError::Database { file: self.path.clone(), reason: format!("more than {} pictures", u32::MAX) };
        let rows = u32::try_from(entries.len()).ok().and_then(|count| self.space.rows.checked_add(count)).ok_or_else(too_many)?;
        let values: Vec<u8> = embeds.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect();
        self.vectors.write(u64::from(self.space.rows) * self.stamp.dim as u64 * 2, &values)?;
        let before = self.space.thumbnail_bytes;
        let magic = if before == 0 { THUMBNAILS_MAGIC } else { &[] };
        let thumbnails: Vec<u8> = magic.iter().chain(entries.iter().flat_map(|entry| &entry.thumbnail)).copied().collect();
        self.thumbnails.write(before, &thumbnails)?;
        let space = Space { rows, thumbnail_bytes: before + thumbnails.len() as u64, ..self.space };
        self.change(space, |tables| {
            let mut start = before + magic.len() as u64;
            for (entry, row) in entries.iter().zip(self.space.rows..) {
                let [height, width] = entry.size;
                tables.forget(&entry.path)?;
                tables.insert(&entry.path, entry.state, row, (start, entry.thumbnail.len() as u32, height, width))?;
                start += entry.thumbnail.len() as u64;
            }
            Ok(())
        })?;
        self.space = space;
        Ok(())
    }

    /// Notes files that cannot be read, in place of what was known of them.
    ///
    /// # Errors
    /// The system refuses; the index is as before.
    pub fn refuse(&mut self, files: &[Unreadable]) -> Result<(), IndexError> {
        self.change(self.space, |tables| {
            for Unreadable { path, state, reason } in files {
                tables.forget(path)?;
                tables.unreadable.insert(path.as_str(), (state.bytes, state.secs, state.nanos, reason.as_str()))?;
            }
            Ok(())
        })
    }

    /// Takes files out.
    ///
    /// # Errors
    /// The system refuses; the index is as before.
    pub fn remove<'a>(&mut self, paths: impl IntoIterator<Item = &'a str>) -> Result<(), IndexError> {
        self.change(self.space, |tables| paths.into_iter().try_for_each(|path| tables.forget(path)))
    }

    /// Gives back the space of files that are gone, if it is worth it.
    ///
    /// # Errors
    /// The system refuses; the index is as before.
    pub fn tidy(&mut self) -> Result<(), IndexError> {
        let mut kept = self.files()?;
        let gone = f64::from(self.space.rows) - kept.len() as f64;
        if gone <= GONE_SHARE * f64::from(self.space.rows) {
            return Ok(());
        }
        let (generation, width) = (self.space.generation + 1, self.stamp.dim * 2);
        let map = reader::map(&self.vectors.path, u64::from(self.space.rows) * width as u64)?;
        let vectors = kept.iter().map(|(_, (_, _, _, row), _)| map.get(*row as usize * width..).and_then(|rest| rest.get(..width)));
        let vectors = Appended::anew(vectors_path(&self.path, generation), vectors.map(Option::unwrap_or_default))?;
        let map = reader::map(&self.thumbnails.path, self.space.thumbnail_bytes)?;
        let thumbnails = kept.iter().map(|(_, _, (start, len, _, _))| reader::part(&map, *start, *len));
        let thumbnails = Appended::anew(thumbnails_path(&self.path, generation), std::iter::once(THUMBNAILS_MAGIC).chain(thumbnails))?;
        let mut thumbnail_bytes = THUMBNAILS_MAGIC.len() as u64;
        for ((_, (_, _, _, row), (start, len, _, _)), new) in kept.iter_mut().zip(0..) {
            (*row, *start) = (new, thumbnail_bytes);
            thumbnail_bytes += u64::from(*len);
        }
        let space = Space { generation, rows: kept.len() as u32, thumbnail_bytes };
        self.change(space, |tables| {
            tables.rows.retain(|_, _| false)?;
            tables.pictures.retain(|_, _| false)?;
            for (path, (bytes, secs, nanos, row), picture) in &kept {
                tables.insert(path, FileState { bytes: *bytes, secs: *secs, nanos: *nanos }, *row, *picture)?;
            }
            Ok(())
        })?;
        (self.space, self.vectors, self.thumbnails) = (space, vectors, thumbnails);
        self.remove_leftovers();
        Ok(())
    }

    /// One transaction.
    fn change(&self, space: Space, change: impl FnOnce(&mut Tables<'_>) -> Result<(), redb::StorageError>) -> Result<(), IndexError> {
        let transact = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            {
                let mut tables = Tables {
                    files: transaction.open_table(FILES)?,
                    rows: transaction.open_table(ROWS)?,
                    pictures: transaction.open_table(PICTURES)?,
                    unreadable: transaction.open_table(UNREADABLE)?,
                };
                change(&mut tables)?;
                transaction.open_table(META)?.insert(SPACE, json(&space).as_slice())?;
            }
            Ok(transaction.commit()?)
        };
        transact().map_err(|error| database(&self.path, error))
    }

    /// Removes what belongs to other generations, as far as it can be: somebody may still read it, and the next writer tries again.
    fn remove_leftovers(&self) {
        for generation in [self.space.generation.checked_sub(1), self.space.generation.checked_add(1)].into_iter().flatten() {
            for path in [vectors_path(&self.path, generation), thumbnails_path(&self.path, generation)] {
                if let Err(error) = remove_file(&path) {
                    tracing::warn!(%error, "a file that nobody needs could not be removed");
                }
            }
        }
    }
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

fn remove_file(path: &Path) -> Result<(), IndexError> {
    match faults::check().and_then(|()| std::fs::remove_file(path)) {
        Err(reason) if reason.kind() != std::io::ErrorKind::NotFound => {
            Err(IndexError::Io { action: "remove", file: path.to_owned(), reason })
        }
        _ => Ok(()),
    }
}

/// A file that grows; what lies behind the end that the database knows is nothing.
struct Appended {
    path: PathBuf,
    file: File,
}

impl Appended {
    fn open(path: PathBuf) -> Result<Self, IndexError> {
        Ok(Self { file: private(&path, false)?, path })
    }

    /// A new file of these parts.
    fn anew<'a>(path: PathBuf, parts: impl Iterator<Item = &'a [u8]>) -> Result<Self, IndexError> {
        let refused = |reason| IndexError::Io { action: "write", file: path.clone(), reason };
        let mut writer = BufWriter::new(private(&path, true)?);
        for part in parts {
            faults::check().and_then(|()| writer.write_all(part)).map_err(refused)?;
        }
        let file = writer.into_inner().map_err(|error| refused(error.into_error()))?;
        faults::check().and_then(|()| file.sync_all()).map_err(refused)?;
        Ok(Self { path, file })
    }

    /// Writes at this end, and waits until it is on the disk.
    fn write(&mut self, end: u64, bytes: &[u8]) -> Result<(), IndexError> {
        let refused = |reason| IndexError::Io { action: "write", file: self.path.clone(), reason };
        self.file.seek(SeekFrom::Start(end)).map_err(refused)?;
        faults::check().and_then(|()| self.file.write_all(bytes)).map_err(refused)?;
        faults::check().and_then(|()| self.file.sync_data()).map_err(refused)
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

/// A file that nobody else can read.
fn private(path: &Path, is_new: bool) -> Result<File, IndexError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(is_new);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let opened = faults::check().and_then(|()| options.open(path));
    opened.map_err(|reason| IndexError::Io { action: "open", file: path.to_owned(), reason })
}
