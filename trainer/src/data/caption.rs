//! What an example says about its image, and which caption of it is used.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::draw::weighted;
use super::example::{Bad, Example, Reason};
use crate::random::Stream;

/// The parts of `key.json` that training and evaluation use; other keys are ignored.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Metadata {
    /// Captions by language, at least one each.
    #[serde(default, deserialize_with = "captions")]
    pub captions: BTreeMap<String, Vec<String>>,
    /// The class of the whole image.
    pub label: Option<String>,
    /// Objects in the image.
    #[serde(default)]
    pub regions: Vec<Region>,
}

/// One object in an image.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Region {
    /// Its class.
    pub label: Option<String>,
    /// Code points of the emoji that it shows, which name its class better: names change with the language.
    pub glyph: Option<String>,
}

impl Region {
    /// Its class, by its glyph where it has one.
    pub fn class(&self) -> Option<&str> {
        self.glyph.as_deref().or(self.label.as_deref())
    }
}

impl Metadata {
    /// The image's class: its own label, or that of its only region.
    pub fn class(&self) -> Option<&str> {
        let only = match self.regions.as_slice() {
            [region] => region.class(),
            _ => None,
        };
        self.label.as_deref().or(only)
    }
}

/// A language's captions may be one string or a list; blank ones do not count.
fn captions<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    let captions = Option::<BTreeMap<String, OneOrMany>>::deserialize(deserializer)?.unwrap_or_default();
    let list = |captions| match captions {
        OneOrMany::One(caption) => vec![caption],
        OneOrMany::Many(captions) => captions,
    };
    let mut captions: BTreeMap<_, Vec<_>> = captions.into_iter().map(|(language, captions)| (language, list(captions))).collect();
    captions.values_mut().for_each(|captions| captions.retain(|caption| !caption.trim().is_empty()));
    captions.retain(|_, captions| !captions.is_empty());
    Ok(captions)
}

impl Example {
    /// The parsed `key.json`; the default if there is none.
    ///
    /// # Errors
    /// Not JSON, or values of other types than the layout's.
    pub fn metadata(&self) -> Result<Metadata, Bad> {
        let Some(json) = &self.metadata else { return Ok(Metadata::default()) };
        serde_json::from_slice(json).map_err(|error| self.bad(Reason::Metadata, error.to_string()))
    }

    /// The caption of `key.txt`, if there is one that is not blank.
    ///
    /// # Errors
    /// Not UTF-8.
    pub fn text(&self) -> Result<Option<&str>, Bad> {
        let Some(text) = &self.text else { return Ok(None) };
        let text = std::str::from_utf8(text).map_err(|error| self.bad(Reason::Text, error.to_string()))?;
        Ok(Some(text.trim()).filter(|text| !text.is_empty()))
    }

    pub(super) fn bad(&self, reason: Reason, detail: String) -> Bad {
        Bad { name: self.name.clone(), reason, detail }
    }
}

/// Chooses the captions of each example, by language.
#[derive(Clone)]
pub(super) struct CaptionChoice {
    stream: Stream,
    /// Weights by language; without any, `key.txt` comes first.
    languages: BTreeMap<String, f64>,
    /// Captions per example.
    count: usize,
}

impl CaptionChoice {
    pub(super) fn new(seed: u64, languages: BTreeMap<String, f64>, count: usize) -> Self {
        Self { stream: Stream::new(seed, "data/captions"), languages, count }
    }

    /// The captions of `example`, which is the `ordinal`-th that the run draws.
    ///
    /// With weights, a language is drawn among those present that have one, then one of its captions evenly; no language comes twice before
    /// all have come once. Where none is present, `key.txt` stands in. Without weights it is `key.txt`, and any caption of the metadata
    /// where that is missing.
    pub(super) fn choose<'a>(&self, example: &'a Example, ordinal: u64) -> Result<Vec<Cow<'a, str>>, Bad> {
        let text = example.text();
        if self.languages.is_empty()
            && let Some(text) = text.clone()?
        {
            return Ok(vec![Cow::Borrowed(text); self.count]);
        }
        let captions = example.metadata()?.captions;
        let weight = |language: &String| if self.languages.is_empty() { 1.0 } else { self.languages.get(language).copied().unwrap_or(0.0) };
        let weights: Vec<f64> = captions.keys().map(weight).collect();
        let mut left = weights.clone();
        let mut chosen = Vec::with_capacity(self.count);
        for counter in (0..self.count as u64).map(|number| 2 * (ordinal * self.count as u64 + number)) {
            if left.iter().all(|weight| *weight == 0.0) {
                left.clone_from(&weights);
            }
            let Some(language) = weighted(left.iter().copied(), self.stream.uniform(counter)) else { break };
            left[language] = 0.0;
            let in_language = captions.values().nth(language).map_or(&[][..], Vec::as_slice);
            let index = self.stream.below(counter + 1, in_language.len() as u64) as usize;
            chosen.extend(in_language.get(index).map(|caption| Cow::Owned(caption.clone())));
        }
        if !chosen.is_empty() {
            return Ok(chosen);
        }
        match text? {
            Some(text) => Ok(vec![Cow::Borrowed(text); self.count]),
            None if captions.is_empty() => Err(example.bad(Reason::NoCaption, "it needs a .txt, or a .json with \"captions\"".to_owned())),
            None => {
                let present: Vec<_> = captions.into_keys().collect();
                Err(example.bad(Reason::NoCaption, format!("its captions are in {}, none of which has a weight", present.join(", "))))
            }
        }
    }
}
