//! The sections of a recipe that belong to no other module: device, data, batch, losses, evaluation, checkpoint.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::{BatchSize, Budget, SourceOptions, check_budgets};
use crate::ops::Products;

/// Where tensors live. All but `flex` need the cargo feature of the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// The CPU.
    #[default]
    Flex,
    /// Any GPU, through WGSL.
    Wgpu,
    /// Any GPU with Vulkan, through SPIR-V.
    Vulkan,
    /// Apple's.
    Metal,
    /// NVIDIA's.
    Cuda,
}

/// `[device]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeviceRecipe {
    /// Which.
    pub kind: DeviceKind,
    /// What the towers' products are computed in: `f32`, or `bf16` or `f16` where the device has them.
    pub products: Products,
    /// Compare the gradients of a tiny batch with those of flex before the first step.
    pub gate: bool,
}

impl Default for DeviceRecipe {
    fn default() -> Self {
        Self { kind: DeviceKind::Flex, products: Products::F32, gate: true }
    }
}

/// `[data]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DataRecipe {
    /// Where pairs come from.
    pub sources: Vec<SourceOptions>,
    /// `tokenizer.json`; the one beside the weights if the model comes from a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// Weights of caption languages; without it the default caption is read.
    #[serde(default)]
    pub languages: BTreeMap<String, f64>,
    /// Examples that the shuffle draws from.
    #[serde(default = "shuffle")]
    pub shuffle: usize,
    /// Decoding threads; 0 for as many as the machine has.
    #[serde(default)]
    pub workers: usize,
}

fn shuffle() -> usize {
    4096
}

impl DataRecipe {
    pub(super) fn check(&self) -> Result<(), String> {
        let weights = self.sources.iter().map(|source| source.weight).chain(self.languages.values().copied());
        let bad = |weight: &f64| !weight.is_finite() || *weight < 0.0;
        if self.sources.is_empty() {
            return Err("sources is empty; name at least one".to_owned());
        }
        weights.filter(bad).map(|weight| Err(format!("a weight is {weight}; weights are at least 0"))).next().unwrap_or(Ok(()))
    }
}

/// Which pairs a text or an image is contrasted with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Contrast {
    /// All of the step's: gradient caching, one more forward pass if there are several micro-batches.
    #[default]
    Batch,
    /// Those of its micro-batch: gradients are accumulated.
    MicroBatch,
}

/// `[batch]`: exactly one of `images` and `tokens`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BatchRecipe {
    /// Images of a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<usize>,
    /// Patches of a step: it has as many images as fit if each image uses its whole budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// Images that are on the device at once, with their captions; all if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// Captions drawn for each image: a small text tower learns more from several, and an image is embedded once for all of them.
    #[serde(default = "one_caption")]
    pub captions: usize,
    /// Sequence lengths of a NaFlex model, drawn anew for each step; a fixed-resolution model has its own.
    #[serde(default)]
    pub budgets: Vec<Budget>,
    /// What counts as a negative.
    #[serde(default)]
    pub contrast: Contrast,
}

fn one_caption() -> usize {
    1
}

impl BatchRecipe {
    /// Images of a step, or the patches that they follow from.
    pub fn size(&self) -> BatchSize {
        self.tokens.map_or(BatchSize::Images(self.images.unwrap_or(1)), BatchSize::Tokens)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let sizes = [self.images, self.tokens, self.micro_batch, Some(self.captions)];
        if self.images.is_some() == self.tokens.is_some() {
            return Err("give exactly one of images (of a step) and tokens (patches of a step)".to_owned());
        }
        if sizes.contains(&Some(0)) || self.budgets.iter().any(|budget| budget.max_num_patches == 0 || budget.images == Some(0)) {
            return Err("images, tokens, micro_batch, captions and max_num_patches must be at least 1".to_owned());
        }
        if self.budgets.is_empty() { Ok(()) } else { check_budgets(&self.budgets) }
    }
}

/// `[losses]`: weights of the terms.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossesRecipe {
    /// The sigmoid loss over all pairs (SigLIP, Algorithm 1).
    pub sigmoid: f64,
    /// Columns of the logit matrix that are in memory at once; 0 for all.
    pub sigmoid_chunk: usize,
}

impl Default for LossesRecipe {
    fn default() -> Self {
        Self { sigmoid: 1.0, sigmoid_chunk: 0 }
    }
}

/// `[evaluation]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationRecipe {
    /// Steps between evaluations; 0 for never.
    pub every: u64,
    /// Held-out pairs for retrieval; a pattern as in `data.sources`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<String>,
    /// `classes.json` for zero-shot classification of the same images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<PathBuf>,
    /// Prompt templates by language for them, JSON; bare names without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub templates: Option<PathBuf>,
    /// Pairs of it to use.
    pub pairs: usize,
}

impl Default for EvaluationRecipe {
    fn default() -> Self {
        Self { every: 0, shards: None, classes: None, templates: None, pairs: 1000 }
    }
}

/// `[checkpoint]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointRecipe {
    /// Steps between checkpoints. The last step always makes one.
    pub every: u64,
    /// Resume although the recipe differs from the checkpoint's.
    pub allow_changes: bool,
}

impl Default for CheckpointRecipe {
    fn default() -> Self {
        Self { every: 500, allow_changes: false }
    }
}

impl CheckpointRecipe {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.every == 0 { Err("every is 0; checkpoints need a distance of at least one step".to_owned()) } else { Ok(()) }
    }
}
