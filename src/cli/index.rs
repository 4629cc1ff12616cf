//! `polyglance index`: a folder of pictures in, an index that lasts out; again later, only what has changed.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use polyglance::index::disk::DiskFolder;
use polyglance::index::{Event, Folder, Reader, Stamp, Summary, Unreadable, Update, Writer, plural};
use polyglance::platform::block_on;

use super::args::{DeviceArgs, HubArgs, ImageArgs};
use super::collection::Target;
use super::console::{note, report};
use super::exit::Outcome;
use super::model::Model;
use super::pictures::check_budget;
use super::progress::Progress;
use super::signals::Interrupt;
use super::vectors;

const EXAMPLES: &str = "\
Run it again after pictures were added, changed or deleted: only those are looked at. What was indexed
before Ctrl-C, or before the power failed, stays. Beside FILE lie FILE.vectors-N and FILE.thumbnails-N; only
you can read them. Files that cannot be decoded are noted, and tried again when they have changed.

Examples:
  polyglance index ~/Pictures -o pictures.index -m google/siglip2-base-patch16-naflex
  polyglance index ~/Pictures -o pictures.index -m DIR --vectors pictures.parquet    # as export writes it
  polyglance index ~/Pictures -o pictures.index -m DIR --to http://localhost:8000/pictures
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

    /// Embeddings by this model that are there already: .parquet, or .npy with the paths beside it in FILE.txt. Only other pictures are encoded.
    #[arg(long, value_name = "FILE")]
    vectors: Option<PathBuf>,

    /// Collection of a Chroma server that becomes a copy of the index: its search is approximate, and runs past one machine. The environment has
    /// CHROMA_TENANT, CHROMA_DATABASE and, for Chroma's cloud, CHROMA_API_KEY.
    #[arg(long, value_name = "URL")]
    to: Option<String>,

    #[command(flatten)]
    hub: HubArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    pictures: ImageArgs,
}

/// Finds what has changed, encodes that, and writes it batch by batch.
pub(crate) fn run(args: &IndexArgs) -> Result<Outcome> {
    if args.folder.exists() && !args.folder.is_dir() {
        bail!("{} is no folder; polyglance embed takes single pictures", args.folder.display());
    }
    let folder = DiskFolder::open(&args.folder)?;
    let mut model = Model::load(args.model.as_deref(), &args.hub, &args.device)?;
    let ImageArgs { max_num_patches, resample } = args.pictures;
    check_budget(&model.config().vision, max_num_patches)?;
    let stamp = Stamp::new(folder.root(), args.model.as_deref().unwrap_or_default(), &model.encoder, max_num_patches, resample);
    let vectors = args.vectors.as_deref().map(|file| vectors::read(file, Path::new(folder.root()), stamp.dim)).transpose()?;
    // Before hours are spent: whether there is somebody to copy to.
    let target = args.to.as_deref().map(|address| Target::new(address, &stamp)).transpose()?;
    let writer = Writer::open(&args.output, &stamp)?;
    let (mut update, left_out) = block_on(Update::begin(writer, Box::new(folder), model.config().vision))?;
    if let (Some(file), Some(vectors)) = (&args.vectors, vectors) {
        let count = vectors.len();
        if update.give(vectors) == 0 && update.total() > 0 {
            bail!(
                "none of the {count} paths in {} is that of a picture in {} that has to be indexed",
                file.display(),
                args.folder.display()
            );
        }
    }

    let interrupt = Interrupt::install(None)?;
    let progress = Progress::new(0, "pictures");
    let finished = block_on(update.run(&mut model.encoder, None, &mut |event| {
        match event {
            Event::Progress { done, total } => progress.show(done, total),
            Event::Warning { path, warning } => progress.say(&format!("{path}: {warning}")),
            Event::Unreadable { path, reason } => progress.say(&format!("skipped {path}: {reason}")),
        }
        if interrupt.check().is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }))?;
    drop(progress);
    for Unreadable { path, reason, .. } in &update.summary().still_unreadable {
        note(&format!("skipped {path}, as before: {reason}"));
    }
    report(&left_out);
    let summary = update.summary();
    note(&format!("{}: {}", args.output.display(), describe(summary)));
    if !finished {
        interrupt.check()?;
    }
    if let Some(target) = target {
        target.copy(&Reader::open(&args.output)?, &interrupt)?;
    }
    let lost = summary.lost();
    if lost > 0 && summary.added + summary.unchanged == 0 {
        bail!("no picture could be read");
    }
    Ok(if lost > 0 || left_out.lost_pictures() { Outcome::SomeSkipped } else { Outcome::Done })
}

/// What was done, and where the time went.
fn describe(summary: &Summary) -> String {
    let Summary { added, given, unchanged, gone, times, .. } = summary;
    let with_given = if *given > 0 { format!(" ({given} by the vectors that were given)") } else { String::new() };
    let mut text = format!("{} added or changed{with_given}, {unchanged} unchanged, {gone} gone", plural(*added, "picture"));
    if summary.lost() > 0 {
        text += &format!(", {} that cannot be read", plural(summary.lost(), "file"));
    }
    if *added > 0 {
        let share = |secs: f64| 100.0 * secs / times.total.max(1e-9);
        text += &format!(
            "\n{:.1} pictures a second: {:.0} % of the time encoding, {:.0} % writing, {:.0} % waiting for pictures; beside it {:.0} % decoding, {:.0} % resizing",
            *added as f64 / times.total.max(1e-9),
            share(times.encoding),
            share(times.writing),
            share(times.waiting),
            share(times.decoding),
            share(times.resizing),
        );
    }
    text
}
