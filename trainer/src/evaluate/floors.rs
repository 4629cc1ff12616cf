//! Floors: what a score must exceed to mean anything. Raw pixels know colours and layout, but no language.

use std::collections::BTreeMap;

use polyglance::image::{Grid, Resampling, patchify};

use super::exam::{Exam, Part, PartEmbeddings};
use super::held_out::{HeldOut, HeldOutImage};
use super::{EvaluationError, parallel_map};

/// Side of the square that images are shrunk to, in pixels.
const SIDE: usize = 16;

/// Values of a pixel embedding.
pub const PIXEL_DIM: usize = SIDE * SIDE * 3;

/// Pixels of the images of `exam`, and as class embeddings the mean pixels of the labelled images of `reference`: a nearest-mean classifier.
///
/// Both are shifted by the mean of `reference` and scaled to unit length. There is nothing to retrieve by text.
///
/// # Errors
/// An image that cannot be decoded, or no labelled image in `reference`.
pub fn pixel_floor(exam: &Exam, held_out: &HeldOut, reference: &HeldOut) -> Result<(Vec<f32>, Vec<PartEmbeddings>), EvaluationError> {
    let labelled: Vec<_> = reference.images.iter().filter(|image| image.class.is_some()).collect();
    if labelled.is_empty() {
        return Err(EvaluationError::Input("the reference set for raw pixels has no labelled image".to_owned()));
    }
    let known = pixels(&labelled)?;
    let mean = average(known.chunks_exact(PIXEL_DIM));
    let mut sums = BTreeMap::<&str, Vec<&[f32]>>::new();
    for (image, row) in labelled.iter().zip(known.chunks_exact(PIXEL_DIM)) {
        sums.entry(image.class.as_deref().unwrap_or_default()).or_default().push(row);
    }
    let means: BTreeMap<_, _> = sums.into_iter().map(|(label, rows)| (label, average(rows.into_iter()))).collect();
    let classes = |part: &Part| {
        // A class without an image is like none.
        let mut embeds = vec![0.0; part.prompts.classes() * PIXEL_DIM];
        for (label, &candidate) in &part.prompts.candidates {
            let row = embeds.get_mut(candidate * PIXEL_DIM..(candidate + 1) * PIXEL_DIM);
            if let (Some(row), Some(class)) = (row, means.get(label.as_str())) {
                row.copy_from_slice(class);
                center(row, &mean);
            }
        }
        PartEmbeddings { classes: embeds, captions: Vec::new() }
    };
    let mut images = pixels(&held_out.images.iter().collect::<Vec<_>>())?;
    images.chunks_exact_mut(PIXEL_DIM).for_each(|row| center(row, &mean));
    Ok((images, exam.parts.iter().map(classes).collect()))
}

/// `[images, PIXEL_DIM]`, from −1 to 1.
fn pixels(images: &[&HeldOutImage]) -> Result<Vec<f32>, EvaluationError> {
    let rows = parallel_map(images, |image| shrink(image)).into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(rows.concat())
}

fn shrink(image: &HeldOutImage) -> Result<Vec<f32>, EvaluationError> {
    // One patch of the whole image.
    let patches = patchify(&image.decode()?, Grid { rows: 1, cols: 1 }, SIDE, Resampling::Jax);
    patches.map(|patches| patches.values).map_err(|source| EvaluationError::Image { name: image.name.clone(), source })
}

fn average<'a>(rows: impl Iterator<Item = &'a [f32]>) -> Vec<f32> {
    let (mut sum, mut count) = (vec![0.0; PIXEL_DIM], 0.0_f32);
    for row in rows {
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        count += 1.0;
    }
    sum.iter_mut().for_each(|sum| *sum /= count.max(1.0));
    sum
}

fn center(row: &mut [f32], mean: &[f32]) {
    row.iter_mut().zip(mean).for_each(|(value, mean)| *value -= mean);
    let norm = row.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    row.iter_mut().for_each(|value| *value /= norm);
}
