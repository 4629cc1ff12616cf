//! `polyglance index`: a folder of pictures in, an index that lasts out; again later, only what has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use polyglance::config::VisionGeometry;
use polyglance::encoder::ImageOutputs;
use polyglance::index::{FileState, Stamp, Writer};

use super::args::{DeviceArgs, HubArgs, ImageArgs};
use super::console::note;
use super::exit::Outcome;
use super::inputs::{self, Inputs, Picture};
use super::left_out::plural;
use super::model::Model;
use super::pictures::{EncodedBatch, Pass, Preprocessing};
use super::signals::Interrupt;

const EXAMPLES: &str = "\
Run it again after pictures were added, changed or deleted: only those are looked at. What was indexed
before Ctrl-C, or before the power failed, stays. Beside FILE lies FILE.vectors-N; both are yours alone to read.

Examples:
  polyglance index ~/Pictures -o pictures.index -m google/siglip2-base-patch16-naflex
  polyglance search pictures.index \"rotes Auto im Schnee\"";

/// Index a folder of pictures, to search it in any language.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct IndexArgs {
    /// Folder of pictures, searched recursively.
    folder: PathBuf,

    /// The index: made if it is not there, else brought up to date.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,

    /// Model: a folder, a hub id, or demo for the small one inside.
    #[arg(long, short, value_name = "DIR|ID")]
    model: Option<String>,

    #[command(flatten)]
    hub: HubArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    pictures: ImageArgs,
}

/// What a folder has that its index does not, and the other way around.
struct Changes {
    pictures: Vec<Picture>,
    /// By the pictures' own paths: those below the folder, and how the files are now.
    states: BTreeMap<String, (String, FileState)>,
    gone: Vec<String>,
}

/// Finds what has changed, encodes that, and writes it batch by batch.
pub(crate) fn run(args: &IndexArgs) -> Result<Outcome> {
    let root = fs::canonicalize(&args.folder).with_context(|| format!("cannot read folder {}", args.folder.display()))?;
    if !root.is_dir() {
        bail!("{} is no folder; polyglance embed takes single pictures", args.folder.display());
    }
    let Inputs { pictures, left_out } = inputs::expand(std::slice::from_ref(&root))?;
    let mut model = Model::load(args.model.as_deref(), &args.hub, &args.device)?;
    let preprocessing = Preprocessing::new(model.config().vision, &args.pictures)?;
    let mut writer = Writer::open(&args.output, &stamp(args, &root, &model)?)?;
    let known = writer.known()?;
    let Changes { pictures, states, gone } = changes(&root, pictures, &known);
    writer.remove(gone.iter().map(String::as_str))?;

    let (count, mut outcome) = (pictures.len(), Outcome::Done);
    let interrupt = Interrupt::install(None)?;
    let mut added = 0;
    if count > 0 {
        let pass = Pass { encoder: &mut model.encoder, preprocessing, want: ImageOutputs::default(), interrupt: Some(&interrupt) };
        outcome = pass.run(&Inputs { pictures, left_out }, |batch: EncodedBatch| {
            // Names are the paths of the pictures, and each has a state.
            let files: Vec<_> = batch.names.iter().filter_map(|name| states.get(name).cloned()).collect();
            writer.add(&files, &batch.features.embeds)?;
            added += files.len();
            Ok(())
        })?;
    } else {
        left_out.report();
    }
    writer.tidy()?;
    let unchanged = known.len() - gone.len() - states.values().filter(|(path, _)| known.contains_key(path)).count();
    note(&format!("{}: {} added or changed, {unchanged} unchanged, {} gone", args.output.display(), plural(added, "picture"), gone.len()));
    Ok(outcome)
}

fn stamp(args: &IndexArgs, root: &Path, model: &Model) -> Result<Stamp> {
    let vision = model.config().vision;
    let is_naflex = matches!(vision.geometry, VisionGeometry::NaFlex { .. });
    let root = root.to_str().with_context(|| format!("the path of {} is not valid Unicode", root.display()))?;
    Ok(Stamp {
        root: root.to_owned(),
        model: args.model.clone().unwrap_or_default(),
        dim: model.config().embedding_dim(),
        max_num_patches: is_naflex.then(|| args.pictures.max_num_patches.unwrap_or(vision.preprocessing.max_num_patches)),
        resampling: args.pictures.resample_name().to_owned(),
    })
}

/// Compares a folder with what is known of it.
fn changes(root: &Path, pictures: Vec<Picture>, known: &BTreeMap<String, FileState>) -> Changes {
    let (mut changed, mut states, mut present) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    for picture in pictures {
        let below = picture.path.strip_prefix(root).unwrap_or(&picture.path);
        let Some(below) = below.to_str().map(str::to_owned) else {
            note(&format!("skipped {}: its name is not valid Unicode", picture.path.display()));
            continue;
        };
        let state = fs::metadata(&picture.path).ok().map(|metadata| FileState::from(&metadata));
        present.insert(below.clone());
        if let Some(state) = state.filter(|state| known.get(&below) != Some(state)) {
            states.insert(picture.path.display().to_string(), (below, state));
            changed.push(picture);
        }
    }
    let gone = known.keys().filter(|path| !present.contains(*path)).cloned().collect();
    Changes { pictures: changed, states, gone }
}
