//! `polyglance export`: the vectors of an index, for other tools.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use polyglance::index::Reader;
use polyglance::weights::{PendingFile, replace_file};

use super::console::note;
use super::exit::Outcome;
use super::output::{Embeddings, Format, ImageRows};
use super::vectors;

const EXAMPLES: &str = "\
Rows are in the order of the paths, which are below the folder of the index. A .npy file has no names: the
paths are written beside it, one a line, into FILE.txt. Values are those of the index, which has f16.

Examples:
  polyglance export pictures.index -o pictures.parquet
  polyglance export pictures.index -o pictures.npy";

/// Write the vectors of an index for other tools.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExportArgs {
    /// The index.
    index: PathBuf,

    /// File to write: .safetensors, .npy, .parquet or .jsonl.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// Reads everything, and writes it.
pub(crate) fn run(args: &ExportArgs) -> Result<Outcome> {
    let format = Format::of(&args.output)?;
    let reader = Reader::open(&args.index)?;
    let (stamp, mut rows) = (reader.stamp(), ImageRows::default());
    reader.for_each(|path, _, vector| {
        rows.names.push(path.to_owned());
        rows.embeds.extend(vector.iter().map(|value| value.to_f32()));
        ControlFlow::Continue(())
    })?;
    let count = rows.names.len();
    if format == Format::Npy {
        let names = rows.names.join("\n") + "\n";
        replace_file(&vectors::beside(&args.output), |writer| writer.write_all(names.as_bytes()))?;
    }
    let about = BTreeMap::from([("model", stamp.model.clone()), ("folder", stamp.root.clone()), ("resample", stamp.resampling.clone())]);
    let embeddings = Embeddings { dim: stamp.dim, images: Some(rows), about, ..Embeddings::default() };
    embeddings.write(format, PendingFile::create(&args.output)?)?;
    note(&format!("{}: {count} vectors of {} values", args.output.display(), stamp.dim));
    Ok(Outcome::Done)
}
