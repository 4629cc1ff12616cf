//! The recipe's `[model]` section.

use std::path::PathBuf;

use polyglance::config::{ModelConfig, PRESETS, Preprocessing, TextConfig, TowerConfig, VisionConfig, VisionGeometry};
use polyglance::limits::MAX_NUM_PATCHES;
use serde::{Deserialize, Serialize};

/// `[model]`: exactly one of `preset`, `init` and the two tables of dimensions.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelRecipe {
    /// Dimensions of a released checkpoint, by its hub id; weights are drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// A checkpoint folder: dimensions, weights, temperature and bias are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// A vision tower of one's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vision: Option<VisionDimensions>,
    /// A text tower of one's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<TextDimensions>,
    /// The logit bias at the start, instead of −10: about ln(1 / batch) suits small batches. Not for `init`, which keeps its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logit_bias: Option<f32>,
    /// Keep only each block's input and compute the block again in the backward pass.
    pub recompute: bool,
}

/// `[model.vision]`: a NaFlex tower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct VisionDimensions {
    /// Size of the residual stream and of the embedding.
    pub width: usize,
    /// Blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden size of the MLPs; four times the width if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mlp_dim: Option<usize>,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Side of the position table in patches.
    pub table_side: usize,
    /// Patches of an image when the model's user does not choose.
    #[serde(default = "max_num_patches")]
    pub max_num_patches: usize,
}

/// `[model.text]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TextDimensions {
    /// Size of the residual stream; a last linear layer maps it to the embedding.
    pub width: usize,
    /// Blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden size of the MLPs; four times the width if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mlp_dim: Option<usize>,
    /// Rows of the token table.
    pub vocab_size: usize,
    /// Tokens of a text, padding included.
    #[serde(default = "positions")]
    pub positions: usize,
}

fn max_num_patches() -> usize {
    Preprocessing::SIGLIP2.max_num_patches
}

fn tower(width: usize, depth: usize, heads: usize, mlp_dim: Option<usize>) -> TowerConfig {
    TowerConfig { width, mlp_dim: mlp_dim.unwrap_or(4 * width), depth, heads, layer_norm_eps: 1e-6 }
}

/// Tokens of a text in every SigLIP 2 model.
fn positions() -> usize {
    64
}

impl ModelRecipe {
    /// The architecture, unless it comes from a folder.
    pub fn config(&self) -> Option<ModelConfig> {
        if let Some(id) = &self.preset {
            return PRESETS.into_iter().find(|preset| preset.id == id).map(|preset| preset.config);
        }
        let (vision, text) = (self.vision?, self.text?);
        let geometry = VisionGeometry::NaFlex { table_side: vision.table_side };
        let vision_tower = tower(vision.width, vision.depth, vision.heads, vision.mlp_dim);
        let text_tower = tower(text.width, text.depth, text.heads, text.mlp_dim);
        let preprocessing = Preprocessing { max_num_patches: vision.max_num_patches, ..Preprocessing::SIGLIP2 };
        Some(ModelConfig {
            vision: VisionConfig { tower: vision_tower, patch_size: vision.patch_size, geometry, preprocessing },
            text: TextConfig { tower: text_tower, vocab_size: text.vocab_size, positions: text.positions, projection_dim: vision.width },
        })
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let dimensions = self.vision.is_some() && self.text.is_some();
        let given = [self.preset.is_some(), self.init.is_some(), dimensions].into_iter().filter(|given| *given).count();
        if given != 1 || self.vision.is_some() != self.text.is_some() {
            return Err("give exactly one of preset, init (a checkpoint folder), or both [model.vision] and [model.text]".to_owned());
        }
        if let Some(vision) = self.vision.filter(|vision| !(1..=MAX_NUM_PATCHES).contains(&vision.max_num_patches)) {
            return Err(format!("vision.max_num_patches is {}, outside 1 to {MAX_NUM_PATCHES}", vision.max_num_patches));
        }
        match &self.preset {
            Some(id) if self.config().is_none() => {
                Err(format!("no preset is called {id:?}; \"polyglance-trainer init --help\" lists them"))
            }
            // The library's own checks see what is wrong with the sizes.
            _ => self.config().map_or(Ok(()), |config| {
                let json = config.to_json().to_string();
                ModelConfig::from_json(json.as_bytes()).map(drop).map_err(|error| error.to_string())
            }),
        }
    }
}
