//! `gemm`: a linear layer, y = x·Wᵀ + b, with what follows it fused in.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::{Rows, simd, tile};
use crate::platform;

/// What happens to a linear layer's result before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Epilogue {
    /// y = x·Wᵀ + b
    Store,
    /// y = gelu_tanh(x·Wᵀ + b)
    Gelu,
    /// y = y + x·Wᵀ + b: the residual stream, or position rows that the host put into y.
    Accumulate,
}

/// Shape of one `gemm`: x `[rows, k]`, W `[n, k]`, b `[n]`, y `[rows, n]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gemm {
    /// What the rows stand for.
    pub rows: Rows,
    /// Output features.
    pub n: usize,
    /// Input features.
    pub k: usize,
    /// What happens before the store.
    pub epilogue: Epilogue,
}

/// A weight `[n, k]` laid out for this machine's vectors: panels of some tens of output features, `[k][features]` each.
#[derive(Clone, Debug)]
pub struct PackedMatrix {
    panels: Vec<f32>,
}

impl PackedMatrix {
    /// Packs a row-major `[n, k]`. The last panel is filled up with zeros.
    pub fn new(values: &[f32], k: usize) -> Self {
        let width = tile::geometry().panel_width;
        let mut panels = vec![0.0; (values.len() / k).next_multiple_of(width) * k];
        platform::for_each_chunk(&mut panels, width * k, |index, panel| {
            let rows = &values[index * width * k..];
            for (j, row) in rows.chunks_exact(k).take(width).enumerate() {
                for (slot, &value) in panel[j..].iter_mut().step_by(width).zip(row) {
                    *slot = value;
                }
            }
        });
        Self { panels }
    }

    /// Bytes it occupies.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.panels)
    }
}

impl Gemm {
    /// CPU twin. `scratch` is reused between calls; it holds x packed into tiles.
    pub fn run(&self, x: &[f32], weight: &PackedMatrix, bias: &[f32], y: &mut [f32], scratch: &mut Vec<f32>) {
        let Self { n, k, epilogue, .. } = *self;
        let geometry = tile::geometry();
        let block_rows = block_rows(geometry);
        scratch.resize(x.len(), 0.0);
        platform::for_each_chunk(scratch, block_rows * k, |block, packed| {
            pack_block(&x[block * block_rows * k..], k, geometry.max_rows, packed);
        });
        let (packed, panels) = (&**scratch, &*weight.panels);
        platform::for_each(tasks(y, n, block_rows, block_columns(geometry, k)), |(): &mut (), task| {
            simd::dispatch(RunTask { epilogue, k, packed, panels, bias, task });
        });
    }
}

/// Weights a task may touch: they stay in a core's second-level cache while its tiles pass by.
const TASK_WEIGHT_BYTES: usize = 400 << 10;
/// Rows a task covers, so that a batch spreads over many cores.
const TASK_ROWS: usize = 96;

/// Rows of a block: whole tiles.
pub(super) fn block_rows(geometry: tile::Geometry) -> usize {
    TASK_ROWS / geometry.max_rows * geometry.max_rows
}

/// Columns of a block: whole panels.
fn block_columns(geometry: tile::Geometry, k: usize) -> usize {
    (TASK_WEIGHT_BYTES / (geometry.panel_width * k * size_of::<f32>())).max(1) * geometry.panel_width
}

/// Packs rows into tiles, one after the other.
fn pack_block(mut x: &[f32], k: usize, max_rows: usize, mut packed: &mut [f32]) {
    for height in tile::heights(packed.len() / k, max_rows) {
        let (tile, rest) = packed.split_at_mut(height * k);
        tile::pack(x, k, height, k, 1.0, tile, height);
        x = &x[height * k..];
        packed = rest;
    }
}

/// A block of y that one thread computes: some rows, some columns.
struct Task<'a> {
    rows: Range<usize>,
    first_column: usize,
    y: Vec<&'a mut [f32]>,
}

/// Cuts y into blocks of rows and columns.
fn tasks(y: &mut [f32], n: usize, block_rows: usize, columns: usize) -> Vec<Task<'_>> {
    let mut tasks = Vec::new();
    for (block, y) in y.chunks_mut(block_rows * n).enumerate() {
        let first_row = block * block_rows;
        let rows = first_row..first_row + y.len() / n;
        let first_task = tasks.len();
        tasks.extend((0..n).step_by(columns).map(|first_column| Task {
            rows: rows.clone(),
            first_column,
            y: Vec::with_capacity(rows.len()),
        }));
        for row in y.chunks_exact_mut(n) {
            for (task, part) in tasks[first_task..].iter_mut().zip(row.chunks_mut(columns)) {
                task.y.push(part);
            }
        }
    }
    tasks
}

struct RunTask<'a> {
    epilogue: Epilogue,
    /// Length of the summed dimension.
    k: usize,
    /// Left rows as tiles.
    packed: &'a [f32],
    /// Right rows as panels.
    panels: &'a [f32],
    /// One value per column.
    bias: &'a [f32],
    /// What to compute.
    task: Task<'a>,
}

impl WithSimd for RunTask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { epilogue, k, packed, panels, bias, mut task } = self;
        let width = tile::panel_width::<S>();
        let mut sums = [tile::zero(simd); tile::MAX_ROWS];
        let task_columns = task.y.first().map_or(0, |row| row.len());
        for column in (0..task_columns).step_by(width) {
            let first = task.first_column + column;
            let panel = &panels[first * k..(first + width) * k];
            let end = (column + width).min(task_columns);
            let bias = tile::load(simd, &bias[first..first + end - column]);
            let mut row = 0;
            for height in tile::heights(task.rows.len(), tile::max_rows::<S>()) {
                let start = (task.rows.start + row) * k;
                tile::multiply(simd, height, &packed[start..start + height * k], panel, &mut sums);
                for (y, &sums) in task.y[row..row + height].iter_mut().zip(&sums) {
                    finish(simd, epilogue, sums, bias, &mut y[column..end]);
                }
                row += height;
            }
        }
    }
}

/// Adds the bias, applies the epilogue and stores up to one panel's width of a row.
#[inline(always)]
fn finish<S: Simd>(simd: S, epilogue: Epilogue, sums: tile::Vectors<S>, bias: tile::Vectors<S>, y: &mut [f32]) {
    let mut values = tile::add(simd, sums, bias);
    match epilogue {
        Epilogue::Store => {}
        Epilogue::Gelu => values = [simd::gelu(simd, values[0]), simd::gelu(simd, values[1])],
        Epilogue::Accumulate => values = tile::add(simd, values, tile::load(simd, y)),
    }
    tile::store(simd, values, y);
}
