//! One example to patches and tokens.

use std::borrow::Cow;
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
    /// One per caption.
    pub(super) texts: Vec<Tokens>,
}

impl Preparer {
    /// Prepares the `ordinal`-th example of the run within `max_num_patches`, which a fixed-resolution model ignores.
    pub(super) fn prepare(&self, example: &Example, ordinal: u64, max_num_patches: usize) -> Result<Prepared, Bad> {
        contain(example, || {
            let encode =
                |caption: &Cow<'_, str>| self.tokenizer.encode(caption).map_err(|error| example.bad(Reason::Text, error.to_string()));
            let texts = self.captions.choose(example, ordinal)?.iter().map(encode).collect::<Result<_, _>>()?;
            Ok(Prepared { patches: self.cut(example, max_num_patches)?, texts })
        })
    }

    /// The image alone, as [`Preparer::prepare`] does it.
    pub(super) fn patches(&self, example: &Example, max_num_patches: usize) -> Result<Patches, Bad> {
        contain(example, || self.cut(example, max_num_patches))
    }

    /// The image as it is: the paper trains on originals, without augmentation (arXiv 2502.14786, section 2.1).
    fn cut(&self, example: &Example, max_num_patches: usize) -> Result<Patches, Bad> {
        let bad = |error: polyglance::image::ImageError| example.bad(Reason::Image, error.to_string());
        let image = decode(&example.image, &Limits::current()).map_err(bad)?;
        let budget = matches!(self.vision.geometry, VisionGeometry::NaFlex { .. }).then_some(max_num_patches);
        preprocess(&image.pixels, &self.vision, budget, self.resampling).map_err(bad)
    }
}

/// A panic costs this example only. What it leaves half-done is dropped.
fn contain<T>(example: &Example, work: impl FnOnce() -> Result<T, Bad>) -> Result<T, Bad> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(example.bad(Reason::Panic, "a bug in a decoder".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_costs_one_example() {
        let example = Example { name: "shard: key".to_owned(), ..Example::default() };
        let bad = contain(&example, || -> Result<(), Bad> { panic!("on purpose") }).unwrap_err();
        assert_eq!((bad.name.as_str(), bad.reason), ("shard: key", Reason::Panic));
        assert_eq!(contain(&example, || Ok(1)), Ok(1));
    }
}
