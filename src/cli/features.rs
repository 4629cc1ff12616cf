//! `polyglance features`: what the patches of one picture say, as a picture or as numbers.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result};
use clap::Args;
use image::{ImageEncoder, RgbImage, codecs::png::PngEncoder};
use polyglance::encoder::{HiddenLayer, ImageOutputs};
use polyglance::image::{Grid, PatchBatch};
use polyglance::kernels::Size;
use polyglance::platform::block_on;
use polyglance::tasks::Classifier;
use polyglance::tasks::dense::{self, Interpolation, Pca, blend, heat, hue, upsample};
use polyglance::text::parse_labels;
use polyglance::weights::PendingFile;

use super::args::{DeviceArgs, HubArgs, ImageArgs, TextArgs};
use super::console::{note, print};
use super::exit::Outcome;
use super::inputs;
use super::model::Model;
use super::output::write_npy;
use super::pictures::Preprocessing;
use super::table::Table;
use super::{UsageError, signals::Interrupt};

const EXAMPLES: &str = "\
What is written:
  .png  the view in colours over the picture, at the picture's size
  .npy  f32 [rows, cols, values] for the patches: without a view the features themselves, for
        --pca its coordinates, for --similar one cosine, for --heatmap and --segment a logit for
        each phrase, for --kmeans the number of the group, for --attention a weight for each head

Phrases are compared with patches that went through the pooling head one by one; scores of whole
pictures are not on the same scale.

Examples:
  polyglance features street.jpg -o features.npy -m google/siglip2-base-patch16-naflex
  polyglance features street.jpg --pca 3 --max-num-patches 1024 -o pca.png -m ./my-model
  polyglance features street.jpg --heatmap \"a red bicycle\" -o bicycle.png -m ./my-model
  polyglance features street.jpg --segment \"road,car,sky\" -o segments.png -m ./my-model
  polyglance features street.jpg --similar 320,200 -o similar.png -m ./my-model";

/// Show what the patches of a picture say: features, similarities, phrases, groups, attention.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
#[group(id = "view", multiple = false, args = ["pca", "similar", "heatmap", "segment", "kmeans", "attention"])]
pub(crate) struct FeaturesArgs {
    /// A picture.
    #[arg(value_name = "IMAGE")]
    image: PathBuf,

    /// File to write: .png or .npy.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,

    /// The N directions in which the patches differ most; a .png shows 3 as red, green and blue.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pca: Option<u16>,

    /// How like each patch is to the one at this pixel of the picture, counted from its upper left corner.
    #[arg(long, value_name = "X,Y")]
    similar: Option<Point>,

    /// How well each patch fits a phrase in any language.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    heatmap: Option<String>,

    /// Which of several phrases, separated by commas, fits each place best. Double quotes protect a comma.
    #[arg(long, value_name = "A,B,C", allow_hyphen_values = true)]
    segment: Option<String>,

    /// N groups of patches that are like each other.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    kmeans: Option<u16>,

    /// Where the pooling head looks; a .png shows the mean over its heads.
    #[arg(long)]
    attention: bool,

    /// Features after this block, counted from 0 [default: after the last one and its normalisation].
    #[arg(long, value_name = "N", conflicts_with_all = ["heatmap", "segment", "attention"])]
    layer: Option<usize>,

    /// Leave out channels that are more than ten times as large as most, in every patch alike.
    #[arg(long, conflicts_with_all = ["heatmap", "segment", "attention"])]
    mask_outliers: bool,

    /// How much of the picture the colours hide, 0 to 1.
    #[arg(long, value_name = "SHARE", default_value = "0.65", value_parser = share)]
    opacity: f32,

    /// What lies between the middles of two patches.
    #[arg(long, value_name = "nearest|bilinear", default_value = "bilinear")]
    interpolation: Interpolation,

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

/// A pixel of the picture.
#[derive(Clone, Copy, Debug)]
struct Point {
    x: u32,
    y: u32,
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pixel = |text: &str| text.trim().parse().ok();
        let point = text.split_once(',').and_then(|(x, y)| Some(Self { x: pixel(x)?, y: pixel(y)? }));
        point.ok_or_else(|| "it is two whole numbers, as in 320,200".to_owned())
    }
}

/// Reads `--opacity`.
fn share(text: &str) -> Result<f32, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "it is a number from 0 to 1".to_owned())
}

/// What `--output` asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Png,
    Npy,
}

/// Values for every patch, and how a picture shows them.
struct View {
    grid: Grid,
    /// Of one patch.
    channels: usize,
    /// `[rows, cols, channels]`.
    values: Vec<f32>,
    colours: Colours,
}

enum Colours {
    /// Too many channels to be seen.
    None,
    /// Three channels are red, green and blue.
    Rgb,
    /// The mean over channels, from dark to bright.
    Heat,
    /// The largest channel has a colour of its own; a name for each.
    Labels(Vec<String>),
    /// The only channel is the number of one of these many groups.
    Groups(usize),
}

/// Checks the command line, encodes the picture, makes the view, writes.
pub(crate) fn run(args: &FeaturesArgs) -> Result<Outcome> {
    let format = format(args)?;
    let labels =
        args.segment.as_deref().map(|list| parse_labels(list).map_err(|error| UsageError(format!("--segment: {error}")))).transpose()?;
    let phrases = labels.or_else(|| args.heatmap.clone().map(|phrase| vec![phrase]));
    let picture = inputs::single(&args.image)?;
    let file = PendingFile::create(&args.output)?;
    let interrupt = Interrupt::install(file.temporary_path().to_owned())?;
    let mut model = Model::load(args.model.as_deref(), &args.hub, &args.device)?;
    let preprocessing = Preprocessing::new(model.config().vision, &args.pictures)?;
    let decoded = preprocessing.decode(&picture)?;
    decoded.warnings.iter().for_each(|warning| note(&format!("{}: {warning}", args.image.display())));
    let patches = preprocessing.cut(&decoded.pixels)?;
    interrupt.check()?;
    let view = Maker { args, model: &mut model, pixels: &decoded.pixels }.view(&PatchBatch::pack(&[patches]), phrases)?;
    interrupt.check()?;
    match format {
        Format::Npy => file.commit(|writer| write_npy(writer, &[view.grid.rows, view.grid.cols, view.channels], &[&view.values]))?,
        Format::Png => {
            let png = encoded(&view.painted(&decoded.pixels, args)?)?;
            file.commit(|writer| writer.write_all(&png))?;
        }
    }
    Ok(Outcome::Done)
}

fn format(args: &FeaturesArgs) -> Result<Format, UsageError> {
    let extension = args.output.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    let has_view =
        args.pca.is_some() || args.similar.is_some() || args.heatmap.is_some() || args.segment.is_some() || args.kmeans.is_some();
    match extension.as_deref() {
        Some("npy") => Ok(Format::Npy),
        Some("png") if !has_view && !args.attention => {
            Err(UsageError("a .png needs a view: add --pca 3, --similar, --heatmap, --segment, --kmeans or --attention".to_owned()))
        }
        Some("png") if args.pca.is_some_and(|count| count != 3) => {
            Err(UsageError("a .png shows 3 directions as red, green and blue: use --pca 3, or write .npy".to_owned()))
        }
        Some("png") => Ok(Format::Png),
        _ => Err(UsageError(format!("--output {}: the name must end in .png or .npy", args.output.display()))),
    }
}

/// Factor between a channel and most others from which on it hides them.
const OUTLIER: f64 = 10.0;

struct Maker<'a> {
    args: &'a FeaturesArgs,
    model: &'a mut Model,
    pixels: &'a RgbImage,
}

impl Maker<'_> {
    /// Encodes the only picture of `batch` and makes the view that was asked for.
    fn view(mut self, batch: &PatchBatch, phrases: Option<Vec<String>>) -> Result<View> {
        let args = self.args;
        let layer = args.layer.map_or(HiddenLayer::Last, HiddenLayer::Block);
        let want = ImageOutputs { hidden: Some(layer), attention: args.attention };
        let encoded = block_on(self.model.encoder.encode_images(batch, want)).with_context(|| args.image.display().to_string())?;
        let grid = *batch.grids().first().context("there is no picture")?;
        let view = |channels, values, colours| View { grid, channels, values, colours };
        if let Some(attention) = encoded.attention {
            return Ok(view(attention.len() / grid.patches(), attention, Colours::Heat));
        }
        let mut hidden = encoded.hidden.unwrap_or_default();
        if let Some(phrases) = phrases {
            let logits = self.logits(&hidden, &phrases)?;
            let colours = if args.segment.is_some() { Colours::Labels(phrases.clone()) } else { Colours::Heat };
            return Ok(view(phrases.len(), logits, colours));
        }
        let width = hidden.len() / grid.patches();
        self.outliers(&mut hidden, width)?;
        Ok(match (args.pca, args.similar, args.kmeans) {
            (Some(count), ..) => view(count.into(), Pca::fit(&hidden, width, count.into())?.project(&hidden)?, Colours::Rgb),
            (_, Some(point), _) => {
                let patch = patch_at(point, self.pixels, grid)?;
                view(1, dense::similarity(&hidden, &hidden[patch * width..][..width])?, Colours::Heat)
            }
            (_, _, Some(count)) => {
                let clusters = dense::kmeans(&unit_rows(&hidden, width), width, count.into())?;
                let numbers = clusters.of_row.iter().map(|&group| group as f32).collect();
                view(1, numbers, Colours::Groups(clusters.sizes.len()))
            }
            _ => view(width, hidden, Colours::None),
        })
    }

    /// `[patches, phrases]`.
    fn logits(&mut self, hidden: &[f32], phrases: &[String]) -> Result<Vec<f32>> {
        let name = |index| format!("phrase {:?}", phrases.get(index).map(String::as_str).unwrap_or_default());
        let texts = self.model.encode_texts(phrases, self.args.text.options(), name)?;
        let dim = self.model.config().embedding_dim();
        let encoder = &mut self.model.encoder;
        let classifier = Classifier::new(texts.embeds, dim, encoder.logit_scale(), encoder.logit_bias())?;
        Ok(dense::token_logits(&classifier, &block_on(encoder.embed_tokens(hidden))?, dim)?)
    }

    /// Names channels that hide the others, and leaves them out if asked.
    fn outliers(&self, hidden: &mut [f32], width: usize) -> Result<()> {
        let outliers = dense::outlier_channels(hidden, width, OUTLIER)?;
        if outliers.is_empty() {
            return Ok(());
        }
        let list = outliers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        if self.args.mask_outliers {
            dense::mask_channels(hidden, width, &outliers);
            note(&format!("left out channels {list}, more than ten times as large as most"));
        } else {
            note(&format!("channels {list} are more than ten times as large as most; --mask-outliers leaves them out"));
        }
        Ok(())
    }
}

/// The patch that a pixel lies in.
fn patch_at(point: Point, pixels: &RgbImage, grid: Grid) -> Result<usize, UsageError> {
    let (width, height) = pixels.dimensions();
    if point.x >= width || point.y >= height {
        let Point { x, y } = point;
        return Err(UsageError(format!("--similar {x},{y}: the picture has {width} × {height} pixels")));
    }
    let cell = |pixel: u32, pixels: u32, cells: usize| (u64::from(pixel) * cells as u64 / u64::from(pixels)) as usize;
    Ok(cell(point.y, height, grid.rows) * grid.cols + cell(point.x, width, grid.cols))
}

/// Groups are about direction: how long a feature is says little about what it shows.
fn unit_rows(features: &[f32], width: usize) -> Vec<f32> {
    let unit = |row: &[f32]| {
        let norm = row.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        row.iter().map(|value| value / norm).collect::<Vec<_>>()
    };
    features.chunks_exact(width).flat_map(unit).collect()
}

impl View {
    /// The view over the picture. What its colours mean goes to standard output.
    fn painted(&self, pixels: &RgbImage, args: &FeaturesArgs) -> Result<RgbImage> {
        let size = Size { height: pixels.height() as usize, width: pixels.width() as usize };
        let large = |map: &[f32], channels| upsample(map, self.grid, channels, size, args.interpolation);
        let colours: Vec<u8> = match &self.colours {
            Colours::None => Vec::new(),
            Colours::Rgb => {
                large(&scaled(&self.values, self.channels), self.channels).iter().map(|value| (value * 255.0).round() as u8).collect()
            }
            Colours::Heat => {
                let means: Vec<f32> =
                    self.values.chunks_exact(self.channels).map(|row| row.iter().sum::<f32>() / row.len() as f32).collect();
                let (low, high) = range(means.iter().copied());
                print(&format!("dark is {low:.4}, bright is {high:.4}\n"))?;
                large(&scaled(&means, 1), 1).into_iter().flat_map(heat).collect()
            }
            Colours::Labels(names) => legend(&dense::largest_channel(&large(&self.values, self.channels), self.channels), names)?,
            Colours::Groups(count) => {
                // Every group is a channel, so that borders between groups are as smooth as those between labels.
                let one_hot: Vec<f32> =
                    self.values.iter().flat_map(|&own| (0..*count).map(move |group| f32::from(u8::from(own == group as f32)))).collect();
                let names: Vec<String> = (0..*count).map(|group| format!("group {group}")).collect();
                legend(&dense::largest_channel(&large(&one_hot, *count), *count), &names)?
            }
        };
        Ok(blend(pixels, &colours, args.opacity))
    }
}

/// The colour of every pixel; prints what each stands for and its share of the picture.
fn legend(channels: &[usize], names: &[String]) -> Result<Vec<u8>> {
    let mut table = Table::new(&["", "colour", "share"]);
    for (number, name) in names.iter().enumerate() {
        let [r, g, b] = hue(number);
        let pixels = channels.iter().filter(|channel| **channel == number).count();
        table.row([
            name.clone(),
            format!("#{r:02x}{g:02x}{b:02x}"),
            format!("{:.1} %", 100.0 * pixels as f64 / channels.len().max(1) as f64),
        ]);
    }
    print(&table.render())?;
    Ok(channels.iter().flat_map(|&channel| hue(channel)).collect())
}

/// Every channel from 0 to 1.
fn scaled(values: &[f32], channels: usize) -> Vec<f32> {
    let ranges: Vec<(f32, f32)> = (0..channels).map(|channel| range(values[channel..].iter().step_by(channels).copied())).collect();
    let scale = |(value, (low, high)): (&f32, &(f32, f32))| if high > low { (value - low) / (high - low) } else { 0.5 };
    values.iter().zip(ranges.iter().cycle()).map(scale).collect()
}

fn range(values: impl Iterator<Item = f32>) -> (f32, f32) {
    values.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

fn encoded(picture: &RgbImage) -> Result<Vec<u8>> {
    let mut png = Vec::new();
    PngEncoder::new(&mut png).write_image(picture.as_raw(), picture.width(), picture.height(), image::ExtendedColorType::Rgb8)?;
    Ok(png)
}
