//! Browser bindings of Polyglance: a thin layer between JavaScript values and the library. `worker.js` is its only caller.
//!
//! Natively this crate is empty.
#![cfg(target_family = "wasm")]

use std::sync::Arc;

use js_sys::{Array, Float32Array, Uint8Array};
use polyglance::{
    encoder::{Encoder, EncoderOptions, ImageOutputs, Precision},
    image::{self, PatchBatch, Resampling},
    limits::Limits,
    text::{TextOptions, Tokenizer},
    weights::{ByteSource, Checkpoint, MemorySource},
};
use wasm_bindgen::{JsCast, JsError, prelude::wasm_bindgen};

/// Runs once when the module starts: a panic is shown in the console before the module traps.
#[wasm_bindgen(start)]
fn start() {
    console_error_panic_hook::set_once();
}

/// The version of this build.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// A checkpoint on a device. Each method borrows it until its promise settles, so a caller awaits one before calling the next.
#[wasm_bindgen]
pub struct Model {
    checkpoint: Arc<Checkpoint>,
    encoder: Encoder,
    /// Loaded at the first text: the released vocabularies take hundreds of megabytes.
    tokenizer: Option<Tokenizer>,
}

#[wasm_bindgen]
impl Model {
    /// Opens a checkpoint from its files, an array of `[name, Uint8Array]` with at least `config.json` and the weights, on the device
    /// `auto`, `cpu`, `gpu` or the one with that name.
    ///
    /// # Errors
    /// A file is missing or damaged, or there is no such device.
    pub async fn load(files: Array, device: String) -> Result<Model, JsError> {
        let mut config = Vec::new();
        let mut sources: Vec<(String, Arc<dyn ByteSource>)> = Vec::new();
        for file in files {
            let (name, bytes) = named_bytes(&file.into()).ok_or_else(|| JsError::new("files must be an array of [name, Uint8Array]"))?;
            if name == "config.json" {
                config = bytes;
            } else {
                sources.push((name.clone(), Arc::new(MemorySource::new(name, bytes))));
            }
        }
        let checkpoint = Arc::new(Checkpoint::from_sources(&config, sources).await?);
        let options = EncoderOptions { device: device.parse()?, precision: Precision::Auto };
        let encoder = Encoder::new(Arc::clone(&checkpoint), options).await?;
        Ok(Self { checkpoint, encoder, tokenizer: None })
    }

    /// Where the model runs, in words.
    pub fn device(&self) -> String {
        self.encoder.device().to_string()
    }

    /// The embedding, of unit length, of an image file's bytes.
    ///
    /// # Errors
    /// Not an image, an image over the limits, or a device that fails twice.
    #[wasm_bindgen(js_name = embedImage)]
    pub async fn embed_image(&mut self, encoded: Vec<u8>) -> Result<Float32Array, JsError> {
        let decoded = image::decode(&encoded, &Limits::current())?;
        let patches = image::preprocess(&decoded.pixels, &self.encoder.config().vision, None, Resampling::Hf)?;
        let features = self.encoder.encode_images(&PatchBatch::pack(&[patches]), ImageOutputs::default()).await?;
        Ok(Float32Array::from(features.embeds.as_slice()))
    }

    /// The embeddings of texts, each of unit length, one after the other.
    ///
    /// # Errors
    /// The checkpoint came without `tokenizer.json`, a text over the limits, or a device that fails twice.
    #[wasm_bindgen(js_name = embedTexts)]
    pub async fn embed_texts(&mut self, texts: Vec<String>) -> Result<Float32Array, JsError> {
        let tokenizer = match &mut self.tokenizer {
            Some(tokenizer) => tokenizer,
            empty => {
                let json = self.checkpoint.tokenizer_json().await?;
                empty.insert(Tokenizer::from_json(&json, &self.checkpoint.config().text, TextOptions::default())?)
            }
        };
        let tokens = texts.iter().map(|text| tokenizer.encode(text)).collect::<Result<Vec<_>, _>>()?;
        let features = self.encoder.encode_texts(&tokens).await?;
        Ok(Float32Array::from(features.embeds.as_slice()))
    }
}

fn named_bytes(file: &Array) -> Option<(String, Vec<u8>)> {
    let bytes = file.get(1).dyn_into::<Uint8Array>().ok()?;
    Some((file.get(0).as_string()?, bytes.to_vec()))
}
