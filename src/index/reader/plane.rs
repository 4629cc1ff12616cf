//! A plane on which pictures that are alike lie near each other.

use std::ops::ControlFlow;

use super::super::IndexError;
use super::{Reader, for_each_piece};
use crate::platform::yield_now;
use crate::tasks::TaskError;
use crate::tasks::dense::Pca;

/// Pictures that the plane is fitted to, at most.
const FITTED: u32 = 2_048;

/// A picture of an index on the plane.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// Below the folder.
    pub path: String,
    /// Its first two principal components.
    pub place: [f32; 2],
    /// Height and width in pixels.
    pub size: [u32; 2],
}

impl Reader {
    /// Every picture in the order of the paths, with its place: the first two principal components of all embeddings, fitted to pictures that are spread
    /// over the whole index.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn plane(&self) -> Result<Vec<Placed>, IndexError> {
        let (snapshot, dim) = (self.store.snapshot()?, self.stamp().dim);
        let step = snapshot.space().rows.div_ceil(FITTED).max(1);
        let mut sample = Vec::new();
        for_each_piece(&*snapshot, |start, vectors| {
            let first = start.next_multiple_of(step) - start;
            let rows = vectors.chunks_exact(dim).skip(first as usize).step_by(step as usize);
            sample.extend(rows.flatten().map(|value| value.to_f32()));
        })?;
        yield_now().await;
        let failed = |error: TaskError| IndexError::Database { file: self.store.place().to_owned(), reason: error.to_string() };
        if sample.is_empty() {
            return Ok(Vec::new());
        }
        let pca = Pca::fit(&sample, dim, 2).map_err(failed)?;
        drop(sample);
        yield_now().await;
        let mut places = Vec::with_capacity(snapshot.space().rows as usize * 2);
        let mut fault = None;
        for_each_piece(&*snapshot, |_, vectors| {
            for rows in vectors.chunks(FITTED as usize * dim) {
                let values: Vec<f32> = rows.iter().map(|value| value.to_f32()).collect();
                match pca.project(&values) {
                    Ok(own) => places.extend(own),
                    Err(error) => fault = Some(error),
                }
            }
        })?;
        fault.map_or(Ok(()), |error| Err(failed(error)))?;
        let mut placed = Vec::new();
        snapshot.for_each(&mut |path, picture| {
            let row = picture.row as usize;
            if let Some(&[x, y]) = places.get(2 * row..2 * row + 2) {
                placed.push(Placed { path: path.to_owned(), place: [x, y], size: picture.size });
            }
            ControlFlow::Continue(())
        })?;
        Ok(placed)
    }
}
