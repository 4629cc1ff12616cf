//! `export`: a checkpoint as a folder that `polyglance` and `transformers` load.

use std::path::PathBuf;

use anyhow::Context;
use burn::tensor::Device;
use polyglance::platform::block_on;
use polyglance::weights::Checkpoint;
use polyglance_trainer::model::{Export, ExportPrecision, Siglip};

/// Writes a checkpoint as a Hugging Face folder that `polyglance` and `transformers` load.
///
/// Reads what `polyglance` reads: safetensors in one file or sharded, in any precision, and big_vision's .npz. Tokenizer and image
/// processor files are copied.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  polyglance-trainer export runs/demo/step-2000 --precision f16 --output demo")]
pub(crate) struct Arguments {
    /// Checkpoint folder.
    #[arg(value_name = "DIR")]
    checkpoint: PathBuf,
    /// How numbers are stored.
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    precision: Precision,
    /// Folder to create.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Precision {
    F32,
    F16,
}

pub(crate) fn run(Arguments { checkpoint: source, precision, output }: Arguments) -> anyhow::Result<()> {
    let checkpoint = block_on(Checkpoint::open(&source))?;
    let model = Siglip::load(&checkpoint, &Device::flex())?;
    std::fs::create_dir(&output).with_context(|| format!("cannot create the folder {}", output.display()))?;
    let precision = match precision {
        Precision::F32 => ExportPrecision::F32,
        Precision::F16 => ExportPrecision::F16,
    };
    model.save(&output, &Export { precision, source: Some(source) })?;
    println!("{}: {} parameters", output.display(), model.config().parameters());
    Ok(())
}
