//! The small files beside a model's weights: its configuration, and how its images and texts are prepared.

use std::path::Path;

use super::{WeightsError, replace_file};
use crate::config::{Filter, ModelConfig, VisionGeometry};

const TOKENIZER_FILES: [&str; 3] = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];

/// Writes them into a folder that exists, each file whole or not at all, so that with a `model.safetensors` beside them the library and
/// `transformers` load it. `dtype` is what the weights are stored as, in PyTorch's words. Tokenizer and image processor come from the folder
/// `source` if it has them; without, there is no tokenizer, and the image processor's file follows from the configuration.
///
/// # Errors
/// A file cannot be read or written.
pub fn write_companions(folder: &Path, config: &ModelConfig, dtype: &str, source: Option<&Path>) -> Result<(), WeightsError> {
    let mut json = config.to_json();
    json["dtype"] = dtype.into();
    write_json(&folder.join("config.json"), &json)?;
    let copy = |name: &str| -> Result<bool, WeightsError> {
        let Some(file) = source.map(|source| source.join(name)).filter(|file| file.is_file()) else { return Ok(false) };
        let bytes = std::fs::read(&file).map_err(|source| WeightsError::Io { action: "read", file, source })?;
        replace_file(&folder.join(name), |writer| writer.write_all(&bytes))?;
        Ok(true)
    };
    for name in TOKENIZER_FILES {
        copy(name)?;
    }
    let has_tokenizer = folder.join("tokenizer.json").is_file();
    if has_tokenizer && !folder.join("tokenizer_config.json").is_file() {
        write_json(&folder.join("tokenizer_config.json"), &tokenizer_config(config))?;
    }
    if !copy("preprocessor_config.json")? {
        write_json(&folder.join("preprocessor_config.json"), &preprocessor_config(config))?;
    }
    Ok(())
}

fn write_json(path: &Path, json: &serde_json::Value) -> Result<(), WeightsError> {
    // A Value has string keys only, so that it always prints.
    let text = format!("{json:#}\n");
    replace_file(path, |writer| writer.write_all(text.as_bytes()))
}

/// What `transformers` needs beside a `tokenizer.json`. The generic class takes the file as it is; the padded length is the model's.
fn tokenizer_config(config: &ModelConfig) -> serde_json::Value {
    serde_json::json!({
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": config.text.positions, "padding_side": "right",
        "pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>", "model_input_names": ["input_ids"],
    })
}

/// The image processor's file, as released checkpoints have it.
fn preprocessor_config(config: &ModelConfig) -> serde_json::Value {
    let resample = if config.vision.preprocessing.filter == Filter::Bicubic { 3 } else { 2 };
    let half = [0.5; 3];
    let mut json = serde_json::json!({
        "do_resize": true, "do_rescale": true, "do_normalize": true, "do_convert_rgb": true, "resample": resample,
        "rescale_factor": 1.0 / 255.0, "image_mean": half, "image_std": half,
    });
    match config.vision.geometry {
        VisionGeometry::Fixed { image_size } => {
            json["image_processor_type"] = "SiglipImageProcessor".into();
            json["size"] = serde_json::json!({ "height": image_size, "width": image_size });
        }
        VisionGeometry::NaFlex { .. } => {
            json["image_processor_type"] = "Siglip2ImageProcessor".into();
            json["patch_size"] = config.vision.patch_size.into();
            json["max_num_patches"] = config.vision.preprocessing.max_num_patches.into();
        }
    }
    json
}
