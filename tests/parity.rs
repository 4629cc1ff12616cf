//! The numbers of `transformers` for random-weight checkpoints, from pictures and strings to logits (`tests/oracle/models.py`).

use std::path::PathBuf;

use polyglance::encoder::{Encoder, HiddenLayer, ImageFeatures, ImageOutputs};
use polyglance::image::{PatchBatch, Patches, Resampling, decode, preprocess};
use polyglance::limits::Limits;
use polyglance::platform::block_on;
use polyglance::text::{TextOptions, Tokenizer};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::support::{checkpoint, fixture, on_cpu, worst_row_error};

/// What the results may differ by, relative per row; logits absolutely.
struct Bars {
    embeds: f64,
    hidden: f64,
    logits: f64,
}

const F32: Bars = Bars { embeds: 1e-5, hidden: 1e-4, logits: 1e-3 };

/// A model of the manifest with its expected numbers.
struct Model {
    name: String,
    cases: Vec<Value>,
    images: Vec<PathBuf>,
    texts: Vec<String>,
    expected: Vec<u8>,
}

impl Model {
    fn all() -> Vec<Self> {
        let manifest: Value = serde_json::from_slice(&std::fs::read(fixture("models/manifest.json")).unwrap()).unwrap();
        let strings = |key: &str| manifest[key].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect::<Vec<_>>();
        let images: Vec<_> = strings("images").iter().map(|image| fixture("models").join(image)).collect();
        let models = manifest["models"].as_array().unwrap().iter().map(|model| {
            let name = model["name"].as_str().unwrap().to_owned();
            let expected = std::fs::read(fixture(&format!("models/{name}/expected.safetensors"))).unwrap();
            Self { name, cases: model["cases"].as_array().unwrap().clone(), images: images.clone(), texts: strings("texts"), expected }
        });
        models.collect()
    }

    fn f32s(&self, key: &str) -> Vec<f32> {
        bytemuck::pod_collect_to_vec(SafeTensors::deserialize(&self.expected).unwrap().tensor(key).unwrap().data())
    }

    fn i32s(&self, key: &str) -> Vec<i32> {
        bytemuck::pod_collect_to_vec(SafeTensors::deserialize(&self.expected).unwrap().tensor(key).unwrap().data())
    }

    /// The patches of every case, checked for equality with the processor's.
    fn patches(&self, encoder: &Encoder) -> Vec<Patches> {
        let patches_of = |case: &Value| {
            let path = &self.images[case["image"].as_u64().unwrap() as usize];
            let image = decode(&std::fs::read(path).unwrap(), &Limits::current()).unwrap();
            let budget = case["budget"].as_u64().map(|n| n as usize);
            let patches = preprocess(&image.pixels, &encoder.config().vision, budget, Resampling::Hf).unwrap();
            let digest = format!("{:016x}", fnv1a64(bytemuck::cast_slice(&patches.values)));
            assert_eq!(digest, case["patches_fnv1a64"].as_str().unwrap(), "{}: patches of {}", self.name, path.display());
            patches
        };
        self.cases.iter().map(patches_of).collect()
    }
}

fn fnv1a64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Rows `rows.k` of case k's hidden state.
fn kept_rows(model: &Model, features: &ImageFeatures, hidden: &[f32], case: usize, width: usize) -> Vec<f32> {
    let first = features.offsets[case] as usize;
    model.i32s(&format!("rows.{case}")).iter().flat_map(|&row| hidden[(first + row as usize) * width..][..width].to_vec()).collect()
}

fn check_model(model: &Model, encoder: &mut Encoder, bars: &Bars) {
    let Model { name, .. } = model;
    let (width, dim) = (encoder.config().vision.tower.width, encoder.config().embedding_dim());
    let batch = PatchBatch::pack(&model.patches(encoder));
    let features = block_on(encoder.encode_images(&batch, ImageOutputs { hidden: Some(HiddenLayer::Last), attention: true })).unwrap();
    let below = |what: &str, got: &[f32], want: &[f32], cols: usize, bar: f64| {
        let error = worst_row_error(got, want, cols);
        assert!(error <= bar, "{name}: {what} differ by {error:.2e}, more than {bar:.0e}, on {}", encoder.device());
    };
    below("image embeddings", &features.embeds, &model.f32s("image_embeds"), dim, bars.embeds);
    below("pooled vectors", &features.pooled, &model.f32s("pooled"), dim, bars.embeds);
    let hidden = features.hidden.as_ref().unwrap();
    for case in 0..model.cases.len() {
        let kept = kept_rows(model, &features, hidden, case, width);
        below("hidden states", &kept, &model.f32s(&format!("last_hidden_state.{case}")), width, bars.hidden);
    }
    check_details(model, encoder, &features, bars);
    let texts = encode_texts(model, encoder);
    let error = worst_row_error(&texts, &model.f32s("text_embeds"), dim);
    assert!(error <= bars.embeds, "{name}: text embeddings differ by {error:.2e} on {}", encoder.device());
    check_logits(model, encoder, &features.embeds, &texts, bars.logits);
}

/// An inner block and the MAP head's attention, for the cases that have them.
fn check_details(model: &Model, encoder: &mut Encoder, features: &ImageFeatures, bars: &Bars) {
    let width = encoder.config().vision.tower.width;
    let heads = encoder.config().vision.tower.heads;
    let patches = model.patches(encoder);
    for (index, case) in model.cases.iter().enumerate() {
        if let Some(block) = case["block"].as_u64() {
            let want = ImageOutputs { hidden: Some(HiddenLayer::Block(block as usize)), attention: true };
            let single = block_on(encoder.encode_images(&PatchBatch::pack(&patches[index..=index]), want)).unwrap();
            let error = worst_row_error(single.hidden.as_ref().unwrap(), &model.f32s(&format!("block.{block}.{index}")), width);
            assert!(error <= bars.hidden, "{}: block {block} differs by {error:.2e}", model.name);
        }
        if case["attention"] == true {
            let range = features.offsets[index] as usize * heads..features.offsets[index + 1] as usize * heads;
            let got = &features.attention.as_ref().unwrap()[range];
            let want = model.f32s(&format!("attention.{index}"));
            let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(f64::from(worst) <= bars.hidden, "{}: attention weights differ by {worst:.2e}", model.name);
        }
    }
}

fn encode_texts(model: &Model, encoder: &mut Encoder) -> Vec<f32> {
    let json = std::fs::read(fixture("models/tokenizer/tokenizer.json")).unwrap();
    let tokenizer = Tokenizer::from_json(&json, &encoder.config().text, TextOptions::default()).unwrap();
    let tokens: Vec<_> = model.texts.iter().map(|text| tokenizer.encode(text).unwrap()).collect();
    let ids: Vec<i32> = tokens.iter().flat_map(|tokens| tokens.ids.iter().map(|&id| id as i32)).collect();
    assert_eq!(ids, model.i32s("input_ids"), "{}: token ids", model.name);
    block_on(encoder.encode_texts(&tokens)).unwrap().embeds
}

fn check_logits(model: &Model, encoder: &Encoder, images: &[f32], texts: &[f32], bar: f64) {
    let dim = encoder.config().embedding_dim();
    let want = model.f32s("logits_per_image");
    let pairs = images.chunks_exact(dim).flat_map(|image| texts.chunks_exact(dim).map(move |text| (image, text)));
    for ((image, text), &want) in pairs.zip(&want) {
        let cos: f64 = image.iter().zip(text).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        let logit = f64::from(encoder.logit_scale()).exp() * cos + f64::from(encoder.logit_bias());
        assert!((logit - f64::from(want)).abs() <= bar, "{}: logit {logit} instead of {want} on {}", model.name, encoder.device());
    }
}

#[test]
fn cpu_agrees_with_transformers() {
    for model in Model::all() {
        check_model(&model, &mut on_cpu(&checkpoint(&model.name)), &F32);
    }
}

#[cfg(feature = "gpu")]
mod on_gpu {
    use polyglance::encoder::Precision;

    use super::*;
    use crate::support::on_gpu;

    /// Embeddings follow from what a logit may differ by: 0.1 / exp(4.7).
    const F16: Bars = Bars { embeds: 5e-3, hidden: 5e-2, logits: 0.1 };

    #[test]
    fn f32_agrees_with_transformers() {
        for model in Model::all() {
            let Some(mut encoder) = on_gpu(&checkpoint(&model.name), Precision::F32) else { return };
            assert_eq!((encoder.device().backend, encoder.device().precision), ("GPU", "f32"), "{}", encoder.device());
            check_model(&model, &mut encoder, &F32);
        }
    }

    #[test]
    fn f16_agrees_with_transformers() {
        for model in Model::all() {
            let Some(mut encoder) = on_gpu(&checkpoint(&model.name), Precision::F16) else { return };
            assert_eq!((encoder.device().backend, encoder.device().precision), ("GPU", "f16"), "{}", encoder.device());
            check_model(&model, &mut encoder, &F16);
        }
    }
}
