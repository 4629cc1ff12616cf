//! [`IndexError`].

use std::path::PathBuf;

/// Why an index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The operating system refused something.
    #[error("cannot {action} {file}: {reason}")]
    Io {
        /// A verb: "open", "read", "write", …
        action: &'static str,
        /// Which file.
        file: PathBuf,
        /// The operating system's reason.
        reason: std::io::Error,
    },
    /// The database refused something.
    #[error("{file}: {reason}")]
    Database {
        /// Which file.
        file: PathBuf,
        /// In words, with what to do.
        reason: String,
    },
    /// It is no index, or a damaged one.
    #[error("{file} is not an index that can be read ({reason}); delete it and index the folder again")]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It was made with another model, folder or setting.
    #[error("{file} was made {was}, not {is}; name another file, or delete it and index again")]
    OtherStamp {
        /// Which file.
        file: PathBuf,
        /// How it was made.
        was: String,
        /// How it was to be made now.
        is: String,
    },
}
