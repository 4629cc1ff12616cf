//! One example to patches and tokens.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use polyglance::config::{VisionConfig, VisionGeometry};
use polyglance::image::{Patches, Resampling, decode, preprocess};
use polyglance::limits::Limits;
use polyglance::text::{Tokenizer, Tokens};

use super::caption::CaptionChoice;
use super::example::{Bad, Example, Reason};

/// How examples become model inputs.
#[derive(Clone)]
pub(super) struct Preparer {
    pub(super) vision: VisionConfig,
    pub(super) resampling: Resampling,
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) captions: CaptionChoice,
}

/// An example ready for the model.
pub(super) struct Prepared {
    pub(super) patches: Patches,
    pub(super) tokens: Tokens,
}

impl Preparer {
    /// Prepares the `ordinal`-th example of the run within `max_num_patches`, which a fixed-resolution model ignores.
    pub(super) fn prepare(&self, example: &Example, ordinal: u64, max_num_patches: usize) -> Result<Prepared, Bad> {
        // A panic costs this example only. What it leaves half-done is dropped.
        let work = || {
            let caption = self.captions.choose(example, ordinal)?;
            let tokens = self.tokenizer.encode(&caption).map_err(|error| example.bad(Reason::Text, error.to_string()))?;
            Ok(Prepared { patches: self.patches(example, max_num_patches)?, tokens })
        };
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(example.bad(Reason::Panic, "a bug in a decoder".to_owned())))
    }

    /// The image as it is: the paper trains on originals, without augmentation (arXiv 2502.14786, section 2.1).
    pub(super) fn patches(&self, example: &Example, max_num_patches: usize) -> Result<Patches, Bad> {
        let bad = |error: polyglance::image::ImageError| example.bad(Reason::Image, error.to_string());
        let image = decode(&example.image, &Limits::current()).map_err(bad)?;
        let budget = matches!(self.vision.geometry, VisionGeometry::NaFlex { .. }).then_some(max_num_patches);
        preprocess(&image.pixels, &self.vision, budget, self.resampling).map_err(bad)
    }
}
