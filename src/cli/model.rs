//! From `--model` to an encoder that runs.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::{Context, Result};
use polyglance::config::{ModelConfig, PRESETS, VisionGeometry};
use polyglance::encoder::Encoder;
use polyglance::platform::block_on;
use polyglance::text::{TextOptions, Tokenizer, Tokens};
use polyglance::weights::Checkpoint;

use super::args::{DeviceArgs, HubArgs};
use super::console::note;
use super::progress::Progress;
use super::{UsageError, demo, hub, table};

/// A checkpoint and the encoder made from it.
pub(crate) struct Model {
    pub(crate) checkpoint: Arc<Checkpoint>,
    pub(crate) encoder: Encoder,
}

/// Texts after the text tower.
#[derive(Debug, Default)]
pub(crate) struct EncodedTexts {
    /// `[M, dim]`, unit length.
    pub(crate) embeds: Vec<f32>,
    /// `[M, positions]`.
    pub(crate) ids: Vec<i32>,
}

/// Texts encoded at once: 64 texts of 64 tokens fill any device.
const TEXTS_PER_BATCH: usize = 64;

impl Model {
    /// Opens the checkpoint and makes the encoder ready. Says on standard error what it runs on.
    pub(crate) fn load(name: Option<&str>, hub: &HubArgs, device: &DeviceArgs) -> Result<Self> {
        let checkpoint = Arc::new(open(name, hub)?);
        let encoder = block_on(Encoder::new(Arc::clone(&checkpoint), device.options()))?;
        note(&format!("running on {}", encoder.device()));
        Ok(Self { checkpoint, encoder })
    }

    /// The model's dimensions.
    pub(crate) fn config(&self) -> &ModelConfig {
        self.checkpoint.config()
    }

    /// Encodes texts in order; `name` says which text an error is about. Truncated texts are reported on standard error.
    pub(crate) fn encode_texts(&mut self, texts: &[String], options: TextOptions, name: impl Fn(usize) -> String) -> Result<EncodedTexts> {
        let json = block_on(self.checkpoint.tokenizer_json())?;
        let tokenizer = Tokenizer::from_json(&json, &self.config().text, options)?;
        let encode = |(index, text): (usize, &String)| tokenizer.encode(text).with_context(|| name(index));
        let tokens = texts.iter().enumerate().map(encode).collect::<Result<Vec<Tokens>>>()?;
        warn_truncated(&tokens, self.config().text.positions, name);
        let mut encoded = EncodedTexts::default();
        let progress = Progress::new(tokens.len(), "texts");
        for batch in tokens.chunks(TEXTS_PER_BATCH) {
            encoded.embeds.extend(block_on(self.encoder.encode_texts(batch))?.embeds);
            for tokens in batch {
                encoded.ids.extend(tokens.ids.iter().map(|&id| i32::try_from(id)).collect::<Result<Vec<_>, _>>()?);
            }
            progress.add(batch.len());
        }
        Ok(encoded)
    }
}

/// Truncated texts named one by one; the rest are only counted.
const TRUNCATED_NAMED: usize = 5;

/// The end of a truncated text has no effect on its embedding, so its author should know.
fn warn_truncated(tokens: &[Tokens], positions: usize, name: impl Fn(usize) -> String) {
    let truncated: Vec<usize> = tokens.iter().enumerate().filter(|(_, tokens)| tokens.truncated).map(|(index, _)| index).collect();
    for &index in truncated.iter().take(TRUNCATED_NAMED) {
        note(&format!("{} is longer than {positions} tokens and was truncated", name(index)));
    }
    if let Some(more @ 1..) = truncated.len().checked_sub(TRUNCATED_NAMED) {
        note(&format!("{more} more were truncated"));
    }
}

/// Opens the checkpoint called `name`, downloading it if that is needed and allowed.
pub(crate) fn open(name: Option<&str>, lookup: &HubArgs) -> Result<Checkpoint> {
    let name = name.ok_or_else(|| UsageError(format!("no model was chosen: add --model\n{}", choices())))?;
    if name == demo::NAME {
        return demo::open();
    }
    Ok(block_on(Checkpoint::open(&hub::resolve(name, lookup.offline)?))?)
}

/// The ways to name a model.
pub(crate) fn choices() -> String {
    let mut text = String::from(
        "  a folder with config.json, model.safetensors and tokenizer.json, as in  --model ./my-model\n  \
         demo, the small model inside, which knows emoji scenes and no photos\n  \
         a hub id, downloaded once into the cache that the Python tools share:\n",
    );
    let mut presets: Vec<_> = PRESETS.iter().collect();
    presets.sort_by_key(|preset| preset.config.parameters());
    for preset in presets {
        let size = table::bytes(preset.config.parameters() * size_of::<f32>() as u64);
        let kind = match preset.config.vision.geometry {
            VisionGeometry::Fixed { image_size } => format!("{image_size} × {image_size} pixels"),
            VisionGeometry::NaFlex { .. } => "any aspect ratio and detail".to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    {:<40} {size:>8}  {kind}", preset.id);
    }
    text + "  To start:  --model google/siglip2-base-patch16-naflex"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_name_every_preset() {
        let text = choices();
        assert!(PRESETS.iter().all(|preset| text.contains(preset.id)));
    }
}
