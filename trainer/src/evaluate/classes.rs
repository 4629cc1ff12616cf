//! Classes with their names and prompts, by language.

use std::collections::BTreeMap;

use polyglance::text::expand;
use serde::Deserialize;

use super::EvaluationError;

/// `classes.json`, a list like `[{"id": "1f431", "names": {"en": "cat face", "de": "Katzengesicht"}}]`, and prompts for it.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassList {
    /// Prompts by language, `{}` standing for the name; the bare name for a language that is not listed.
    pub templates: BTreeMap<String, Vec<String>>,
    /// The classes.
    pub classes: Vec<Class>,
}

/// One class.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Class {
    /// What images of this class are labelled with.
    pub id: String,
    /// Its name by language; a class without a name in a language is no candidate there.
    pub names: BTreeMap<String, String>,
}

/// A language's prompts, ready for [`ensemble`](polyglance::text::ensemble).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompts {
    /// `[candidates * per_class]` prompts, those of a candidate next to each other.
    pub texts: Vec<String>,
    /// Prompts of each candidate.
    pub per_class: usize,
    /// The candidate of each label. Classes of the same name share one: nothing could tell them apart.
    pub candidates: BTreeMap<String, usize>,
}

impl Prompts {
    /// Number of candidates.
    pub fn classes(&self) -> usize {
        self.texts.len() / self.per_class.max(1)
    }
}

impl ClassList {
    /// Reads `classes.json` and, if there is one, a file of templates by language: `{"en": ["{}", "a picture of {}"]}`.
    ///
    /// # Errors
    /// Not JSON of that form, or no class.
    pub fn from_json(classes: &[u8], templates: Option<&[u8]>) -> Result<Self, EvaluationError> {
        let failed = |what, error: serde_json::Error| EvaluationError::Classes(format!("{what}: {error}"));
        let classes: Vec<Class> = serde_json::from_slice(classes).map_err(|error| failed("classes", error))?;
        let templates = templates.map_or(Ok(BTreeMap::new()), serde_json::from_slice).map_err(|error| failed("templates", error))?;
        if classes.is_empty() {
            return Err(EvaluationError::Classes("it lists no class".to_owned()));
        }
        Ok(Self { templates, classes })
    }

    /// Languages in which at least two classes have a name.
    pub fn languages(&self) -> Vec<String> {
        let mut counts = BTreeMap::<&String, usize>::new();
        self.classes.iter().flat_map(|class| class.names.keys()).for_each(|language| *counts.entry(language).or_default() += 1);
        counts.into_iter().filter(|(_, count)| *count > 1).map(|(language, _)| language.clone()).collect()
    }

    /// Every prompt of a language.
    ///
    /// # Errors
    /// A template without exactly one `{}`.
    pub fn prompts(&self, language: &str) -> Result<Prompts, EvaluationError> {
        let bare = vec!["{}".to_owned()];
        let templates = self.templates.get(language).filter(|templates| !templates.is_empty()).unwrap_or(&bare);
        let mut prompts = Prompts { per_class: templates.len(), ..Prompts::default() };
        let mut by_name = BTreeMap::new();
        for class in &self.classes {
            let Some(name) = class.names.get(language) else { continue };
            let next = by_name.len();
            let candidate = *by_name.entry(name).or_insert(next);
            if candidate == next {
                for template in templates {
                    prompts.texts.push(expand(template, name)?);
                }
            }
            prompts.candidates.insert(class.id.clone(), candidate);
        }
        Ok(prompts)
    }
}
