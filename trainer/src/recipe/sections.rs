//! The sections of a recipe that belong to no other module: device, data, batch, losses, precision, evaluation, checkpoint.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
    /// Compare the gradients of a tiny batch with those of flex before the first step.
    pub gate: bool,
}

impl Default for DeviceRecipe {
    fn default() -> Self {
        Self { kind: DeviceKind::Flex, gate: true }
    }
}

/// A set of shards.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// A tar file, a folder of them or of images with `.txt` or `.json` beside them, a glob, or an http(s) address; `{000..127}` and `{a,b}`
    /// stand for several.
    pub pattern: String,
    /// How often it is drawn from, relative to the others.
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

/// `[data]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DataRecipe {
    /// Where pairs come from.
    pub sources: Vec<Source>,
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

/// A NaFlex budget that batches are drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Patches an image may have.
    pub max_num_patches: usize,
    /// Relative to the others.
    #[serde(default = "one")]
    pub weight: f64,
    /// Pairs of such a step, in place of the general number: the paper halves batches of 1,024 patches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<usize>,
}

/// `[batch]`: exactly one of `images` and `tokens`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BatchRecipe {
    /// Pairs of a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<usize>,
    /// Patches of a step: it has as many pairs as fit if each image uses its whole budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// Pairs that are on the device at once; all if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// Sequence lengths of a NaFlex model, drawn anew for each step; a fixed-resolution model has its own.
    #[serde(default)]
    pub budgets: Vec<Budget>,
    /// What counts as a negative.
    #[serde(default)]
    pub contrast: Contrast,
}

impl BatchRecipe {
    /// Pairs of a step whose images have up to `budget` patches.
    pub fn pairs(&self, budget: &Budget) -> usize {
        let by_tokens = || self.tokens.map(|tokens| (tokens / budget.max_num_patches.max(1)).max(1));
        budget.images.or(self.images).or_else(by_tokens).unwrap_or(1)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let sizes = [self.images, self.tokens, self.micro_batch];
        if self.images.is_some() == self.tokens.is_some() {
            return Err("give exactly one of images (pairs of a step) and tokens (patches of a step)".to_owned());
        }
        if sizes.contains(&Some(0)) || self.budgets.iter().any(|budget| budget.max_num_patches == 0 || budget.images == Some(0)) {
            return Err("images, tokens, micro_batch and max_num_patches must be at least 1".to_owned());
        }
        let weights = || self.budgets.iter().map(|budget| budget.weight);
        if weights().any(|weight| !weight.is_finite() || weight < 0.0) || !self.budgets.is_empty() && weights().all(|weight| weight == 0.0) {
            return Err("weights of budgets are numbers of at least 0, and not all 0".to_owned());
        }
        Ok(())
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

/// In which type activations and products are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compute {
    /// Single precision.
    #[default]
    F32,
    /// bfloat16, with f32 master weights.
    Bf16,
    /// Half precision, with f32 master weights and a scaled loss.
    F16,
}

/// `[precision]`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrecisionRecipe {
    /// Type of activations.
    pub compute: Compute,
    /// First factor on the loss, for f16 only; halved at each overflow, doubled after 2,000 steps without.
    pub loss_scale: f64,
}

impl Default for PrecisionRecipe {
    fn default() -> Self {
        Self { compute: Compute::F32, loss_scale: 65_536.0 }
    }
}

impl PrecisionRecipe {
    pub(super) fn check(&self) -> Result<(), String> {
        let fits = self.loss_scale.is_finite() && self.loss_scale >= 1.0;
        if fits { Ok(()) } else { Err(format!("loss_scale is {}; it must be at least 1", self.loss_scale)) }
    }
}

/// `[evaluation]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationRecipe {
    /// Steps between evaluations; 0 for never.
    pub every: u64,
    /// Held-out pairs for retrieval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<String>,
    /// Pairs of it to use.
    pub pairs: usize,
}

impl Default for EvaluationRecipe {
    fn default() -> Self {
        Self { every: 0, shards: None, pairs: 1000 }
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
