//! [`Labels`]: what is known of the examples.

use std::io::BufRead;

use serde_json::{Map, Value};

/// Attributes and concepts of examples, row by row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labels {
    /// What each example is called.
    pub keys: Vec<String>,
    /// Of each attribute how frequent it shall be, 0 to 1.
    pub targets: Vec<f32>,
    /// `[examples, attributes]`, 0 to 1; NaN where it is not known.
    pub attributes: Vec<f32>,
    /// `[examples, concepts]`, 0 to 1.
    pub concepts: Vec<f32>,
}

/// Why labels cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LabelsError {
    /// They cannot be read.
    #[error("line {line} cannot be read: {reason}")]
    Io {
        /// Counted from 1.
        line: usize,
        /// The system's reason.
        reason: std::io::Error,
    },
    /// A line is no object.
    #[error("line {line} is no JSON object: {reason}")]
    Json {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: serde_json::Error,
    },
    /// An example has no name.
    #[error("line {line} has no text called {name:?}, which names its example")]
    Key {
        /// Counted from 1.
        line: usize,
        /// Of the key.
        name: String,
    },
    /// A value is no share.
    #[error("line {line}: {name:?} is {value}, which is no number from 0 to 1, no true or false, nor null for what is not known")]
    Value {
        /// Counted from 1.
        line: usize,
        /// Of the label.
        name: String,
        /// As it stands there.
        value: Value,
    },
    /// A label is nowhere.
    #[error("no line has {0:?}")]
    Missing(String),
    /// There is nothing.
    #[error("there are no lines")]
    Empty,
}

impl Labels {
    /// Reads lines of JSON: objects with a key, and a number from 0 to 1, or true or false, for each attribute, which has a target, and each concept. What
    /// is null or absent is not known.
    ///
    /// # Errors
    /// A line is something else, or a label is in none.
    pub fn read(file: impl BufRead, key: &str, attributes: &[(String, f32)], concepts: &[String]) -> Result<Self, LabelsError> {
        let mut labels = Self { targets: attributes.iter().map(|(_, target)| *target).collect(), ..Self::default() };
        let names: Vec<&String> = attributes.iter().map(|(name, _)| name).chain(concepts).collect();
        let mut is_known = vec![false; names.len()];
        for (line, text) in (1..).zip(file.lines()) {
            let text = text.map_err(|reason| LabelsError::Io { line, reason })?;
            if text.trim().is_empty() {
                continue;
            }
            let row: Map<String, Value> = serde_json::from_str(&text).map_err(|reason| LabelsError::Json { line, reason })?;
            let own = row.get(key).and_then(Value::as_str).ok_or_else(|| LabelsError::Key { line, name: key.to_owned() })?;
            labels.keys.push(own.to_owned());
            for ((index, name), is_known) in names.iter().enumerate().zip(&mut is_known) {
                let share = share(line, name, row.get(*name))?;
                *is_known |= share.is_some();
                if index < attributes.len() {
                    labels.attributes.push(share.unwrap_or(f32::NAN));
                } else {
                    labels.concepts.push(share.unwrap_or(0.0));
                }
            }
        }
        if labels.keys.is_empty() {
            return Err(LabelsError::Empty);
        }
        match names.iter().zip(is_known).find(|(_, is_known)| !is_known) {
            Some((name, _)) => Err(LabelsError::Missing((*name).clone())),
            None => Ok(labels),
        }
    }

    /// Attributes less their targets, `[examples, attributes]`; what is not known counts as neither.
    pub(super) fn deviations(&self) -> Vec<f32> {
        let deviation = |(value, target): (&f32, &f32)| if value.is_nan() { 0.0 } else { value - target };
        self.attributes.iter().zip(self.targets.iter().cycle()).map(deviation).collect()
    }
}

fn share(line: usize, name: &str, value: Option<&Value>) -> Result<Option<f32>, LabelsError> {
    let share = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Bool(is_there)) => Some(f64::from(u8::from(*is_there))),
        Some(value) => value.as_f64().filter(|share| (0.0..=1.0).contains(share)),
    };
    let wrong = || LabelsError::Value { line, name: name.to_owned(), value: value.cloned().unwrap_or_default() };
    Ok(Some(share.ok_or_else(wrong)? as f32))
}
