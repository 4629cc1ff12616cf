//! `init`: the model that a training run starts from.

use std::path::PathBuf;

use anyhow::Context;
use polyglance::config::{ModelConfig, PRESETS};
use polyglance_trainer::model::{Export, initial_values, write_folder};

/// Writes an untrained model as a Hugging Face folder, with big_vision's initialisation.
///
/// `transformers` and `polyglance` load the folder like a trained one; it has no tokenizer. Equal seeds give equal bytes.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  polyglance-trainer init --preset google/siglip2-base-patch16-naflex --output untrained")]
pub(crate) struct Arguments {
    /// Dimensions of a released checkpoint, by its hub id.
    #[arg(long, conflicts_with = "config", required_unless_present = "config")]
    preset: Option<String>,
    /// Dimensions from a config.json.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Starting point of all randomness.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder to create.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

pub(crate) fn run(Arguments { preset, config, seed, output }: Arguments) -> anyhow::Result<()> {
    let config = model_config(preset, config)?;
    std::fs::create_dir(&output).with_context(|| format!("cannot create the folder {}", output.display()))?;
    write_folder(&output, &config, &initial_values(&config, seed), &Export::default())?;
    println!("{}: {} parameters, seed {seed}", output.display(), config.parameters());
    Ok(())
}

fn model_config(preset: Option<String>, file: Option<PathBuf>) -> anyhow::Result<ModelConfig> {
    if let Some(file) = file {
        let json = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        return ModelConfig::from_json(&json).with_context(|| file.display().to_string());
    }
    let id = preset.unwrap_or_default();
    let known = || PRESETS.map(|preset| preset.id).join("\n  ");
    let preset = PRESETS.into_iter().find(|preset| preset.id == id);
    preset.map(|preset| preset.config).with_context(|| format!("no preset is called {id:?}; choose one of\n  {}", known()))
}
