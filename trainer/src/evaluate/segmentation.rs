//! Open-vocabulary segmentation of scenes: each pixel of a thing goes to the name, among those of its scene, that the patches there fit best.

use std::collections::BTreeMap;

use polyglance::encoder::{Encoder, HiddenLayer};
use polyglance::image::{Resampling, decode, preprocess};
use polyglance::kernels::Size;
use polyglance::limits::Limits;
use polyglance::platform::block_on;
use polyglance::tasks::Classifier;
use polyglance::tasks::dense::{Interpolation, PatchFeatures, View, largest_channel, upsample};
use polyglance::text::Tokenizer;
use serde::{Deserialize, Serialize};

use super::classes::{ClassList, Prompts};
use super::embedder::{Embedder, embed_classes};
use super::{EvaluationError, parallel_map};
use crate::data::{self, Example, HttpOptions, Region};
use crate::synth::Mask;

/// Segmentation in one language: intersections and unions are summed over all scenes for each class, and their ratios averaged over classes.
/// Pixels that show no named thing count for nobody.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Segmentation {
    /// The language of the names.
    pub language: String,
    /// Scenes with at least two things of different names.
    pub scenes: usize,
    /// Classes on them.
    pub classes: usize,
    /// Mean intersection over union of the model.
    pub model: f64,
    /// Of guessing each pixel.
    pub chance: f64,
    /// Of giving every pixel to the scene's largest thing.
    pub largest: f64,
}

/// What is segmented.
#[derive(Clone, Debug)]
pub struct SegmentationOptions {
    /// The shards (see [`data::SourceOptions::pattern`]).
    pub pattern: String,
    /// Most scenes.
    pub scenes: usize,
    /// Languages of the names; all that have any if empty.
    pub languages: Vec<String>,
    /// How images are resized.
    pub resampling: Resampling,
}

/// Scenes that are decoded at a time.
const CHUNK: usize = 64;

/// Segments the first scenes with masks by the names of what is on them, without any background among the names.
///
/// # Errors
/// Shards that cannot be read, names that cannot be used, or a model that fails.
pub fn segment(
    model: &mut Encoder,
    tokenizer: &Tokenizer,
    classes: &ClassList,
    options: &SegmentationOptions,
) -> Result<Vec<Segmentation>, EvaluationError> {
    let languages = if options.languages.is_empty() { classes.languages() } else { options.languages.clone() };
    let mut parts = Vec::new();
    for language in languages {
        let prompts = classes.prompts(&language)?;
        let embeds = embed_classes(model, tokenizer, &prompts)?;
        parts.push(Part { language, prompts, embeds, tallies: Tallies::default() });
    }
    let http = HttpOptions::default();
    let mut examples = data::examples(&options.pattern, &http)?;
    let mut left = options.scenes;
    while left > 0 {
        let read = examples.by_ref().take(CHUNK).collect::<Result<Vec<_>, _>>()?;
        if read.is_empty() {
            break;
        }
        let scenes = parallel_map(&read, |example| example.as_ref().ok().and_then(Scene::read));
        for scene in scenes.into_iter().flatten().take(left) {
            left -= 1;
            scene.segment(model, options.resampling, &mut parts)?;
        }
    }
    Ok(parts.into_iter().filter_map(Part::result).collect())
}

/// One language's names and what they were right about.
struct Part {
    language: String,
    prompts: Prompts,
    /// `[candidates, dim]`.
    embeds: Vec<f32>,
    tallies: Tallies,
}

impl Part {
    fn result(self) -> Option<Segmentation> {
        let Tallies { scenes, by_class } = self.tallies;
        let [model, chance, largest] = [0, 1, 2].map(|guesser: usize| {
            let ratios = by_class.values().filter_map(|sums| sums.get(guesser)).map(|[intersection, union]| intersection / union);
            ratios.sum::<f64>() / by_class.len() as f64
        });
        (scenes > 0).then_some(Segmentation { language: self.language, scenes, classes: by_class.len(), model, chance, largest })
    }
}

/// Sums of intersections and unions, in pixels, for each candidate: of the model, of chance, of the largest thing.
#[derive(Default)]
struct Tallies {
    scenes: usize,
    by_class: BTreeMap<usize, [[f64; 2]; 3]>,
}

impl Tallies {
    /// Adds a scene: how many pixels of each thing (rows) were taken for each thing (columns).
    fn add(&mut self, things: &[usize], confusion: &[Vec<f64>]) {
        let truth: Vec<f64> = confusion.iter().map(|row| row.iter().sum()).collect();
        let all: f64 = truth.iter().sum();
        let largest = largest_channel(&truth.iter().map(|pixels| *pixels as f32).collect::<Vec<_>>(), truth.len());
        let count = things.len() as f64;
        for (place, (class, pixels)) in things.iter().zip(&truth).enumerate() {
            let predicted: f64 = confusion.iter().filter_map(|row| row.get(place)).sum();
            let hit = confusion.get(place).and_then(|row| row.get(place)).copied().unwrap_or(0.0);
            let is_largest = largest.first() == Some(&place);
            let guesses = [(hit, predicted), (pixels / count, all / count), if is_largest { (*pixels, all) } else { (0.0, 0.0) }];
            for ([intersection, union], (hit, predicted)) in self.by_class.entry(*class).or_default().iter_mut().zip(guesses) {
                *intersection += hit;
                *union += pixels + predicted - hit;
            }
        }
        self.scenes += 1;
    }
}

/// A scene whose things have masks.
struct Scene {
    name: String,
    pixels: image::RgbImage,
    /// Label of each thing, and which pixels are its own.
    things: Vec<(String, Vec<bool>)>,
}

/// The part of `KEY.json` that tells where things are.
#[derive(Deserialize)]
struct Masked {
    #[serde(default)]
    regions: Vec<MaskedRegion>,
}

#[derive(Deserialize)]
struct MaskedRegion {
    #[serde(flatten)]
    region: Region,
    mask: Option<Mask>,
}

impl Scene {
    /// Nothing without masks that fit the picture: other data has other annotations.
    fn read(example: &Example) -> Option<Self> {
        let masked: Masked = serde_json::from_slice(example.metadata.as_deref()?).ok()?;
        let pixels = decode(&example.image, &Limits::current()).ok()?.pixels;
        let size = [pixels.height() as usize, pixels.width() as usize];
        let thing = |MaskedRegion { region, mask }| {
            let mask: Mask = mask.filter(|mask: &Mask| mask.size == size)?;
            Some((region.class()?.to_owned(), mask.decode()?))
        };
        let things: Vec<_> = masked.regions.into_iter().filter_map(thing).collect();
        (things.len() > 1).then(|| Self { name: example.name.clone(), pixels, things })
    }

    fn segment(&self, model: &mut Encoder, resampling: Resampling, parts: &mut [Part]) -> Result<(), EvaluationError> {
        let failed = |error: polyglance::encoder::EncoderError| EvaluationError::Model(error.to_string());
        let mismatched = |error: polyglance::tasks::TaskError| EvaluationError::Model(error.to_string());
        let patches = preprocess(&self.pixels, &model.config().vision, None, resampling)
            .map_err(|source| EvaluationError::Image { name: self.name.clone(), source })?;
        let mut features = block_on(PatchFeatures::encode(model, patches, HiddenLayer::Last)).map_err(failed)?;
        block_on(features.embed(model)).map_err(failed)?;
        let (dim, scale, bias) = (Embedder::dim(model), model.logit_scale(), model.logit_bias());
        let size = Size { height: self.pixels.height() as usize, width: self.pixels.width() as usize };
        for part in parts {
            let (candidates, owners) = self.owners(&part.prompts);
            if candidates.len() < 2 {
                continue;
            }
            let rows = candidates.iter().filter_map(|candidate| part.embeds.chunks_exact(dim).nth(*candidate)).flatten().copied();
            let classifier = Classifier::new(rows.collect(), dim, scale, bias).map_err(mismatched)?;
            let map = features.map(View::Phrases(&classifier)).map_err(mismatched)?;
            let logits = upsample(&map.values, map.grid, map.channels, size, Interpolation::Bilinear);
            let mut confusion = vec![vec![0.0; candidates.len()]; candidates.len()];
            for (owner, taken) in owners.iter().zip(largest_channel(&logits, map.channels)) {
                if let Some(pixels) = owner.and_then(|owner| confusion.get_mut(owner)?.get_mut(taken)) {
                    *pixels += 1.0;
                }
            }
            part.tallies.add(&candidates, &confusion);
        }
        Ok(())
    }

    /// The candidates on this scene, and for each pixel which of them owns it.
    fn owners(&self, prompts: &Prompts) -> (Vec<usize>, Vec<Option<usize>>) {
        let mut candidates = Vec::new();
        let mut owners = vec![None; (self.pixels.width() * self.pixels.height()) as usize];
        for (label, mask) in &self.things {
            let Some(candidate) = prompts.candidates.get(label) else { continue };
            let place = candidates.iter().position(|known| known == candidate).unwrap_or_else(|| {
                candidates.push(*candidate);
                candidates.len() - 1
            });
            owners.iter_mut().zip(mask).filter(|(_, is_inside)| **is_inside).for_each(|(owner, _)| *owner = Some(place));
        }
        (candidates, owners)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guesser_is_judged_by_the_same_pixels() {
        let mut tallies = Tallies::default();
        // 60 pixels of class 7, ten of which are taken for class 3; 40 of class 3, all right.
        tallies.add(&[7, 3], &[vec![50.0, 10.0], vec![0.0, 40.0]]);
        assert_eq!(tallies.by_class[&7], [[50.0, 60.0], [30.0, 80.0], [60.0, 100.0]]);
        assert_eq!(tallies.by_class[&3], [[40.0, 50.0], [20.0, 70.0], [0.0, 40.0]]);
        let prompts = Prompts::default();
        let part = Part { language: "en".to_owned(), prompts, embeds: Vec::new(), tallies };
        let result = part.result().unwrap();
        assert_eq!((result.scenes, result.classes), (1, 2));
        let expected = [(50.0 / 60.0 + 0.8) / 2.0, (30.0 / 80.0 + 20.0 / 70.0) / 2.0, 0.3];
        for (value, expected) in [result.model, result.chance, result.largest].into_iter().zip(expected) {
            assert!((value - expected).abs() < 1e-12, "{value} is not {expected}");
        }
    }
}
