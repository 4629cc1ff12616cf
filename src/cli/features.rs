//! `polyglance features`: what the patches of one picture say, as a picture or as numbers.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result};
use clap::Args;
use image::{ImageEncoder, RgbImage, codecs::png::PngEncoder};
use polyglance::encoder::HiddenLayer;
use polyglance::kernels::Size;
use polyglance::platform::block_on;
use polyglance::tasks::dense::{Components, Interpolation, Map, Palette, PatchFeatures, View, blend, hue};
use polyglance::tasks::{Classifier, write_npy};
use polyglance::text::parse_labels;
use polyglance::weights::PendingFile;

use super::args::{DeviceArgs, HubArgs, ImageArgs, TextArgs};
use super::console::{note, print};
use super::exit::Outcome;
use super::inputs::{self, Picture};
use super::model::Model;
use super::pictures::Preprocessing;
use super::table::Table;
use super::{UsageError, signals::Interrupt};

const EXAMPLES: &str = "\
What is written:
  .png  the view in colours over the picture, at the picture's size
  .npy  f32 [rows, cols, values] for the patches: without a view the features themselves, for
        --pca its coordinates (with --foreground NaN behind things), for --similar one cosine, for
        --heatmap and --segment a logit for each phrase, for --kmeans the number of the group, for
        --attention a weight for each head

Phrases are compared with patches that went through the pooling head one by one; scores of whole
pictures are not on the same scale.

Examples:
  polyglance features street.jpg -o features.npy -m google/siglip2-base-patch16-naflex
  polyglance features street.jpg --pca 3 --max-num-patches 1024 -o pca.png -m ./my-model
  polyglance features street.jpg --heatmap \"a red bicycle\" -o bicycle.png -m ./my-model
  polyglance features street.jpg --segment \"road,car,sky\" -o segments.png -m ./my-model
  polyglance features street.jpg --similar 320,200 -o similar.png -m ./my-model
  polyglance features street.jpg --similar 64,64 --with wheel.jpg -o wheels.png -m ./my-model
  polyglance features cat1.jpg --pca 3 --foreground --with cat2.jpg -o cat1.png -m ./my-model";

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

    /// With --pca: leave out what surrounds things, and fit to what is left.
    #[arg(long, requires = "pca", conflicts_with_all = ["similar", "heatmap", "segment", "kmeans", "attention"])]
    foreground: bool,

    /// Another picture: --pca is fitted to both, so that a colour means the same in both (may be repeated); --similar X,Y is a pixel of it.
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["heatmap", "segment", "kmeans", "attention"])]
    with: Vec<PathBuf>,

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

/// Checks the command line, encodes the picture, makes the view, writes.
pub(crate) fn run(args: &FeaturesArgs) -> Result<Outcome> {
    let format = format(args)?;
    let labels =
        args.segment.as_deref().map(|list| parse_labels(list).map_err(|error| UsageError(format!("--segment: {error}")))).transpose()?;
    let phrases = labels.or_else(|| args.heatmap.clone().map(|phrase| vec![phrase]));
    if args.pca.is_none() && args.with.len() > usize::from(args.similar.is_some()) {
        return Err(UsageError("--with needs --pca or, once, --similar".to_owned()).into());
    }
    let picture = inputs::single(&args.image)?;
    let others = args.with.iter().map(|path| inputs::single(path)).collect::<Result<Vec<_>>>()?;
    let file = PendingFile::create(&args.output)?;
    let interrupt = Interrupt::install(Some(file.temporary_path().to_owned()))?;
    let mut model = Model::load(args.model.as_deref(), &args.hub, &args.device)?;
    let preprocessing = Preprocessing::new(model.config().vision, &args.pictures)?;
    let mut look = |picture: &Picture| {
        interrupt.check()?;
        Look::at(picture, args, &mut model, &preprocessing)
    };
    let mut first = look(&picture)?;
    let others = others.iter().map(look).collect::<Result<Vec<_>>>()?;
    interrupt.check()?;
    let map = map(args, &mut model, &mut first, &others, phrases.as_deref())?;
    interrupt.check()?;
    match format {
        Format::Npy => file.commit(|writer| write_npy(writer, &[map.grid.rows, map.grid.cols, map.channels], &[&map.values]))?,
        Format::Png => {
            let png = encoded(&painted(args, &map, &first.pixels, phrases.as_deref())?)?;
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

/// A picture that was encoded.
struct Look {
    pixels: RgbImage,
    features: PatchFeatures,
}

impl Look {
    fn at(picture: &Picture, args: &FeaturesArgs, model: &mut Model, preprocessing: &Preprocessing) -> Result<Self> {
        let name = picture.path.display().to_string();
        let decoded = preprocessing.decode(picture)?;
        decoded.warnings.iter().for_each(|warning| note(&format!("{name}: {warning}")));
        let patches = preprocessing.cut(&decoded.pixels)?;
        let layer = args.layer.map_or(HiddenLayer::Last, HiddenLayer::Block);
        let mut features = block_on(PatchFeatures::encode(&mut model.encoder, patches, layer)).context(name)?;
        // Phrases and attention are of the features as they are.
        if args.heatmap.is_none() && args.segment.is_none() && !args.attention {
            leave_out_outliers(args, &mut features)?;
        }
        Ok(Self { pixels: decoded.pixels, features })
    }
}

/// Makes the map of the first picture that was asked for.
fn map(args: &FeaturesArgs, model: &mut Model, first: &mut Look, others: &[Look], phrases: Option<&[String]>) -> Result<Map> {
    if let Some(phrases) = phrases {
        let classifier = classifier(args, model, phrases)?;
        block_on(first.features.embed(&mut model.encoder))?;
        return Ok(first.features.map(View::Phrases(&classifier))?);
    }
    let features = &first.features;
    if let Some(count) = args.pca {
        let all: Vec<&PatchFeatures> = std::iter::once(features).chain(others.iter().map(|other| &other.features)).collect();
        let components = Components::fit(&all, count.into(), args.foreground)?;
        return Ok(features.map(View::Components(&components))?);
    }
    let view = match (args.similar, args.kmeans) {
        (Some(point), _) => View::Similar(patch_at(point, others.first().unwrap_or(first))?),
        (_, Some(count)) => View::Groups(count.into()),
        _ if args.attention => View::Attention,
        _ => View::Features,
    };
    Ok(features.map(view)?)
}

fn classifier(args: &FeaturesArgs, model: &mut Model, phrases: &[String]) -> Result<Classifier> {
    let name = |index| format!("phrase {:?}", phrases.get(index).map(String::as_str).unwrap_or_default());
    let texts = model.encode_texts(phrases, args.text.options(), name)?;
    let (dim, encoder) = (model.config().embedding_dim(), &model.encoder);
    Ok(Classifier::new(texts.embeds, dim, encoder.logit_scale(), encoder.logit_bias())?)
}

/// Names channels that hide the others, and leaves them out if asked.
fn leave_out_outliers(args: &FeaturesArgs, features: &mut PatchFeatures) -> Result<()> {
    let outliers = features.outliers()?;
    if outliers.is_empty() {
        return Ok(());
    }
    let list = outliers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    if args.mask_outliers {
        features.mask(&outliers);
        note(&format!("left out channels {list}, more than ten times as large as most"));
    } else {
        note(&format!("channels {list} are more than ten times as large as most; --mask-outliers leaves them out"));
    }
    Ok(())
}

/// The features of the patch that a pixel lies in.
fn patch_at(point: Point, Look { pixels, features }: &Look) -> Result<&[f32]> {
    let (Point { x, y }, (width, height)) = (point, pixels.dimensions());
    if x >= width || y >= height {
        return Err(UsageError(format!("--similar {x},{y}: the picture has {width} × {height} pixels")).into());
    }
    let share = |pixel: u32, pixels: u32| (f64::from(pixel) + 0.5) / f64::from(pixels);
    Ok(features.patch_at([share(x, width), share(y, height)])?)
}

/// The map over the picture. What its colours mean goes to standard output.
fn painted(args: &FeaturesArgs, map: &Map, pixels: &RgbImage, phrases: Option<&[String]>) -> Result<RgbImage> {
    let palette = match args {
        FeaturesArgs { pca: Some(_), .. } => Palette::Rgb,
        FeaturesArgs { segment: Some(_), .. } => Palette::Largest,
        FeaturesArgs { kmeans: Some(_), .. } => Palette::Number,
        _ => Palette::Heat,
    };
    let size = Size { height: pixels.height() as usize, width: pixels.width() as usize };
    let painted = map.paint(size, args.interpolation, palette);
    if let Some([low, high]) = painted.range {
        print(&format!("dark is {low:.4}, bright is {high:.4}\n"))?;
    }
    if !painted.shares.is_empty() {
        let name = |number: usize| phrases.and_then(|phrases| phrases.get(number).cloned()).unwrap_or_else(|| format!("group {number}"));
        let mut table = Table::new(&["", "colour", "share"]);
        for (number, share) in painted.shares.iter().enumerate() {
            let [r, g, b] = hue(number);
            table.row([name(number), format!("#{r:02x}{g:02x}{b:02x}"), format!("{:.1} %", 100.0 * share)]);
        }
        print(&table.render())?;
    }
    Ok(blend(pixels, &painted.colours, args.opacity))
}

fn encoded(picture: &RgbImage) -> Result<Vec<u8>> {
    let mut png = Vec::new();
    PngEncoder::new(&mut png).write_image(picture.as_raw(), picture.width(), picture.height(), image::ExtendedColorType::Rgb8)?;
    Ok(png)
}
