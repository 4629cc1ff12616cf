//! From `--model` to an encoder that runs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use polyglance::config::{ModelConfig, PRESETS, VisionGeometry};
use polyglance::encoder::Encoder;
use polyglance::platform::block_on;
use polyglance::text::{TextOptions, Tokenizer, Tokens};
use polyglance::weights::Checkpoint;

use super::args::{DeviceArgs, HubArgs};
use super::console::note;
use super::progress::Progress;
use super::{UsageError, table};

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
pub(crate) fn open(name: Option<&str>, hub: &HubArgs) -> Result<Checkpoint> {
    let name = name.ok_or_else(|| UsageError(format!("no model was chosen: add --model\n{}", choices())))?;
    Ok(block_on(Checkpoint::open(&folder(name, hub)?))?)
}

/// The folder of a model, which may have to be downloaded.
fn folder(name: &str, hub: &HubArgs) -> Result<PathBuf> {
    let path = Path::new(name);
    if path.exists() {
        return Ok(path.to_owned());
    }
    if !is_hub_id(name) {
        bail!("model {name:?} is neither a folder nor a hub id\n{}", choices());
    }
    super::fetch::download(name, hub.offline).with_context(|| format!("there is no folder {name:?}, and as a hub id it failed"))
}

/// `owner/name` or `owner/name@revision`, unless `owner` is a folder here: then a folder was meant.
fn is_hub_id(name: &str) -> bool {
    let id = name.split('@').next().unwrap_or(name);
    let part =
        |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    id.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name) && !Path::new(owner).is_dir())
}

/// The ways to name a model.
pub(crate) fn choices() -> String {
    let mut text = String::from(
        "  a folder with config.json, model.safetensors and tokenizer.json, as in  --model ./my-model\n  \
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
    fn hub_ids_are_told_from_paths() {
        for id in ["google/siglip2-base-patch16-naflex", "owner/name@main", "a/b@refs/pr/1"] {
            assert!(is_hub_id(id), "{id}");
        }
        for path in ["siglip2", "./a/b", "/a/b", "../b", "a/b/c", "a/", "src/nothing", "C:\\models\\a"] {
            assert!(!is_hub_id(path), "{path}");
        }
    }

    #[test]
    fn choices_name_every_preset() {
        let text = choices();
        assert!(PRESETS.iter().all(|preset| text.contains(preset.id)));
    }
}
