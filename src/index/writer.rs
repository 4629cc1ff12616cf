//! [`Writer`]: adds files to an index, and takes them out.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use half::f16;
use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, ReadableTable};

use super::IndexError;
use super::schema::{FILES, FileRow, FileState, META, MODE, ROWS, SPACE, STAMP, Space, Stamp, database, meta, vectors_path};

/// The one who writes an index.
pub struct Writer {
    path: PathBuf,
    database: Database,
    vectors: File,
    dim: usize,
    space: Space,
}

/// Rows of files that are gone, as a share of all, from which the vectors are written anew.
const GONE_SHARE: f64 = 0.1;

impl Writer {
    /// Opens the index at `path`, or makes one. Only its owner can read the files.
    ///
    /// # Errors
    /// The index was made otherwise than `stamp` says, is damaged or being written by another process, or the system refuses.
    pub fn open(path: &Path, stamp: &Stamp) -> Result<Self, IndexError> {
        let file = private(path, false)?;
        let backend = FileBackend::new(file).map_err(|error| database(path, error))?;
        let opened = redb::Builder::new().set_concurrency_mode(MODE).set_check_integrity_on_open(true).create_with_backend(backend);
        let opened = opened.map_err(|error| database(path, error))?;
        let space = begin(path, &opened, stamp)?;
        let vectors = private(&vectors_path(path, space.generation), false)?;
        let writer = Self { path: path.to_owned(), database: opened, vectors, dim: stamp.dim, space };
        writer.remove_leftovers()?;
        Ok(writer)
    }

    /// The files that are known, by their path below the folder.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn known(&self) -> Result<BTreeMap<String, FileState>, IndexError> {
        let state = |(path, (bytes, secs, nanos, _))| (path, FileState { bytes, secs, nanos });
        Ok(self.files()?.into_iter().map(state).collect())
    }

    /// The table of files, in the order of their paths.
    fn files(&self) -> Result<Vec<(String, FileRow)>, IndexError> {
        let read = || -> Result<_, redb::Error> {
            let files = self.database.begin_read()?.open_table(FILES)?;
            let mut all = Vec::new();
            for entry in files.iter()? {
                let (path, row) = entry?;
                all.push((path.value().to_owned(), row.value()));
            }
            Ok(all)
        };
        read().map_err(|error| database(&self.path, error))
    }

    /// Adds files with their embeddings, `[files, dim]` of unit length, in place of what was known of them. All or, after a crash, none.
    ///
    /// # Errors
    /// The system refuses; the index is as before.
    pub fn add(&mut self, files: &[(String, FileState)], embeds: &[f32]) -> Result<(), IndexError> {
        let too_many = || IndexError::Database { file: self.path.clone(), reason: format!("more than {} pictures", u32::MAX) };
        let rows = u32::try_from(files.len()).ok().and_then(|count| self.space.rows.checked_add(count)).ok_or_else(too_many)?;
        let bytes: Vec<u8> = embeds.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect();
        let start = u64::from(self.space.rows) * self.dim as u64 * 2;
        let path = vectors_path(&self.path, self.space.generation);
        let refused = |reason| IndexError::Io { action: "write", file: path.clone(), reason };
        self.vectors.seek(SeekFrom::Start(start)).map_err(refused)?;
        self.vectors.write_all(&bytes).map_err(refused)?;
        self.vectors.sync_data().map_err(refused)?;
        let space = Space { rows, ..self.space };
        self.change(space, |by_path, by_row| {
            for ((path, state), row) in files.iter().zip(self.space.rows..) {
                let before = by_path.insert(path.as_str(), (state.bytes, state.secs, state.nanos, row))?.map(|before| before.value().3);
                if let Some(before) = before {
                    by_row.remove(before)?;
                }
                by_row.insert(row, path.as_str())?;
            }
            Ok(())
        })?;
        self.space = space;
        Ok(())
    }

    /// Takes files out.
    ///
    /// # Errors
    /// The system refuses; the index is as before.
    pub fn remove<'a>(&mut self, paths: impl IntoIterator<Item = &'a str>) -> Result<(), IndexError> {
        self.change(self.space, |by_path, by_row| {
            for path in paths {
                let row = by_path.remove(path)?.map(|state| state.value().3);
                if let Some(row) = row {
                    by_row.remove(row)?;
                }
            }
            Ok(())
        })
    }

    /// Gives back the space of files that are gone, if it is worth it.
    ///
    /// # Errors
    /// The system refuses; the index is as before.
    pub fn tidy(&mut self) -> Result<(), IndexError> {
        let kept = self.files()?;
        let gone = f64::from(self.space.rows) - kept.len() as f64;
        if gone <= GONE_SHARE * f64::from(self.space.rows) {
            return Ok(());
        }
        let (old, space) =
            (vectors_path(&self.path, self.space.generation), Space { generation: self.space.generation + 1, rows: kept.len() as u32 });
        let new = vectors_path(&self.path, space.generation);
        let map = super::reader::map(&old, self.space.rows, self.dim)?;
        let refused = |reason| IndexError::Io { action: "write", file: new.clone(), reason };
        let mut vectors = BufWriter::new(private(&new, true)?);
        let width = self.dim * 2;
        for (_, (_, _, _, row)) in &kept {
            let start = *row as usize * width;
            vectors.write_all(map.get(start..start + width).unwrap_or_default()).map_err(refused)?;
        }
        let vectors = vectors.into_inner().map_err(|error| refused(error.into_error()))?;
        vectors.sync_all().map_err(refused)?;
        self.change(space, |by_path, by_row| {
            by_row.retain(|_, _| false)?;
            for ((path, (bytes, secs, nanos, _)), row) in kept.iter().zip(0..) {
                by_path.insert(path.as_str(), (*bytes, *secs, *nanos, row))?;
                by_row.insert(row, path.as_str())?;
            }
            Ok(())
        })?;
        (self.space, self.vectors) = (space, vectors);
        self.remove_leftovers()
    }

    /// One transaction.
    fn change(
        &self,
        space: Space,
        change: impl FnOnce(
            &mut redb::Table<'_, &'static str, FileRow>,
            &mut redb::Table<'_, u32, &'static str>,
        ) -> Result<(), redb::StorageError>,
    ) -> Result<(), IndexError> {
        let transact = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            {
                let (mut by_path, mut by_row, mut meta) =
                    (transaction.open_table(FILES)?, transaction.open_table(ROWS)?, transaction.open_table(META)?);
                change(&mut by_path, &mut by_row)?;
                meta.insert(SPACE, json(&space).as_slice())?;
            }
            Ok(transaction.commit()?)
        };
        transact().map_err(|error| database(&self.path, error))
    }

    /// Removes vectors of other generations.
    fn remove_leftovers(&self) -> Result<(), IndexError> {
        for generation in [self.space.generation.checked_sub(1), self.space.generation.checked_add(1)].into_iter().flatten() {
            let path = vectors_path(&self.path, generation);
            match std::fs::remove_file(&path) {
                Err(reason) if reason.kind() != std::io::ErrorKind::NotFound => {
                    return Err(IndexError::Io { action: "remove", file: path, reason });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Writes the stamp into a new index, or compares it with that of an old one.
fn begin(path: &Path, opened: &Database, stamp: &Stamp) -> Result<Space, IndexError> {
    let prepare = || -> Result<bool, redb::Error> {
        let transaction = opened.begin_write()?;
        let is_new = {
            transaction.open_table(FILES)?;
            transaction.open_table(ROWS)?;
            let mut meta = transaction.open_table(META)?;
            let is_new = meta.get(STAMP)?.is_none();
            if is_new {
                meta.insert(STAMP, json(stamp).as_slice())?;
                meta.insert(SPACE, json(&Space::default()).as_slice())?;
            }
            is_new
        };
        transaction.commit()?;
        Ok(is_new)
    };
    prepare().map_err(|error| database(path, error))?;
    let transaction = opened.begin_read().map_err(|error| database(path, error))?;
    let table = transaction.open_table(META).map_err(|error| database(path, error))?;
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
    options.open(path).map_err(|reason| IndexError::Io { action: "open", file: path.to_owned(), reason })
}
