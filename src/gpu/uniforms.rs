//! What a kernel is told about its step: one struct per shader, laid out as the WGSL struct of the same name.
//!
//! A test in `shaders.rs` compares each with the WGSL. Dimensions fit u32 because `limits` bounds them and no buffer exceeds 4 GiB.

use bytemuck::{Pod, Zeroable};

use crate::kernels::{Attention, Counts as Live, Gemm, ImageToPatches, L2Normalize, LayerNorm, PoolingAttention, Rows, SelectLast};

/// Rows that one workgroup of `scores_top_k` ranks, as in `shaders/scores_top_k.wgsl`.
pub(super) const RANKED_ROWS: usize = 512;

/// Queries that one workgroup of `attention` takes, as in `shaders/attention.wgsl`.
pub(super) const QUERY_TILE: usize = 32;

/// Live rows of the batch; the only uniform that changes from run to run.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Counts {
    pub(super) tokens: u32,
    pub(super) segments: u32,
    pub(super) query_tiles: u32,
}

/// `n4` and `k4` count vec4s.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct GemmShape {
    pub(super) rows_of: u32,
    pub(super) n4: u32,
    pub(super) k4: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct LayerNormShape {
    pub(super) rows_of: u32,
    pub(super) dim: u32,
    pub(super) eps: f32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct AttentionShape {
    pub(super) heads: u32,
    pub(super) scale: f32,
}

/// `head4` counts vec4s.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct PoolingAttentionShape {
    pub(super) heads: u32,
    pub(super) head4: u32,
    pub(super) scale: f32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct SelectLastShape {
    pub(super) dim: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct L2NormalizeShape {
    pub(super) dim: u32,
}

/// `dim4` counts vec4s; `kept` is how many hits a tile of rows gives.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct ScoresTopKShape {
    pub(super) rows: u32,
    pub(super) dim4: u32,
    pub(super) kept: u32,
}

/// Sizes in pixels.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct ResizeColumnsShape {
    pub(super) source_width: u32,
    pub(super) target_width: u32,
}

/// `cols` counts patches.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct ImageToPatchesShape {
    pub(super) cols: u32,
    pub(super) patch_size: u32,
}

/// Source pixels `first`, `first` + 1 … with weights `begin` to `end`: what makes one target pixel of one axis.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Taps {
    pub(super) first: u32,
    pub(super) begin: u32,
    pub(super) end: u32,
    pub(super) shift: u32,
}

/// One workgroup's share of `attention`: queries `first` to `first` + 31 of the segment whose tokens are `begin` to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct QueryTile {
    pub(super) first: u32,
    pub(super) begin: u32,
    pub(super) end: u32,
}

/// Cuts every segment into tiles of queries. A tile never spans two segments, so no workgroup computes logits only to mask them.
pub(super) fn query_tiles(offsets: &[u32]) -> Vec<QueryTile> {
    let tiles_of = |(&begin, &end): (&u32, &u32)| (begin..end).step_by(QUERY_TILE).map(move |first| QueryTile { first, begin, end });
    offsets.iter().zip(offsets.iter().skip(1)).flat_map(tiles_of).collect()
}

/// The most tiles that a batch within `capacity` can have: each segment ends at most one incomplete tile.
pub(super) fn max_query_tiles(capacity: Live) -> usize {
    capacity.tokens / QUERY_TILE + capacity.segments
}

/// The number that `live_rows` in `shaders/shared/batch.wgsl` understands.
fn rows_of(rows: Rows) -> u32 {
    match rows {
        Rows::Tokens => 0,
        Rows::Segments => 1,
    }
}

impl From<&Gemm> for GemmShape {
    fn from(shape: &Gemm) -> Self {
        Self { rows_of: rows_of(shape.rows), n4: shape.n.div_ceil(4) as u32, k4: shape.k.div_ceil(4) as u32 }
    }
}

impl From<&LayerNorm> for LayerNormShape {
    fn from(shape: &LayerNorm) -> Self {
        Self { rows_of: rows_of(shape.rows), dim: shape.dim as u32, eps: shape.eps }
    }
}

impl From<&Attention> for AttentionShape {
    fn from(shape: &Attention) -> Self {
        Self { heads: shape.heads as u32, scale: shape.scale() }
    }
}

impl From<&PoolingAttention> for PoolingAttentionShape {
    fn from(shape: &PoolingAttention) -> Self {
        Self { heads: shape.heads as u32, head4: (shape.head_dim / 4) as u32, scale: shape.scale() }
    }
}

impl From<&SelectLast> for SelectLastShape {
    fn from(shape: &SelectLast) -> Self {
        Self { dim: shape.dim as u32 }
    }
}

impl From<&L2Normalize> for L2NormalizeShape {
    fn from(shape: &L2Normalize) -> Self {
        Self { dim: shape.dim as u32 }
    }
}

impl From<&ImageToPatches> for ResizeColumnsShape {
    fn from(shape: &ImageToPatches) -> Self {
        Self { source_width: shape.source.width as u32, target_width: (shape.cols * shape.patch_size) as u32 }
    }
}

impl From<&ImageToPatches> for ImageToPatchesShape {
    fn from(shape: &ImageToPatches) -> Self {
        Self { cols: shape.cols as u32, patch_size: shape.patch_size as u32 }
    }
}
