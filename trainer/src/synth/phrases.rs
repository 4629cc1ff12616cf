//! What captions are made of, by language (`phrases.toml`).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{SynthError, draw::Draw, split::Split};

/// A language's words for a scene. Names go into them in CLDR's form, so no phrase asks for an inflected one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Phrases {
    /// Latin, Cyrillic, Arabic, Devanagari, Han, Kana or Hangul.
    pub script: String,
    /// Between the members of a list.
    pub list: String,
    /// Between statements.
    pub clause: String,
    /// `{n}` things called `{x}`.
    pub count: String,
    frames: Vec<String>,
    #[serde(default)]
    list_frames: Vec<String>,
    /// `{a}` is left of `{b}`.
    pub beside: Vec<String>,
    /// `{a}` is above `{b}`.
    pub above: Vec<String>,
    /// `{x}` is at the place `{p}`.
    pub place: String,
    /// The cells of a 3 × 3 grid, row by row.
    pub places: [String; 9],
    /// The background has the colour `{}`.
    pub background: String,
    /// In the order of [`super::background::COLOURS`].
    pub colours: [String; 11],
    /// A sign that says `{}`.
    pub sign: String,
    /// A receipt with the lines `{}`.
    pub receipt: String,
    /// The last line of a receipt.
    pub total: String,
    /// Between whole and hundredth parts of a price.
    pub decimal: String,
}

impl Phrases {
    /// All languages there are phrases for.
    pub(super) fn all() -> Result<BTreeMap<String, Self>, SynthError> {
        const FILE: &str = "phrases.toml";
        let failed = |problem: String| SynthError::Table { file: FILE, problem };
        let all: BTreeMap<String, Self> = toml::from_str(include_str!("phrases.toml")).map_err(|error| failed(error.to_string()))?;
        match all.iter().find(|(_, phrases)| phrases.frames.len() < 3) {
            Some((language, _)) => Err(failed(format!("{language} needs a frame for each split"))),
            None => Ok(all),
        }
    }

    /// A wording around a whole caption that belongs to the split. Some only fit a list of things.
    pub(super) fn frame(&self, split: Split, is_list: bool, draw: &mut Draw) -> &str {
        let shared = self.frames.len().saturating_sub(2);
        let frame = match split {
            Split::Train => draw.below(shared + if is_list { self.list_frames.len() } else { 0 }),
            Split::Validation => shared,
            Split::Test => shared + 1,
        };
        let more = if split == Split::Train { frame.checked_sub(shared) } else { None };
        more.map_or_else(|| self.frames.get(frame), |more| self.list_frames.get(more)).map_or("{}", String::as_str)
    }
}

/// Replaces each `{key}` of a template. Values are not looked at again.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((key, after)) = after.split_once('}') else { break };
        filled.push_str(values.iter().find(|(name, _)| *name == key).map_or("", |(_, value)| value));
        rest = after;
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phrase_has_its_places_once() {
        let all = Phrases::all().expect("the table parses");
        let scripts: std::collections::BTreeSet<_> = all.values().map(|phrases| phrases.script.as_str()).collect();
        assert!(all.len() >= 12 && scripts.len() >= 7, "{scripts:?}");
        for (language, phrases) in &all {
            let once = |template: &str, key: &str| assert_eq!(template.matches(key).count(), 1, "{language}: {template:?}");
            let whole = [&phrases.background, &phrases.sign, &phrases.receipt];
            phrases.frames.iter().chain(&phrases.list_frames).chain(whole).for_each(|template| once(template, "{}"));
            for (template, keys) in [(&phrases.count, ["{n}", "{x}"]), (&phrases.place, ["{p}", "{x}"])] {
                keys.iter().for_each(|key| once(template, key));
            }
            phrases.beside.iter().chain(&phrases.above).for_each(|template| ["{a}", "{b}"].iter().for_each(|key| once(template, key)));
        }
    }

    #[test]
    fn values_are_not_filled_again() {
        assert_eq!(fill("{a} · {b}", &[("a", "{b}"), ("b", "x")]), "{b} · x");
    }
}
