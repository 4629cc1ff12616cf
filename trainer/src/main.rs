//! `polyglance-trainer`: the SigLIP 2 recipe. So far it makes the model that a training run starts from.

mod cli;
mod init;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};
use polyglance::config::{ModelConfig, PRESETS};

/// Trains SigLIP 2 models.
#[derive(Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes an untrained model as a Hugging Face folder, with big_vision's initialisation.
    ///
    /// `transformers` and `polyglance` load the folder like a trained one; it has no tokenizer. Equal seeds give equal bytes.
    #[command(after_help = "Example:\n  polyglance-trainer init --preset google/siglip2-base-patch16-naflex --output untrained")]
    Init {
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
    },
    /// Makes emoji world: training data that is rendered here, its tokenizer and sample scenes.
    Synth(cli::synth::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Init { preset, config, seed, output } => init::write(&model_config(preset, config)?, seed, &output),
        Command::Synth(arguments) => cli::synth::run(arguments),
    }
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
