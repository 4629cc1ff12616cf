//! Recipes: a TOML file per run, read into one typed value. Every key is known, and a wrong one is an error that names the right one.

mod keys;
mod model;
mod overrides;
mod plan;
mod sections;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::optim::{OptimizerRecipe, Schedule};

pub use model::{ModelRecipe, TextDimensions, VisionDimensions};
pub use plan::{ActivationBytes, Part, Plan, SpeedSource, StateBytes, training_flops};
pub use sections::{BatchRecipe, CheckpointRecipe, Contrast, DataRecipe, DeviceKind, DeviceRecipe, EvaluationRecipe, LossesRecipe};

/// Everything that decides a run.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Starting point of all randomness.
    #[serde(default)]
    pub seed: u64,
    /// Where tensors live.
    #[serde(default)]
    pub device: DeviceRecipe,
    /// Architecture and first weights.
    pub model: ModelRecipe,
    /// Image-text pairs.
    pub data: DataRecipe,
    /// What one step sees.
    pub batch: BatchRecipe,
    /// Adam and what surrounds it.
    #[serde(default)]
    pub optimizer: OptimizerRecipe,
    /// Length and learning rate over time.
    pub schedule: Schedule,
    /// What is minimised.
    #[serde(default)]
    pub losses: LossesRecipe,
    /// Measuring on the way.
    #[serde(default)]
    pub evaluation: EvaluationRecipe,
    /// Saving on the way.
    #[serde(default)]
    pub checkpoint: CheckpointRecipe,
}

/// Why a recipe was refused.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The file cannot be read.
    #[error("cannot read the recipe {path}: {source}")]
    Io {
        /// The recipe.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not TOML.
    #[error("{path} is not TOML: {reason}")]
    Syntax {
        /// The recipe, or the override.
        path: String,
        /// Line and cause.
        reason: String,
    },
    /// A key that no recipe has.
    #[error("{path}: there is no key {key:?}{}", keys::hint(.suggestion.as_deref(), .known))]
    UnknownKey {
        /// The recipe.
        path: String,
        /// Dotted.
        key: String,
        /// The most similar key, dotted.
        suggestion: Option<String>,
        /// All keys of that section.
        known: Vec<String>,
    },
    /// A value of the wrong type or outside its range, or a missing key.
    #[error("{path}: {key}: {reason}")]
    Value {
        /// The recipe.
        path: String,
        /// Dotted; the section where a key is missing.
        key: String,
        /// What is wrong.
        reason: String,
    },
}

impl Recipe {
    /// Reads a recipe file and applies `key=value` overrides; values are TOML, and what is not TOML is taken as a string. `init` is a
    /// checkpoint folder in place of whatever the recipe's model starts from.
    ///
    /// # Errors
    /// Anything wrong with the file, a key or a value.
    pub fn load(path: &Path, overrides: &[String], init: Option<&Path>) -> Result<Self, RecipeError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| RecipeError::Io { path: name.clone(), source })?;
        Self::parse(&name, &text, overrides, init)
    }

    /// The same from a text; `path` is its name in errors.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(path: &str, text: &str, overrides: &[String], init: Option<&Path>) -> Result<Self, RecipeError> {
        let syntax =
            |error: toml::de::Error| RecipeError::Syntax { path: path.to_owned(), reason: error.to_string().trim_end().to_owned() };
        let mut table: toml::Table = text.parse().map_err(syntax)?;
        overrides.iter().try_for_each(|text| overrides::apply(&mut table, text))?;
        init.into_iter().for_each(|folder| overrides::start_from(&mut table, folder));
        let recipe: Self = serde_path_to_error::deserialize(table).map_err(|error| keys::explain(path, &error))?;
        recipe.check().map_err(|(key, reason)| RecipeError::Value { path: path.to_owned(), key, reason })?;
        Ok(recipe)
    }

    /// The recipe as TOML, with every default written out.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_else(|error| unreachable_text(&error))
    }

    /// Keys whose values differ, with both values: what makes a resumed run another run.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        keys::compare("", &table(self), &table(other), &mut differences);
        differences
    }

    /// Key and sentence of the first value that makes no sense.
    fn check(&self) -> Result<(), (String, String)> {
        let section = |name: &str, result: Result<(), String>| result.map_err(|reason| (name.to_owned(), reason));
        section("model", self.model.check())?;
        section("data", self.data.check())?;
        section("batch", self.batch.check())?;
        if self.batch.captions > 1 && self.data.languages.is_empty() {
            let reason = "several captions of an image are drawn by language; give data.languages".to_owned();
            return Err(("batch.captions".to_owned(), reason));
        }
        section("optimizer", self.optimizer.check())?;
        section("schedule", self.schedule.check())?;
        section("checkpoint", self.checkpoint.check())
    }
}

/// A recipe holds nothing TOML cannot say; should that ever change, the checkpoint shows it.
fn unreachable_text(error: &toml::ser::Error) -> String {
    format!("# this recipe cannot be written: {error}\n")
}

/// What may change between a checkpoint and its resumption is left out.
fn table(recipe: &Recipe) -> toml::Value {
    let mut recipe = recipe.clone();
    recipe.checkpoint.allow_changes = false;
    toml::Value::try_from(recipe).unwrap_or(toml::Value::Boolean(false))
}
