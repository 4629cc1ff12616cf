//! Images that the model has never seen, with their captions and classes.

use std::collections::BTreeMap;

use image::RgbImage;
use polyglance::image::decode;
use polyglance::limits::Limits;

use super::{EvaluationError, parallel_map};
use crate::data::{self, Bad, DataError, Example, HttpOptions, Reason};

/// The language of captions whose language the data does not tell: a `.txt`.
pub const UNKNOWN_LANGUAGE: &str = "und";

/// One image to be judged on.
#[derive(Clone, Debug)]
pub struct HeldOutImage {
    /// Shard and key.
    pub name: String,
    /// The encoded image, which is known to decode.
    pub bytes: Vec<u8>,
    /// The longer side divided by the shorter one.
    pub aspect: f64,
    /// Captions by language.
    pub captions: BTreeMap<String, Vec<String>>,
    /// Its class, if it has one.
    pub class: Option<String>,
}

/// A held-out set.
#[derive(Clone, Debug, Default)]
pub struct HeldOut {
    /// The good ones, in the order of the shards.
    pub images: Vec<HeldOutImage>,
    /// The others.
    pub bad: Vec<Bad>,
}

/// Images that are decoded at a time.
const CHUNK: usize = 64;

impl HeldOut {
    /// Reads the first `limit` good examples behind a pattern (see [`data::SourceOptions::pattern`]), or all.
    ///
    /// # Errors
    /// A pattern or shard that cannot be read, no example at all, or more than one in a hundred bad.
    pub fn read(pattern: &str, limit: Option<usize>, http: &HttpOptions) -> Result<Self, EvaluationError> {
        let limit = limit.unwrap_or(usize::MAX);
        let mut held_out = Self::default();
        let mut examples = data::examples(pattern, http)?;
        while held_out.images.len() < limit {
            let read = examples.by_ref().take(CHUNK.min(limit - held_out.images.len())).collect::<Result<Vec<_>, _>>()?;
            if read.is_empty() {
                break;
            }
            for result in parallel_map(&read, check) {
                match result {
                    Ok(image) => held_out.images.push(image),
                    Err(bad) => held_out.bad.push(bad),
                }
            }
        }
        held_out.judge(pattern)?;
        Ok(held_out)
    }

    fn judge(&self, pattern: &str) -> Result<(), DataError> {
        let (bad, seen) = (self.bad.len() as u64, (self.bad.len() + self.images.len()) as u64);
        if seen == 0 {
            return Err(DataError::Empty { pattern: pattern.to_owned() });
        }
        if bad * data::limits::BAD_ONE_IN > seen {
            let examples = self.bad.iter().take(5).map(|bad| format!("\n  {bad}")).collect();
            return Err(DataError::TooManyBad { pattern: pattern.to_owned(), bad, seen, examples });
        }
        Ok(())
    }

    /// Languages that some image has a caption in.
    pub fn languages(&self) -> Vec<String> {
        let all: std::collections::BTreeSet<_> = self.images.iter().flat_map(|image| image.captions.keys().cloned()).collect();
        all.into_iter().collect()
    }
}

impl HeldOutImage {
    /// Its pixels.
    ///
    /// # Errors
    /// None for an image that [`HeldOut::read`] gave.
    pub fn decode(&self) -> Result<RgbImage, EvaluationError> {
        let decoded = decode(&self.bytes, &Limits::current());
        decoded.map(|image| image.pixels).map_err(|source| EvaluationError::Image { name: self.name.clone(), source })
    }
}

fn check(example: &Result<Example, Bad>) -> Result<HeldOutImage, Bad> {
    let example = example.as_ref().map_err(Bad::clone)?;
    let bad = |reason, detail| Bad { name: example.name.clone(), reason, detail };
    let metadata = example.metadata()?;
    let class = metadata.class().map(str::to_owned);
    let mut captions = metadata.captions;
    if captions.is_empty()
        && let Some(text) = example.text()?
    {
        captions.insert(UNKNOWN_LANGUAGE.to_owned(), vec![text.to_owned()]);
    }
    let image = decode(&example.image, &Limits::current()).map_err(|error| bad(Reason::Image, error.to_string()))?;
    let (width, height) = (f64::from(image.pixels.width()), f64::from(image.pixels.height()));
    Ok(HeldOutImage {
        name: example.name.clone(),
        bytes: example.image.clone(),
        aspect: width.max(height) / width.min(height),
        captions,
        class,
    })
}
