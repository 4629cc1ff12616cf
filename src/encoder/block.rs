//! The pre-LayerNorm transformer block that both towers repeat (big_vision `vit.py`, `text_transformer.py`).

use super::plan::{BufferId, Plan, Role, Step};
use super::weights::{BlockWeights, Linear, Norm};
use crate::config::TowerConfig;
use crate::kernels::{Attention, Epilogue, Gemm, LayerNorm, Rows};

/// Appends steps to a plan for one tower.
pub(super) struct Steps<'a> {
    pub(super) plan: &'a mut Plan,
    pub(super) tower: TowerConfig,
}

impl Steps<'_> {
    pub(super) fn scratch(&mut self, name: &'static str, rows: Rows, cols: usize) -> BufferId {
        self.plan.buffer(name, rows, cols, Role::Scratch)
    }

    /// y = epilogue(x·Wᵀ + b); sizes follow from the buffers.
    pub(super) fn linear(&mut self, layer: Linear, epilogue: Epilogue, x: BufferId, y: BufferId) {
        let (from, to) = (self.plan.buffers[x.0], self.plan.buffers[y.0]);
        let shape = Gemm { rows: to.rows, n: to.cols, k: from.cols, epilogue };
        self.plan.steps.push(Step::Gemm { shape, x, weight: layer.weight, bias: layer.bias, y });
    }

    /// A new buffer with x's LayerNorm.
    pub(super) fn normed(&mut self, norm: Norm, x: BufferId) -> BufferId {
        let from = self.plan.buffers[x.0];
        let y = self.scratch("normed", from.rows, from.cols);
        self.norm_into(norm, x, y);
        y
    }

    pub(super) fn norm_into(&mut self, norm: Norm, x: BufferId, y: BufferId) {
        let from = self.plan.buffers[x.0];
        let shape = LayerNorm { rows: from.rows, dim: from.cols, eps: self.tower.layer_norm_eps };
        self.plan.steps.push(Step::LayerNorm { shape, x, gamma: norm.gamma, beta: norm.beta, y });
    }

    /// Self-attention of one block up to, but without, its output projection: a new buffer `[tokens, width]`.
    pub(super) fn attend(&mut self, block: &BlockWeights, stream: BufferId) -> BufferId {
        let width = self.tower.width;
        let normed = self.normed(block.norm1, stream);
        let qkv = self.scratch("qkv", Rows::Tokens, 3 * width);
        self.linear(block.qkv, Epilogue::Store, normed, qkv);
        let attended = self.scratch("attended", Rows::Tokens, width);
        let shape = Attention { heads: self.tower.heads, head_dim: self.tower.head_dim() };
        self.plan.steps.push(Step::Attention { shape, qkv, y: attended });
        attended
    }

    /// The rest of the block: both residual additions onto `stream`.
    pub(super) fn finish(&mut self, block: &BlockWeights, attended: BufferId, stream: BufferId) {
        self.linear(block.out, Epilogue::Accumulate, attended, stream);
        let normed = self.normed(block.norm2, stream);
        self.mlp(block.fc1, block.fc2, normed, stream);
    }

    /// y = y + W2·gelu(W1·x + b1) + b2.
    pub(super) fn mlp(&mut self, fc1: Linear, fc2: Linear, x: BufferId, y: BufferId) {
        let hidden = self.scratch("mlp_hidden", self.plan.buffers[x.0].rows, self.tower.mlp_dim);
        self.linear(fc1, Epilogue::Gelu, x, hidden);
        self.linear(fc2, Epilogue::Accumulate, hidden, y);
    }
}
