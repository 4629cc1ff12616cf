//! The vision tower: patches of any grids to pooled vectors.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use polyglance::config::VisionConfig;
use polyglance::encoder::resize_weights;
use polyglance::image::{Grid, PatchBatch};

use super::layers::{Embedding, Encoder, LayerNorm, Linear, Mlp, zeros};
use crate::ops::{Packing, attention, linear};

/// Patch and position embeddings.
#[derive(Module, Debug)]
pub struct VisionEmbeddings {
    /// Flattened patches to vectors. Inputs are in (py, px, channel) order in either family.
    pub patch_embedding: Linear,
    /// The square table of position vectors.
    pub position_embedding: Embedding,
    #[module(skip)]
    table_side: usize,
}

impl VisionEmbeddings {
    fn zeros(vision: &VisionConfig, device: &Device) -> Self {
        let (width, side) = (vision.tower.width, vision.table_side());
        Self {
            patch_embedding: Linear::zeros(width, vision.patch_dim(), device),
            position_embedding: Embedding::zeros(side * side, width, device),
            table_side: side,
        }
    }

    /// `[tokens, width]`.
    fn forward(&self, batch: &PatchBatch, device: &Device) -> Tensor<2> {
        let patches = TensorData::new(batch.values().to_vec(), [batch.tokens(), batch.values().len() / batch.tokens()]);
        let x = self.patch_embedding.forward(Tensor::from_data(patches, device));
        let (grids, [tokens, width]) = (batch.grids(), x.dims());
        if grids.iter().any(|&grid| grid != grids[0]) {
            return x + self.positions(grids, device);
        }
        let one = self.positions(&grids[..1], device).unsqueeze::<3>();
        (x.reshape([grids.len(), grids[0].patches(), width]) + one).reshape([tokens, width])
    }

    /// Position rows of grids one after another: resizing is linear in the table, so it is a product that can be differentiated.
    fn positions(&self, grids: &[Grid], device: &Device) -> Tensor<2> {
        let (side, table) = (self.table_side, self.position_embedding.weight.val());
        if *grids == [Grid { rows: side, cols: side }] {
            return table;
        }
        let weights: Vec<f32> = grids.iter().flat_map(|&grid| resize_weights(side, grid)).collect();
        let rows = weights.len() / (side * side);
        Tensor::<2>::from_data(TensorData::new(weights, [rows, side * side]), device).matmul(table)
    }
}

/// The pooling head's attention, with PyTorch's fused input projection: rows of q, then k, then v.
#[derive(Module, Debug)]
pub struct PoolingAttention {
    /// `[3 · width, width]`.
    pub in_proj_weight: Param<Tensor<2>>,
    /// `[3 · width]`.
    pub in_proj_bias: Param<Tensor<1>>,
    /// Output.
    pub out_proj: Linear,
}

/// Multi-head attention pooling: one learned query per image.
#[derive(Module, Debug)]
pub struct PoolingHead {
    /// `[1, 1, width]`; not normalised.
    pub probe: Param<Tensor<3>>,
    /// Attention of the probe over the tokens.
    pub attention: PoolingAttention,
    /// Before the MLP.
    pub layernorm: LayerNorm,
    /// MLP; its residual starts at the attention's output.
    pub mlp: Mlp,
    #[module(skip)]
    heads: usize,
}

impl PoolingHead {
    fn zeros(vision: &VisionConfig, device: &Device) -> Self {
        let width = vision.tower.width;
        let attention = PoolingAttention {
            in_proj_weight: zeros([3 * width, width], device),
            in_proj_bias: zeros([3 * width], device),
            out_proj: Linear::zeros(width, width, device),
        };
        Self {
            probe: zeros([1, 1, width], device),
            attention,
            layernorm: LayerNorm::zeros(&vision.tower, device),
            mlp: Mlp::zeros(&vision.tower, device),
            heads: vision.tower.heads,
        }
    }

    /// `[tokens, width]` to `[images, width]`.
    fn forward(&self, x: Tensor<2>, packing: &Packing) -> Tensor<2> {
        let (images, width) = (packing.sequences(), x.dims()[1]);
        let project = |x: Tensor<2>, part: usize| {
            let rows = part * width..(part + 1) * width;
            let weight = self.attention.in_proj_weight.val().slice([rows.clone()]);
            linear(x, weight, self.attention.in_proj_bias.val().slice([rows]))
        };
        let query = project(self.probe.val().reshape([1, width]), 0).expand([images, width]);
        let (keys, values) = (project(x.clone(), 1), project(x, 2));
        let pooled = attention(query, keys, values, &Packing::uniform(images, 1), packing, self.heads);
        let pooled = self.attention.out_proj.forward(pooled);
        pooled.clone() + self.mlp.forward(self.layernorm.forward(pooled))
    }
}

/// The vision tower.
#[derive(Module, Debug)]
pub struct VisionModel {
    /// Patches and positions.
    pub embeddings: VisionEmbeddings,
    /// Blocks.
    pub encoder: Encoder,
    /// After the blocks.
    pub post_layernorm: LayerNorm,
    /// Pooling.
    pub head: PoolingHead,
}

impl VisionModel {
    pub(super) fn zeros(vision: &VisionConfig, device: &Device) -> Self {
        Self {
            embeddings: VisionEmbeddings::zeros(vision, device),
            encoder: Encoder::zeros(&vision.tower, device),
            post_layernorm: LayerNorm::zeros(&vision.tower, device),
            head: PoolingHead::zeros(vision, device),
        }
    }

    /// Patches to the residual stream before the first block, `[tokens, width]`.
    pub(super) fn embed(&self, batch: &PatchBatch, device: &Device) -> Tensor<2> {
        self.embeddings.forward(batch, device)
    }

    /// The residual stream after the last block to pooled vectors `[images, width]`.
    pub(super) fn pool(&self, x: Tensor<2>, packing: &Packing) -> Tensor<2> {
        self.head.forward(self.post_layernorm.forward(x), packing)
    }
}
