//! Pictures through the encoder: read and preprocessed ahead on other threads, batched, encoded in order.

use ::image::RgbImage;
use anyhow::{Context, Result, bail};
use polyglance::config::{VisionConfig, VisionGeometry};
use polyglance::encoder::{Encoder, ImageFeatures, ImageOutputs};
use polyglance::image::{self, DecodedImage, ImageError, PatchBatch, Patches, Resampling};
use polyglance::index::plural;
use polyglance::limits::Limits;
use polyglance::platform::{ReadAhead, block_on};
use polyglance::tasks::Batcher;

use super::args::ImageArgs;
use super::console::{self, note};
use super::inputs::{Inputs, Picture};
use super::progress::Progress;
use super::signals::Interrupt;
use super::{UsageError, exit::Outcome};

/// Patches encoded at once: enough to fill a device, few enough that Ctrl-C is heard soon.
const TOKENS_PER_BATCH: usize = 4_096;

/// How one model wants its pictures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preprocessing {
    vision: VisionConfig,
    max_num_patches: Option<usize>,
    resampling: Resampling,
}

/// A picture ready for the encoder.
struct Prepared {
    patches: Patches,
    /// What the decoder had to work around, such as a broken colour profile.
    warnings: Vec<String>,
}

/// Pictures that went through the encoder together.
pub(crate) struct EncodedBatch {
    /// Paths, in the order of the rows of `features`.
    pub(crate) names: Vec<String>,
    pub(crate) patches: Vec<Patches>,
    pub(crate) features: ImageFeatures,
}

impl Preprocessing {
    /// # Errors
    /// A patch budget for a model whose resolution is fixed.
    pub(crate) fn new(vision: VisionConfig, args: &ImageArgs) -> Result<Self, UsageError> {
        check_budget(&vision, args.max_num_patches)?;
        Ok(Self { vision, max_num_patches: args.max_num_patches, resampling: args.resample })
    }

    /// Reads, decodes and cuts one picture. An error begins with its path.
    fn prepare(&self, picture: &Picture) -> Result<Prepared> {
        let decoded = self.decode(picture)?;
        let patches = self.cut(&decoded.pixels).with_context(|| picture.path.display().to_string())?;
        Ok(Prepared { patches, warnings: decoded.warnings })
    }

    /// Reads and decodes one picture. An error begins with its path.
    pub(crate) fn decode(&self, picture: &Picture) -> Result<DecodedImage> {
        let limits = Limits::current();
        let decode = || Ok::<_, anyhow::Error>(image::decode(&picture.read()?, &limits)?);
        decode().with_context(|| picture.path.display().to_string())
    }

    /// Cuts a decoded picture into patches.
    pub(crate) fn cut(&self, pixels: &RgbImage) -> Result<Patches, ImageError> {
        image::preprocess(pixels, &self.vision, self.max_num_patches, self.resampling)
    }
}

/// Refuses a patch budget for a model whose resolution is fixed.
pub(crate) fn check_budget(vision: &VisionConfig, max_num_patches: Option<usize>) -> Result<(), UsageError> {
    match (vision.geometry, max_num_patches) {
        (VisionGeometry::Fixed { image_size }, Some(_)) => Err(UsageError(format!(
            "--max-num-patches is for NaFlex models; this one always sees {image_size} × {image_size} pixels, so leave it out"
        ))),
        _ => Ok(()),
    }
}

/// One way through all pictures of a run.
pub(crate) struct Pass<'a> {
    pub(crate) encoder: &'a mut Encoder,
    pub(crate) preprocessing: Preprocessing,
    pub(crate) want: ImageOutputs,
    /// For commands that write a file.
    pub(crate) interrupt: Option<&'a Interrupt>,
}

impl Pass<'_> {
    /// Encodes every picture and gives each batch to `each`, in the order of `inputs`.
    ///
    /// A picture that was found in a folder and cannot be read is reported on standard error and left out.
    ///
    /// # Errors
    /// A picture named outright that cannot be read, no readable picture at all, an encoder failure, or Ctrl-C.
    pub(crate) fn run(mut self, inputs: &Inputs, mut each: impl FnMut(EncodedBatch) -> Result<()>) -> Result<Outcome> {
        let pictures = &inputs.pictures;
        let (preprocessing, device) = (self.preprocessing, self.encoder.device().to_string());
        let progress = Progress::new(pictures.len(), "pictures");
        let files = pictures.clone();
        let prepare = move |index: usize| files.get(index).map(|picture| preprocessing.prepare(picture));
        let ahead = ReadAhead::new(pictures.len(), prepare).context("cannot read pictures")?;
        let (mut batcher, mut skipped) = (Batcher::new(TOKENS_PER_BATCH), 0);
        for (picture, prepared) in pictures.iter().zip(ahead.flatten()) {
            self.interrupt.map_or(Ok(()), Interrupt::check)?;
            let Some(patches) = accept(picture, prepared, &progress)? else {
                skipped += 1;
                continue;
            };
            let tokens = patches.grid.patches();
            if let Some(batch) = batcher.push((picture.path.display().to_string(), patches), tokens) {
                each(self.encode(batch, &progress)?)?;
            }
        }
        batcher.take().map_or(Ok(()), |batch| each(self.encode(batch, &progress)?))?;
        drop(progress);
        if self.encoder.device().to_string() != device {
            note(&format!("continued on {}", self.encoder.device()));
        }
        finish(inputs, skipped)
    }

    /// One batch through the encoder.
    fn encode(&mut self, batch: Vec<(String, Patches)>, progress: &Progress) -> Result<EncodedBatch> {
        let (names, patches): (Vec<String>, Vec<Patches>) = batch.into_iter().unzip();
        let features = block_on(self.encoder.encode_images(&PatchBatch::pack(&patches), self.want)).with_context(|| batch_name(&names))?;
        progress.add(names.len());
        Ok(EncodedBatch { names, patches, features })
    }
}

/// Passes on a good picture with its warnings; reports one that was only found; fails for one that was named.
fn accept(picture: &Picture, prepared: Result<Prepared>, progress: &Progress) -> Result<Option<Patches>> {
    match prepared {
        Ok(prepared) => {
            for warning in &prepared.warnings {
                progress.say(&format!("{}: {warning}", picture.path.display()));
            }
            Ok(Some(prepared.patches))
        }
        Err(error) if picture.named => Err(error),
        Err(error) => {
            progress.say(&format!("skipped {error:#}"));
            progress.add(1);
            Ok(None)
        }
    }
}

/// Reports what was left out and says whether the result is complete.
fn finish(inputs: &Inputs, skipped: usize) -> Result<Outcome> {
    console::report(&inputs.left_out);
    if skipped > 0 {
        note(&format!("skipped {} of {}", skipped, plural(inputs.pictures.len(), "picture")));
    }
    if skipped > 0 && skipped == inputs.pictures.len() {
        bail!("no picture could be read");
    }
    Ok(if skipped > 0 || inputs.left_out.lost_pictures() { Outcome::SomeSkipped } else { Outcome::Done })
}

/// What an error of a whole batch is about.
fn batch_name(names: &[String]) -> String {
    match names {
        [] => "empty batch".to_owned(),
        [only] => only.clone(),
        [first, .., last] => format!("pictures {first} to {last}"),
    }
}
