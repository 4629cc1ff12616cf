//! `select_last`: the last row of every segment, which is how the text tower pools (`pool_type="last"`).

/// Shape of one `select_last`: x `[tokens, dim]` → y `[segments, dim]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectLast {
    /// Columns.
    pub dim: usize,
}

impl SelectLast {
    /// CPU twin: y\[s\] = x\[offsets\[s + 1\] − 1\].
    pub fn run(&self, offsets: &[u32], x: &[f32], y: &mut [f32]) {
        for (row, &end) in y.chunks_exact_mut(self.dim).zip(offsets.iter().skip(1)) {
            let last = end as usize * self.dim;
            row.copy_from_slice(&x[last - self.dim..last]);
        }
    }
}
