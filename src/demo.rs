//! The model that ships inside, and scenes to try it on.
//!
//! A NaFlex model of three million parameters, trained by this project's own trainer on rendered emoji scenes with captions in 16
//! languages (`cargo xtask demo`). It knows emoji and little else: photos need a released checkpoint. `assets/demo/README.md` has its data,
//! recipe and numbers.

use std::sync::Arc;

use crate::weights::{ByteSource, Checkpoint, MemorySource, WeightsError};

const CONFIG: &[u8] = include_bytes!("../assets/demo/config.json");
const FILES: [(&str, &[u8]); 3] = [
    ("model.safetensors", include_bytes!("../assets/demo/model.safetensors")),
    ("preprocessor_config.json", include_bytes!("../assets/demo/preprocessor_config.json")),
    ("tokenizer.json", include_bytes!("../assets/demo/tokenizer.json")),
];

/// What its captions look like: the name of a thing, without a sentence around it.
pub const TEMPLATE: &str = "{}";

/// Opens the model. Nothing is read from disk.
///
/// # Errors
/// None, unless this build's own files are damaged.
pub async fn checkpoint() -> Result<Checkpoint, WeightsError> {
    let source = |name: &'static str, bytes: &'static [u8]| Arc::new(MemorySource::new(name, bytes)) as Arc<dyn ByteSource>;
    Checkpoint::from_sources(CONFIG, FILES.map(|(name, bytes)| (name.to_owned(), source(name, bytes))).to_vec()).await
}

/// A scene with one emoji, which training never showed in this pose and on this background.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// What it shows, in English; `assets/demo/samples/samples.json` has the other languages.
    pub label: &'static str,
    /// Name of the file.
    pub file: &'static str,
    /// The file.
    pub jpeg: &'static [u8],
}

macro_rules! sample {
    ($label:literal, $file:literal) => {
        Sample { label: $label, file: $file, jpeg: include_bytes!(concat!("../assets/demo/samples/", $file)) }
    };
}

/// Scenes that differ in every way.
pub const SAMPLES: [Sample; 12] = [
    sample!("cat face", "cat-face.jpg"),
    sample!("pizza", "pizza.jpg"),
    sample!("bicycle", "bicycle.jpg"),
    sample!("cactus", "cactus.jpg"),
    sample!("guitar", "guitar.jpg"),
    sample!("rocket", "rocket.jpg"),
    sample!("butterfly", "butterfly.jpg"),
    sample!("umbrella", "umbrella.jpg"),
    sample!("strawberry", "strawberry.jpg"),
    sample!("octopus", "octopus.jpg"),
    sample!("castle", "castle.jpg"),
    sample!("key", "key.jpg"),
];
