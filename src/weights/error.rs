//! What can go wrong between a checkpoint on disk and its tensors.

use std::path::PathBuf;

use crate::config::ConfigError;

/// Why a checkpoint could not be opened, read or written. Every message names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The operating system refused to open, read or write a file.
    #[error("cannot {action} {file}: {source}")]
    Io {
        /// What was attempted: "open", "read" or "write".
        action: &'static str,
        /// The file.
        file: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A file that every checkpoint needs is not there.
    #[error("{folder}: there is no {what}; {remedy}")]
    Missing {
        /// The folder, or the only file, that was opened.
        folder: String,
        /// What was looked for.
        what: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The configuration was refused.
    #[error("{file}: {source}")]
    Config {
        /// The configuration file.
        file: String,
        /// Why.
        source: ConfigError,
    },
    /// The file breaks its own format or exceeds a limit of [`crate::limits`].
    #[error("{file} is damaged or unsupported: {reason}; fetch or export it again")]
    Malformed {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is sound, but its tensors are not those that the configuration describes.
    #[error("{file}: the tensors do not match the configuration; use the config.json that belongs to them\n  {}", problems.join("\n  "))]
    Mismatch {
        /// The checkpoint.
        file: String,
        /// Every missing tensor, wrong shape and unreadable data type, one a line.
        problems: Vec<String>,
    },
    /// A read outside the file, which means that it was changed after it was opened.
    #[error("{file}: bytes {offset} to {} are outside the file of {len} bytes; was it replaced while in use?", offset.saturating_add(*wanted))]
    OutOfBounds {
        /// The file.
        file: String,
        /// First byte asked for.
        offset: u64,
        /// Bytes asked for.
        wanted: u64,
        /// Length of the file.
        len: u64,
    },
    /// A tensor or row that the checkpoint does not have.
    #[error("{file}: {what} does not exist in this checkpoint")]
    NoSuchTensor {
        /// The checkpoint.
        file: String,
        /// The tensor, or the tensor and row.
        what: String,
    },
    /// Tensors handed to the writer contradict each other.
    #[error("cannot write tensor {name:?}: {reason}")]
    BadOutput {
        /// The tensor.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl WeightsError {
    /// [`WeightsError::Malformed`] from anything that names the file and the reason.
    pub(crate) fn malformed(file: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Malformed { file: file.into(), reason: reason.into() }
    }
}
