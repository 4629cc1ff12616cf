//! Pictures through the encoder: read and preprocessed ahead on other threads, batched, encoded in order.

use std::collections::VecDeque;
use std::path::Path;

use anyhow::{Context, Result, bail};
use polyglance::config::{VisionConfig, VisionGeometry};
use polyglance::encoder::{Encoder, ImageFeatures, ImageOutputs};
use polyglance::image::{self, PatchBatch, Patches, Resampling};
use polyglance::limits::Limits;
use polyglance::platform::block_on;
use polyglance::tasks::Batcher;

use super::args::ImageArgs;
use super::console::note;
use super::inputs::{Inputs, Picture};
use super::left_out::plural;
use super::progress::Progress;
use super::read_ahead;
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
    warnings: Vec<String>,
}

/// Pictures that went through the encoder together.
pub(crate) struct EncodedBatch {
    pub(crate) names: Vec<String>,
    pub(crate) patches: Vec<Patches>,
    pub(crate) features: ImageFeatures,
}

impl Preprocessing {
    /// # Errors
    /// A patch budget for a model whose resolution is fixed.
    pub(crate) fn new(vision: VisionConfig, args: &ImageArgs) -> Result<Self, UsageError> {
        if let (VisionGeometry::Fixed { image_size }, Some(_)) = (vision.geometry, args.max_num_patches) {
            return Err(UsageError(format!(
                "--max-num-patches is for NaFlex models; this one always sees {image_size} × {image_size} pixels, so leave it out"
            )));
        }
        Ok(Self { vision, max_num_patches: args.max_num_patches, resampling: args.resample })
    }

    fn prepare(&self, path: &Path) -> Result<Prepared> {
        let prepare = || {
            let limits = Limits::current();
            let bytes = std::fs::metadata(path)?.len();
            if bytes > limits.encoded_image_bytes {
                bail!("the file has {bytes} bytes, more than the {} of a picture", limits.encoded_image_bytes);
            }
            let decoded = image::decode(&std::fs::read(path)?, &limits)?;
            let patches = image::preprocess(&decoded.pixels, &self.vision, self.max_num_patches, self.resampling)?;
            Ok(Prepared { patches, warnings: decoded.warnings })
        };
        prepare().with_context(|| path.display().to_string())
    }
}

/// Encodes every picture and gives each batch to `each`, in the order of `inputs`.
///
/// A picture that was found in a folder and cannot be read is reported on standard error and left out.
///
/// # Errors
/// A picture named outright that cannot be read, no readable picture at all, an encoder failure, or Ctrl-C.
pub(crate) fn encode(
    encoder: &mut Encoder,
    inputs: &Inputs,
    preprocessing: &Preprocessing,
    want: ImageOutputs,
    interrupt: Option<&Interrupt>,
    mut each: impl FnMut(EncodedBatch) -> Result<()>,
) -> Result<Outcome> {
    let pictures = &inputs.pictures;
    let device = encoder.device().to_string();
    let progress = Progress::new(pictures.len(), "pictures");
    let mut names = VecDeque::new();
    let mut skipped = 0;
    let mut run = |names: &mut VecDeque<String>, patches: Vec<Patches>| -> Result<()> {
        let names: Vec<String> = names.drain(..patches.len()).collect();
        let features = block_on(encoder.encode_images(&PatchBatch::pack(&patches), want)).with_context(|| batch_name(&names))?;
        progress.add(names.len());
        each(EncodedBatch { names, patches, features })
    };
    let prepare = |index: usize| pictures.get(index).map(|picture| preprocessing.prepare(&picture.path));
    read_ahead::in_order(pictures.len(), read_ahead::threads(), prepare, |prepared| -> Result<()> {
        let mut batcher = Batcher::new(TOKENS_PER_BATCH);
        for (picture, prepared) in pictures.iter().zip(prepared.flatten()) {
            interrupt.map_or(Ok(()), Interrupt::check)?;
            let Some(prepared) = accept(picture, prepared, &progress)? else {
                skipped += 1;
                continue;
            };
            names.push_back(picture.path.display().to_string());
            if let Some(batch) = batcher.push(prepared.patches) {
                run(&mut names, batch)?;
            }
        }
        batcher.take().map_or(Ok(()), |batch| run(&mut names, batch))
    })?;
    drop(progress);
    if encoder.device().to_string() != device {
        note(&format!("continued on {}", encoder.device()));
    }
    finish(inputs, skipped)
}

/// Passes on a good picture with its warnings; reports one that was only found; fails for one that was named.
fn accept(picture: &Picture, prepared: Result<Prepared>, progress: &Progress) -> Result<Option<Prepared>> {
    match prepared {
        Ok(prepared) => {
            for warning in &prepared.warnings {
                progress.say(&format!("{}: {warning}", picture.path.display()));
            }
            Ok(Some(prepared))
        }
        Err(error) if picture.named => Err(error),
        Err(error) => {
            progress.say(&format!("skipped {error:#}"));
            progress.add(1);
            Ok(None)
        }
    }
}

fn finish(inputs: &Inputs, skipped: usize) -> Result<Outcome> {
    inputs.left_out.report();
    if skipped > 0 {
        note(&format!("skipped {} of {}", skipped, plural(inputs.pictures.len(), "picture")));
    }
    if skipped > 0 && skipped == inputs.pictures.len() {
        bail!("no picture could be read");
    }
    Ok(if skipped > 0 || inputs.left_out.lost_pictures() { Outcome::SomeSkipped } else { Outcome::Done })
}

fn batch_name(names: &[String]) -> String {
    match names {
        [] => "empty batch".to_owned(),
        [only] => only.clone(),
        [first, .., last] => format!("pictures {first} to {last}"),
    }
}
