//! `gemm`: a linear layer, y = x·Wᵀ + b, with what follows it fused in.

use super::Rows;

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
