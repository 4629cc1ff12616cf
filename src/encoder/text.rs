//! The text tower: 64 tokens, bidirectional and unmasked, pooled at the last position (big_vision `text_transformer.py`, `pool_type="last"`).

use super::block::Steps;
use super::plan::{Plan, Role, Step};
use super::pooling::append_embeds;
use super::weights::{BlockWeights, Linear, Norm, Specs, WeightSpec};
use crate::config::TextConfig;
use crate::kernels::{Counts, Epilogue, Rows, SelectLast};

/// The text tower's weights and how its plans name them. The token table is not among them: the host gathers its rows.
#[derive(Debug)]
pub struct TextTower {
    config: TextConfig,
    specs: Vec<WeightSpec>,
    blocks: Vec<BlockWeights>,
    final_norm: Norm,
    head: Linear,
}

impl TextTower {
    /// The tower of a configuration.
    pub fn new(config: &TextConfig) -> Self {
        let mut specs = Specs::default();
        let blocks = (0..config.tower.depth)
            .map(|i| BlockWeights::new(&mut specs, &format!("text_model.encoder.layers.{i}"), &config.tower))
            .collect();
        let final_norm = specs.norm("text_model.final_layer_norm", config.tower.width);
        let head = specs.linear("text_model.head", config.projection_dim, config.tower.width);
        Self { config: *config, specs: specs.0, blocks, final_norm, head }
    }

    /// Every weight, in the order of their ids.
    pub fn specs(&self) -> &[WeightSpec] {
        &self.specs
    }

    /// The plan for batches of up to `capacity`.
    ///
    /// Input: `stream` `[tokens, width]`, token rows plus position rows. Outputs: `embeds` and `pooled` `[segments, projection_dim]`.
    /// Only the last position is pooled, so the last block computes the others no further than its attention needs.
    pub fn plan(&self, capacity: Counts) -> Plan {
        let width = self.config.tower.width;
        let mut plan = Plan::new(capacity);
        let stream = plan.buffer("stream", Rows::Tokens, width, Role::Input);
        let mut steps = Steps { plan: &mut plan, tower: self.config.tower };
        let mut pooled_stream = stream;
        for (index, block) in self.blocks.iter().enumerate() {
            let mut attended = steps.attend(block, stream);
            if index + 1 == self.blocks.len() {
                attended = select_last(&mut steps, attended);
                pooled_stream = select_last(&mut steps, stream);
            }
            steps.finish(block, attended, pooled_stream);
        }
        let normed = steps.normed(self.final_norm, pooled_stream);
        let pooled = steps.plan.buffer("pooled", Rows::Segments, self.config.projection_dim, Role::Output);
        steps.linear(self.head, Epilogue::Store, normed, pooled);
        append_embeds(&mut steps, pooled);
        plan
    }
}

fn select_last(steps: &mut Steps<'_>, x: super::plan::BufferId) -> super::plan::BufferId {
    let dim = steps.tower.width;
    let y = steps.scratch("last", Rows::Segments, dim);
    steps.plan.steps.push(Step::SelectLast { shape: SelectLast { dim }, x, y });
    y
}
