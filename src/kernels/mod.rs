//! The kernels: what each computes, and its CPU twin.
//!
//! One file per kernel holds its shape struct and the twin; `shaders/` holds the WGSL of the same name. A shape says
//! everything that is known when a plan is made; how many rows a batch really has is known only when it runs.
//!
//! Matrices are row-major f32. A batch is packed: the rows of its segments (images or texts) follow each other without padding, and
//! `offsets` (length segments + 1) says where each begins.

pub mod attention;
pub mod gemm;
pub mod image_to_patches;
pub mod l2_normalize;
pub mod layer_norm;
pub mod pooling_attention;
pub mod product;
pub(crate) mod resize;
pub mod scores_top_k;
pub mod select_last;
pub(crate) mod simd;
mod tile;

pub use attention::Attention;
pub use gemm::{Epilogue, Gemm};
pub use image_to_patches::ImageToPatches;
pub use l2_normalize::L2Normalize;
pub use layer_norm::LayerNorm;
pub use pooling_attention::PoolingAttention;
pub use resize::Size;
pub use scores_top_k::{Hit, ScoresTopK, Table};
pub use select_last::SelectLast;

/// What a buffer's rows stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rows {
    /// One row per token: a patch of an image or a position of a text.
    Tokens,
    /// One row per segment: an image or a text.
    Segments,
}

/// How many rows of each kind a batch has, or a plan has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Counts {
    /// Tokens of all segments together.
    pub tokens: usize,
    /// Images or texts.
    pub segments: usize,
}

impl Counts {
    /// Rows of one kind.
    pub const fn rows(&self, rows: Rows) -> usize {
        match rows {
            Rows::Tokens => self.tokens,
            Rows::Segments => self.segments,
        }
    }
}
