//! `scores_top_k`: which stored vectors are the most similar to a query.

use std::cmp::Ordering;
use std::ops::Range;

use half::f16;
use pulp::{Simd, WithSimd};

use super::simd;
use super::tile::{self, Vectors};
use crate::platform;

/// Shape of one `scores_top_k`: queries `[queries, dim]`, stored vectors `[rows, dim]` → for each query its `k` best hits, or as many as there
/// are rows. Vectors of unit length make the scores cosines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScoresTopK {
    /// Size of a vector.
    pub dim: usize,
    /// Hits per query.
    pub k: usize,
}

/// Stored vectors `[rows, dim]`, row-major.
#[derive(Clone, Copy, Debug)]
pub enum Table<'a> {
    /// 4 bytes a value.
    F32(&'a [f32]),
    /// 2 bytes a value. Sums are f32 all the same.
    F16(&'a [f16]),
}

impl Table<'_> {
    /// Vectors of size `dim` in it.
    pub fn rows(&self, dim: usize) -> usize {
        let values = match self {
            Self::F32(values) => values.len(),
            Self::F16(values) => values.len(),
        };
        values.checked_div(dim).unwrap_or(0)
    }
}

/// A stored vector that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Dot product with the query.
    pub score: f32,
    /// Row of the table.
    pub row: u32,
}

impl Hit {
    /// The better hit first: the higher score, of equal scores the lower row. Scores are never NaN.
    fn order(a: &Self, b: &Self) -> Ordering {
        b.score.partial_cmp(&a.score).unwrap_or(Ordering::Equal).then(a.row.cmp(&b.row))
    }
}

impl ScoresTopK {
    /// CPU twin: one list per query, the best hit first. Reads the table once, whatever the number of queries. A row whose score is NaN is
    /// never found.
    pub fn run(&self, queries: &[f32], table: Table<'_>) -> Vec<Vec<Hit>> {
        let (dim, rows) = (self.dim, table.rows(self.dim));
        let count = queries.len().checked_div(dim).unwrap_or(0);
        if rows == 0 || self.k == 0 {
            return vec![Vec::new(); count];
        }
        let queries = packed(queries, dim, table);
        let block = rows.div_ceil(platform::threads() * TASKS_PER_THREAD).next_multiple_of(ROWS);
        let mut best = vec![vec![Best::new(self.k.min(rows)); count]; rows.div_ceil(block)];
        let task = |(index, best): (usize, _)| Task { rows: index * block..rows.min((index + 1) * block), best };
        let tasks = best.iter_mut().map(Vec::as_mut_slice).enumerate().map(task).collect();
        platform::for_each(tasks, |scratch: &mut Vec<f32>, task| {
            simd::dispatch(RunTask { dim, queries: &queries, table, scratch, task });
        });
        // Lists of one query, from all blocks.
        let mut lists: Vec<Vec<Vec<Hit>>> = vec![Vec::new(); count];
        for block in best {
            lists.iter_mut().zip(block).for_each(|(lists, best)| lists.push(best.hits));
        }
        lists.into_iter().map(|lists| self.merge(lists.into_iter().map(|hits| (0, hits)))).collect()
    }

    /// The best of several lists of hits, in any order, found in tables that lie one after the other: each list comes with the row at which
    /// its table begins. What does not fit one buffer or one search is searched in pieces.
    pub fn merge(&self, lists: impl IntoIterator<Item = (u32, Vec<Hit>)>) -> Vec<Hit> {
        if self.k == 0 {
            return Vec::new();
        }
        let mut best = Best::new(self.k);
        for (first_row, hits) in lists {
            hits.into_iter().for_each(|hit| best.offer(hit.score, first_row.saturating_add(hit.row)));
        }
        best.finish()
    }
}

/// The hits of one query that may be among its `k` best, in no order.
#[derive(Clone)]
struct Best {
    k: usize,
    /// No score below this can be among the best any more.
    floor: f32,
    hits: Vec<Hit>,
}

impl Best {
    const fn new(k: usize) -> Self {
        Self { k, floor: f32::NEG_INFINITY, hits: Vec::new() }
    }

    /// Keeps a hit for now. Sorting out only when twice as many as needed have gathered makes the cost of a hit constant.
    #[inline(always)]
    fn offer(&mut self, score: f32, row: u32) {
        // False for NaN.
        if score >= self.floor {
            self.hits.push(Hit { score, row });
            if self.hits.len() >= self.k.saturating_mul(2).max(MIN_GATHERED) {
                self.sort_out();
            }
        }
    }

    #[cold]
    fn sort_out(&mut self) {
        if let Some(last) = self.k.checked_sub(1).filter(|&last| last < self.hits.len()) {
            self.floor = self.hits.select_nth_unstable_by(last, Hit::order).1.score;
            self.hits.truncate(self.k);
        }
    }

    fn finish(mut self) -> Vec<Hit> {
        self.sort_out();
        self.hits.sort_unstable_by(Hit::order);
        self.hits
    }
}

/// Hits that gather at least before they are sorted out.
const MIN_GATHERED: usize = 64;
/// Blocks of rows for each thread, so that one that is held up does not hold up all.
const TASKS_PER_THREAD: usize = 8;
/// Rows that are multiplied together with up to [`QUERIES`] queries: eight sums hide the latency of a multiply-add, and fit the
/// 16 registers of smaller instruction sets.
const ROWS: usize = 4;
const QUERIES: usize = 2;
/// Widest panel of any instruction set.
const MAX_PANEL: usize = 32;

/// A block of rows, and the best hits in it of every query.
struct Task<'a> {
    rows: Range<usize>,
    best: &'a mut [Best],
}

struct RunTask<'a> {
    dim: usize,
    /// As [`packed`] gives them.
    queries: &'a [f32],
    table: Table<'a>,
    /// Holds rows as f32, reused by the next task on the same thread.
    scratch: &'a mut Vec<f32>,
    task: Task<'a>,
}

impl WithSimd for RunTask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { dim, queries, table, scratch, task: Task { rows, best } } = self;
        let queries = S::as_simd_f32s(queries).0.as_chunks().0;
        let values = rows.start * dim..rows.end * dim;
        match table {
            Table::F32(table) => {
                for (row, rows) in (rows.start..).step_by(ROWS).zip(table[values].chunks(ROWS * dim)) {
                    score(simd, dim, queries, row as u32, rows, best);
                }
            }
            Table::F16(table) if best.len() <= QUERIES => {
                for (row, rows) in (rows.start..).step_by(ROWS).zip(table[values].chunks(ROWS * dim)) {
                    score(simd, dim, queries, row as u32, rows, best);
                }
            }
            // Many queries find each value widened already, in the first-level cache.
            Table::F16(table) => {
                let padded_dim = dim.next_multiple_of(tile::panel_width::<S>());
                for (row, rows) in (rows.start..).step_by(ROWS).zip(table[values].chunks(ROWS * dim)) {
                    scratch.resize(rows.len() / dim * padded_dim, 0.0);
                    for (wide, row) in scratch.chunks_exact_mut(padded_dim).zip(rows.chunks_exact(dim)) {
                        widen(simd, row, wide);
                    }
                    score(simd, padded_dim, queries, row as u32, scratch, best);
                }
            }
        }
    }
}

/// Offers up to [`ROWS`] rows to every query.
#[inline(always)]
fn score<S: Simd, T: Stored>(simd: S, dim: usize, queries: &[Vectors<S>], first_row: u32, rows: &[T], best: &mut [Best]) {
    let panels = dim.div_ceil(tile::panel_width::<S>());
    for (queries, best) in queries.chunks(QUERIES * panels).zip(best.chunks_mut(QUERIES)) {
        if best.len() == QUERIES {
            score_few::<S, T, QUERIES>(simd, dim, queries, first_row, rows, best);
        } else {
            score_few::<S, T, 1>(simd, dim, queries, first_row, rows, best);
        }
    }
}

#[inline(always)]
fn score_few<S: Simd, T: Stored, const Q: usize>(
    simd: S,
    dim: usize,
    queries: &[Vectors<S>],
    first_row: u32,
    rows: &[T],
    best: &mut [Best],
) {
    if rows.len() == ROWS * dim {
        offer(first_row, &products::<S, T, ROWS, Q>(simd, dim, queries, rows), best);
    } else {
        for (row, values) in (first_row..).zip(rows.chunks_exact(dim)) {
            offer(row, &products::<S, T, 1, Q>(simd, dim, queries, values), best);
        }
    }
}

#[inline(always)]
fn offer<const Q: usize>(first_row: u32, scores: &[[f32; Q]], best: &mut [Best]) {
    for (row, scores) in (first_row..).zip(scores) {
        for (best, &score) in best.iter_mut().zip(scores) {
            best.offer(score, row);
        }
    }
}

/// The dot product of each of `R` rows with each of `Q` queries.
#[inline(always)]
fn products<S: Simd, T: Stored, const R: usize, const Q: usize>(simd: S, dim: usize, queries: &[Vectors<S>], rows: &[T]) -> [[f32; Q]; R] {
    let width = tile::panel_width::<S>();
    let queries: [&[Vectors<S>]; Q] = std::array::from_fn(|query| &queries[query * dim.div_ceil(width)..][..dim.div_ceil(width)]);
    let rows: [&[T]; R] = std::array::from_fn(|row| &rows[row * dim..][..dim]);
    let mut sums = [[simd.splat_f32s(0.0); Q]; R];
    for panel in 0..dim / width {
        for (sums, row) in sums.iter_mut().zip(&rows) {
            add_products(simd, T::load(simd, &row[panel * width..][..width]), &queries, panel, sums);
        }
    }
    if !dim.is_multiple_of(width) {
        for (sums, row) in sums.iter_mut().zip(&rows) {
            add_products(simd, load_tail(simd, &row[dim / width * width..]), &queries, dim / width, sums);
        }
    }
    let mut products = [[0.0; Q]; R];
    for (products, sums) in products.iter_mut().zip(sums) {
        for (product, sum) in products.iter_mut().zip(sums) {
            *product = simd.reduce_sum_f32s(sum);
        }
    }
    products
}

#[inline(always)]
fn add_products<S: Simd, const Q: usize>(simd: S, values: Vectors<S>, queries: &[&[Vectors<S>]; Q], panel: usize, sums: &mut [S::f32s; Q]) {
    for (sum, query) in sums.iter_mut().zip(queries) {
        let first = simd.mul_add_e_f32s(values[0], query[panel][0], *sum);
        *sum = simd.mul_add_e_f32s(values[1], query[panel][1], first);
    }
}

/// A value of a table.
trait Stored: Copy + Default {
    /// One panel's width of values, in the order of [`packed`].
    fn load<S: Simd>(simd: S, panel: &[Self]) -> Vectors<S>;
}

/// The last values of a row, which do not fill a panel: zeros follow.
#[inline(always)]
fn load_tail<S: Simd, T: Stored>(simd: S, tail: &[T]) -> Vectors<S> {
    let mut panel = [T::default(); MAX_PANEL];
    panel[..tail.len()].copy_from_slice(tail);
    T::load(simd, &panel[..tile::panel_width::<S>()])
}

impl Stored for f32 {
    #[inline(always)]
    fn load<S: Simd>(_: S, panel: &[Self]) -> Vectors<S> {
        let vectors = S::as_simd_f32s(panel).0;
        [vectors[0], vectors[1]]
    }
}

impl Stored for f16 {
    /// Two halves lie in each 32-bit lane: the lower ones, of even index, become the first vector and the upper ones the second.
    #[inline(always)]
    fn load<S: Simd>(simd: S, panel: &[Self]) -> Vectors<S> {
        let pairs: S::u32s = bytemuck::pod_read_unaligned(bytemuck::cast_slice(panel));
        [from_upper_half(simd, simd.wrapping_dyn_shl_u32s(pairs, simd.splat_u32s(16))), from_upper_half(simd, pairs)]
    }
}

/// The halves in the upper 16 bits of each lane. Moved to where f32 has them, exponent and mantissa give the value times 2⁻¹¹², because the
/// exponents' biases differ by 112; that holds for subnormal values too. An infinity becomes 65,536.
#[inline(always)]
fn from_upper_half<S: Simd>(simd: S, halves: S::u32s) -> S::f32s {
    const TWO_TO_112: f32 = f32::from_bits((127 + 112) << 23);
    let sign = simd.and_u32s(halves, simd.splat_u32s(0x8000_0000));
    let magnitude = simd.wrapping_dyn_shr_u32s(simd.and_u32s(halves, simd.splat_u32s(0x7fff_0000)), simd.splat_u32s(3));
    simd.mul_f32s(simd.transmute_f32s_u32s(simd.or_u32s(sign, magnitude)), simd.splat_f32s(TWO_TO_112))
}

/// A row as f32, in the order of [`packed`], up to the end of its last panel.
#[inline(always)]
fn widen<S: Simd>(simd: S, row: &[f16], wide: &mut [f32]) {
    let panels = row.chunks_exact(tile::panel_width::<S>());
    let tail = panels.remainder();
    let mut wide = wide.chunks_exact_mut(tile::panel_width::<S>());
    for (panel, wide) in panels.zip(&mut wide) {
        tile::store(simd, f16::load(simd, panel), wide);
    }
    if let Some(wide) = wide.next() {
        tile::store(simd, load_tail(simd, tail), wide);
    }
}

/// Queries in whole panels, the last of each filled up with zeros. For rows of f16 a panel has its values of even index first, then the others.
fn packed(queries: &[f32], dim: usize, table: Table<'_>) -> Vec<f32> {
    let width = tile::geometry().panel_width;
    let mut packed = Vec::with_capacity(queries.len() / dim * dim.next_multiple_of(width));
    for values in queries.chunks_exact(dim).flat_map(|query| query.chunks(width)) {
        let mut panel = [0.0; MAX_PANEL];
        panel[..values.len()].copy_from_slice(values);
        let panel = &panel[..width];
        match table {
            Table::F32(_) => packed.extend_from_slice(panel),
            Table::F16(_) => packed.extend(panel.iter().step_by(2).chain(panel.iter().skip(1).step_by(2))),
        }
    }
    packed
}
