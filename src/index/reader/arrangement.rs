//! A plane on which neighbours stay neighbours: t-SNE. It takes seconds, and goes on where it was stopped.

use std::ops::ControlFlow;
use std::path::PathBuf;

use bhtsne::{Neighbor, tSNE};
use half::f16;

use super::super::IndexError;
use super::super::store::Snapshot;
use super::{Placed, Reader};
use crate::kernels::scores_top_k::{Hit, ScoresTopK, Table};
use crate::tasks::TaskError;
use crate::tasks::dense::Pca;

/// Pictures that the plane is made for, at most: the others go to those that they are like.
const FITTED: usize = 10_000;
/// Pictures whose neighbours are looked for at once.
const AT_ONCE: usize = 64;
/// Neighbours that count, three for each unit of perplexity, as van der Maaten's implementation has it.
const NEIGHBOURS: usize = 90;
/// Neighbours between which a picture goes that the plane was not made for.
const BETWEEN: usize = 3;
/// Steps of the optimiser.
const EPOCHS: usize = 500;
/// Of these at once.
const TURN: usize = 10;
/// The first ones, in which pictures are drawn together more than they should be, so that groups find each other; and how much more. Four is the first paper's
/// value (van der Maaten and Hinton, 2008, section 3.4): the twelve that became usual later drew a thousand scenes of emoji into one point.
const EARLY_EPOCHS: usize = 100;
const EXAGGERATION: f32 = 4.0;
/// Momentum in these, and after.
const MOMENTA: [f32; 2] = [0.5, 0.8];
/// Pictures that the beginning is fitted to.
const PCA_ROWS: usize = 2_048;

/// The plane as far as it is made.
pub struct Arrangement {
    /// What the index is called in messages.
    name: PathBuf,
    snapshot: Box<dyn Snapshot>,
    dim: usize,
    /// All pictures, with their rows.
    pictures: Vec<(u32, Placed)>,
    /// Those that the plane is made for, by their place among all, and their embeddings, `[fitted, dim]`.
    fitted: Vec<usize>,
    embeds: Vec<f16>,
    others: Vec<usize>,
    neighbours: Vec<Vec<Neighbor<f32>>>,
    tsne: tSNE<'static, f32, ()>,
    epochs: usize,
    /// Of the others, how many have their place.
    placed: usize,
}

impl Arrangement {
    /// Begins with the pictures that an index holds now; nothing if they are too few to have neighbours.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn begin(reader: &Reader) -> Result<Option<Self>, IndexError> {
        let (snapshot, dim) = (reader.store.snapshot()?, reader.stamp().dim);
        let mut pictures = Vec::new();
        snapshot.for_each(&mut |path, picture| {
            pictures.push((picture.row, Placed { path: path.to_owned(), place: [0.0; 2], size: picture.size }));
            ControlFlow::Continue(())
        })?;
        let step = pictures.len().div_ceil(FITTED).max(1);
        let (fitted, others): (Vec<usize>, _) = (0..pictures.len()).partition(|index| index % step == 0);
        if fitted.len() < BETWEEN + 2 {
            return Ok(None);
        }
        let mut embeds = Vec::with_capacity(fitted.len() * dim);
        for (row, _) in fitted.iter().filter_map(|index| pictures.get(*index)) {
            embeds.extend_from_slice(&snapshot.vectors(*row..row + 1)?);
        }
        // The library wants data only to count them.
        let count: &'static [()] = Box::leak(vec![(); fitted.len()].into_boxed_slice());
        let (neighbours, tsne) = (Vec::with_capacity(fitted.len()), tSNE::new(count));
        let name = reader.store.place().to_owned();
        Ok(Some(Self { name, snapshot, dim, pictures, fitted, embeds, others, neighbours, tsne, epochs: 0, placed: 0 }))
    }

    /// Whether these are the pictures that the index holds now.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn is_of(&self, reader: &Reader) -> Result<bool, IndexError> {
        let now = reader.store.snapshot()?;
        Ok(now.space() == self.snapshot.space() && now.count()? == self.pictures.len() as u64)
    }

    /// Goes on until everything has its place, or `say`, which hears how many steps of how many are done, wants a break; gives whether it is the former.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn run(&mut self, say: &mut dyn FnMut(usize, usize) -> ControlFlow<()>) -> Result<bool, IndexError> {
        let searches = |count: usize| count.div_ceil(AT_ONCE);
        let total = searches(self.fitted.len()) + EPOCHS / TURN + searches(self.others.len());
        loop {
            if self.neighbours.len() < self.fitted.len() {
                self.look_around()?;
            } else if self.epochs < EPOCHS {
                self.optimise()?;
            } else if self.placed < self.others.len() {
                self.place_others()?;
            } else {
                return Ok(true);
            }
            let done = searches(self.neighbours.len()) + self.epochs / TURN + searches(self.placed);
            if say(done, total).is_break() {
                return Ok(false);
            }
        }
    }

    /// Every picture in the order of the paths, with its place.
    pub fn placed(mut self) -> Vec<Placed> {
        for (index, place) in self.fitted.iter().zip(places(&self.tsne)) {
            if let Some((_, placed)) = self.pictures.get_mut(*index) {
                placed.place = place;
            }
        }
        self.pictures.into_iter().map(|(_, placed)| placed).collect()
    }

    /// Finds the neighbours of some more pictures among those that the plane is made for.
    fn look_around(&mut self) -> Result<(), IndexError> {
        let first = self.neighbours.len();
        let count = NEIGHBOURS.min(self.fitted.len() - 1);
        let queries = self.embeds.iter().skip(first * self.dim).take(AT_ONCE * self.dim).map(|value| value.to_f32());
        let queries: Vec<f32> = queries.collect();
        for (hits, own) in self.nearest(&queries, count + 1).into_iter().zip(first..) {
            let others = hits.into_iter().filter(|hit| hit.row as usize != own).take(count);
            // Between vectors of unit length, which f16 has rounded.
            let neighbour = |hit: Hit| Neighbor { index: hit.row as usize, distance: (2.0 - 2.0 * hit.score).max(0.0).sqrt() };
            let own: Vec<_> = others.map(neighbour).collect();
            if own.len() < count {
                return Err(IndexError::Damaged { file: self.name.clone(), reason: "some of its values are no numbers".to_owned() });
            }
            self.neighbours.push(own);
        }
        Ok(())
    }

    /// The nearest of the pictures that the plane is made for.
    fn nearest(&self, queries: &[f32], k: usize) -> Vec<Vec<Hit>> {
        ScoresTopK { dim: self.dim, k }.run(queries, Table::F16(&self.embeds))
    }

    /// Some steps of the optimiser. Its momentum begins anew each time, which costs a little of the result, and no step is ever longer than a turn.
    fn optimise(&mut self) -> Result<(), IndexError> {
        if self.epochs == 0 {
            let first = self.first_places()?;
            let count = self.neighbours.first().map_or(0, Vec::len);
            self.tsne
                .perplexity(count as f32 / 3.0)
                .early_exaggeration(EXAGGERATION)
                .epochs(0)
                .initial_embedding(first)
                .fit_sne_with_neighbors(&self.neighbours);
        }
        let is_early = self.epochs < EARLY_EPOCHS;
        let [early, late] = MOMENTA;
        let places = self.tsne.embedding();
        self.tsne.epochs(TURN).initial_embedding(places).momentum(if is_early { early } else { late });
        // Neighbours are known, so that no distance is asked for.
        self.tsne.stop_lying_epoch(if is_early { EPOCHS } else { 0 }).fit_sne(|(), ()| 0.0);
        self.epochs += TURN;
        Ok(())
    }

    /// The first two principal components with a mean square of 1, so that the same pictures always come to lie alike.
    fn first_places(&self) -> Result<Vec<f32>, IndexError> {
        let failed = |error: TaskError| IndexError::Database { file: self.name.clone(), reason: error.to_string() };
        let values: Vec<f32> = self.embeds.iter().map(|value| value.to_f32()).collect();
        let step = self.fitted.len().div_ceil(PCA_ROWS);
        let sample: Vec<f32> = values.chunks_exact(self.dim).step_by(step).flatten().copied().collect();
        let mut places = Pca::fit(&sample, self.dim, 2).and_then(|pca| pca.project(&values)).map_err(failed)?;
        let spread = (places.iter().map(|place| place * place).sum::<f32>() / places.len() as f32).sqrt().max(f32::MIN_POSITIVE);
        places.iter_mut().for_each(|place| *place /= spread);
        Ok(places)
    }

    /// Gives some more of the others their places: between those that they are like.
    fn place_others(&mut self) -> Result<(), IndexError> {
        let places = places(&self.tsne);
        let some: Vec<usize> = self.others.iter().skip(self.placed).take(AT_ONCE).copied().collect();
        let mut queries = Vec::with_capacity(some.len() * self.dim);
        for (row, _) in some.iter().filter_map(|index| self.pictures.get(*index)) {
            queries.extend(self.snapshot.vectors(*row..row + 1)?.iter().map(|value| value.to_f32()));
        }
        for (index, hits) in some.iter().zip(self.nearest(&queries, BETWEEN)) {
            let (mut sum, mut whole) = ([0.0; 2], 0.0);
            for (hit, [x, y]) in hits.iter().filter_map(|hit| Some((hit, places.get(hit.row as usize)?))) {
                // Who is much nearer than the others counts for much more.
                let weight = (1.0 - hit.score).max(1e-3).powi(-2);
                sum = [sum[0] + weight * x, sum[1] + weight * y];
                whole += weight;
            }
            if let Some((_, placed)) = self.pictures.get_mut(*index) {
                placed.place = sum.map(|sum| sum / whole);
            }
        }
        self.placed += some.len();
        Ok(())
    }
}

/// Of the pictures that the plane is made for.
fn places(tsne: &tSNE<'static, f32, ()>) -> Vec<[f32; 2]> {
    tsne.embedding().as_chunks().0.to_vec()
}
