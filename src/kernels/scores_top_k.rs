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
    /// 2 bytes a value, all of them finite. Sums are f32 all the same.
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
        let block = rows.div_ceil(platform::threads() * TASKS_PER_THREAD);
        let mut best = vec![vec![Best::new(self.k.min(rows)); count]; rows.div_ceil(block)];
        let task = |(index, best): (usize, _)| Task { rows: index * block..rows.min((index + 1) * block), best };
        let tasks = best.iter_mut().map(Vec::as_mut_slice).enumerate().map(task).collect();
        platform::for_each(tasks, |(): &mut (), task| run(RunTask { dim, queries: &queries, table, task }));
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
/// Queries that a row is multiplied with at once. Rows are read one after the other: several at once would be as many streams, which
/// memory serves more slowly.
const QUERIES: usize = 4;
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
    task: Task<'a>,
}

/// Runs a task with the best instruction set of this machine.
fn run(task: RunTask<'_>) {
    #[cfg(target_arch = "x86_64")]
    if let (Table::F16(_), Some(simd)) = (task.table, halves::instructions()) {
        return simd.vectorize(halves::RunTask(simd, task));
    }
    simd::dispatch(task);
}

/// f16 as AVX-512's own instruction reads it, which the generic instructions below have no name for.
#[cfg(target_arch = "x86_64")]
mod halves {
    use half::f16;
    use pulp::NullaryFnOnce;
    use pulp::x86::V4;

    use super::super::tile::Vectors;
    use super::Table;

    pub(super) fn instructions() -> Option<V4> {
        V4::try_new()
    }

    pub(super) struct RunTask<'a>(pub(super) V4, pub(super) super::RunTask<'a>);

    impl NullaryFnOnce for RunTask<'_> {
        type Output = ();

        #[inline(always)]
        fn call(self) {
            let Self(simd, task) = self;
            if let Table::F16(table) = task.table {
                task.score(simd, table, load);
            }
        }
    }

    #[inline(always)]
    fn load(simd: V4, panel: &[f16]) -> Vectors<V4> {
        let halves: [[u16; 16]; 2] = bytemuck::pod_read_unaligned(bytemuck::cast_slice(panel));
        halves.map(|halves| pulp::cast(simd.avx512f._mm512_cvtph_ps(pulp::cast(halves))))
    }
}

impl WithSimd for RunTask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.table {
            Table::F32(table) => self.score(simd, table, load),
            Table::F16(table) => self.score(simd, table, load_halves),
        }
    }
}

impl RunTask<'_> {
    /// Offers the rows of the task to every query. `load` reads a panel's width of values, in the order of [`packed`].
    #[inline(always)]
    fn score<S: Simd, T: Copy + Default>(self, simd: S, table: &[T], load: impl Fn(S, &[T]) -> Vectors<S> + Copy) {
        let Self { dim, queries, task: Task { rows, best }, .. } = self;
        let queries = S::as_simd_f32s(queries).0.as_chunks().0;
        let few = QUERIES * dim.div_ceil(tile::panel_width::<S>());
        for (row, values) in (rows.start as u32..).zip(table[rows.start * dim..rows.end * dim].chunks_exact(dim)) {
            for (queries, best) in queries.chunks(few).zip(best.chunks_mut(QUERIES)) {
                match best.len() {
                    1 => score::<S, T, 1>(simd, queries, row, values, load, best),
                    2 => score::<S, T, 2>(simd, queries, row, values, load, best),
                    3 => score::<S, T, 3>(simd, queries, row, values, load, best),
                    _ => score::<S, T, QUERIES>(simd, queries, row, values, load, best),
                }
            }
        }
    }
}

/// Offers a row to `Q` queries. Each product has two sums, so that a multiply-add seldom waits for the one before.
#[inline(always)]
fn score<S: Simd, T: Copy + Default, const Q: usize>(
    simd: S,
    queries: &[Vectors<S>],
    row: u32,
    values: &[T],
    load: impl Fn(S, &[T]) -> Vectors<S>,
    best: &mut [Best],
) {
    let panels = queries.len() / Q;
    let queries: [&[Vectors<S>]; Q] = std::array::from_fn(|query| &queries[query * panels..][..panels]);
    let mut sums = [tile::zero(simd); Q];
    let whole_panels = values.chunks_exact(tile::panel_width::<S>());
    let tail = whole_panels.remainder();
    for (panel, values) in whole_panels.enumerate() {
        add_products(simd, load(simd, values), &queries, panel, &mut sums);
    }
    if !tail.is_empty() {
        // The last values of a row do not fill a panel: zeros follow.
        let mut panel = [T::default(); MAX_PANEL];
        panel[..tail.len()].copy_from_slice(tail);
        add_products(simd, load(simd, &panel[..tile::panel_width::<S>()]), &queries, panels - 1, &mut sums);
    }
    for (best, sums) in best.iter_mut().zip(sums) {
        best.offer(simd.reduce_sum_f32s(simd.add_f32s(sums[0], sums[1])), row);
    }
}

#[inline(always)]
fn add_products<S: Simd, const Q: usize>(
    simd: S,
    values: Vectors<S>,
    queries: &[&[Vectors<S>]; Q],
    panel: usize,
    sums: &mut [Vectors<S>; Q],
) {
    for (sums, query) in sums.iter_mut().zip(queries) {
        for ((sum, &value), &query) in sums.iter_mut().zip(&values).zip(&query[panel]) {
            *sum = simd.mul_add_e_f32s(value, query, *sum);
        }
    }
}

#[inline(always)]
fn load<S: Simd>(_: S, panel: &[f32]) -> Vectors<S> {
    let vectors = S::as_simd_f32s(panel).0;
    [vectors[0], vectors[1]]
}

/// Two halves lie in each 32-bit lane: the lower ones, of even index, become the first vector and the upper ones the second.
#[inline(always)]
fn load_halves<S: Simd>(simd: S, panel: &[f16]) -> Vectors<S> {
    let pairs: S::u32s = bytemuck::pod_read_unaligned(bytemuck::cast_slice(panel));
    [from_upper_half(simd, simd.wrapping_dyn_shl_u32s(pairs, simd.splat_u32s(16))), from_upper_half(simd, pairs)]
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

/// Queries in whole panels, the last of each filled up with zeros. Where [`load_halves`] reads the rows, a panel has its values of even index first,
/// then the others.
fn packed(queries: &[f32], dim: usize, table: Table<'_>) -> Vec<f32> {
    #[cfg(target_arch = "x86_64")]
    let is_in_order = matches!(table, Table::F32(_)) || halves::instructions().is_some();
    #[cfg(not(target_arch = "x86_64"))]
    let is_in_order = matches!(table, Table::F32(_));
    let width = tile::geometry().panel_width;
    let mut packed = Vec::with_capacity(queries.len() / dim * dim.next_multiple_of(width));
    for values in queries.chunks_exact(dim).flat_map(|query| query.chunks(width)) {
        let mut panel = [0.0; MAX_PANEL];
        panel[..values.len()].copy_from_slice(values);
        let panel = &panel[..width];
        if is_in_order {
            packed.extend_from_slice(panel);
        } else {
            packed.extend(panel.iter().step_by(2).chain(panel.iter().skip(1).step_by(2)));
        }
    }
    packed
}
