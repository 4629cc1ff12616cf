//! `polyglance classify`: a photo and some labels in, scores out.
//!
//! Everything that can be checked without the model is checked first: labels, templates and files. Labels are encoded before pictures,
//! because scores can then be printed as pictures are done.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use polyglance::encoder::ImageOutputs;
use polyglance::image::Grid;
use polyglance::tasks::{Classifier, LabelScore};
use polyglance::text::{ensemble, expand, parse_labels};
use serde::Serialize;

use super::args::{DeviceArgs, HubArgs, ImageArgs, TextArgs};
use super::console::{note, print};
use super::exit::Outcome;
use super::model::Model;
use super::pictures::{EncodedBatch, Pass, Preprocessing};
use super::table::{Table, fraction};
use super::{UsageError, demo, inputs, texts};

/// The template of the Hugging Face zero-shot pipeline.
const TEMPLATE: &str = "This is a photo of {}.";

const EXAMPLES: &str = "\
Three numbers describe how well a label fits:
  logit        the model's raw output
  probability  sigmoid of the logit: this label judged alone. Several may be high, or all low
  share        softmax over the labels given: sums to 1, and only compares these labels

Without arguments it scores its own sample scenes with the small model inside, which knows emoji
scenes in 16 languages and no photos. Photos need a released model: --model.

Examples:
  polyglance classify
  polyglance classify --labels \"Katzengesicht,пицца,자전거\" --top 1
  polyglance classify cat.jpg --labels \"a cat,a dog\" -m google/siglip2-base-patch16-naflex
  polyglance classify holiday/ --labels-from labels.txt --json -m ./my-model > scores.json
  polyglance classify \"scans/*.png\" --labels '\"ripe, red\",green' --template \"{}\" -m ./my-model
  polyglance classify a.jpg --labels \"cat,dog\" -m ./my-model \\
      --template \"a photo of a {}.\" --template \"a drawing of a {}.\"";

/// Score pictures against labels in any language (zero-shot classification).
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
#[group(id = "label_source", multiple = false, args = ["labels", "labels_from"])]
pub(crate) struct ClassifyArgs {
    /// Pictures: files, folders (searched recursively) or quoted patterns such as "photos/**/*.jpg" [default: the sample scenes inside].
    #[arg(value_name = "IMAGE")]
    images: Vec<PathBuf>,

    /// Labels, separated by commas [default: those of the sample scenes]. Double quotes protect a comma: '"ripe, red",green'.
    #[arg(long, value_name = "A,B,C", allow_hyphen_values = true)]
    labels: Option<String>,

    /// File of labels: a .json list of strings, or one label a line (blank lines are skipped).
    #[arg(long, value_name = "FILE")]
    labels_from: Option<PathBuf>,

    /// Sentence around each label, with {} where the label goes. If given more than once, each label is the average over all
    /// [default: "This is a photo of {}."; the label alone for the model inside].
    #[arg(long, value_name = "TEXT")]
    template: Vec<String>,

    /// Model: a folder, a hub id, or demo for the small one inside [default: demo].
    #[arg(long, short, value_name = "DIR|ID")]
    model: Option<String>,

    /// Print only the best labels of each picture [default: all; 3 for the sample scenes].
    #[arg(long, value_name = "N", conflicts_with = "json", value_parser = clap::value_parser!(u32).range(1..))]
    top: Option<u32>,

    /// Print JSON: [{"image", "grid": [rows, cols], "labels": [{"label", "logit", "probability", "share"}]}], labels as given.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    hub: HubArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    pictures: ImageArgs,
    #[command(flatten)]
    text: TextArgs,
}

/// One picture's scores; also the JSON of `--json`.
#[derive(Debug, Serialize)]
struct Scored<'a> {
    image: String,
    grid: [usize; 2],
    labels: Vec<ScoredLabel<'a>>,
}

#[derive(Debug, Serialize)]
struct ScoredLabel<'a> {
    label: &'a str,
    logit: f32,
    probability: f32,
    share: f32,
}

/// Checks the command line, encodes the labels once, then scores picture after picture.
pub(crate) fn run(args: &ClassifyArgs) -> Result<Outcome> {
    let labels = labels(args)?;
    let templates = templates(args);
    let prompts = prompts(&labels, &templates)?;
    let inputs = if args.images.is_empty() { demo::pictures() } else { inputs::expand(&args.images)? };
    let mut model = Model::load(model_name(args), &args.hub, &args.device)?;
    let preprocessing = Preprocessing::new(model.config().vision, &args.pictures)?;
    let classifier = classifier(&mut model, &prompts, templates.len(), args)?;

    note(&format!("prompts: {}; {}", templates.join(" | "), args.text.describe()));
    let mut printer = Printer::new(args);
    let pass = Pass { encoder: &mut model.encoder, preprocessing, want: ImageOutputs::default(), interrupt: None };
    let outcome = pass.run(&inputs, |batch| {
        for scored in score(&classifier, &labels, batch)? {
            printer.print(scored)?;
        }
        Ok(())
    })?;
    printer.finish()?;
    Ok(outcome)
}

/// The model asked for, or the one inside, which says what it is good for.
fn model_name(args: &ClassifyArgs) -> Option<&str> {
    if args.model.is_none() && demo::is_available() {
        note(
            "using the small model inside, which knows emoji scenes and no photos; for photos add, for instance,\n  --model google/siglip2-base-patch16-naflex",
        );
        return Some(demo::NAME);
    }
    args.model.as_deref()
}

fn templates(args: &ClassifyArgs) -> Vec<String> {
    let is_demo = args.model.as_deref().map_or(demo::is_available(), |name| name == demo::NAME);
    let default = if is_demo { demo::template() } else { TEMPLATE };
    if args.template.is_empty() { vec![default.to_owned()] } else { args.template.clone() }
}

/// The labels in the order given. One listed twice is kept, since the output has a place for each, but it is pointed out.
fn labels(args: &ClassifyArgs) -> Result<Vec<String>> {
    let labels = match (&args.labels, &args.labels_from) {
        (Some(list), _) => parse_labels(list).map_err(|error| UsageError(format!("--labels: {error}")))?,
        (None, Some(path)) => texts::read_list(path)?,
        (None, None) if args.images.is_empty() && demo::is_available() => demo::labels(),
        (None, None) => return Err(UsageError("give --labels or --labels-from".to_owned()).into()),
    };
    if args.images.is_empty() && !demo::is_available() {
        return Err(UsageError("give at least one picture".to_owned()).into());
    }
    let mut seen = HashSet::new();
    for label in labels.iter().filter(|label| !seen.insert(label.as_str())) {
        note(&format!("label {label:?} is listed twice, which splits its share"));
    }
    Ok(labels)
}

/// Every label in every template, `[labels, templates]`, as `ensemble` wants them.
fn prompts(labels: &[String], templates: &[String]) -> Result<Vec<String>> {
    let pairs = labels.iter().flat_map(|label| templates.iter().map(move |template| (template, label)));
    pairs.map(|(template, label)| expand(template, label).map_err(|error| UsageError(format!("--template: {error}")).into())).collect()
}

/// One vector per label, averaged over the templates.
fn classifier(model: &mut Model, prompts: &[String], templates: usize, args: &ClassifyArgs) -> Result<Classifier> {
    let name = |index| format!("prompt {:?}", prompts.get(index).map(String::as_str).unwrap_or_default());
    let encoded = model.encode_texts(prompts, args.text.options(), name)?;
    let dim = model.config().embedding_dim();
    let label_embeds = ensemble(&encoded.embeds, dim, templates)?;
    Ok(Classifier::new(label_embeds, dim, model.encoder.logit_scale(), model.encoder.logit_bias())?)
}

/// Scores of every picture of a batch.
fn score<'a>(classifier: &Classifier, labels: &'a [String], batch: EncodedBatch) -> Result<Vec<Scored<'a>>> {
    let count = batch.names.len();
    ensure!(batch.features.embeds.len().is_multiple_of(count.max(1)), "the encoder returned a partial embedding");
    let dim = batch.features.embeds.len() / count.max(1);
    let images = batch.names.into_iter().zip(&batch.patches).zip(batch.features.embeds.chunks_exact(dim.max(1)));
    images
        .map(|((image, patches), embed)| {
            let Grid { rows, cols } = patches.grid;
            let named = |(label, score): (&'a String, LabelScore)| ScoredLabel {
                label,
                logit: score.logit,
                probability: score.probability,
                share: score.share,
            };
            let labels = labels.iter().zip(classifier.scores(embed)?).map(named).collect();
            Ok(Scored { image, grid: [rows, cols], labels })
        })
        .collect()
}

/// Prints tables as they come; JSON is printed whole at the end, so that it is valid or absent.
struct Printer<'a> {
    /// What will be printed, or `None` for tables.
    json: Option<Vec<Scored<'a>>>,
    /// Rows of a table.
    top: usize,
}

/// Labels printed for each sample scene: enough to see how clear the first one's lead is.
const SAMPLE_TOP: usize = 3;

impl<'a> Printer<'a> {
    fn new(args: &ClassifyArgs) -> Self {
        let default = if args.images.is_empty() { SAMPLE_TOP } else { usize::MAX };
        Self { json: args.json.then(Vec::new), top: args.top.map_or(default, |top| top as usize) }
    }

    fn print(&mut self, scored: Scored<'a>) -> Result<()> {
        match &mut self.json {
            Some(all) => all.push(scored),
            None => print(&table(&scored, self.top))?,
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        self.json.map_or(Ok(()), |all| print(&(serde_json::to_string(&all)? + "\n")))
    }
}

/// One picture's table, the best labels first. JSON keeps the labels' own order, which programs can rely on.
fn table(scored: &Scored<'_>, top: usize) -> String {
    let [rows, cols] = scored.grid;
    let mut labels: Vec<_> = scored.labels.iter().collect();
    labels.sort_by(|a, b| b.logit.total_cmp(&a.logit));
    let mut table = Table::new(&["label", "logit", "probability", "share"]);
    for label in labels.into_iter().take(top) {
        table.row([label.label.to_owned(), format!("{:.4}", label.logit), fraction(label.probability), fraction(label.share)]);
    }
    format!("{}  ({rows} × {cols} patches)\n{}\n", scored.image, table.render())
}
