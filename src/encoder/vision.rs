//! The vision tower: patches to hidden states to one vector per image.
//!
//! One tower serves both families: a Conv2d patch embedding is a Linear on flattened patches, and a fixed-resolution model is a NaFlex
//! one that sees only one grid.

use super::block::Steps;
use super::plan::{Plan, Role, Step};
use super::pooling::PoolingWeights;
use super::weights::{BlockWeights, Linear, Norm, Specs, Transform, WeightShape, WeightSpec};
use crate::config::{VisionConfig, VisionGeometry};
use crate::kernels::{Counts, Epilogue, Rows};

/// Which hidden state to return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HiddenLayer {
    /// After the final LayerNorm: `last_hidden_state` of `transformers`.
    Last,
    /// The residual stream after this block, counted from 0: `hidden_states[block + 1]` of `transformers`.
    Block(usize),
}

/// The vision tower's weights and how its plans name them.
#[derive(Debug)]
pub struct VisionTower {
    config: VisionConfig,
    specs: Vec<WeightSpec>,
    patch_embedding: Linear,
    blocks: Vec<BlockWeights>,
    final_norm: Norm,
    pooling: PoolingWeights,
}

impl VisionTower {
    /// The tower of a configuration.
    pub fn new(config: &VisionConfig) -> Self {
        let (width, patch_dim) = (config.tower.width, config.patch_dim());
        let mut specs = Specs::default();
        let embedding = "vision_model.embeddings.patch_embedding";
        let transform = match config.geometry {
            VisionGeometry::Fixed { .. } => Transform::LinearFromConv { patch_size: config.patch_size },
            VisionGeometry::NaFlex { .. } => Transform::Stack,
        };
        let patch_embedding = Linear {
            weight: specs.add(
                &[&format!("{embedding}.weight")], // Exact: its error enters the residual stream that every block reads, and it is small.
                WeightShape::Matrix { n: width, k: patch_dim, exact: true },
                transform,
            ),
            bias: specs.add(&[&format!("{embedding}.bias")], WeightShape::Vector { len: width }, Transform::Stack),
        };
        let blocks = (0..config.tower.depth)
            .map(|i| BlockWeights::new(&mut specs, &format!("vision_model.encoder.layers.{i}"), &config.tower))
            .collect();
        let final_norm = specs.norm("vision_model.post_layernorm", width);
        let pooling = PoolingWeights::new(&mut specs, &config.tower);
        Self { config: *config, specs: specs.0, patch_embedding, blocks, final_norm, pooling }
    }

    /// Every weight, in the order of their ids.
    pub fn specs(&self) -> &[WeightSpec] {
        &self.specs
    }

    /// The plan for batches of up to `capacity`.
    ///
    /// Inputs: `patches` `[tokens, patch_dim]` and `stream` `[tokens, width]`, which holds each token's position row. Outputs: `embeds` and
    /// `pooled` `[segments, width]`, `attention` `[tokens, heads]` and, if asked for, `hidden` `[tokens, width]`.
    pub fn plan(&self, capacity: Counts, hidden: Option<HiddenLayer>) -> Plan {
        let (width, patch_dim) = (self.config.tower.width, self.config.patch_dim());
        let mut plan = Plan::new(capacity);
        let patches = plan.buffer("patches", Rows::Tokens, patch_dim, Role::Input);
        let stream = plan.buffer("stream", Rows::Tokens, width, Role::Input);
        let mut steps = Steps { plan: &mut plan, tower: self.config.tower };
        steps.linear(self.patch_embedding, Epilogue::Accumulate, patches, stream);
        for (index, block) in self.blocks.iter().enumerate() {
            let attended = steps.attend(block, stream);
            steps.finish(block, attended, stream);
            if hidden == Some(HiddenLayer::Block(index)) {
                let y = steps.plan.buffer("hidden", Rows::Tokens, width, Role::Output);
                steps.plan.steps.push(Step::Copy { x: stream, y });
            }
        }
        let last = match hidden {
            Some(HiddenLayer::Last) => steps.plan.buffer("hidden", Rows::Tokens, width, Role::Output),
            _ => steps.scratch("last_hidden", Rows::Tokens, width),
        };
        steps.norm_into(self.final_norm, stream, last);
        self.pooling.append(&mut steps, last);
        plan
    }

    /// The plan of the pooling head alone, for batches of up to `capacity`.
    ///
    /// Input: `hidden` `[tokens, width]`, as [`HiddenLayer::Last`] gives it. Outputs: `embeds`, `pooled` and `attention`, as in
    /// [`plan`](Self::plan).
    pub fn head_plan(&self, capacity: Counts) -> Plan {
        let mut plan = Plan::new(capacity);
        let hidden = plan.buffer("hidden", Rows::Tokens, self.config.tower.width, Role::Input);
        self.pooling.append(&mut Steps { plan: &mut plan, tower: self.config.tower }, hidden);
        plan
    }
}
