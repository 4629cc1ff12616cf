//! The 17 released SigLIP 2 checkpoints (arXiv 2502.14786; big_vision `README_siglip2.md`).

use super::{ModelConfig, Preprocessing, TextConfig, TowerConfig, VisionConfig, VisionGeometry};

/// A released checkpoint and its dimensions.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Id on the Hugging Face hub.
    pub id: &'static str,
    /// Dimensions of the model.
    pub config: ModelConfig,
}

const fn tower(width: usize, mlp_dim: usize, depth: usize, heads: usize) -> TowerConfig {
    TowerConfig { width, mlp_dim, depth, heads, layer_norm_eps: 1e-6 }
}

const BASE: TowerConfig = tower(768, 3072, 12, 12);
const LARGE: TowerConfig = tower(1024, 4096, 24, 16);
const SO400M: TowerConfig = tower(1152, 4304, 27, 16);
const GIANT_OPT: TowerConfig = tower(1536, 6144, 40, 16);

const fn preset(id: &'static str, vision: TowerConfig, text: TowerConfig, patch_size: usize, geometry: VisionGeometry) -> Preset {
    let vision = VisionConfig { tower: vision, patch_size, geometry, preprocessing: Preprocessing::SIGLIP2 };
    let text = TextConfig { tower: text, vocab_size: 256_000, positions: 64, projection_dim: vision.tower.width };
    Preset { id, config: ModelConfig { vision, text } }
}

const fn fixed(id: &'static str, tower: TowerConfig, patch_size: usize, image_size: usize) -> Preset {
    preset(id, tower, tower, patch_size, VisionGeometry::Fixed { image_size })
}

const fn naflex(id: &'static str, tower: TowerConfig) -> Preset {
    preset(id, tower, tower, 16, VisionGeometry::NaFlex { table_side: 16 })
}

/// Giant-opt is the only size whose towers differ: its text tower is So400m's.
const fn giant(id: &'static str, image_size: usize) -> Preset {
    preset(id, GIANT_OPT, SO400M, 16, VisionGeometry::Fixed { image_size })
}

/// Every released SigLIP 2 checkpoint.
pub const PRESETS: [Preset; 17] = [
    fixed("google/siglip2-base-patch32-256", BASE, 32, 256),
    fixed("google/siglip2-base-patch16-224", BASE, 16, 224),
    fixed("google/siglip2-base-patch16-256", BASE, 16, 256),
    fixed("google/siglip2-base-patch16-384", BASE, 16, 384),
    fixed("google/siglip2-base-patch16-512", BASE, 16, 512),
    fixed("google/siglip2-large-patch16-256", LARGE, 16, 256),
    fixed("google/siglip2-large-patch16-384", LARGE, 16, 384),
    fixed("google/siglip2-large-patch16-512", LARGE, 16, 512),
    fixed("google/siglip2-so400m-patch14-224", SO400M, 14, 224),
    fixed("google/siglip2-so400m-patch14-384", SO400M, 14, 384),
    fixed("google/siglip2-so400m-patch16-256", SO400M, 16, 256),
    fixed("google/siglip2-so400m-patch16-384", SO400M, 16, 384),
    fixed("google/siglip2-so400m-patch16-512", SO400M, 16, 512),
    giant("google/siglip2-giant-opt-patch16-256", 256),
    giant("google/siglip2-giant-opt-patch16-384", 384),
    naflex("google/siglip2-base-patch16-naflex", BASE),
    naflex("google/siglip2-so400m-patch16-naflex", SO400M),
];
