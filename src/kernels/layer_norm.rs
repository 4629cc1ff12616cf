//! `layer_norm`: normalise each row, then scale and shift each column.

use super::{Rows, simd};
use crate::platform;

/// Shape of one `layer_norm`: x, y `[rows, dim]`; gamma, beta `[dim]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNorm {
    /// What the rows stand for.
    pub rows: Rows,
    /// Columns.
    pub dim: usize,
    /// Added to the variance; 1e-6 in every SigLIP model.
    pub eps: f32,
}

impl LayerNorm {
    /// CPU twin: y\[r,c\] = (x\[r,c\] − mean_r) / √(var_r + eps) · gamma\[c\] + beta\[c\], the variance in a second pass.
    pub fn run(&self, x: &[f32], gamma: &[f32], beta: &[f32], y: &mut [f32]) {
        let dim = self.dim;
        platform::for_each_chunk(y, dim, |row, y| {
            simd::layer_norm(&x[row * dim..(row + 1) * dim], gamma, beta, self.eps, y);
        });
    }
}
