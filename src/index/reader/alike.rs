//! Pictures of an index that are nearly the same.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use half::f16;

use super::super::IndexError;
use super::{Found, Reader, nearest};
use crate::platform::yield_now;

/// Pictures that are compared with all at once: their rows are read once for so many. More where all rows cannot be in memory.
const AT_ONCE: usize = 64;
const AT_ONCE_IN_PIECES: usize = 1_024;
/// The nearest of a picture that are looked at. A group may be larger: it holds whoever is near to anybody in it.
const NEIGHBOURS: usize = 16;

impl Reader {
    /// Groups of two pictures or more of which each is at least this near (cosine) to another one in it; the largest group first. The scores are those of
    /// the first of a group with each. Nothing if `say`, which hears how many pictures of how many were compared, wants no more.
    ///
    /// # Errors
    /// The index cannot be read.
    pub async fn alike(
        &self,
        least: f32,
        say: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Option<Vec<Vec<Found>>>, IndexError> {
        let (snapshot, dim) = (self.store.snapshot()?, self.stamp().dim);
        let mut pictures: Vec<(u32, Found)> = Vec::new();
        snapshot.for_each(&mut |path, picture| {
            pictures.push((picture.row, Found { path: path.to_owned(), score: 1.0, size: picture.size }));
            ControlFlow::Continue(())
        })?;
        pictures.sort_unstable_by_key(|(row, _)| *row);

        let mut groups = Groups::new(pictures.len());
        let neighbours = NEIGHBOURS.min(snapshot.space().rows as usize);
        let at_once = if snapshot.rows_at_once() < snapshot.space().rows { AT_ONCE_IN_PIECES } else { AT_ONCE };
        for (chunk, first) in pictures.chunks(at_once).zip((0..).step_by(at_once)) {
            // So that a page hears when it is not wanted any more.
            yield_now().await;
            if say(first, pictures.len()).is_break() {
                return Ok(None);
            }
            let mut queries = Vec::with_capacity(chunk.len() * dim);
            for (row, _) in chunk {
                queries.extend(snapshot.vectors(*row..row + 1)?.iter().map(|value| value.to_f32()));
            }
            for (hits, own) in nearest(&*snapshot, dim, &queries, neighbours, |_, _| {})?.into_iter().zip(first..) {
                for hit in hits.iter().filter(|hit| hit.score >= least) {
                    // Rows of files that are gone are nobody's.
                    if let Ok(other) = pictures.binary_search_by_key(&hit.row, |(row, _)| *row) {
                        groups.join(own, other);
                    }
                }
            }
        }
        let mut by_first: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for index in 0..pictures.len() {
            by_first.entry(groups.first(index)).or_default().push(index);
        }
        let dot = |a: &[f16], b: &[f16]| a.iter().zip(b).map(|(a, b)| a.to_f32() * b.to_f32()).sum::<f32>();
        let mut all = Vec::new();
        for members in by_first.into_values().filter(|members| members.len() > 1) {
            let mut group: Vec<Found> = Vec::with_capacity(members.len());
            let mut first = None;
            for (row, found) in members.into_iter().filter_map(|index| pictures.get(index)) {
                let vector = snapshot.vectors(*row..row + 1)?.into_owned();
                let score = dot(first.get_or_insert_with(|| vector.clone()), &vector);
                group.push(Found { score, ..found.clone() });
            }
            all.push(group);
        }
        all.sort_by_key(|group| std::cmp::Reverse(group.len()));
        Ok(Some(all))
    }
}

/// Which things belong together: each points to one before it, the first of a group to itself.
struct Groups(Vec<usize>);

impl Groups {
    fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    fn first(&mut self, mut index: usize) -> usize {
        while let Some(&before) = self.0.get(index).filter(|before| **before != index) {
            // Halves the way for whoever comes next.
            let further = self.0.get(before).copied().unwrap_or(before);
            if let Some(own) = self.0.get_mut(index) {
                *own = further;
            }
            index = before;
        }
        index
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.first(a), self.first(b));
        if let Some(later) = self.0.get_mut(a.max(b)) {
            *later = a.min(b);
        }
    }
}
