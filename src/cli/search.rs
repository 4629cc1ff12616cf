//! `polyglance search`: the pictures of an index that a query in any language, a picture or a sum of both fits best.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use polyglance::encoder::ImageOutputs;
use polyglance::image::PatchBatch;
use polyglance::index::{Found, Query, Subject, disk::below};
use polyglance::platform::block_on;
use serde_json::json;

use super::args::{DeviceArgs, HubArgs, ImageArgs, TextArgs};
use super::collection::{self, Searched};
use super::exit::Outcome;
use super::model::Model;
use super::pictures::Preprocessing;
use super::table::{Table, fraction};
use super::{UsageError, inputs};

const EXAMPLES: &str = "\
A query is a text, a picture (a path that begins with ./, ../ or /), or a sum of them with weights and signs.
A picture that is in the index is not computed again. The search is exact, but for that of a vector database.

Examples:
  polyglance search pictures.index \"a bicycle by a canal\"
  polyglance search pictures.index \"2: 赤い車 + ./sketch.png - people\" --top 5
  polyglance search pictures.index ~/Pictures/dog.jpg --json | jq -r '.[].path'
  polyglance search http://localhost:8000/pictures \"a bicycle by a canal\"";

/// Search an index by text in any language, by picture, or both.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SearchArgs {
    /// The index, or the http(s):// address of a copy that `index --to` made.
    index: PathBuf,

    /// What to look for.
    #[arg(allow_hyphen_values = true)]
    query: String,

    /// Results, the best first.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,

    /// Leave out what stands out from ordinary pictures less than this share of how far the best result does: 0.5, say.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    within: Option<f32>,

    /// Print [{"path", "score"}] instead of a table.
    #[arg(long)]
    json: bool,

    /// The model that the index was made with, if it is elsewhere now.
    #[arg(long, short, value_name = "DIR|ID")]
    model: Option<String>,

    #[command(flatten)]
    hub: HubArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    text: TextArgs,
}

/// Reads `--within`.
fn share(text: &str) -> Result<f32, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "this is a share between 0 and 1".to_owned())
}

/// Embeds the query, and compares it with everything.
pub(crate) fn run(args: &SearchArgs) -> Result<Outcome> {
    let query = Query::parse(&args.query).map_err(|error| UsageError(error.to_string()))?;
    let index = collection::open(&args.index)?;
    let embeds = embeds(args, &query, &*index)?;
    let direction = query.direction(&embeds).context("the parts of the query cancel each other out")?;
    let mut results = index.search(&direction, args.top as usize)?;
    if let Some(share) = args.within {
        results = results.within(share);
    }
    print(args.json, Path::new(&index.stamp().root), &results.found);
    Ok(Outcome::Done)
}

/// An embedding for each term. The model is loaded only if one of them is not in the index.
fn embeds(args: &SearchArgs, query: &Query, index: &dyn Searched) -> Result<Vec<Vec<f32>>> {
    let mut model = None;
    query.terms.iter().map(|term| embed(args, &term.subject, index, &mut model)).collect()
}

fn embed(args: &SearchArgs, subject: &Subject, index: &dyn Searched, model: &mut Option<Model>) -> Result<Vec<f32>> {
    if let Subject::Picture(path) = subject {
        let path = std::fs::canonicalize(path).with_context(|| format!("cannot read picture {path}"))?;
        let below = below(Path::new(&index.stamp().root), &path);
        if let Some(embed) = below.map(|below| index.embedding(&below)).transpose()?.flatten() {
            return Ok(embed);
        }
    }
    let model = match model {
        Some(model) => model,
        empty => empty.insert(load(args, index)?),
    };
    match subject {
        Subject::Text(text) => Ok(model.encode_texts(std::slice::from_ref(text), args.text.options(), |_| format!("{text:?}"))?.embeds),
        Subject::Picture(path) => {
            let options = ImageArgs { max_num_patches: index.stamp().max_num_patches, resample: index.stamp().resampling.parse()? };
            let preprocessing = Preprocessing::new(model.config().vision, &options)?;
            let picture = inputs::single(Path::new(path))?;
            let patches = preprocessing.cut(&preprocessing.decode(&picture)?.pixels)?;
            Ok(block_on(model.encoder.encode_images(&PatchBatch::pack(&[patches]), ImageOutputs::default()))?.embeds)
        }
    }
}

fn load(args: &SearchArgs, index: &dyn Searched) -> Result<Model> {
    let stamp = index.stamp();
    let model = Model::load(Some(args.model.as_deref().unwrap_or(&stamp.model)), &args.hub, &args.device)?;
    if !stamp.fits(&model.encoder) {
        bail!(
            "{} was made {stamp}, and this is another model; name that one with --model, or index the folder again",
            args.index.display()
        );
    }
    Ok(model)
}

fn print(as_json: bool, root: &Path, found: &[Found]) {
    let path = |found: &Found| root.join(&found.path).display().to_string();
    if as_json {
        let all: Vec<_> = found.iter().map(|found| json!({ "path": path(found), "score": found.score })).collect();
        println!("{}", serde_json::Value::from(all));
        return;
    }
    let mut table = Table::new(&["picture", "score"]);
    for found in found {
        table.row([path(found), fraction(found.score)]);
    }
    print!("{}", table.render());
}
