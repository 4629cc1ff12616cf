//! Checkpoint folders in and out, and agreement with the library's encoder on the same weights.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use polyglance::config::{ModelConfig, PRESETS};
use polyglance::encoder::{DeviceChoice, Encoder, EncoderOptions, ImageOutputs, Precision};
use polyglance::platform::block_on;
use polyglance::weights::Checkpoint;
use polyglance_trainer::model::{Export, ExportPrecision, ModelError, Siglip};

use crate::support::{Numbers, fixture, flex, model, norms};

fn open(folder: &Path) -> Arc<Checkpoint> {
    Arc::new(block_on(Checkpoint::open(folder)).unwrap())
}

/// Embeddings of a fixture's batch by the library's encoder.
fn library_embeddings(folder: &Path, numbers: &Numbers) -> (Vec<f32>, Vec<f32>) {
    let options = EncoderOptions { device: DeviceChoice::Cpu, precision: Precision::F32 };
    let mut encoder = block_on(Encoder::new(open(folder), options)).unwrap();
    let (images, texts) = numbers.batch("");
    let images = block_on(encoder.encode_images(&images, ImageOutputs::default())).unwrap().embeds;
    (images, block_on(encoder.encode_texts(&texts)).unwrap().embeds)
}

/// The two share nothing but formulas; 1e-5 is what different orders of summation give.
#[test]
fn the_trainer_computes_what_the_library_computes() {
    for name in ["naflex", "fixed"] {
        let (model, numbers) = (model(name, &Device::flex()), Numbers::open(&format!("{name}/batch.safetensors")));
        let (images, texts) = numbers.batch("");
        let (library_images, library_texts) = library_embeddings(&fixture(name), &numbers);
        let pairs = [(model.embed_images(&images), library_images), (model.embed_texts(&texts), library_texts)];
        for (ours, expected) in pairs {
            let (difference, norm) = norms(&ours.unwrap().into_data().try_to_vec::<f32>().unwrap(), &expected);
            assert!(difference <= 1e-5 * norm, "{name}: embeddings differ by {difference:.2e}");
        }
    }
}

#[test]
fn saving_gives_back_what_was_loaded() {
    for name in ["naflex", "fixed"] {
        let folder = tempfile::tempdir().unwrap();
        model(name, &flex()).save(folder.path(), &Export::default()).unwrap();
        let (before, after) = (open(&fixture(name)), open(folder.path()));
        assert_eq!(before.config(), after.config());
        for tensor in before.tensors() {
            assert_eq!(block_on(before.read(&tensor.name)).unwrap(), block_on(after.read(&tensor.name)).unwrap(), "{}", tensor.name);
        }
    }
}

/// Half precision keeps 11 bits: embeddings move by some 1e-3.
#[test]
fn half_precision_exports_load_and_are_close() {
    let (folder, numbers) = (tempfile::tempdir().unwrap(), Numbers::open("naflex/batch.safetensors"));
    let export = Export { precision: ExportPrecision::F16, source: None };
    model("naflex", &flex()).save(folder.path(), &export).unwrap();
    let (got, want) = (library_embeddings(folder.path(), &numbers).0, numbers.f32s("image_embeds"));
    let (difference, norm) = norms(&got, &want);
    assert!(difference > 1e-6 * norm && difference <= 5e-3 * norm, "embeddings differ by {difference:.2e}");
    let size = |name: &Path| std::fs::metadata(name.join("model.safetensors")).unwrap().len();
    assert!(size(folder.path()) < size(&fixture("naflex")) * 6 / 10);
}

#[test]
fn values_beyond_half_precision_are_an_error_that_names_the_tensor() {
    let model = model("naflex", &flex());
    let mut values = model.to_values().unwrap();
    values.iter_mut().find(|tensor| tensor.name == "text_model.head.bias").unwrap().values[3] = -7e4;
    let model = Siglip::from_values(model.config(), values, &flex()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let error = model.save(folder.path(), &Export { precision: ExportPrecision::F16, source: None }).unwrap_err();
    assert!(error.to_string().contains("text_model.head.bias"), "{error}");
    assert!(!folder.path().join("model.safetensors").exists());
}

#[test]
fn a_sources_tokenizer_and_processor_are_copied() {
    let (source, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(source.path().join("tokenizer.json"), "{}").unwrap();
    let processor = r#"{"image_processor_type": "Siglip2ImageProcessor", "resample": 3}"#;
    std::fs::write(source.path().join("preprocessor_config.json"), processor).unwrap();
    let export = Export { source: Some(source.path().to_owned()), ..Export::default() };
    model("naflex", &flex()).save(folder.path(), &export).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!((read("tokenizer.json").as_str(), read("preprocessor_config.json").as_str()), ("{}", processor));
    assert!(read("tokenizer_config.json").contains("model_max_length"));
}

fn tiny() -> ModelConfig {
    let mut config = PRESETS[15].config;
    (config.vision.tower.width, config.vision.tower.heads, config.vision.tower.depth, config.vision.tower.mlp_dim) = (16, 2, 1, 32);
    config.text.tower = config.vision.tower;
    (config.text.projection_dim, config.text.vocab_size) = (16, 50);
    config
}

#[test]
fn an_untrained_model_opens_and_is_reproducible() {
    let bytes = |seed| {
        let folder = tempfile::tempdir().unwrap();
        Siglip::init(&tiny(), seed, &flex()).unwrap().save(folder.path(), &Export::default()).unwrap();
        assert_eq!(*open(folder.path()).config(), tiny());
        std::fs::read(folder.path().join("model.safetensors")).unwrap()
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1), bytes(2));
}

#[test]
fn batches_of_another_model_are_errors() {
    let (naflex, fixed) = (model("naflex", &flex()), model("fixed", &flex()));
    let (images, texts) = Numbers::open("naflex/batch.safetensors").batch("");
    assert!(matches!(fixed.embed_images(&images), Err(ModelError::Grid { side: 5, .. })));
    let bigger = Siglip::init(&tiny(), 0, &flex()).unwrap();
    assert!(matches!(bigger.embed_images(&images), Err(ModelError::Patches { patch_dim: 768, .. })));
    let mut wrong = texts.clone();
    wrong[1].ids[5] = 40;
    assert!(matches!(naflex.embed_texts(&wrong), Err(ModelError::TokenId { id: 40, vocab_size: 40 })));
    wrong[1].ids.pop();
    assert!(matches!(naflex.embed_texts(&wrong), Err(ModelError::TextLength { len: 63, positions: 64 })));
    assert!(matches!(naflex.embed_texts(&[]), Err(ModelError::NoTexts)));
}
