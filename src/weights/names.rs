//! The tensors of a SigLIP model under their Hugging Face names, and how a safetensors file may spell them.
//!
//! Source: `transformers` `modeling_siglip.py` and `modeling_siglip2.py`, whose state dictionaries these are.

use super::binding::{Candidate, Layout, Wanted};
use crate::config::{ModelConfig, TowerConfig, VisionGeometry};

/// The tensor with a row for each token of the vocabulary: half of a model, of which a text needs a few rows.
pub const TOKEN_TABLE: &str = "text_model.embeddings.token_embedding.weight";

/// A tensor that a configuration calls for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Hugging Face name, without optional prefixes.
    pub name: String,
    /// Row-major shape.
    pub shape: Vec<usize>,
}

/// Every tensor of the model, scalars first, then the vision and the text tower in forward order.
pub fn expected_tensors(config: &ModelConfig) -> Vec<TensorSpec> {
    let mut specs = Specs(Vec::new());
    specs.add("logit_scale", &[1]);
    specs.add("logit_bias", &[1]);
    specs.vision(config);
    specs.text(config);
    specs.0
}

struct Specs(Vec<TensorSpec>);

impl Specs {
    fn add(&mut self, name: impl Into<String>, shape: &[usize]) {
        self.0.push(TensorSpec { name: name.into(), shape: shape.to_vec() });
    }

    /// A weight of shape `[outputs, inputs]` and its bias.
    fn linear(&mut self, name: &str, outputs: usize, inputs: usize) {
        self.add(format!("{name}.weight"), &[outputs, inputs]);
        self.add(format!("{name}.bias"), &[outputs]);
    }

    fn layer_norm(&mut self, name: &str, width: usize) {
        self.add(format!("{name}.weight"), &[width]);
        self.add(format!("{name}.bias"), &[width]);
    }

    fn mlp(&mut self, name: &str, tower: &TowerConfig) {
        self.linear(&format!("{name}.fc1"), tower.mlp_dim, tower.width);
        self.linear(&format!("{name}.fc2"), tower.width, tower.mlp_dim);
    }

    fn blocks(&mut self, prefix: &str, tower: &TowerConfig) {
        for layer in 0..tower.depth {
            let block = format!("{prefix}.encoder.layers.{layer}");
            self.layer_norm(&format!("{block}.layer_norm1"), tower.width);
            for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                self.linear(&format!("{block}.self_attn.{projection}"), tower.width, tower.width);
            }
            self.layer_norm(&format!("{block}.layer_norm2"), tower.width);
            self.mlp(&format!("{block}.mlp"), tower);
        }
    }

    fn vision(&mut self, config: &ModelConfig) {
        let (vision, tower) = (&config.vision, &config.vision.tower);
        let (width, patch, table_side) = (tower.width, vision.patch_size, vision.table_side());
        let embeddings = "vision_model.embeddings";
        let patch_weight = format!("{embeddings}.patch_embedding.weight");
        match vision.geometry {
            VisionGeometry::Fixed { .. } => self.add(patch_weight, &[width, 3, patch, patch]),
            VisionGeometry::NaFlex { .. } => self.add(patch_weight, &[width, vision.patch_dim()]),
        }
        self.add(format!("{embeddings}.patch_embedding.bias"), &[width]);
        self.add(format!("{embeddings}.position_embedding.weight"), &[table_side * table_side, width]);
        self.blocks("vision_model", tower);
        self.layer_norm("vision_model.post_layernorm", width);
        self.add("vision_model.head.probe", &[1, 1, width]);
        self.add("vision_model.head.attention.in_proj_weight", &[3 * width, width]);
        self.add("vision_model.head.attention.in_proj_bias", &[3 * width]);
        self.linear("vision_model.head.attention.out_proj", width, width);
        self.layer_norm("vision_model.head.layernorm", width);
        self.mlp("vision_model.head.mlp", tower);
    }

    fn text(&mut self, config: &ModelConfig) {
        let text = &config.text;
        let width = text.tower.width;
        self.add(TOKEN_TABLE, &[text.vocab_size, width]);
        self.add("text_model.embeddings.position_embedding.weight", &[text.positions, width]);
        self.blocks("text_model", &text.tower);
        self.layer_norm("text_model.final_layer_norm", width);
        self.linear("text_model.head", text.projection_dim, width);
    }
}

/// A file's tensor name without the prefixes that wrappers add: `model.` and `module.` in front, and the inner `vision_model.` and
/// `text_model.` that some versions of `transformers` repeat.
pub(crate) fn canonical_name(name: &str) -> &str {
    let mut name = name;
    while let Some(rest) = name.strip_prefix("model.").or_else(|| name.strip_prefix("module.")) {
        name = rest;
    }
    for tower in ["vision_model.", "text_model."] {
        while let Some(rest) = name.strip_prefix(tower).filter(|rest| rest.starts_with(tower)) {
            name = rest;
        }
    }
    name
}

/// The ways a safetensors file may hold a tensor. The pooling head's attention is one fused matrix in released checkpoints and three
/// separate ones where attention modules were unified.
pub(crate) fn safetensors_candidates(spec: &TensorSpec) -> Vec<Candidate> {
    let whole = Wanted { name: spec.name.clone(), shape: spec.shape.clone(), layer: None };
    let mut candidates = vec![Candidate { parts: vec![whole], layout: Layout::AsIs }];
    let kind = spec.name.strip_prefix("vision_model.head.attention.in_proj_");
    if let (Some(kind), Some((rows, rest))) = (kind, spec.shape.split_first()) {
        let shape: Vec<usize> = std::iter::once(rows / 3).chain(rest.iter().copied()).collect();
        let part = |letter| Wanted { name: format!("vision_model.head.attention.{letter}_proj.{kind}"), shape: shape.clone(), layer: None };
        candidates.push(Candidate { parts: ["q", "k", "v"].map(part).into(), layout: Layout::AsIs });
    }
    candidates
}
