//! Zero-shot classification, retrieval and segmentation by language, with intervals, chance and floors.
//!
//! A [`HeldOut`] set and a [`ClassList`] make an [`Exam`]. Whoever takes it hands in embeddings: a model through [`Embedder`], raw pixels, a
//! random encoder. All are marked by the same code, so the numbers can be compared.

mod altered;
mod classes;
mod compare;
mod embedder;
mod exam;
mod fitting;
mod floors;
mod held_out;
mod interval;
mod ranking;
mod report;
mod segmentation;

use polyglance::image::{ImageError, Resampling};
use polyglance::platform::for_each_chunk;
use polyglance::text::{TextError, Tokenizer};
use polyglance::{config::VisionConfig, weights::WeightsError};

pub use altered::{ALTERATIONS, Alteration, Altered, find_altered};
pub use classes::{Class, ClassList, Prompts};
pub use compare::compare;
pub use embedder::{Embedder, Preparation};
pub use exam::{Exam, Marks, Part, PartEmbeddings, PartMarks, PerImage, Retrieval, ZeroShot};
pub use fitting::Fitting;
pub use floors::{PIXEL_DIM, pixel_floor};
pub use held_out::{HeldOut, HeldOutImage, UNKNOWN_LANGUAGE};
pub use interval::{Estimate, Group, mcnemar};
pub use ranking::{Embeddings, Recall, ranks};
pub use report::{Comparison, Report, Row};
pub use segmentation::{Segmentation, SegmentationOptions, segment};

use crate::data::DataError;

/// Why something could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// The held-out set cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// `classes.json` is not what it should be.
    #[error("the list of classes cannot be used: {0}")]
    Classes(String),
    /// Embeddings, answers or languages that do not fit together.
    #[error("{0}")]
    Input(String),
    /// A text or template that cannot be used.
    #[error(transparent)]
    Text(#[from] TextError),
    /// An image that cannot be prepared.
    #[error("{name}: {source}")]
    Image {
        /// Shard and key.
        name: String,
        /// What is wrong with it.
        source: ImageError,
    },
    /// The model cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The model failed.
    #[error("the model failed: {0}")]
    Model(String),
}

/// What to try besides the model's own preparation.
#[derive(Clone, Debug)]
pub struct EvaluationOptions {
    /// Ways of fitting images into patches.
    pub fittings: Vec<Fitting>,
    /// Budgets; empty for the model's own.
    pub budgets: Vec<usize>,
    /// How images are resized.
    pub resampling: Resampling,
    /// For the bootstrap.
    pub seed: u64,
}

/// Lets `model` take the exam in every fitting and budget.
///
/// # Errors
/// An image, a text or a model that fails.
pub fn take(
    model: &mut dyn Embedder,
    name: &str,
    vision: &VisionConfig,
    tokenizer: &Tokenizer,
    exam: &Exam,
    held_out: &HeldOut,
    options: &EvaluationOptions,
) -> Result<Vec<Row>, EvaluationError> {
    let texts = exam.embed_texts(model, tokenizer)?;
    let images: Vec<_> = held_out.images.iter().collect();
    let budgets = if options.budgets.is_empty() { vec![None] } else { options.budgets.iter().copied().map(Some).collect() };
    let mut rows = Vec::new();
    for max_num_patches in budgets {
        for &fitting in &options.fittings {
            let preparation = Preparation { vision: *vision, fitting, max_num_patches, resampling: options.resampling };
            let (embeds, mean_patches) = embedder::embed_images(model, &images, &preparation)?;
            let marks = exam.mark(&embeds, model.dim(), &texts, options.seed)?;
            rows.push(Row { name: name.to_owned(), fitting: Some(fitting), max_num_patches, mean_patches, marks });
        }
    }
    Ok(rows)
}

/// `work` on each item, on all threads, in order.
fn parallel_map<A: Sync, B: Send>(items: &[A], work: impl Fn(&A) -> B + Sync + Send) -> Vec<B> {
    let mut results: Vec<Option<B>> = items.iter().map(|_| None).collect();
    for_each_chunk(&mut results, 1, |index, slot| slot.iter_mut().zip(items.get(index)).for_each(|(slot, item)| *slot = Some(work(item))));
    results.into_iter().flatten().collect()
}
