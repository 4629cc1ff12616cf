//! Which tensors of a checkpoint a tower needs, and the form its kernels want them in.

/// One weight of a tower, made from one or more tensors of the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightSpec {
    /// Canonical tensor names. More than one are stacked by rows, as q, k and v are for one `gemm`.
    pub tensors: Vec<String>,
    /// Its shape for the kernels.
    pub shape: WeightShape,
    /// How the tensors' values become the kernel's.
    pub transform: Transform,
}

/// Shape of a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightShape {
    /// A linear layer's `[n, k]`; may be stored as f16.
    Matrix {
        /// Output features.
        n: usize,
        /// Input features.
        k: usize,
    },
    /// A bias, gamma, beta or query; always f32.
    Vector {
        /// Elements.
        len: usize,
    },
}
