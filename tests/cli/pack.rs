//! `polyglance pack`: smaller folders that give the same embeddings.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

use super::formats::Tensors;
use super::run::{images, model, polyglance};
use crate::support::worst_row_error;

/// Image and text embeddings of a model.
fn embeddings(folder: &Path, model: &Path) -> (Vec<f32>, Vec<f32>, usize) {
    let output = folder.join("embeddings.safetensors");
    let mut command = polyglance(["embed", "--device", "cpu", "--text", "a cat", "--text", "一只猫"]);
    command.arg("--image").arg(images().join("0[1-3]*.png")).arg("--output").arg(&output).arg("--model").arg(model).succeeds();
    let tensors = Tensors::read(&output);
    (tensors.f32("image_embeds"), tensors.f32("text_embeds"), tensors.shape("image_embeds")[1])
}

fn pack(source: &Path, weights: &str, output: &Path) -> String {
    let mut command = polyglance(["pack", "--weights", weights]);
    command.arg(source).arg("--output").arg(output).succeeds().stderr
}

#[test]
fn packed_models_give_the_same_embeddings() {
    let folder = tempfile::tempdir().unwrap();
    // Stored as f32, as f16, as bf16 in shards, with a convolution.
    for (name, weights, bar) in
        [("fixed14", "f16", 2e-2), ("fixed14", "f32", 1e-6), ("fixed32", "f16", 1e-6), ("naflex72", "f32", 1e-6), ("outlier", "f16", 5e-2)]
    {
        let (source, packed) = (model(name), folder.path().join(format!("{name}-{weights}")));
        pack(&source, weights, &packed);
        let ((images, texts, dim), (want_images, want_texts, _)) = (embeddings(folder.path(), &packed), embeddings(folder.path(), &source));
        let error = worst_row_error(&images, &want_images, dim).max(worst_row_error(&texts, &want_texts, dim));
        assert!(error <= bar, "{name} as {weights} is off by {error:.1e}");
        assert!(packed.join("tokenizer_config.json").is_file());
        let config = fs::read_to_string(packed.join("config.json")).unwrap();
        assert!(config.contains(if weights == "f16" { "\"float16\"" } else { "\"float32\"" }));
    }
}

/// A copy of `fixed14`, with one of its f32 values changed.
fn with_a_large_value(folder: &Path) -> PathBuf {
    let copy = folder.join("large");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(model("fixed14")).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let path = copy.join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let at = {
        let parsed = SafeTensors::deserialize(&bytes).unwrap();
        let tensor = parsed.tensor("text_model.head.bias").unwrap();
        assert_eq!(tensor.dtype(), Dtype::F32);
        tensor.data().as_ptr() as usize - bytes.as_ptr() as usize
    };
    bytes[at..at + 4].copy_from_slice(&1e5f32.to_le_bytes());
    fs::write(path, bytes).unwrap();
    copy
}

#[test]
fn what_f16_cannot_hold_stays_f32() {
    let folder = tempfile::tempdir().unwrap();
    let packed = folder.path().join("packed");
    let said = pack(&with_a_large_value(folder.path()), "f16", &packed);
    assert!(said.contains("text_model.head.bias has values that f16 cannot hold"), "{said}");
    let bytes = fs::read(packed.join("model.safetensors")).unwrap();
    let parsed = SafeTensors::deserialize(&bytes).unwrap();
    let single: Vec<&str> = parsed.names().into_iter().filter(|name| parsed.tensor(name).unwrap().dtype() == Dtype::F32).collect();
    assert_eq!(single, ["text_model.head.bias"]);
    assert_eq!(parsed.tensor("text_model.head.bias").unwrap().data()[..4], 1e5f32.to_le_bytes());
}

#[test]
fn a_folder_that_exists_is_left_alone_and_failures_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = polyglance(["pack"]);
    let failed = command.arg(model("fixed14")).arg("--output").arg(folder.path()).fails(2);
    assert!(failed.stderr.contains("it exists"), "{}", failed.stderr);
    let broken = folder.path().join("broken");
    fs::create_dir(&broken).unwrap();
    fs::copy(model("fixed14").join("config.json"), broken.join("config.json")).unwrap();
    let mut command = polyglance(["pack"]);
    command.arg(&broken).arg("--output").arg(folder.path().join("packed")).fails(1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
