//! Multi-head attention between packed sequences.
//!
//! On flex a sequence is a task, its heads are small products straight from the packed rows, and the backward pass computes the weights
//! again: nothing is padded, moved or kept. Elsewhere sequences become rectangles.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use polyglance::platform::for_each;

use super::autocast::Products;
use super::kernel::{Kernel, apply, recorded, restored};
use super::packing::Packing;
use super::vector::{dispatch, exp, max, sum};

/// softmax(q·kᵀ / √head_dim)·v for each head, sequence i of `queries` seeing sequence i of `keys` only. q is `[query tokens, width]`,
/// k and v are `[key tokens, width]`; heads lie side by side in a row.
pub(crate) fn attention(q: Tensor<2>, k: Tensor<2>, v: Tensor<2>, queries: &Packing, keys: &Packing, heads: usize) -> Tensor<2> {
    let width = q.dims()[1];
    if let (Some(q_input), Some(k), Some(v)) = (recorded(&q), recorded(&k), recorded(&v)) {
        let kernel = Attention { heads, head_dim: width / heads, queries: queries.offsets(), keys: keys.offsets() };
        return restored(apply(kernel, [q_input, k, v]), &q);
    }
    // Scaling the queries touches fewer numbers than scaling the logits.
    let scale = ((width / heads) as f64).sqrt().recip();
    let (q, k, v) = (queries.split(q * scale, heads), keys.split(k, heads), keys.split(v, heads));
    let products = Products::in_use();
    let logits = keys.mask_keys(products.matmul(q, k.swap_dims(2, 3)));
    queries.join(products.matmul(softmax(logits, 3), v))
}

#[derive(Clone, Debug)]
struct Attention {
    heads: usize,
    head_dim: usize,
    queries: Arc<[u32]>,
    keys: Arc<[u32]>,
}

/// One sequence: its rows of q, k and v, and of the result or of the gradients.
struct Task<'a, const N: usize> {
    rows: [Range<usize>; 2],
    outputs: [&'a mut [f32]; N],
}

impl Attention {
    fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Splits outputs by sequence: the first has query rows, the others key rows.
    fn tasks<'a, const N: usize>(&self, mut outputs: [&'a mut [f32]; N]) -> Vec<Task<'a, N>> {
        let bounds = |offsets: &[u32], i: usize| offsets[i] as usize..offsets[i + 1] as usize;
        let task = |i| {
            let rows = [bounds(&self.queries, i), bounds(&self.keys, i)];
            let mut which = 0;
            let outputs = outputs.each_mut().map(|output| {
                let len = rows[which.min(1)].len() * self.width();
                which += 1;
                output.split_off_mut(..len).unwrap_or_default()
            });
            Task { rows, outputs }
        };
        (0..self.queries.len() - 1).map(task).collect()
    }

    /// Head `head` of some rows of a packed matrix.
    fn head<'a>(&self, packed: &'a [f32], rows: &Range<usize>, head: usize) -> Matrix<'a> {
        let data = &packed[rows.start * self.width() + head * self.head_dim..rows.end * self.width()];
        Matrix { data, rows: rows.len(), cols: self.head_dim, row_stride: self.width(), col_stride: 1 }
    }

    /// The attention weights of one head, `[queries, keys]`.
    fn weights(&self, q: Matrix<'_>, k: Matrix<'_>, weights: &mut Vec<f32>) {
        let keys = k.rows;
        weights.resize(q.rows * keys, 0.0);
        q.times(k.transposed(), (self.head_dim as f32).sqrt().recip(), weights, keys);
        dispatch(
            #[inline(always)]
            || weights.chunks_exact_mut(keys).for_each(softmax_row),
        );
    }
}

impl Kernel<3> for Attention {
    fn forward(&self, [q, k, v]: [&[f32]; 3]) -> Vec<f32> {
        let mut y = vec![0.0; q.len()];
        for_each(self.tasks([&mut y]), |weights: &mut Vec<f32>, Task { rows: [queries, keys], outputs: [y] }| {
            for head in 0..self.heads {
                self.weights(self.head(q, &queries, head), self.head(k, &keys, head), weights);
                let weights = Matrix::dense(weights, keys.len());
                weights.times(self.head(v, &keys, head), 1.0, &mut y[head * self.head_dim..], self.width());
            }
        });
        y
    }

    /// With P the weights and dP = dy·vᵀ: dv = Pᵀ·dy; dS = P∘(dP − rowsum(P∘dP)); dq = dS·k / √head_dim; dk = dSᵀ·q / √head_dim.
    fn backward(&self, [q, k, v]: [&[f32]; 3], gradient: &[f32], _wanted: [bool; 3]) -> [Vec<f32>; 3] {
        let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]);
        let (width, scale) = (self.width(), (self.head_dim as f32).sqrt().recip());
        let tasks = self.tasks([&mut dq, &mut dk, &mut dv]);
        for_each(tasks, |[weights, slopes]: &mut [Vec<f32>; 2], Task { rows: [queries, keys], outputs: [dq, dk, dv] }| {
            for head in 0..self.heads {
                let (q, k, v) = (self.head(q, &queries, head), self.head(k, &keys, head), self.head(v, &keys, head));
                let (dy, column, keys) = (self.head(gradient, &queries, head), head * self.head_dim, keys.len());
                self.weights(q, k, weights);
                Matrix::dense(weights, keys).transposed().times(dy, 1.0, &mut dv[column..], width);
                slopes.resize(weights.len(), 0.0);
                dy.times(v.transposed(), 1.0, slopes, keys);
                dispatch(
                    #[inline(always)]
                    || weights.chunks_exact(keys).zip(slopes.chunks_exact_mut(keys)).for_each(|(p, slope)| softmax_slopes(p, slope)),
                );
                let slopes = Matrix::dense(slopes, keys);
                slopes.times(k, scale, &mut dq[column..], width);
                slopes.transposed().times(q, scale, &mut dk[column..], width);
            }
        });
        [dq, dk, dv]
    }
}

#[inline(always)]
fn softmax_row(row: &mut [f32]) {
    let most = max(row);
    row.iter_mut().for_each(|value| *value = exp(*value - most));
    let factor = sum(row, row, |value, _| value).recip();
    row.iter_mut().for_each(|value| *value *= factor);
}

/// Gradients of logits from weights `p` and gradients of weights, in place.
#[inline(always)]
fn softmax_slopes(p: &[f32], slopes: &mut [f32]) {
    let mean = sum(p, slopes, |p, slope| p * slope);
    slopes.iter_mut().zip(p).for_each(|(slope, &p)| *slope = p * (*slope - mean));
}

/// A matrix somewhere in a slice.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Matrix<'a> {
    /// All of `data`, row-major.
    fn dense(data: &'a [f32], cols: usize) -> Self {
        Self { data, rows: data.len() / cols, cols, row_stride: cols, col_stride: 1 }
    }

    fn transposed(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    /// Elements from the first to the last.
    fn span(&self) -> usize {
        (self.rows - 1) * self.row_stride + (self.cols - 1) * self.col_stride + 1
    }

    /// Writes factor · self · other to rows of `out` that begin `out_stride` apart.
    fn times(self, other: Matrix<'_>, factor: f32, out: &mut [f32], out_stride: usize) {
        let (m, n, k) = (self.rows, other.cols, self.cols);
        if m == 0 || n == 0 || k == 0 {
            return;
        }
        assert!(k == other.rows && self.span() <= self.data.len() && other.span() <= other.data.len(), "operands lie in their slices");
        assert!(n <= out_stride && (m - 1) * out_stride + n <= out.len(), "the product lies in its slice");
        let strides = |matrix: &Matrix<'_>| (matrix.col_stride as isize, matrix.row_stride as isize);
        let ((lhs_cs, lhs_rs), (rhs_cs, rhs_rs)) = (strides(&self), strides(&other));
        // SAFETY: by the assertions above, every element that the product reads or writes lies in its slice, and `out` is borrowed
        // mutably, so that it overlaps neither operand.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                out.as_mut_ptr(),
                1,
                out_stride as isize,
                false,
                self.data.as_ptr(),
                lhs_cs,
                lhs_rs,
                other.data.as_ptr(),
                rhs_cs,
                rhs_rs,
                0.0,
                factor,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}
