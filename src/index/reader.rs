//! [`Reader`]: searches an index, while it is being written too.

use std::fs::File;
use std::path::{Path, PathBuf};

use half::f16;
use memmap2::Mmap;
use redb::{ReadOnlyDatabase, ReadTransaction, ReadableDatabase, ReadableTableMetadata};

use super::IndexError;
use super::schema::{FILES, META, MODE, ROWS, SPACE, STAMP, Space, Stamp, database, meta, vectors_path};
use crate::kernels::scores_top_k::{ScoresTopK, Table};

/// One of those who read an index.
pub struct Reader {
    path: PathBuf,
    database: ReadOnlyDatabase,
    stamp: Stamp,
}

/// A picture that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Below the folder.
    pub path: String,
    /// Cosine of the angle between query and picture.
    pub score: f32,
}

impl Reader {
    /// Opens the index at `path`.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn open(path: &Path) -> Result<Self, IndexError> {
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
            meta(path, &table, STAMP)?
        };
        Ok(Self { path: path.to_owned(), database: opened, stamp })
    }

    /// How it was made.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Pictures in it now.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn count(&self) -> Result<u64, IndexError> {
        let files = self.begin()?.open_table(FILES).map_err(|error| database(&self.path, error))?;
        files.len().map_err(|error| database(&self.path, error))
    }

    /// The embedding of a picture, by its path below the folder.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn embedding(&self, picture: &str) -> Result<Option<Vec<f32>>, IndexError> {
        let (transaction, map, space) = self.snapshot()?;
        let files = transaction.open_table(FILES).map_err(|error| database(&self.path, error))?;
        let Some(row) = files.get(picture).map_err(|error| database(&self.path, error))?.map(|state| state.value().3) else {
            return Ok(None);
        };
        let vectors = values(&map, space.rows, self.stamp.dim);
        let start = row as usize * self.stamp.dim;
        Ok(vectors.get(start..start + self.stamp.dim).map(|vector| vector.iter().map(|value| value.to_f32()).collect()))
    }

    /// The `count` pictures that are nearest to a query of unit length, `[dim]`, the best first; of equal ones the one that was indexed first. Every
    /// picture is compared: the search is exact.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn search(&self, query: &[f32], count: usize) -> Result<Vec<Found>, IndexError> {
        let (transaction, map, space) = self.snapshot()?;
        let failed = |error: redb::StorageError| database(&self.path, error);
        let paths = transaction.open_table(ROWS).map_err(|error| database(&self.path, error))?;
        let vectors = values(&map, space.rows, self.stamp.dim);
        let live = paths.len().map_err(failed)? as usize;
        let count = count.min(live);
        // Rows of files that are gone are found as well: as many more are asked for as it takes to have enough of the others.
        let mut k = count + count / 8;
        loop {
            let search = ScoresTopK { dim: self.stamp.dim, k: k.min(space.rows as usize) };
            let hits = search.run(query, Table::F16(vectors)).pop().unwrap_or_default();
            let mut found = Vec::with_capacity(count);
            for hit in &hits {
                if found.len() < count
                    && let Some(path) = paths.get(hit.row).map_err(failed)?
                {
                    found.push(Found { path: path.value().to_owned(), score: hit.score });
                }
            }
            if found.len() == count || hits.len() >= space.rows as usize {
                return Ok(found);
            }
            k = 2 * k + 16;
        }
    }

    fn begin(&self) -> Result<ReadTransaction, IndexError> {
        self.database.begin_read().map_err(|error| database(&self.path, error))
    }

    /// The database as it is now, and the vectors that it knows.
    fn snapshot(&self) -> Result<(ReadTransaction, Mmap, Space), IndexError> {
        let mut attempts = 0..3;
        loop {
            let transaction = self.begin()?;
            let table = transaction.open_table(META).map_err(|error| database(&self.path, error))?;
            let space: Space = meta(&self.path, &table, SPACE)?;
            match map(&vectors_path(&self.path, space.generation), space.rows, self.stamp.dim) {
                // The writer has written them anew meanwhile, and committed that.
                Err(IndexError::Io { reason, .. }) if reason.kind() == std::io::ErrorKind::NotFound && attempts.next().is_some() => {}
                mapped => return Ok((transaction, mapped?, space)),
            }
        }
    }
}

/// The file with the vectors, which must have this many.
pub(super) fn map(path: &Path, rows: u32, dim: usize) -> Result<Mmap, IndexError> {
    let refused = |reason| IndexError::Io { action: "read", file: path.to_owned(), reason };
    let file = File::open(path).map_err(refused)?;
    let (len, wanted) = (file.metadata().map_err(refused)?.len(), u64::from(rows) * dim as u64 * 2);
    if len < wanted {
        return Err(IndexError::Damaged { file: path.to_owned(), reason: format!("it has {len} bytes of {wanted}") });
    }
    // SAFETY: the map is read-only. A writer only ever appends to the file behind what was committed, or makes another one; that no other program
    // shortens it cannot be enforced, as with checkpoints.
    unsafe { Mmap::map(&file) }.map_err(refused)
}

fn values(map: &Mmap, rows: u32, dim: usize) -> &[f16] {
    bytemuck::try_cast_slice(map.get(..rows as usize * dim * 2).unwrap_or_default()).unwrap_or_default()
}
