//! [`Reader`]: searches an index, while it is being written too.

mod alike;
#[cfg(not(target_family = "wasm"))]
mod arrangement;
mod plane;

#[cfg(not(target_family = "wasm"))]
pub use arrangement::Arrangement;
pub use plane::Placed;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
#[cfg(not(target_family = "wasm"))]
use std::path::Path;

use half::f16;

use super::store::{IndexStore, Picture, Snapshot};
use super::{IndexError, Stamp, Unreadable};
use crate::kernels::scores_top_k::{Hit, ScoresTopK, Table};

/// One of those who read an index.
pub struct Reader {
    store: Box<dyn IndexStore>,
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
const SAMPLE: u32 = 1_024;

impl Reader {
    /// Opens the index at `path`.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    #[cfg(not(target_family = "wasm"))]
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        Ok(Self::new(Box::new(super::disk::Reading::open(path)?)))
    }

    /// Reads what is kept there.
    pub fn new(store: Box<dyn IndexStore>) -> Self {
        Self { store }
    }

    /// How it was made.
    pub fn stamp(&self) -> &Stamp {
        self.store.stamp()
    }

    /// Learns what was written since, where that takes asking.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn refresh(&mut self) -> Result<(), IndexError> {
        self.store.refresh().await
    }

    /// Pictures in it now.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn count(&self) -> Result<u64, IndexError> {
        self.store.snapshot()?.count()
    }

    /// The files that could not be read, by their path below the folder.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn unreadable(&self) -> Result<BTreeMap<String, Unreadable>, IndexError> {
        self.store.snapshot()?.unreadable()
    }

    /// The embedding of a picture, by its path below the folder.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn embedding(&self, picture: &str) -> Result<Option<Vec<f32>>, IndexError> {
        let snapshot = self.store.snapshot()?;
        let Some(picture) = snapshot.picture(picture)? else { return Ok(None) };
        let values = snapshot.vectors(picture.row..picture.row + 1)?;
        Ok(Some(values.iter().map(|value| value.to_f32()).collect()))
    }

    /// Encoded small pictures, by their paths below the folder; empty ones for what is not in the index.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn thumbnails(&self, pictures: &[String]) -> Result<Vec<Vec<u8>>, IndexError> {
        let snapshot = self.store.snapshot()?;
        let thumbnail = |path: &String| match snapshot.picture(path)? {
            Some(picture) => Ok(snapshot.thumbnail(&picture)?.into_owned()),
            None => Ok(Vec::new()),
        };
        pictures.iter().map(thumbnail).collect()
    }

    /// Gives every picture with its vector, `[dim]`, in the order of the paths, until the visitor has seen enough.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn for_each(&self, mut each: impl FnMut(&str, &Picture, &[f16]) -> ControlFlow<()>) -> Result<(), IndexError> {
        let snapshot = self.store.snapshot()?;
        let mut failed = None;
        snapshot.for_each(&mut |path, picture| match snapshot.vectors(picture.row..picture.row + 1) {
            Ok(vector) => each(path, &picture, &vector),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// The first pictures in the order of their paths; their scores are 0.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn first(&self, count: usize) -> Result<Results, IndexError> {
        let snapshot = self.store.snapshot()?;
        let mut found = Vec::new();
        snapshot.for_each(&mut |path, picture| {
            if found.len() == count {
                return ControlFlow::Break(());
            }
            found.push(Found { path: path.to_owned(), score: 0.0, size: picture.size });
            ControlFlow::Continue(())
        })?;
        Ok(Results { found, compared: snapshot.count()? as usize, ordinary: 0.0 })
    }

    /// Bytes of all its files.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn bytes(&self) -> Result<u64, IndexError> {
        self.store.snapshot()?.bytes()
    }

    /// The `count` pictures that are nearest to a query of unit length, `[dim]`, the best first; of equal ones the one in the lower row. Every picture is
    /// compared: the search is exact.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn search(&self, query: &[f32], count: usize) -> Result<Results, IndexError> {
        let snapshot = self.store.snapshot()?;
        let rows = snapshot.space().rows;
        let compared = snapshot.count()? as usize;
        let count = count.min(compared);
        // Rows of files that are gone are found as well: as many more are asked for as it takes to have enough of the others.
        let mut k = count + count / 8;
        loop {
            let mut sample = Sample::new(rows);
            let hits =
                nearest(&*snapshot, self.stamp().dim, query, k.min(rows as usize), |start, vectors| sample.take(start, vectors, query))?;
            let hits = hits.into_iter().next().unwrap_or_default();
            let mut found = Vec::with_capacity(count);
            for hit in hits {
                if found.len() < count
                    && let Some((path, size)) = snapshot.row(hit.row)?
                {
                    found.push(Found { path, score: hit.score, size });
                }
            }
            if found.len() == count || k >= rows as usize {
                return Ok(Results { found, compared, ordinary: median(sample.scores) });
            }
            k = 2 * k + 16;
        }
    }
}

/// Gives all vectors, as many at a time as may be in memory, with the first of their rows.
fn for_each_piece(snapshot: &dyn Snapshot, mut each: impl FnMut(u32, &[f16])) -> Result<(), IndexError> {
    let (rows, step) = (snapshot.space().rows, snapshot.rows_at_once().max(1));
    let mut start = 0;
    while start < rows {
        let end = start.saturating_add(step).min(rows);
        each(start, &snapshot.vectors(start..end)?);
        start = end;
    }
    Ok(())
}

/// The best `k` rows for each query, `[queries, dim]`. `also` gets all vectors as [`for_each_piece`] gives them.
fn nearest(
    snapshot: &dyn Snapshot,
    dim: usize,
    queries: &[f32],
    k: usize,
    mut also: impl FnMut(u32, &[f16]),
) -> Result<Vec<Vec<Hit>>, IndexError> {
    let search = ScoresTopK { dim, k };
    let mut lists = vec![Vec::new(); queries.len() / dim.max(1)];
    for_each_piece(snapshot, |start, vectors| {
        let hits = search.run(queries, Table::F16(vectors));
        lists.iter_mut().zip(hits).for_each(|(lists, hits)| lists.push((start, hits)));
        also(start, vectors);
    })?;
    Ok(lists.into_iter().map(|lists| search.merge(lists)).collect())
}

/// Scores of pictures that are spread over the whole index. Rows of files that are gone are as good as others for that.
struct Sample {
    /// From one to the next.
    step: u32,
    scores: Vec<f32>,
}

impl Sample {
    fn new(rows: u32) -> Self {
        Self { step: rows.div_ceil(SAMPLE).max(1), scores: Vec::with_capacity(SAMPLE as usize) }
    }

    fn take(&mut self, start: u32, vectors: &[f16], query: &[f32]) {
        let first = start.next_multiple_of(self.step) - start;
        let rows = vectors.chunks_exact(query.len().max(1)).skip(first as usize).step_by(self.step as usize);
        self.scores.extend(rows.map(|row| row.iter().zip(query).map(|(value, query)| value.to_f32() * query).sum::<f32>()));
    }
}

/// The score in the middle; 0 of none.
pub(super) fn median(mut scores: Vec<f32>) -> f32 {
    scores.sort_by(f32::total_cmp);
    scores.get(scores.len() / 2).copied().unwrap_or(0.0)
}
