//! Pictures of an index that are nearly the same.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use half::f16;
use redb::ReadableTable;

use super::super::IndexError;
use super::{Found, PICTURES, ROWS, Reader, Snapshot, database, size, values};
use crate::kernels::scores_top_k::{ScoresTopK, Table};

/// Pictures that are compared with all at once: their rows are read once for so many.
const AT_ONCE: usize = 64;
/// The nearest of a picture that are looked at. A group may be larger: it holds whoever is near to anybody in it.
const NEIGHBOURS: usize = 16;

impl Reader {
    /// Groups of two pictures or more of which each is at least this near (cosine) to another one in it; the largest group first. The scores are those of
    /// the first of a group with each. Nothing if `say`, which hears how many pictures of how many were compared, wants no more.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn alike(&self, least: f32, say: &mut dyn FnMut(usize, usize) -> ControlFlow<()>) -> Result<Option<Vec<Vec<Found>>>, IndexError> {
        let Snapshot { transaction, maps, space } = self.snapshot()?;
        let (vectors, dim) = (values(&maps.vectors, space.rows, self.stamp.dim), self.stamp.dim);
        let pictures = (|| -> Result<Vec<(u32, Found)>, redb::Error> {
            let (paths, sizes) = (transaction.open_table(ROWS)?, transaction.open_table(PICTURES)?);
            let mut all = Vec::new();
            for entry in paths.iter()? {
                let (row, path) = entry?;
                let size = sizes.get(row.value())?.map_or([0, 0], |picture| size(picture.value()));
                all.push((row.value(), Found { path: path.value().to_owned(), score: 1.0, size }));
            }
            Ok(all)
        })()
        .map_err(|error| database(&self.path, error))?;
        let vector = |row: u32| vectors.get(row as usize * dim..).and_then(|rest| rest.get(..dim)).unwrap_or_default();

        let mut groups = Groups::new(pictures.len());
        let search = ScoresTopK { dim, k: NEIGHBOURS.min(space.rows as usize) };
        for (chunk, first) in pictures.chunks(AT_ONCE).zip((0..).step_by(AT_ONCE)) {
            if say(first, pictures.len()).is_break() {
                return Ok(None);
            }
            let queries: Vec<f32> = chunk.iter().flat_map(|(row, _)| vector(*row)).map(|value| value.to_f32()).collect();
            for (hits, own) in search.run(&queries, Table::F16(vectors)).into_iter().zip(first..) {
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
        let mut all: Vec<Vec<Found>> = by_first
            .into_values()
            .filter(|group| group.len() > 1)
            .map(|group| {
                let with_score = |index: usize| {
                    let first = group.first().and_then(|first| pictures.get(*first)).map(|(row, _)| vector(*row)).unwrap_or_default();
                    pictures.get(index).map(|(row, found)| Found { score: dot(first, vector(*row)), ..found.clone() })
                };
                group.iter().copied().filter_map(with_score).collect()
            })
            .collect();
        all.sort_by_key(|group: &Vec<Found>| std::cmp::Reverse(group.len()));
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
