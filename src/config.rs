//! What a checkpoint looks like: [`ModelConfig`], read from a Hugging Face `config.json` or taken from a preset.
//!
//! Two families exist under one architecture: `siglip` (fixed resolution, which all fixed SigLIP 2 checkpoints and SigLIP 1 use)
//! and `siglip2` (NaFlex). Missing keys take the class defaults of `transformers`; keys that contradict each other are an error.

use serde::Deserialize;

use crate::limits;

mod preprocessing;
mod presets;

pub use preprocessing::{Filter, Preprocessing};
pub use presets::{PRESETS, Preset};

/// Dimensions that both towers share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TowerConfig {
    /// Size of the residual stream.
    pub width: usize,
    /// Hidden size of each block's MLP.
    pub mlp_dim: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads; divides `width`.
    pub heads: usize,
    /// Epsilon of every LayerNorm.
    pub layer_norm_eps: f32,
}

impl TowerConfig {
    /// Size of one attention head.
    pub const fn head_dim(&self) -> usize {
        self.width / self.heads
    }

    /// Parameters of one block: 4 attention projections, 2 LayerNorms, 2 MLP layers.
    const fn block_parameters(&self) -> u64 {
        let (d, m) = (self.width as u64, self.mlp_dim as u64);
        4 * (d * d + d) + 4 * d + (d * m + m) + (m * d + d)
    }
}

/// How the vision tower turns an image into a grid of patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VisionGeometry {
    /// Every image is squashed to `image_size` × `image_size` pixels.
    Fixed {
        /// Side of the square, in pixels. Pixels beyond the last whole patch are dropped, as a VALID convolution does.
        image_size: usize,
    },
    /// Native aspect ratio; the position table is resized to each image's grid.
    NaFlex {
        /// Side of the square position table, in patches.
        table_side: usize,
    },
}

/// The vision tower.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VisionConfig {
    /// Shared dimensions.
    pub tower: TowerConfig,
    /// Side of a patch, in pixels.
    pub patch_size: usize,
    /// Fixed resolution or NaFlex.
    pub geometry: VisionGeometry,
    /// How images are prepared.
    pub preprocessing: Preprocessing,
}

impl VisionConfig {
    /// Side of the position table, in patches.
    pub const fn table_side(&self) -> usize {
        match self.geometry {
            VisionGeometry::Fixed { image_size } => image_size / self.patch_size,
            VisionGeometry::NaFlex { table_side } => table_side,
        }
    }

    /// Values in one flattened RGB patch.
    pub const fn patch_dim(&self) -> usize {
        self.patch_size * self.patch_size * 3
    }

    /// Parameters, as `transformers` counts them.
    pub const fn parameters(&self) -> u64 {
        let (d, m) = (self.tower.width as u64, self.tower.mlp_dim as u64);
        let table = (self.table_side() * self.table_side()) as u64 * d;
        let embeddings = self.patch_dim() as u64 * d + d + table;
        let head = d + 4 * (d * d + d) + 2 * d + (d * m + m) + (m * d + d);
        embeddings + self.tower.depth as u64 * self.tower.block_parameters() + 2 * d + head
    }
}

/// The text tower.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextConfig {
    /// Shared dimensions.
    pub tower: TowerConfig,
    /// Rows of the token table.
    pub vocab_size: usize,
    /// Positions; every text is padded to exactly this many tokens (64 in every released checkpoint).
    pub positions: usize,
    /// Output size of the final linear layer: the embedding size.
    pub projection_dim: usize,
}

impl TextConfig {
    /// Parameters, as `transformers` counts them.
    pub const fn parameters(&self) -> u64 {
        let (e, o) = (self.tower.width as u64, self.projection_dim as u64);
        let embeddings = (self.vocab_size + self.positions) as u64 * e;
        embeddings + self.tower.depth as u64 * self.tower.block_parameters() + 2 * e + (e * o + o)
    }
}

/// A whole model: two towers and the two scalars of the sigmoid loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ModelConfig {
    /// The vision tower.
    pub vision: VisionConfig,
    /// The text tower.
    pub text: TextConfig,
}

impl ModelConfig {
    /// Reads a Hugging Face `config.json` of model type `siglip` or `siglip2`.
    ///
    /// # Errors
    /// Not JSON, another model type, sizes that contradict each other or exceed [`limits`], or a feature no SigLIP checkpoint has.
    pub fn from_json(json: &[u8]) -> Result<Self, ConfigError> {
        if json.len() as u64 > limits::CONFIG_BYTES {
            return Err(ConfigError::TooLarge { bytes: json.len() as u64 });
        }
        let raw: RawConfig = serde_json::from_slice(json).map_err(ConfigError::Json)?;
        raw.into_config()
    }

    /// The `config.json` that `transformers` would write for this model.
    pub fn to_json(&self) -> serde_json::Value {
        let naflex = matches!(self.vision.geometry, VisionGeometry::NaFlex { .. });
        let (family, class) = if naflex { ("siglip2", "Siglip2Model") } else { ("siglip", "SiglipModel") };
        let tower = |tower: &TowerConfig, kind: &str| {
            serde_json::json!({
                "model_type": format!("{family}_{kind}_model"), "hidden_size": tower.width, "intermediate_size": tower.mlp_dim,
                "num_hidden_layers": tower.depth, "num_attention_heads": tower.heads, "hidden_act": ACTIVATION,
                "layer_norm_eps": shortest_f64(tower.layer_norm_eps), "attention_dropout": 0.0,
            })
        };
        let mut vision = tower(&self.vision.tower, "vision");
        vision["num_channels"] = 3.into();
        vision["patch_size"] = self.vision.patch_size.into();
        match self.vision.geometry {
            VisionGeometry::Fixed { image_size } => vision["image_size"] = image_size.into(),
            VisionGeometry::NaFlex { table_side } => vision["num_patches"] = (table_side * table_side).into(),
        }
        let mut text = tower(&self.text.tower, "text");
        text["vocab_size"] = self.text.vocab_size.into();
        text["max_position_embeddings"] = self.text.positions.into();
        text["projection_size"] = self.text.projection_dim.into();
        // Gemma's; the class defaults are CLIP's and outside small vocabularies.
        (text["pad_token_id"], text["eos_token_id"], text["bos_token_id"]) = (0.into(), 1.into(), 2.into());
        serde_json::json!({ "architectures": [class], "model_type": family, "text_config": text, "vision_config": vision })
    }

    /// Size of an embedding.
    pub const fn embedding_dim(&self) -> usize {
        self.text.projection_dim
    }

    /// Parameters of both towers plus `logit_scale` and `logit_bias`.
    pub const fn parameters(&self) -> u64 {
        self.vision.parameters() + self.text.parameters() + 2
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is far larger than any configuration.
    #[error("config.json has {bytes} bytes, more than the {} allowed; is it really a configuration?", limits::CONFIG_BYTES)]
    TooLarge {
        /// Size of the file.
        bytes: u64,
    },
    /// Not JSON, or a value of the wrong type.
    #[error("config.json cannot be read: {0}")]
    Json(serde_json::Error),
    /// The image processor's file is not JSON, or has a value of the wrong type.
    #[error("preprocessor_config.json cannot be read: {0}")]
    PreprocessorJson(serde_json::Error),
    /// Neither `siglip` nor `siglip2`.
    #[error("config.json is of model type {0:?}; Polyglance runs \"siglip\" and \"siglip2\" models")]
    ModelType(String),
    /// A value outside what any SigLIP model has, or two that cannot both hold.
    #[error("{0}")]
    Contradiction(String),
}

/// The only activation SigLIP uses.
const ACTIVATION: &str = "gelu_pytorch_tanh";

#[derive(Deserialize)]
struct RawConfig {
    model_type: Option<String>,
    #[serde(default)]
    text_config: RawTower,
    #[serde(default)]
    vision_config: RawTower,
}

/// Both towers' keys; each is optional because `transformers` drops values that equal the class default.
#[derive(Default, Deserialize)]
struct RawTower {
    hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    layer_norm_eps: Option<f64>,
    hidden_act: Option<String>,
    num_channels: Option<usize>,
    image_size: Option<usize>,
    patch_size: Option<usize>,
    num_patches: Option<usize>,
    vision_use_head: Option<bool>,
    vocab_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    projection_size: Option<usize>,
}

impl RawConfig {
    fn into_config(self) -> Result<ModelConfig, ConfigError> {
        let naflex = match self.model_type.as_deref() {
            Some("siglip") => false,
            Some("siglip2") => true,
            other => return Err(ConfigError::ModelType(other.unwrap_or("(missing)").to_owned())),
        };
        let vision = VisionConfig {
            tower: self.vision_config.tower("vision_config")?,
            patch_size: self.vision_config.patch_size.unwrap_or(16),
            geometry: self.vision_config.geometry(naflex)?,
            preprocessing: Preprocessing::SIGLIP2,
        };
        let tower = self.text_config.tower("text_config")?;
        let text = TextConfig {
            tower,
            vocab_size: self.text_config.vocab_size.unwrap_or(32_000),
            positions: self.text_config.max_position_embeddings.unwrap_or(64),
            projection_dim: self.text_config.projection_size.unwrap_or(tower.width),
        };
        check_whole(&vision, &text)?;
        Ok(ModelConfig { vision, text })
    }
}

impl RawTower {
    fn tower(&self, section: &str) -> Result<TowerConfig, ConfigError> {
        let tower = TowerConfig {
            width: self.hidden_size.unwrap_or(768),
            mlp_dim: self.intermediate_size.unwrap_or(3072),
            depth: self.num_hidden_layers.unwrap_or(12),
            heads: self.num_attention_heads.unwrap_or(12),
            layer_norm_eps: self.layer_norm_eps.unwrap_or(1e-6) as f32,
        };
        let in_range = |value: usize, max: usize| (1..=max).contains(&value);
        let act = self.hidden_act.as_deref().unwrap_or(ACTIVATION);
        ensure(in_range(tower.width, limits::CONFIG_DIMENSION), || {
            format!("{section}.hidden_size is {}, outside 1 to {}", tower.width, limits::CONFIG_DIMENSION)
        })?;
        ensure(in_range(tower.mlp_dim, limits::CONFIG_DIMENSION), || {
            format!("{section}.intermediate_size is {}, outside 1 to {}", tower.mlp_dim, limits::CONFIG_DIMENSION)
        })?;
        ensure(in_range(tower.depth, limits::CONFIG_DEPTH), || {
            format!("{section}.num_hidden_layers is {}, outside 1 to {}", tower.depth, limits::CONFIG_DEPTH)
        })?;
        ensure(tower.heads > 0 && tower.width.is_multiple_of(tower.heads), || {
            format!("{section}.hidden_size {} is not divisible by num_attention_heads {}", tower.width, tower.heads)
        })?;
        ensure(tower.head_dim().is_multiple_of(8), || {
            format!("{section} has heads of size {}; sizes must be multiples of 8, as in every released checkpoint", tower.head_dim())
        })?;
        ensure(tower.layer_norm_eps.is_finite() && tower.layer_norm_eps > 0.0, || {
            format!("{section}.layer_norm_eps must be a positive number")
        })?;
        ensure(act == ACTIVATION, || format!("{section}.hidden_act is {act:?}; SigLIP uses {ACTIVATION:?}"))?;
        ensure(self.num_channels.unwrap_or(3) == 3, || format!("{section}.num_channels must be 3 (RGB)"))?;
        ensure(self.vision_use_head.unwrap_or(true), || {
            format!("{section}.vision_use_head is false: without its pooling head the model gives no image embedding")
        })?;
        Ok(tower)
    }

    fn geometry(&self, naflex: bool) -> Result<VisionGeometry, ConfigError> {
        let patch_size = self.patch_size.unwrap_or(16);
        ensure((1..=limits::MAX_PATCH_SIZE).contains(&patch_size), || {
            format!("vision_config.patch_size is {patch_size}, outside 1 to {}", limits::MAX_PATCH_SIZE)
        })?;
        if naflex {
            let num_patches = self.num_patches.unwrap_or(256);
            let table_side = num_patches.isqrt();
            ensure(num_patches > 0 && table_side * table_side == num_patches, || {
                format!("vision_config.num_patches is {num_patches}; the position table must be square")
            })?;
            ensure(num_patches <= limits::MAX_NUM_PATCHES, || {
                format!("vision_config.num_patches is {num_patches}, more than {}", limits::MAX_NUM_PATCHES)
            })?;
            return Ok(VisionGeometry::NaFlex { table_side });
        }
        let image_size = self.image_size.unwrap_or(224);
        let side = image_size / patch_size;
        ensure(side >= 1 && side * side <= limits::MAX_NUM_PATCHES, || {
            format!("vision_config.image_size {image_size} and patch_size {patch_size} give a grid of {side} × {side} patches")
        })?;
        if let Some(num_patches) = self.num_patches {
            ensure(num_patches == side * side, || {
                format!("vision_config.num_patches {num_patches} contradicts image_size {image_size} and patch_size {patch_size}")
            })?;
        }
        Ok(VisionGeometry::Fixed { image_size })
    }
}

fn check_whole(vision: &VisionConfig, text: &TextConfig) -> Result<(), ConfigError> {
    ensure((1..=limits::CONFIG_VOCABULARY).contains(&text.vocab_size), || {
        format!("text_config.vocab_size is {}, outside 1 to {}", text.vocab_size, limits::CONFIG_VOCABULARY)
    })?;
    ensure((2..=512).contains(&text.positions), || format!("text_config.max_position_embeddings is {}, outside 2 to 512", text.positions))?;
    ensure(text.projection_dim == vision.tower.width, || {
        format!(
            "text_config.projection_size {} differs from vision_config.hidden_size {}: texts and images would not share a space",
            text.projection_dim, vision.tower.width
        )
    })
}

/// 1e-6f32 as the f64 that prints as 1e-6 rather than 9.99999997e-7.
fn shortest_f64(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::Contradiction(message())) }
}
