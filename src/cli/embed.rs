//! `polyglance embed`: pictures and texts in, a file of embeddings out.
//!
//! The output file is opened, under a temporary name, before the model is loaded: whatever can go wrong with it goes wrong at once, and
//! Ctrl-C at any later moment leaves the old file or none.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use polyglance::config::VisionGeometry;
use polyglance::encoder::{HiddenLayer, ImageOutputs};
use polyglance::weights::PendingFile;

use super::args::{DeviceArgs, HubArgs, ImageArgs, TextArgs};
use super::exit::Outcome;
use super::inputs::{self, Inputs};
use super::model::Model;
use super::output::{Embeddings, Extra, Format, ImageRows, TextRows};
use super::pictures::{EncodedBatch, Pass, Preprocessing};
use super::signals::Interrupt;
use super::{UsageError, texts};

const EXAMPLES: &str = "\
What is written, by the extension of --output:
  .safetensors  image_embeds [N, D] and grid [N, 2] (rows, cols); text_embeds [M, D] and
                input_ids [M, 64]; names in the metadata keys `images` and `texts` as JSON lists;
                with --with, for picture I: last_hidden_state.I [tokens, W],
                patches.I [tokens, P·P·3], pooled.I [D]
  .npy          one array [N, D] or [M, D]: pictures or texts, not both; without names
  .parquet      columns kind (image or text), name, embedding
  .jsonl        one object a line: kind, name, grid (pictures only), embedding
Embeddings are f32 and have unit length. The file appears when it is complete, or not at all.

Examples:
  polyglance embed --image photos/ -o photos.safetensors -m google/siglip2-base-patch16-naflex
  polyglance embed --image \"scans/**/*.png\" --max-num-patches 1024 -o scans.npy -m ./my-model
  polyglance embed --image door.jpg --with hidden,patches -o door.safetensors -m ./my-model
  polyglance embed --text \"a red door\" --texts-from captions.json -o texts.parquet -m ./my-model";

/// Turn pictures and texts into embeddings that can be compared with each other.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
#[group(id = "source", required = true, multiple = true, args = ["images", "texts", "texts_from"])]
pub(crate) struct EmbedArgs {
    /// Picture, folder (searched recursively, rows sorted by path) or quoted pattern such as "photos/**/*.jpg". May be repeated.
    #[arg(long = "image", value_name = "PATH", num_args = 1..)]
    images: Vec<PathBuf>,

    /// Text to embed, as it is: no template is added. May be repeated.
    #[arg(long = "text", value_name = "STRING", allow_hyphen_values = true)]
    texts: Vec<String>,

    /// File of texts: a .json list of strings, or one text a line (blank lines are skipped). They follow those of --text.
    #[arg(long, value_name = "FILE")]
    texts_from: Option<PathBuf>,

    /// File to write: .safetensors, .npy, .parquet or .jsonl.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,

    /// Also write, for each picture: `hidden` (patch features after the last layer), `patches` (the model's input), `pooled`
    /// (the embedding before it is made unit length). They are held in memory until the file is written.
    #[arg(long, value_name = "hidden,patches,pooled", value_enum, value_delimiter = ',', hide_possible_values = true)]
    with: Vec<With>,

    /// Model: a folder, a hub id, or demo for the small one inside.
    #[arg(long, short, value_name = "DIR|ID")]
    model: Option<String>,

    #[command(flatten)]
    hub: HubArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    pictures: ImageArgs,
    #[command(flatten)]
    text: TextArgs,
}

/// Tensors beyond the embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum With {
    Hidden,
    Patches,
    Pooled,
}

/// Checks the command line, opens the output, encodes texts and then pictures, writes.
pub(crate) fn run(args: &EmbedArgs) -> Result<Outcome> {
    let format = Format::of(&args.output)?;
    let texts = all_texts(args)?;
    format.check(!args.images.is_empty(), !texts.is_empty(), !args.with.is_empty())?;
    if !args.with.is_empty() && args.images.is_empty() {
        return Err(UsageError("--with describes pictures: add --image".to_owned()).into());
    }
    let inputs = inputs::expand(&args.images)?;
    // Opened now, so that a folder that cannot be written is known before hours of work.
    let file = PendingFile::create(&args.output)?;
    let interrupt = Interrupt::install(Some(file.temporary_path().to_owned()))?;
    let mut model = Model::load(args.model.as_deref(), &args.hub, &args.device)?;
    interrupt.check()?;
    let preprocessing = Preprocessing::new(model.config().vision, &args.pictures)?;

    let mut embeddings = Embeddings { dim: model.config().embedding_dim(), about: about(args, &model), ..Embeddings::default() };
    if !texts.is_empty() {
        embeddings.texts = Some(text_rows(&mut model, texts, args)?);
        interrupt.check()?;
    }
    let mut outcome = Outcome::Done;
    if !inputs.pictures.is_empty() {
        let (rows, images_outcome) = image_rows(&mut model, &inputs, preprocessing, &args.with, &interrupt)?;
        embeddings.images = Some(rows);
        outcome = images_outcome;
    }
    interrupt.check()?;
    embeddings.write(format, file)?;
    Ok(outcome)
}

/// Those of `--text`, then those of the file.
fn all_texts(args: &EmbedArgs) -> Result<Vec<String>> {
    let mut texts = args.texts.clone();
    if let Some(path) = &args.texts_from {
        texts.extend(texts::read_list(path)?);
    }
    Ok(texts)
}

/// What a reader of the file needs to know to make more embeddings of the same kind.
fn about(args: &EmbedArgs, model: &Model) -> BTreeMap<&'static str, String> {
    let mut about = BTreeMap::from([
        ("model", args.model.clone().unwrap_or_default()),
        ("device", model.encoder.device().to_string()),
        ("resample", args.pictures.resample.name().to_owned()),
        ("text_normalization", args.text.describe()),
    ]);
    let vision = model.config().vision;
    if let VisionGeometry::NaFlex { .. } = vision.geometry {
        about.insert("max_num_patches", args.pictures.max_num_patches.unwrap_or(vision.preprocessing.max_num_patches).to_string());
    }
    about
}

/// Texts through the text tower, with their token ids.
fn text_rows(model: &mut Model, texts: Vec<String>, args: &EmbedArgs) -> Result<TextRows> {
    let encoded = model.encode_texts(&texts, args.text.options(), |index| format!("text {}", index + 1))?;
    Ok(TextRows { texts, embeds: encoded.embeds, ids: encoded.ids, positions: model.config().text.positions })
}

/// Pictures through the vision tower, with what `--with` asks for.
fn image_rows(
    model: &mut Model,
    inputs: &Inputs,
    preprocessing: Preprocessing,
    with: &[With],
    interrupt: &Interrupt,
) -> Result<(ImageRows, Outcome)> {
    let want = ImageOutputs { hidden: with.contains(&With::Hidden).then_some(HiddenLayer::Last), attention: false };
    let dim = model.config().embedding_dim();
    let mut rows = ImageRows::default();
    let pass = Pass { encoder: &mut model.encoder, preprocessing, want, interrupt: Some(interrupt) };
    let outcome = pass.run(inputs, |batch| {
        add_extras(&mut rows, &batch, with, dim);
        rows.grids.extend(batch.patches.iter().map(|patches| patches.grid));
        rows.embeds.extend(batch.features.embeds);
        rows.names.extend(batch.names);
        Ok(())
    })?;
    Ok((rows, outcome))
}

/// Adds the tensors of `--with` for one batch, numbered by the picture's row.
fn add_extras(rows: &mut ImageRows, batch: &EncodedBatch, with: &[With], dim: usize) {
    let first = rows.names.len();
    let hidden = batch.features.hidden.as_deref().unwrap_or_default();
    let tokens: usize = batch.patches.iter().map(|patches| patches.grid.patches()).sum();
    let width = hidden.len() / tokens.max(1);
    let mut hidden = hidden;
    let mut pooled = batch.features.pooled.chunks_exact(dim.max(1));
    for (index, patches) in batch.patches.iter().enumerate() {
        let (row, tokens) = (first + index, patches.grid.patches());
        let (own_hidden, rest) = hidden.split_at(hidden.len().min(tokens * width));
        hidden = rest;
        let own_pooled = pooled.next().unwrap_or_default();
        for kind in [With::Hidden, With::Patches, With::Pooled].iter().filter(|kind| with.contains(kind)) {
            let (name, shape, values) = match kind {
                With::Hidden => ("last_hidden_state", vec![tokens, width], own_hidden),
                With::Patches => ("patches", vec![tokens, patches.values.len() / tokens.max(1)], patches.values.as_slice()),
                With::Pooled => ("pooled", vec![dim], own_pooled),
            };
            rows.extras.push(Extra { name: format!("{name}.{row}"), shape, values: values.to_vec() });
        }
    }
}
