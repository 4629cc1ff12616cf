//! `evaluate`: a model folder judged on held-out shards.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use polyglance::config::ModelConfig;
use polyglance::encoder::{Encoder, EncoderOptions};
use polyglance::image::Resampling;
use polyglance::platform::block_on;
use polyglance::text::{Lowercase, TextOptions, Tokenizer};
use polyglance::weights::Checkpoint;
use polyglance_trainer::data::HttpOptions;
use polyglance_trainer::evaluate::{
    ClassList, EvaluationError, EvaluationOptions, Exam, Fitting, HeldOut, Marks, Preparation, Report, Row, Segmentation,
    SegmentationOptions, compare, find_altered, pixel_floor, segment, take,
};

use super::read_classes;

/// Judges a model on held-out images: zero-shot classification, retrieval and segmentation, by language.
///
/// The data are shards in img2dataset's layout. Captions by language stand in `KEY.json` (`{"captions": {"en": ["..."]}}`; a `KEY.txt` has the
/// language "und"), and so does the class of an image: its `"label"`, or the `"glyph"` or `"label"` of its only region. The names of the
/// classes stand in `classes.json`: `[{"id": "1f431", "names": {"en": "cat face"}}]`. For segmentation, regions have a `"mask"` in COCO's
/// compressed run-length form.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    polyglance-trainer evaluate --model my-model --data shards/test\n  \
    polyglance-trainer evaluate --model my-model --data shards/test --fitting native,squash,letterbox --patches 64,128,256")]
pub(crate) struct Arguments {
    /// Model folder in Hugging Face format, with its tokenizer.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Shards: a tar file, a folder, a glob or an http(s) address; {00..31} stands for several.
    #[arg(long, value_name = "SHARDS")]
    data: String,
    /// Names of the classes [default: classes.json beside the shards or in the folder above, if there is one].
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Prompts by language, averaged for each class: {"en": ["a picture of {}"]} [default: the bare names].
    #[arg(long, value_name = "FILE")]
    templates: Option<PathBuf>,
    /// Languages to judge in, separated by commas [default: all].
    #[arg(long, value_delimiter = ',', value_name = "CODES")]
    languages: Vec<String>,
    /// Images to read at most.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Images to retrieve among; 0 leaves retrieval out.
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    retrieval: usize,
    /// Scenes to segment by the names of what is on them; 0 leaves segmentation out.
    #[arg(long, default_value_t = 0, value_name = "N")]
    segmentation: usize,
    /// Pictures to find by parts and mirror images of them, in their native aspect ratio at the model's own budget; 0 leaves that out.
    #[arg(long, default_value_t = 0, value_name = "N")]
    altered: usize,
    /// How images are fitted into patches: native, squash, letterbox.
    #[arg(long, value_delimiter = ',', default_value = "native", value_name = "NAMES")]
    fitting: Vec<Fitting>,
    /// NaFlex budgets, separated by commas [default: the model's own].
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS")]
    patches: Vec<usize>,
    /// Another model to judge beside it, such as an untrained one as a floor; without a tokenizer of its own it gets the first one's.
    #[arg(long, value_name = "DIR")]
    beside: Vec<PathBuf>,
    /// Labelled shards that the raw-pixel floor learns its class means from, such as training shards.
    #[arg(long, value_name = "SHARDS")]
    pixels: Option<String>,
    /// How images are resized: hf or jax.
    #[arg(long, default_value = "hf")]
    resampling: Resampling,
    /// Which letters of a text become lower case: unicode or ascii.
    #[arg(long, default_value = "unicode")]
    lowercase: Lowercase,
    /// Print JSON in place of Markdown tables.
    #[arg(long)]
    json: bool,
}

/// Seed of the bootstrap: intervals are the same each time.
const SEED: u64 = 0;
/// Labelled images that the raw-pixel floor looks at.
const PIXEL_IMAGES: usize = 20_000;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let held_out = HeldOut::read(&arguments.data, arguments.limit, &HttpOptions::default())?;
    let classes = classes(arguments)?;
    let exam = Exam::new(&held_out, classes.as_ref(), &arguments.languages, arguments.retrieval)?;
    let options = EvaluationOptions {
        fittings: arguments.fitting.clone(),
        budgets: arguments.patches.clone(),
        resampling: arguments.resampling,
        seed: SEED,
    };
    let (mut rows, mut segmentation, mut altered) = (Vec::new(), Vec::new(), Vec::new());
    for (place, folder) in std::iter::once(&arguments.model).chain(&arguments.beside).enumerate() {
        let (mut model, tokenizer) = open(folder, arguments).with_context(|| folder.display().to_string())?;
        let (name, config) = (name(folder), *model.config());
        rows.extend(take(&mut model, &name, &config.vision, &tokenizer, &exam, &held_out, &options)?);
        if place == 0 && arguments.segmentation > 0 {
            segmentation = segmented(&mut model, &tokenizer, classes.as_ref(), arguments)?;
        }
        if place == 0 && arguments.altered > 0 {
            let (vision, resampling) = (config.vision, arguments.resampling);
            let preparation = Preparation { vision, fitting: Fitting::Native, max_num_patches: None, resampling };
            altered = find_altered(&mut model, &held_out, arguments.altered, &preparation, SEED)?;
        }
    }
    rows.extend(arguments.pixels.as_deref().map(|pattern| pixels(pattern, &exam, &held_out)).transpose()?);
    let report = Report {
        model: name(&arguments.model),
        data: arguments.data.clone(),
        images: held_out.images.len(),
        skipped: held_out.bad.len(),
        comparisons: compare(&rows, &held_out, SEED)?,
        segmentation,
        altered,
        rows,
    };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.to_markdown());
    }
    Ok(())
}

fn segmented(
    model: &mut Encoder,
    tokenizer: &Tokenizer,
    classes: Option<&ClassList>,
    arguments: &Arguments,
) -> anyhow::Result<Vec<Segmentation>> {
    let classes = classes.context("segmentation needs the names of the classes: --classes")?;
    let options = SegmentationOptions {
        pattern: arguments.data.clone(),
        scenes: arguments.segmentation,
        languages: arguments.languages.clone(),
        resampling: arguments.resampling,
    };
    let parts = segment(model, tokenizer, classes, &options)?;
    anyhow::ensure!(!parts.is_empty(), "{} has no scene with masks of two or more things that have names", arguments.data);
    Ok(parts)
}

fn classes(arguments: &Arguments) -> anyhow::Result<Option<ClassList>> {
    let data = Path::new(&arguments.data);
    let folders = [data.is_dir().then_some(data), data.parent()];
    let beside = folders.into_iter().flatten().map(|folder| folder.join("classes.json")).find(|file| file.is_file());
    let file = arguments.classes.clone().or(beside);
    file.map(|file| read_classes(&file, arguments.templates.as_deref())).transpose()
}

fn open(folder: &Path, arguments: &Arguments) -> anyhow::Result<(Encoder, Tokenizer)> {
    let checkpoint = Arc::new(block_on(Checkpoint::open(folder))?);
    let tokenizer = tokenizer(&checkpoint, arguments)?;
    Ok((block_on(Encoder::new(checkpoint, EncoderOptions::default()))?, tokenizer))
}

/// A folder's own tokenizer, or that of the first model.
fn tokenizer(checkpoint: &Checkpoint, arguments: &Arguments) -> anyhow::Result<Tokenizer> {
    let config: &ModelConfig = checkpoint.config();
    let json = match block_on(checkpoint.tokenizer_json()) {
        Ok(json) => json,
        Err(error) => {
            let file = arguments.model.join("tokenizer.json");
            std::fs::read(file).map_err(|_| error)?
        }
    };
    let options = TextOptions { lowercase: arguments.lowercase, ..TextOptions::default() };
    Ok(Tokenizer::from_json(&json, &config.text, options)?)
}

fn pixels(pattern: &str, exam: &Exam, held_out: &HeldOut) -> Result<Row, EvaluationError> {
    let reference = HeldOut::read(pattern, Some(PIXEL_IMAGES), &HttpOptions::default())?;
    let (images, texts) = pixel_floor(exam, held_out, &reference)?;
    let marks: Marks = exam.mark(&images, polyglance_trainer::evaluate::PIXEL_DIM, &texts, SEED)?;
    Ok(Row { name: "raw pixels".to_owned(), fitting: None, max_num_patches: None, mean_patches: 1.0, marks })
}

fn name(folder: &Path) -> String {
    folder.file_name().map_or_else(|| folder.display().to_string(), |name| name.to_string_lossy().into_owned())
}
