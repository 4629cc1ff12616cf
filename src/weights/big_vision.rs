//! big_vision's `.npz` checkpoints: the names and layouts of flax, and the configuration that their shapes imply.
//!
//! Facts from `transformers`' `convert_siglip2_to_hf.py` and big_vision's `models/vit.py`, `naflex_vit.py`, `text_transformer.py`.
//! A flax kernel is `[inputs, outputs]`, the transpose of a Hugging Face weight; attention kernels have their heads as an axis of
//! their own. Blocks are stacked along a leading axis (`encoderblock`) when the model was scanned, else numbered (`encoderblock_3`).

use super::array::Array;
use super::binding::{Candidate, Catalog, Layout, Wanted};
use super::names::{TOKEN_TABLE, TensorSpec};
use crate::config::{ModelConfig, PRESETS, Preprocessing, TextConfig, TowerConfig, VisionConfig, VisionGeometry};

/// A key without the `params/` that training checkpoints have in front, if it is one of the model's.
pub(crate) fn canonical_key(key: &str) -> Option<&str> {
    let key = key.strip_prefix("params/").unwrap_or(key);
    (key.starts_with("img/") || key.starts_with("txt/") || key == "t" || key == "b").then_some(key)
}

/// The ways an `.npz` file may hold a tensor.
pub(crate) fn npz_candidates(spec: &TensorSpec, config: &ModelConfig) -> Vec<Candidate> {
    let (vision, text) = (&config.vision, &config.text);
    let whole = |key: &str, shape: &[usize], layout| {
        vec![Candidate { parts: vec![Wanted { name: key.to_owned(), shape: shape.to_vec(), layer: None }], layout }]
    };
    if let Some(rest) = spec.name.strip_prefix("vision_model.encoder.layers.") {
        return block_candidates("img/Transformer", rest, &vision.tower);
    }
    if let Some(rest) = spec.name.strip_prefix("text_model.encoder.layers.") {
        return block_candidates("txt/Encoder_0", rest, &text.tower);
    }
    if let Some(rest) = spec.name.strip_prefix("vision_model.head.") {
        return head_candidates(rest, &vision.tower);
    }
    let (width, patch, side) = (vision.tower.width, vision.patch_size, vision.table_side());
    let fixed = matches!(vision.geometry, VisionGeometry::Fixed { .. });
    match spec.name.as_str() {
        "logit_scale" => whole("t", &[1], Layout::AsIs),
        "logit_bias" => whole("b", &[1], Layout::AsIs),
        "vision_model.embeddings.patch_embedding.weight" if fixed => {
            whole("img/embedding/kernel", &[patch, patch, 3, width], Layout::HwioToOihw)
        }
        "vision_model.embeddings.patch_embedding.weight" => whole("img/embedding/kernel", &[vision.patch_dim(), width], Layout::Transposed),
        "vision_model.embeddings.patch_embedding.bias" => whole("img/embedding/bias", &[width], Layout::AsIs),
        "vision_model.embeddings.position_embedding.weight" if fixed => whole("img/pos_embedding", &[1, side * side, width], Layout::AsIs),
        "vision_model.embeddings.position_embedding.weight" => whole("img/pos_embedding", &[side, side, width], Layout::AsIs),
        "vision_model.post_layernorm.weight" => whole("img/Transformer/encoder_norm/scale", &[width], Layout::AsIs),
        "vision_model.post_layernorm.bias" => whole("img/Transformer/encoder_norm/bias", &[width], Layout::AsIs),
        TOKEN_TABLE => whole("txt/Embed_0/embedding", &spec.shape, Layout::AsIs),
        "text_model.embeddings.position_embedding.weight" => {
            whole("txt/pos_embedding", &[1, text.positions, text.tower.width], Layout::AsIs)
        }
        "text_model.final_layer_norm.weight" => whole("txt/Encoder_0/encoder_norm/scale", &spec.shape, Layout::AsIs),
        "text_model.final_layer_norm.bias" => whole("txt/Encoder_0/encoder_norm/bias", &spec.shape, Layout::AsIs),
        "text_model.head.weight" => whole("txt/head/kernel", &[text.tower.width, text.projection_dim], Layout::Transposed),
        "text_model.head.bias" => whole("txt/head/bias", &spec.shape, Layout::AsIs),
        _ => Vec::new(),
    }
}

/// One array of a block or of the pooling head: the key below the block, its shape there, and how it becomes the Hugging Face tensor.
struct Leaf {
    key: String,
    shape: Vec<usize>,
    layout: Layout,
}

impl Leaf {
    fn new(key: String, shape: &[usize], layout: Layout) -> Self {
        Self { key, shape: shape.to_vec(), layout }
    }
}

/// `rest` is what follows `encoder.layers.`, such as `3.self_attn.q_proj.weight`.
fn block_candidates(encoder: &str, rest: &str, tower: &TowerConfig) -> Vec<Candidate> {
    let Some((layer, leaf)) = rest.split_once('.').and_then(|(layer, leaf)| Some((layer.parse::<usize>().ok()?, block_leaf(leaf, tower)?)))
    else {
        return Vec::new();
    };
    let stacked_shape = std::iter::once(tower.depth).chain(leaf.shape.iter().copied()).collect();
    let stacked = Wanted { name: format!("{encoder}/encoderblock/{}", leaf.key), shape: stacked_shape, layer: Some(layer) };
    let numbered = Wanted { name: format!("{encoder}/encoderblock_{layer}/{}", leaf.key), shape: leaf.shape, layer: None };
    [stacked, numbered].map(|wanted| Candidate { parts: vec![wanted], layout: leaf.layout }).into()
}

fn block_leaf(name: &str, tower: &TowerConfig) -> Option<Leaf> {
    let (module, kind) = name.rsplit_once('.')?;
    match module {
        "layer_norm1" => Some(layer_norm_leaf("LayerNorm_0", kind, tower)),
        "layer_norm2" => Some(layer_norm_leaf("LayerNorm_1", kind, tower)),
        _ => {
            let (group, module) = module.split_once('.')?;
            match group {
                "self_attn" => attention_leaf(module, kind, tower),
                "mlp" => mlp_leaf(module, kind, tower),
                _ => None,
            }
        }
    }
}

fn layer_norm_leaf(module: &str, kind: &str, tower: &TowerConfig) -> Leaf {
    let kind = if kind == "weight" { "scale" } else { kind };
    Leaf::new(format!("{module}/{kind}"), &[tower.width], Layout::AsIs)
}

fn attention_leaf(module: &str, kind: &str, tower: &TowerConfig) -> Option<Leaf> {
    let module = match module {
        "q_proj" => "query",
        "k_proj" => "key",
        "v_proj" => "value",
        "out_proj" => "out",
        _ => return None,
    };
    let (width, heads, head_dim) = (tower.width, tower.heads, tower.head_dim());
    let key = |kind: &str| format!("MultiHeadDotProductAttention_0/{module}/{kind}");
    Some(match (module, kind) {
        ("out", "weight") => Leaf::new(key("kernel"), &[heads, head_dim, width], Layout::Transposed),
        ("out", _) => Leaf::new(key("bias"), &[width], Layout::AsIs),
        (_, "weight") => Leaf::new(key("kernel"), &[width, heads, head_dim], Layout::Transposed),
        (_, _) => Leaf::new(key("bias"), &[heads, head_dim], Layout::AsIs),
    })
}

fn mlp_leaf(module: &str, kind: &str, tower: &TowerConfig) -> Option<Leaf> {
    let (dense, inputs, outputs) = match module {
        "fc1" => ("Dense_0", tower.width, tower.mlp_dim),
        "fc2" => ("Dense_1", tower.mlp_dim, tower.width),
        _ => return None,
    };
    Some(match kind {
        "weight" => Leaf::new(format!("MlpBlock_0/{dense}/kernel"), &[inputs, outputs], Layout::Transposed),
        _ => Leaf::new(format!("MlpBlock_0/{dense}/bias"), &[outputs], Layout::AsIs),
    })
}

/// The pooling head's tensors; `rest` is what follows `vision_model.head.`. Hugging Face fuses query, key and value there.
fn head_candidates(rest: &str, tower: &TowerConfig) -> Vec<Candidate> {
    let leaves = match rest.rsplit_once('.') {
        None if rest == "probe" => vec![Some(Leaf::new("probe".to_owned(), &[1, 1, tower.width], Layout::AsIs))],
        Some(("attention", fused)) => {
            let kind = fused.trim_start_matches("in_proj_");
            ["q_proj", "k_proj", "v_proj"].map(|module| attention_leaf(module, kind, tower)).into()
        }
        Some(("attention.out_proj", kind)) => vec![attention_leaf("out_proj", kind, tower)],
        Some(("layernorm", kind)) => vec![Some(layer_norm_leaf("LayerNorm_0", kind, tower))],
        Some(("mlp.fc1", kind)) => vec![mlp_leaf("fc1", kind, tower)],
        Some(("mlp.fc2", kind)) => vec![mlp_leaf("fc2", kind, tower)],
        _ => Vec::new(),
    };
    let Some(leaves) = leaves.into_iter().collect::<Option<Vec<Leaf>>>() else { return Vec::new() };
    let Some(layout) = leaves.first().map(|leaf| leaf.layout) else { return Vec::new() };
    let parts = leaves.into_iter().map(|leaf| Wanted { name: format!("img/MAPHead_0/{}", leaf.key), shape: leaf.shape, layer: None });
    vec![Candidate { parts: parts.collect(), layout }]
}

/// The configuration that the arrays' shapes imply, for an archive without a `config.json` beside it.
///
/// # Errors
/// What is missing, or contradicts itself.
pub(crate) fn derive_config(catalog: &Catalog) -> Result<ModelConfig, String> {
    let shape = |key: &str| {
        let array = catalog.get(key).ok_or_else(|| format!("{key} is missing"))?;
        Ok::<_, String>(array.shape.as_slice())
    };
    let broken = |key: &str, shape: &[usize]| format!("{key} has the unknown shape {shape:?}");
    let kernel = shape("img/embedding/kernel")?;
    let table = shape("img/pos_embedding")?;
    let tower = derive_tower(catalog, "img/Transformer")?;
    let (patch_size, geometry) = match (kernel, table) {
        (&[patch, _, 3, _], &[1, tokens, _]) => (patch, VisionGeometry::Fixed { image_size: tokens.isqrt().saturating_mul(patch) }),
        (&[patch_dim, _], &[side, _, _]) => ((patch_dim / 3).isqrt(), VisionGeometry::NaFlex { table_side: side }),
        _ => return Err(broken("img/embedding/kernel", kernel)),
    };
    let vision = VisionConfig { tower, patch_size, geometry, preprocessing: Preprocessing::SIGLIP2 };
    let &[vocab_size, _] = shape("txt/Embed_0/embedding")? else { return Err("txt/Embed_0/embedding is not a table".to_owned()) };
    let &[_, positions, _] = shape("txt/pos_embedding")? else { return Err("txt/pos_embedding is not [1, positions, width]".to_owned()) };
    let &[_, projection_dim] = shape("txt/head/kernel")? else { return Err("txt/head/kernel is not a matrix".to_owned()) };
    let text = TextConfig { tower: derive_tower(catalog, "txt/Encoder_0")?, vocab_size, positions, projection_dim };
    let derived = ModelConfig { vision, text };
    let json = serde_json::to_vec(&derived.to_json()).map_err(|error| error.to_string())?;
    let checked = ModelConfig::from_json(&json).map_err(|error| error.to_string())?;
    Ok(released_twin(&checked).unwrap_or(checked))
}

fn derive_tower(catalog: &Catalog, encoder: &str) -> Result<TowerConfig, String> {
    const QUERY: &str = "MultiHeadDotProductAttention_0/query/kernel";
    const DENSE: &str = "MlpBlock_0/Dense_0/kernel";
    let get = |block: &str, key: &str| catalog.get(&format!("{encoder}/{block}/{key}")).map(|array: &Array| array.shape.as_slice());
    let found = match (get("encoderblock", QUERY), get("encoderblock", DENSE)) {
        (Some(&[depth, width, heads, _]), Some(&[_, _, mlp_dim])) => Some((depth, width, heads, mlp_dim)),
        _ => match (get("encoderblock_0", QUERY), get("encoderblock_0", DENSE)) {
            (Some(&[width, heads, _]), Some(&[_, mlp_dim])) => {
                let depth = (0..).take_while(|layer| get(&format!("encoderblock_{layer}"), QUERY).is_some()).count();
                Some((depth, width, heads, mlp_dim))
            }
            _ => None,
        },
    };
    let (depth, width, heads, mlp_dim) = found.ok_or_else(|| format!("{encoder}/encoderblock is missing or has unknown shapes"))?;
    // flax's LayerNorm default, which big_vision never changes.
    Ok(TowerConfig { width, mlp_dim, depth, heads, layer_norm_eps: 1e-6 })
}

/// The released checkpoint with the same shapes. Patch 14 at 384 pixels covers only 378 of them, which no shape tells.
fn released_twin(derived: &ModelConfig) -> Option<ModelConfig> {
    let same_shapes = |preset: &ModelConfig| {
        let (a, b) = (&preset.vision, &derived.vision);
        let same_family = std::mem::discriminant(&a.geometry) == std::mem::discriminant(&b.geometry);
        same_family && a.tower == b.tower && a.patch_size == b.patch_size && a.table_side() == b.table_side() && preset.text == derived.text
    };
    PRESETS.iter().map(|preset| preset.config).find(same_shapes)
}
