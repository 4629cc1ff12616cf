//! `--dry-run`: what a recipe will cost, computed from its sizes.

use std::fmt::{self, Display};

use polyglance::config::{ModelConfig, TowerConfig, VisionGeometry};
use polyglance::weights::expected_tensors;

use super::{Contrast, Recipe};
use crate::data::{Budget, shares};
use crate::model::TOKEN_TABLE;
use crate::optim::{FirstMoment, Groups};

/// What a run needs. Budgets are taken as used up, which real images come near.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Parameters by part: name, count, and how many of them move.
    pub parts: Vec<Part>,
    /// Steps of the run.
    pub steps: u64,
    /// Images of a step, averaged over budgets.
    pub images_per_step: f64,
    /// Patches and text tokens of a step, averaged over budgets.
    pub tokens_per_step: f64,
    /// Operations of a step, averaged over budgets; a multiplication with an addition counts as two.
    pub flops_per_step: f64,
    /// Bytes of parameters, gradients, moments and moving average.
    pub state_bytes: StateBytes,
    /// Bytes of activations at the largest budget: as the recipe has it, and without and with recomputation of blocks.
    pub activation_bytes: ActivationBytes,
    /// Speed that the time goes by.
    pub flops_per_sec: f64,
    /// How it is known.
    pub speed_source: SpeedSource,
}

/// A part of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is called.
    pub name: &'static str,
    /// Parameters.
    pub parameters: u64,
    /// Those that are not frozen.
    pub trained: u64,
}

/// Memory that does not depend on the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateBytes {
    /// f32 parameters.
    pub weights: u64,
    /// f32 gradients; the token table's few rows are left out.
    pub gradients: u64,
    /// Adam's.
    pub moments: u64,
    /// Of the parameters, if kept.
    pub average: u64,
}

/// Memory that the backward pass needs, for one micro-batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivationBytes {
    /// All activations of all blocks.
    pub kept: u64,
    /// Block inputs and the activations of one block.
    pub recomputed: u64,
}

/// Where a speed comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpeedSource {
    /// Given by the user.
    Stated,
    /// A few steps were timed.
    Measured,
}

impl Plan {
    /// Computes the plan for a model of this architecture.
    pub fn new(recipe: &Recipe, config: &ModelConfig, groups: &Groups, flops_per_sec: f64, speed_source: SpeedSource) -> Self {
        let shapes = shapes(recipe, config);
        let mean = |value: &dyn Fn(&Shape) -> f64| shapes.iter().map(|shape| shape.share * value(shape)).sum();
        let passes = |shape: &Shape| 3.0 + f64::from(u8::from(recipe.model.recompute)) + f64::from(u8::from(shape.is_cached(recipe)));
        let (captions, texts) = (recipe.batch.captions, recipe.batch.captions * config.text.positions);
        let image_flops = |shape: &Shape| passes(shape) / 3.0 * training_flops(config, shape.patches, captions);
        let largest = |bytes: fn(&TowerConfig, usize) -> u64| {
            let micro = |shape: &Shape| shape.micro(recipe) as u64;
            let text_bytes = captions as u64 * bytes(&config.text.tower, config.text.positions);
            let of = |shape: &Shape| micro(shape) * (bytes(&config.vision.tower, shape.patches) + text_bytes);
            shapes.iter().map(of).max().unwrap_or(0)
        };
        Self {
            parts: parts(config, groups),
            steps: recipe.schedule.steps,
            images_per_step: mean(&|shape| shape.images as f64),
            tokens_per_step: mean(&|shape| (shape.images * (shape.patches + texts)) as f64),
            flops_per_step: mean(&|shape| shape.images as f64 * image_flops(shape)),
            state_bytes: state_bytes(recipe, config, groups),
            activation_bytes: ActivationBytes { kept: largest(kept_bytes), recomputed: largest(recomputed_bytes) },
            flops_per_sec,
            speed_source,
        }
    }

    /// Seconds of the whole run, evaluation not counted.
    pub fn secs(&self) -> f64 {
        self.steps as f64 * self.flops_per_step / self.flops_per_sec
    }
}

/// One kind of step.
struct Shape {
    images: usize,
    patches: usize,
    /// Of the run's steps.
    share: f64,
}

impl Shape {
    fn micro(&self, recipe: &Recipe) -> usize {
        recipe.batch.micro_batch.unwrap_or(self.images).min(self.images)
    }

    /// Whether embeddings are computed once before the loss and again for their gradient.
    fn is_cached(&self, recipe: &Recipe) -> bool {
        recipe.batch.contrast == Contrast::Batch && self.micro(recipe) < self.images
    }
}

fn shapes(recipe: &Recipe, config: &ModelConfig) -> Vec<Shape> {
    let side = config.vision.table_side();
    let fixed = matches!(config.vision.geometry, VisionGeometry::Fixed { .. }) || recipe.batch.budgets.is_empty();
    let budgets = if fixed { vec![Budget::new(side * side)] } else { recipe.batch.budgets.clone() };
    let shares = shares(&budgets, recipe.schedule.steps);
    let shape =
        |(budget, share): (&Budget, f64)| Shape { images: budget.images(recipe.batch.size()), patches: budget.max_num_patches, share };
    budgets.iter().zip(shares).map(shape).collect()
}

/// Operations of the blocks of one image or text: projections and MLP per token, and attention between tokens.
fn tower_flops(tower: &TowerConfig, tokens: usize) -> f64 {
    let (width, mlp, tokens) = (tower.width as f64, tower.mlp_dim as f64, tokens as f64);
    tower.depth as f64 * tokens * (2.0 * (4.0 * width * width + 2.0 * width * mlp) + 4.0 * tokens * width)
}

fn vision_flops(config: &ModelConfig, tokens: usize) -> f64 {
    tower_flops(&config.vision.tower, tokens) + 2.0 * (tokens * config.vision.patch_dim() * config.vision.tower.width) as f64
}

/// Operations of one image with its captions in a training step: forward, and twice that backward.
pub fn training_flops(config: &ModelConfig, patches: usize, captions: usize) -> f64 {
    3.0 * (vision_flops(config, patches) + captions as f64 * tower_flops(&config.text.tower, config.text.positions))
}

/// What one block keeps for its backward pass: two norms, q, k, v, scores before and after softmax, the attention's sum and projection,
/// the MLP's hidden layer around its GELU (which is four operations), and the residual stream.
fn block_bytes(tower: &TowerConfig, tokens: usize) -> u64 {
    let per_token = 14 * tower.width + 6 * tower.mlp_dim + 2 * tower.heads * tokens;
    4 * (tokens * per_token) as u64
}

fn kept_bytes(tower: &TowerConfig, tokens: usize) -> u64 {
    tower.depth as u64 * block_bytes(tower, tokens)
}

fn recomputed_bytes(tower: &TowerConfig, tokens: usize) -> u64 {
    4 * (tower.depth * tokens * tower.width) as u64 + block_bytes(tower, tokens)
}

fn parts(config: &ModelConfig, groups: &Groups) -> Vec<Part> {
    let names = ["vision tower", "text tower", "token table", "temperature and bias"];
    let mut parts = names.map(|name| Part { name, parameters: 0, trained: 0 });
    for spec in expected_tensors(config) {
        let values = spec.shape.iter().product::<usize>() as u64;
        let [vision, text, table, scalars] = &mut parts;
        let part = match spec.name.as_str() {
            TOKEN_TABLE => table,
            name if name.starts_with("vision_model.") => vision,
            name if name.starts_with("text_model.") => text,
            _ => scalars,
        };
        part.parameters += values;
        part.trained += if groups.is_frozen(&spec.name) { 0 } else { values };
    }
    parts.into()
}

fn state_bytes(recipe: &Recipe, config: &ModelConfig, groups: &Groups) -> StateBytes {
    let parts = parts(config, groups);
    let trained: u64 = parts.iter().map(|part| part.trained).sum();
    let table: u64 = parts.iter().filter(|part| part.name == "token table").map(|part| part.trained).sum();
    let first = if recipe.optimizer.first_moment == FirstMoment::Bf16 { 2 } else { 4 };
    StateBytes {
        weights: 4 * config.parameters(),
        gradients: 4 * (trained - table),
        moments: (first + 4) * (trained - table) + 8 * table,
        average: if recipe.optimizer.ema_decay > 0.0 { 4 * config.parameters() } else { 0 },
    }
}

impl Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            let frozen = part.parameters - part.trained;
            let note = if frozen > 0 { format!("  ({} frozen)", count(frozen as f64)) } else { String::new() };
            writeln!(f, "{:24} {:>10} parameters{note}", part.name, count(part.parameters as f64))?;
        }
        let state = &self.state_bytes;
        let speed = match self.speed_source {
            SpeedSource::Stated => "stated",
            SpeedSource::Measured => "measured",
        };
        writeln!(f, "{:24} {:>10}", "steps", self.steps)?;
        writeln!(f, "{:24} {:>10} images, {} tokens", "a step", count(self.images_per_step), count(self.tokens_per_step))?;
        writeln!(f, "{:24} {:>10} floating-point operations", "", count(self.flops_per_step))?;
        writeln!(
            f,
            "{:24} {:>10} weights, {} gradients, {} moments, {} average",
            "memory",
            bytes(state.weights),
            bytes(state.gradients),
            bytes(state.moments),
            bytes(state.average)
        )?;
        let activations = &self.activation_bytes;
        writeln!(
            f,
            "{:24} {:>10} activations, about; {} with model.recompute",
            "",
            bytes(activations.kept),
            bytes(activations.recomputed)
        )?;
        let time = crate::metrics::duration(self.secs());
        write!(f, "{:24} {:>10} at {:.1} GFLOP/s ({speed})", "time", time, self.flops_per_sec / 1e9)
    }
}

/// Three digits and a unit: `1.50 G`.
fn count(value: f64) -> String {
    let unit = |limit: f64, name: &str| (value.abs() >= limit).then(|| format!("{:.2} {name}", value / limit));
    unit(1e15, "P")
        .or_else(|| unit(1e12, "T"))
        .or_else(|| unit(1e9, "G"))
        .or_else(|| unit(1e6, "M"))
        .or_else(|| unit(1e3, "k"))
        .unwrap_or_else(|| format!("{value:.0}"))
}

fn bytes(value: u64) -> String {
    let number = count(value as f64);
    if number.contains(' ') { number + "B" } else { number + " B" }
}
