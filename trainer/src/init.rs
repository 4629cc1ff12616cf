//! Initial weights, as big_vision draws them (`models/vit.py`, `models/proj/image_text/text_transformer.py`, flax defaults where those
//! files are silent). t′ = ln 10 and b = −10 as in SigLIP's Algorithm 1.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use polyglance::config::ModelConfig;
use polyglance::platform::for_each_chunk;
use polyglance::weights::{OutputTensor, OutputValues, TensorSpec, expected_tensors, replace_file, write_safetensors};

use polyglance_trainer::random::Stream;

/// How one tensor is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Distribution {
    Constant(f32),
    /// Normal with this standard deviation.
    Normal(f32),
    /// Uniform between plus and minus this bound.
    Uniform(f32),
}

/// Writes `config.json` and `model.safetensors` into a new folder.
pub(crate) fn write(config: &ModelConfig, seed: u64, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    let specs = expected_tensors(config);
    let values: Vec<Vec<f32>> = specs.iter().map(|spec| draw(spec, seed)).collect();
    let tensors: Vec<_> = specs
        .into_iter()
        .zip(&values)
        .map(|(TensorSpec { name, shape }, values)| OutputTensor { name, shape, values: OutputValues::F32(values) })
        .collect();
    // transformers refuses files that do not say which framework wrote them.
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    write_safetensors(&folder.join("model.safetensors"), &tensors, &metadata)?;
    let json = serde_json::to_vec_pretty(&config.to_json())?;
    replace_file(&folder.join("config.json"), |writer| writer.write_all(&json))?;
    println!("{}: {} parameters, seed {seed}", folder.display(), config.parameters());
    Ok(())
}

fn draw(spec: &TensorSpec, seed: u64) -> Vec<f32> {
    let stream = Stream::new(seed, &spec.name);
    let distribution = distribution(spec);
    let mut values = vec![0.0; spec.shape.iter().product()];
    const CHUNK: usize = 1 << 16;
    for_each_chunk(&mut values, CHUNK, |chunk, values| {
        for (i, value) in values.iter_mut().enumerate() {
            let index = (chunk * CHUNK + i) as u64;
            *value = match distribution {
                Distribution::Constant(value) => value,
                Distribution::Normal(deviation) => deviation * stream.normal(index),
                Distribution::Uniform(bound) => bound * (2.0 * stream.uniform(index) - 1.0),
            };
        }
    });
    values
}

fn distribution(spec: &TensorSpec) -> Distribution {
    let name = spec.name.as_str();
    let last = |n: usize| spec.shape.iter().rev().take(n).product::<usize>() as f32;
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
    // xavier_uniform over flax's (fan_in, fan_out); in_proj stacks three square matrices.
    let xavier = |fan_in: f32, fan_out: f32| Distribution::Uniform((6.0 / (fan_in + fan_out)).sqrt());
    match name {
        "logit_scale" => Distribution::Constant(10f32.ln()),
        "logit_bias" => Distribution::Constant(-10.0),
        _ if ends(&["position_embedding.weight", "token_embedding.weight"]) => Distribution::Normal(last(1).sqrt().recip()),
        _ if ends(&["head.probe"]) => xavier(1.0, last(1)),
        // lecun_normal, flax's default, for the two layers that name no other.
        _ if ends(&["patch_embedding.weight", "text_model.head.weight"]) => Distribution::Normal(last(spec.shape.len() - 1).sqrt().recip()),
        _ if ends(&["norm.weight", "norm1.weight", "norm2.weight"]) => Distribution::Constant(1.0),
        _ if ends(&["fc1.bias", "fc2.bias"]) => Distribution::Normal(1e-6),
        _ if ends(&["bias"]) => Distribution::Constant(0.0),
        _ if ends(&["in_proj_weight"]) => xavier(last(1), last(1)),
        _ => xavier(last(1), last(2) / last(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tensor_of_a_preset_has_its_distribution() {
        let config = polyglance::config::PRESETS[0].config;
        for spec in expected_tensors(&config) {
            let got = distribution(&spec);
            let want_constant = spec.name.contains("logit") || spec.name.contains("norm") || spec.name.ends_with("bias");
            let is_constant = matches!(got, Distribution::Constant(_)) || got == Distribution::Normal(1e-6);
            assert_eq!(is_constant, want_constant, "{} is {got:?}", spec.name);
        }
    }

    #[test]
    fn an_untrained_model_opens_and_is_reproducible() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = polyglance::config::PRESETS[15].config;
        (config.vision.tower.width, config.vision.tower.heads, config.vision.tower.depth, config.vision.tower.mlp_dim) = (16, 2, 1, 32);
        config.text.tower = config.vision.tower;
        (config.text.projection_dim, config.text.vocab_size) = (16, 50);
        let bytes = |name: &str, seed| {
            write(&config, seed, &folder.path().join(name)).expect("it is written");
            std::fs::read(folder.path().join(name).join("model.safetensors")).expect("it is there")
        };
        let first = bytes("a", 1);
        assert_eq!(first, bytes("b", 1));
        assert_ne!(first, bytes("c", 2));
        let opened = polyglance::platform::block_on(polyglance::weights::Checkpoint::open(&folder.path().join("a")));
        assert_eq!(*opened.expect("it opens").config(), config);
    }
}
