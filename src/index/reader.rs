//! [`Reader`]: searches an index, while it is being written too.

mod alike;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use half::f16;
use memmap2::Mmap;
use redb::{ReadOnlyDatabase, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::schema::{
    FILES, META, MODE, PICTURES, PictureRow, ROWS, SPACE, STAMP, Space, Stamp, UNREADABLE, check_format, database, meta, thumbnails_path,
    vectors_path,
};
use super::shelf::is_below;
use super::{FileState, IndexError, Unreadable};
use crate::kernels::scores_top_k::{ScoresTopK, Table};

/// One of those who read an index.
pub struct Reader {
    path: PathBuf,
    database: ReadOnlyDatabase,
    stamp: Stamp,
    /// The files of a generation, as long as they were. Their pages are found quickly once they were read.
    maps: Mutex<Option<Arc<Maps>>>,
}

/// A picture that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Below the folder.
    pub path: String,
    /// Cosine of the angle between query and picture.
    pub score: f32,
    /// Height and width in pixels.
    pub size: [u32; 2],
}

/// Pictures that were found, the best first.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    /// At most as many as were asked for.
    pub found: Vec<Found>,
    /// Pictures that were compared.
    pub compared: usize,
    /// The score of an ordinary picture: the median of a sample.
    pub ordinary: f32,
}

impl Results {
    /// Leaves out what stands out less than this share of how far the best one stands out from ordinary pictures. A flat limit would not do: what is a
    /// good score differs from query to query.
    #[must_use]
    pub fn within(mut self, share: f32) -> Self {
        let best = self.found.first().map_or(0.0, |found| found.score);
        let least = self.ordinary + share * (best - self.ordinary);
        self.found.retain(|found| found.score >= least);
        self
    }
}

/// Pictures whose scores tell what is ordinary.
const SAMPLE: usize = 1_024;

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
            check_format(path, &table)?;
            meta(path, &table, STAMP)?
        };
        Ok(Self { path: path.to_owned(), database: opened, stamp, maps: Mutex::default() })
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

    /// The files that could not be read, by their path below the folder.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn unreadable(&self) -> Result<BTreeMap<String, Unreadable>, IndexError> {
        unreadable(&self.path, &self.begin()?)
    }

    /// The embedding of a picture, by its path below the folder.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn embedding(&self, picture: &str) -> Result<Option<Vec<f32>>, IndexError> {
        let Snapshot { transaction, maps, space } = self.snapshot()?;
        let Some(row) = self.row(&transaction, picture)? else { return Ok(None) };
        let vectors = values(&maps.vectors, space.rows, self.stamp.dim);
        let start = row as usize * self.stamp.dim;
        Ok(vectors.get(start..start + self.stamp.dim).map(|vector| vector.iter().map(|value| value.to_f32()).collect()))
    }

    /// Encoded small pictures, by their paths below the folder; empty ones for what is not in the index.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn thumbnails(&self, pictures: &[String]) -> Result<Vec<Vec<u8>>, IndexError> {
        let Snapshot { transaction, maps, .. } = self.snapshot()?;
        let places = transaction.open_table(PICTURES).map_err(|error| database(&self.path, error))?;
        let mut all = Vec::with_capacity(pictures.len());
        for picture in pictures {
            let place = match self.row(&transaction, picture)? {
                Some(row) => places.get(row).map_err(|error| database(&self.path, error))?.map(|place| place.value()),
                None => None,
            };
            all.push(place.map(|(start, len, _, _)| part(&maps.thumbnails, start, len).to_vec()).unwrap_or_default());
        }
        Ok(all)
    }

    /// Gives every picture with its vector, `[dim]`, in the order of the paths.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn for_each(&self, mut each: impl FnMut(&str, &[f16])) -> Result<(), IndexError> {
        let Snapshot { transaction, maps, space } = self.snapshot()?;
        let (vectors, dim) = (values(&maps.vectors, space.rows, self.stamp.dim), self.stamp.dim);
        let mut read = || -> Result<(), redb::Error> {
            for entry in transaction.open_table(FILES)?.iter()? {
                let (path, state) = entry?;
                let start = state.value().3 as usize * dim;
                each(path.value(), vectors.get(start..start + dim).unwrap_or_default());
            }
            Ok(())
        };
        read().map_err(|error| database(&self.path, error))
    }

    /// The first pictures in the order of their paths; their scores are 0.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn first(&self, count: usize) -> Result<Results, IndexError> {
        let read = || -> Result<_, redb::Error> {
            let transaction = self.database.begin_read()?;
            let (files, pictures) = (transaction.open_table(FILES)?, transaction.open_table(PICTURES)?);
            let mut found = Vec::new();
            for entry in files.iter()?.take(count) {
                let (path, state) = entry?;
                let size = pictures.get(state.value().3)?.map_or([0, 0], |picture| size(picture.value()));
                found.push(Found { path: path.value().to_owned(), score: 0.0, size });
            }
            Ok(Results { found, compared: files.len()? as usize, ordinary: 0.0 })
        };
        read().map_err(|error| database(&self.path, error))
    }

    /// Where a picture is, by its path below the folder; nothing for a path that leads out of it.
    pub fn locate(&self, picture: &str) -> Option<PathBuf> {
        is_below(Path::new(picture)).then(|| Path::new(&self.stamp.root).join(picture))
    }

    /// Bytes of all its files.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn bytes(&self) -> Result<u64, IndexError> {
        let Snapshot { maps, .. } = self.snapshot()?;
        let database = std::fs::metadata(&self.path);
        let database = database.map_err(|reason| IndexError::Io { action: "read", file: self.path.clone(), reason })?;
        Ok(database.len() + maps.vectors.len() as u64 + maps.thumbnails.len() as u64)
    }

    fn row(&self, transaction: &ReadTransaction, picture: &str) -> Result<Option<u32>, IndexError> {
        let files = transaction.open_table(FILES).map_err(|error| database(&self.path, error))?;
        let row = files.get(picture).map_err(|error| database(&self.path, error))?.map(|state| state.value().3);
        Ok(row)
    }

    /// The `count` pictures that are nearest to a query of unit length, `[dim]`, the best first; of equal ones the one in the lower row. Every picture is
    /// compared: the search is exact.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn search(&self, query: &[f32], count: usize) -> Result<Results, IndexError> {
        let Snapshot { transaction, maps, space } = self.snapshot()?;
        let failed = |error: redb::StorageError| database(&self.path, error);
        let paths = transaction.open_table(ROWS).map_err(|error| database(&self.path, error))?;
        let pictures = transaction.open_table(PICTURES).map_err(|error| database(&self.path, error))?;
        let vectors = values(&maps.vectors, space.rows, self.stamp.dim);
        let compared = paths.len().map_err(failed)? as usize;
        let (count, ordinary) = (count.min(compared), ordinary(vectors, query));
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
                    let size = pictures.get(hit.row).map_err(failed)?.map_or([0, 0], |picture| size(picture.value()));
                    found.push(Found { path: path.value().to_owned(), score: hit.score, size });
                }
            }
            if found.len() == count || k >= space.rows as usize {
                return Ok(Results { found, compared, ordinary });
            }
            k = 2 * k + 16;
        }
    }

    fn begin(&self) -> Result<ReadTransaction, IndexError> {
        self.database.begin_read().map_err(|error| database(&self.path, error))
    }

    /// The database as it is now, and the vectors that it knows.
    fn snapshot(&self) -> Result<Snapshot, IndexError> {
        let mut attempts = 0..3;
        loop {
            let transaction = self.begin()?;
            let table = transaction.open_table(META).map_err(|error| database(&self.path, error))?;
            let space: Space = meta(&self.path, &table, SPACE)?;
            match self.maps(space) {
                // The writer has written them anew meanwhile, and committed that.
                Err(IndexError::Io { reason, .. }) if reason.kind() == std::io::ErrorKind::NotFound && attempts.next().is_some() => {}
                maps => return Ok(Snapshot { transaction, maps: maps?, space }),
            }
        }
    }

    /// The files beside the database.
    fn maps(&self, space: Space) -> Result<Arc<Maps>, IndexError> {
        let vectors = u64::from(space.rows) * self.stamp.dim as u64 * 2;
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
            vectors: map(&vectors_path(&self.path, space.generation), vectors)?,
            thumbnails: map(&thumbnails_path(&self.path, space.generation), space.thumbnail_bytes)?,
        });
        *known = Some(Arc::clone(&maps));
        Ok(maps)
    }
}

/// Files of one generation.
struct Maps {
    generation: u64,
    vectors: Mmap,
    thumbnails: Mmap,
}

struct Snapshot {
    transaction: ReadTransaction,
    maps: Arc<Maps>,
    space: Space,
}

/// Height and width.
fn size((_, _, height, width): PictureRow) -> [u32; 2] {
    [height, width]
}

/// The median score of pictures that are spread over the whole index. Rows of files that are gone are as good as others for that.
fn ordinary(vectors: &[f16], query: &[f32]) -> f32 {
    let dim = query.len().max(1);
    let rows = vectors.len() / dim;
    let step = rows.div_ceil(SAMPLE).max(1);
    let score = |row: &[f16]| row.iter().zip(query).map(|(value, query)| value.to_f32() * query).sum::<f32>();
    let mut scores: Vec<f32> = vectors.chunks_exact(dim).step_by(step).map(score).collect();
    scores.sort_by(f32::total_cmp);
    scores.get(scores.len() / 2).copied().unwrap_or(0.0)
}

/// The table of files that could not be read.
pub(super) fn unreadable(path: &Path, transaction: &ReadTransaction) -> Result<BTreeMap<String, Unreadable>, IndexError> {
    let read = || -> Result<_, redb::Error> {
        let mut all = BTreeMap::new();
        for entry in transaction.open_table(UNREADABLE)?.iter()? {
            let (path, value) = entry?;
            let ((bytes, secs, nanos, reason), path) = (value.value(), path.value().to_owned());
            all.insert(path.clone(), Unreadable { path, state: FileState { bytes, secs, nanos }, reason: reason.to_owned() });
        }
        Ok(all)
    };
    read().map_err(|error| database(path, error))
}

/// A file beside the database, which must have at least this many bytes.
pub(super) fn map(path: &Path, wanted: u64) -> Result<Mmap, IndexError> {
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

/// A part of a file; empty if the file does not go that far.
pub(super) fn part(map: &Mmap, start: u64, len: u32) -> &[u8] {
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    map.get(start..).and_then(|rest| rest.get(..len as usize)).unwrap_or_default()
}

fn values(map: &Mmap, rows: u32, dim: usize) -> &[f16] {
    bytemuck::try_cast_slice(map.get(..rows as usize * dim * 2).unwrap_or_default()).unwrap_or_default()
}
