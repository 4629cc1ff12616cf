//! Names of emoji from Unicode CLDR's annotations, in the JSON form of the npm packages `cldr-annotations-full` and
//! `cldr-annotations-derived-full` (sequences with gender and skin tone are in the second).

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{SynthError, font::PICTURE_SELECTOR};

/// Languages whose names are often several, "pear, fruit". Only the first is kept; elsewhere a comma belongs to the name.
const LISTS_ALTERNATIVES: [&str; 1] = ["hi"];

/// Names by language, then by emoji without variation selectors.
pub struct Annotations {
    by_language: BTreeMap<String, HashMap<String, Name>>,
}

/// What CLDR says about an emoji in one language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// What a screen reader says: the label. A part after a colon ("woman artist: dark skin tone") stands in brackets instead.
    pub label: String,
    /// Search words; some are synonyms, others only related.
    pub keywords: Vec<String>,
}

/// Either file: `{"annotations": {"annotations": {"🐱": …}}}`, or the same with `annotationsDerived` outside.
#[derive(Deserialize)]
struct File {
    #[serde(alias = "annotationsDerived")]
    annotations: Inner,
}

#[derive(Deserialize)]
struct Inner {
    annotations: HashMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    default: Vec<String>,
    #[serde(default)]
    tts: Vec<String>,
}

impl Annotations {
    /// Reads the languages from folders, each with `annotations/LANGUAGE/annotations.json` or `annotationsDerived/…` in it or one level
    /// below (the unpacked packages side by side).
    ///
    /// # Errors
    /// A language that no folder has, or a file of another form.
    pub fn open(folder: &Path, languages: &[String]) -> Result<Self, SynthError> {
        let roots = roots(folder)?;
        let mut by_language = BTreeMap::new();
        for language in languages {
            let names = by_language.entry(language.clone()).or_insert_with(HashMap::new);
            for file in roots.iter().map(|root| root.join(language).join("annotations.json")).filter(|file| file.exists()) {
                read(&file, LISTS_ALTERNATIVES.contains(&language.as_str()), names)?;
            }
            if names.is_empty() {
                let problem = format!(
                    "no annotations for the language {language:?}; unpack the npm packages cldr-annotations-full and \
                     cldr-annotations-derived-full here, or leave the language out of the recipe"
                );
                return Err(SynthError::Annotations { path: folder.to_owned(), problem });
            }
        }
        Ok(Self { by_language })
    }

    /// The name of an emoji, with or without variation selectors.
    pub fn name(&self, language: &str, sequence: &str) -> Option<&Name> {
        self.by_language.get(language)?.get(&sequence.replace(PICTURE_SELECTOR, ""))
    }
}

fn roots(folder: &Path) -> Result<Vec<PathBuf>, SynthError> {
    let below = std::fs::read_dir(folder).map_err(|error| {
        let problem =
            format!("{error}; unpack cldr-annotations-full and cldr-annotations-derived-full there (cargo xtask emoji-sources does)");
        SynthError::Annotations { path: folder.to_owned(), problem }
    })?;
    let mut places: Vec<PathBuf> = below.filter_map(|entry| Some(entry.ok()?.path())).collect();
    places.push(folder.to_owned());
    places.sort();
    let packages = ["annotations", "annotationsDerived"];
    Ok(places.iter().flat_map(|place| packages.map(|name| place.join(name))).filter(|root| root.is_dir()).collect())
}

fn read(file: &Path, alternatives: bool, names: &mut HashMap<String, Name>) -> Result<(), SynthError> {
    let json = std::fs::read(file).map_err(|error| SynthError::read(file, error))?;
    let parsed: File = serde_json::from_slice(&json)
        .map_err(|error| SynthError::Annotations { path: file.to_owned(), problem: format!("not in CLDR's JSON form: {error}") })?;
    for (sequence, entry) in parsed.annotations.annotations {
        if let Some(label) = entry.tts.into_iter().next() {
            let label = in_a_sentence(if alternatives { label.split(", ").next().unwrap_or(&label) } else { &label });
            let keywords = entry.default.into_iter().filter(|keyword| *keyword != label).collect();
            names.insert(sequence.replace(PICTURE_SELECTOR, ""), Name { label, keywords });
        }
    }
    Ok(())
}

/// A colon inside a list or before another colon would leave open what belongs together. Spaces that do not break become plain ones.
fn in_a_sentence(label: &str) -> String {
    let label = label.replace(['\u{a0}', '\u{202f}'], " ");
    match label.split_once(": ").or_else(|| label.split_once('：')) {
        Some((thing, detail)) => format!("{} ({})", thing.trim_end(), detail.trim_start()),
        None => label,
    }
}
