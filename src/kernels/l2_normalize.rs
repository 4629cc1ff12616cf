//! `l2_normalize`: each row divided by its Euclidean length, as `transformers` does (big_vision adds 1e-8 to the length).

/// Shape of one `l2_normalize`: x, y `[segments, dim]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L2Normalize {
    /// Columns.
    pub dim: usize,
}

impl L2Normalize {
    /// CPU twin: y\[r\] = x\[r\] / ‖x\[r\]‖₂. A row of zeros stays zero.
    pub fn run(&self, x: &[f32], y: &mut [f32]) {
        for (y, x) in y.chunks_exact_mut(self.dim).zip(x.chunks_exact(self.dim)) {
            let length = x.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
            let scale = if length > 0.0 { length.recip() } else { 0.0 };
            for (y, &x) in y.iter_mut().zip(x) {
                *y = (f64::from(x) * scale) as f32;
            }
        }
    }
}
