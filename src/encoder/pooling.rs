//! The MAP head: a learned probe attends to all tokens of an image, then an MLP with a residual (big_vision `MAPHead`).

use super::block::Steps;
use super::plan::{BufferId, Role, Step, WeightId};
use super::weights::{Linear, Norm, Specs, Transform, WeightShape};
use crate::config::TowerConfig;
use crate::kernels::{Epilogue, L2Normalize, PoolingAttention, Rows};

#[derive(Clone, Copy, Debug)]
pub(super) struct PoolingWeights {
    query: WeightId,
    kv: Linear,
    out: Linear,
    norm: Norm,
    fc1: Linear,
    fc2: Linear,
}

impl PoolingWeights {
    pub(super) fn new(specs: &mut Specs, tower: &TowerConfig) -> Self {
        let (d, m) = (tower.width, tower.mlp_dim);
        let in_proj_weight = "vision_model.head.attention.in_proj_weight";
        let in_proj_bias = "vision_model.head.attention.in_proj_bias";
        let query =
            specs.add(&["vision_model.head.probe", in_proj_weight, in_proj_bias], WeightShape::Vector { len: d }, Transform::ProbeQuery);
        let kv = Linear {
            weight: specs.add(&[in_proj_weight], WeightShape::Matrix { n: 2 * d, k: d, exact: false }, Transform::After(d * d)),
            bias: specs.add(&[in_proj_bias], WeightShape::Vector { len: 2 * d }, Transform::After(d)),
        };
        Self {
            query,
            kv,
            out: specs.linear("vision_model.head.attention.out_proj", d, d),
            norm: specs.norm("vision_model.head.layernorm", d),
            fc1: specs.linear("vision_model.head.mlp.fc1", m, d),
            fc2: specs.linear("vision_model.head.mlp.fc2", d, m),
        }
    }

    /// Appends the head. Its residual starts at the attention's output, not at the probe.
    pub(super) fn append(&self, steps: &mut Steps<'_>, tokens: BufferId) {
        let tower = steps.tower;
        let kv = steps.scratch("kv", Rows::Tokens, 2 * tower.width);
        steps.linear(self.kv, Epilogue::Store, tokens, kv);
        let attended = steps.scratch("pooling_attended", Rows::Segments, tower.width);
        let weights = steps.plan.buffer("attention", Rows::Tokens, tower.heads, Role::Output);
        let shape = PoolingAttention { heads: tower.heads, head_dim: tower.head_dim() };
        steps.plan.steps.push(Step::PoolingAttention { shape, query: self.query, kv, y: attended, weights });
        let pooled = steps.plan.buffer("pooled", Rows::Segments, tower.width, Role::Output);
        steps.linear(self.out, Epilogue::Store, attended, pooled);
        let normed = steps.normed(self.norm, pooled);
        steps.mlp(self.fc1, self.fc2, normed, pooled);
        append_embeds(steps, pooled);
    }
}

/// Appends the output `embeds`: `pooled` at unit length.
pub(super) fn append_embeds(steps: &mut Steps<'_>, pooled: BufferId) {
    let dim = steps.plan.buffers[pooled.0].cols;
    let embeds = steps.plan.buffer("embeds", Rows::Segments, dim, Role::Output);
    steps.plan.steps.push(Step::L2Normalize { shape: L2Normalize { dim }, x: pooled, y: embeds });
}
