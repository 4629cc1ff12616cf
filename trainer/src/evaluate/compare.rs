//! Two ways of preparing images, compared image by image.

use super::exam::PerImage;
use super::report::{Comparison, Row};
use super::{Estimate, EvaluationError, Fitting, HeldOut};
use crate::random::Stream;

/// Ratio of the sides from which an image counts as elongated.
const ELONGATED: f64 = 3.0;

/// What is compared: a name, and its share per image.
type Measure = (&'static str, fn(&PerImage) -> &[Option<f64>]);

const MEASURES: [Measure; 3] = [
    ("zero_shot", |marks| &marks.zero_shot),
    ("text_to_image", |marks| &marks.text_to_image),
    ("image_to_text", |marks| &marks.image_to_text),
];

/// The native fitting of each model against its others with the same budget, over all images and over the elongated ones alone.
///
/// # Errors
/// Rows of different exams.
pub fn compare(rows: &[Row], held_out: &HeldOut, seed: u64) -> Result<Vec<Comparison>, EvaluationError> {
    let mut comparisons = Vec::new();
    for native in rows.iter().filter(|row| row.fitting == Some(Fitting::Native)) {
        let same = |row: &&Row| (row.max_num_patches, &row.name) == (native.max_num_patches, &native.name);
        for other in rows.iter().filter(same) {
            let Some(with) = other.fitting.filter(|fitting| *fitting != Fitting::Native) else { continue };
            for measure in MEASURES {
                for subset in ["all", "elongated"] {
                    comparisons.extend(one(native, other, with, measure, subset, held_out, seed)?);
                }
            }
        }
    }
    Ok(comparisons)
}

/// `None` if the subset has no image with such questions.
fn one(
    native: &Row,
    other: &Row,
    with: Fitting,
    (measure, shares): Measure,
    subset: &'static str,
    held_out: &HeldOut,
    seed: u64,
) -> Result<Option<Comparison>, EvaluationError> {
    let (a, b) = (shares(&native.marks.per_image), shares(&other.marks.per_image));
    let shapes = held_out.images.iter().map(|image| subset == "all" || image.aspect >= ELONGATED);
    let pairs = a.iter().zip(b).zip(shapes).filter(|(_, belongs)| *belongs);
    let (a, b): (Vec<f64>, Vec<f64>) = pairs.filter_map(|((a, b), _)| Some(((*a)?, (*b)?))).unzip();
    if a.is_empty() {
        return Ok(None);
    }
    let mean = |shares: &[f64]| shares.iter().sum::<f64>() / shares.len() as f64;
    let difference = Estimate::paired_difference(&a, &b, Stream::new(seed, "evaluate/paired"))?;
    let (max_num_patches, images) = (native.max_num_patches, a.len());
    Ok(Some(Comparison { max_num_patches, with, measure, subset, images, native: mean(&a), other: mean(&b), difference }))
}
