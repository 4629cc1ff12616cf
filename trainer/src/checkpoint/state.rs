//! `state.json`: the small part of a checkpoint.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::CheckpointError;

/// Where a run stands, apart from its tensors.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct TrainingState {
    /// Steps done; all randomness of a step follows from its number.
    pub step: u64,
    /// Steps in which the parameters moved.
    pub updates: u64,
    /// Image-text pairs seen.
    pub examples: u64,
    /// Steps skipped in a row because a number was not finite.
    pub skipped_in_row: u32,
    /// Where the next batch begins, in the data source's own words.
    pub position: serde_json::Value,
    /// The recipe in force, as TOML.
    pub recipe: String,
    /// SHA-256 of that text.
    pub recipe_sha256: String,
}

const NAME: &str = "state.json";

impl TrainingState {
    /// Writes it into a checkpoint's folder.
    ///
    /// # Errors
    /// The disk is full or refuses.
    pub fn write(&self, folder: &Path) -> Result<(), CheckpointError> {
        let path = folder.join(NAME);
        let json = serde_json::to_vec_pretty(self).map_err(|error| content(&path, &error))?;
        std::fs::write(&path, json).map_err(|source| CheckpointError::Io { action: "write", path, source })
    }

    /// Reads it from a checkpoint's folder.
    ///
    /// # Errors
    /// The file is missing or was written by another version.
    pub fn read(folder: &Path) -> Result<Self, CheckpointError> {
        let path = folder.join(NAME);
        let json = std::fs::read(&path).map_err(|source| CheckpointError::Io { action: "read", path: path.clone(), source })?;
        serde_json::from_slice(&json).map_err(|error| content(&path, &error))
    }
}

fn content(path: &Path, error: &serde_json::Error) -> CheckpointError {
    CheckpointError::Content { path: path.to_owned(), reason: error.to_string() }
}
