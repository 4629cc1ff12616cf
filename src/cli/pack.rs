//! `polyglance pack`: a model as a smaller folder of the same format, for hosting.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use half::f16;
use polyglance::platform::block_on;
use polyglance::weights::{Checkpoint, Dtype, OutputValues, PendingFile, StreamedTensor, write_companions};

use super::args::HubArgs;
use super::console::{note, print};
use super::exit::Outcome;
use super::progress::Progress;
use super::signals::Interrupt;
use super::{UsageError, hub, table::grouped};

const EXAMPLES: &str = "\
The folder holds one model.safetensors, config.json, the image processor's file and the
tokenizer's, and loads here and in transformers. It appears when it is complete, or not at all.
Values that f16 cannot hold keep their whole tensor in f32, which is said.

Examples:
  polyglance pack google/siglip2-base-patch16-naflex --output siglip2-f16
  polyglance pack ./my-model --weights f32 --output ./my-model-f32";

/// Write a model as a smaller folder of the same format, for hosting.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PackArgs {
    /// Model: a folder, a weight file or a hub id.
    #[arg(value_name = "MODEL")]
    model: String,

    /// How weights are stored.
    #[arg(long, value_enum, default_value_t = Weights::F16)]
    weights: Weights,

    /// Folder to create.
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,

    #[command(flatten)]
    hub: HubArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Weights {
    F32,
    F16,
}

/// Writes the folder beside its final place, then gives it its name.
pub(crate) fn run(args: &PackArgs) -> Result<Outcome> {
    let output = &args.output;
    if output.symlink_metadata().is_ok() {
        return Err(UsageError(format!("--output {}: it exists; name a folder that does not", output.display())).into());
    }
    let source = hub::resolve(&args.model, args.hub.offline)?;
    let checkpoint = block_on(Checkpoint::open(&source))?;
    let parent = output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = || format!("cannot create the folder {}", output.display());
    let folder = tempfile::Builder::new().prefix(".polyglance-").tempdir_in(parent).with_context(failed)?;
    let file = PendingFile::create(&folder.path().join("model.safetensors"))?;
    let interrupt = Interrupt::install(Some(file.temporary_path().to_owned()))?;

    let too_large = if args.weights == Weights::F16 { too_large(&checkpoint, &interrupt)? } else { BTreeSet::new() };
    write_weights(&checkpoint, args.weights, &too_large, file, &interrupt)?;
    let dtype = if args.weights == Weights::F16 { "float16" } else { "float32" };
    // Beside a weight file that was named itself.
    let companions = if source.is_file() { source.parent().unwrap_or(Path::new(".")) } else { &source };
    write_companions(folder.path(), checkpoint.config(), dtype, Some(companions))?;
    interrupt.check()?;
    // Temporary folders are private; this one is to be hosted.
    #[cfg(unix)]
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).with_context(failed)?;
    let bytes = std::fs::metadata(folder.path().join("model.safetensors"))?.len();
    std::fs::rename(folder.path(), output).with_context(failed)?;
    // It has its name now, and nothing is left to remove.
    let _ = folder.keep();
    for name in &too_large {
        note(&format!("{name} has values that f16 cannot hold and stays in f32"));
    }
    print(&format!("{}: {} bytes of weights\n", output.display(), grouped(bytes)))?;
    Ok(Outcome::Done)
}

/// Tensors with values that f16 cannot hold.
fn too_large(checkpoint: &Checkpoint, interrupt: &Interrupt) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let progress = Progress::new(checkpoint.tensors().count(), "tensors checked");
    for tensor in checkpoint.tensors() {
        interrupt.check()?;
        let largest = block_on(checkpoint.read(&tensor.name))?.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        if f16::from_f32(largest).is_infinite() {
            names.insert(tensor.name.clone());
        }
        progress.add(1);
    }
    Ok(names)
}

/// One tensor after the other: a model need not fit into memory.
fn write_weights(
    checkpoint: &Checkpoint,
    weights: Weights,
    too_large: &BTreeSet<String>,
    file: PendingFile,
    interrupt: &Interrupt,
) -> Result<()> {
    let tensors: Vec<StreamedTensor<'_>> = checkpoint
        .tensors()
        .map(|tensor| {
            let dtype = if weights == Weights::F32 || too_large.contains(&tensor.name) { Dtype::F32 } else { Dtype::F16 };
            StreamedTensor { name: &tensor.name, shape: &tensor.shape, dtype }
        })
        .collect();
    // transformers refuses files that do not say which framework wrote them.
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let progress = Progress::new(tensors.len(), "tensors written");
    let mut stopped = None;
    let write = |number: usize, writer: &mut dyn Write| {
        stopped = interrupt.check().err();
        if stopped.is_some() {
            return Err(io::Error::other("stopped"));
        }
        let Some(tensor) = tensors.get(number) else { return Ok(()) };
        let values = block_on(checkpoint.read(tensor.name)).map_err(io::Error::other)?;
        progress.add(1);
        match tensor.dtype {
            Dtype::F32 => OutputValues::F32(&values).write(writer),
            Dtype::F16 | Dtype::Bf16 => {
                OutputValues::F16(&values.iter().map(|&value| f16::from_f32(value)).collect::<Vec<_>>()).write(writer)
            }
        }
    };
    let written = file.commit_streamed(&tensors, &metadata, write);
    stopped.map_or_else(|| Ok(written?), |stopped| Err(stopped.into()))
}
