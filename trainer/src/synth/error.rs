use std::path::{Path, PathBuf};

use polyglance::{text::TextError, weights::WeightsError};

/// What can go wrong while scenes are made.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// A file or folder could not be read or written.
    #[error("cannot {action} {path}: {reason}")]
    Io {
        /// "read" or "write".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's.
        reason: std::io::Error,
    },
    /// A folder for shards that is not new.
    #[error("{path} exists already; shards are only written into a new folder")]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// No emoji font where one is usually installed.
    #[error("no emoji font found in {looked}; install Debian's fonts-noto-color-emoji, or name a file with --font")]
    NoFont {
        /// The places tried.
        looked: String,
    },
    /// A font that cannot serve.
    #[error("{path}: {problem}")]
    Font {
        /// The font file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// No font for the letters of a language.
    #[error(
        "no font for {script} letters in {folder}; install Debian's {package}, name a folder with --text-fonts, or set words_share = 0"
    )]
    NoTypeface {
        /// The script, by name.
        script: String,
        /// Where fonts were looked for.
        folder: PathBuf,
        /// The Debian package that has one.
        package: &'static str,
    },
    /// A file of names that is not CLDR's.
    #[error("{path}: {problem}")]
    Annotations {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A picture that cannot be decoded or encoded.
    #[error("{what}: {reason}")]
    Picture {
        /// The picture.
        what: String,
        /// The codec's.
        reason: image::ImageError,
    },
    /// A recipe that cannot be followed.
    #[error("{0}")]
    Recipe(String),
    /// The phrase table or list of emoji that is compiled in does not parse.
    #[error("{file}: {problem}")]
    Table {
        /// Name of the table.
        file: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The tokenizer library refused.
    #[error("the tokenizer cannot be trained: {0}")]
    Tokenizer(String),
    /// A finished tokenizer that the library cannot read.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A file could not be replaced.
    #[error(transparent)]
    Write(#[from] WeightsError),
    /// Something that has no representation in JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl SynthError {
    pub(super) fn read(path: &Path, reason: std::io::Error) -> Self {
        Self::Io { action: "read", path: path.to_owned(), reason }
    }

    pub(super) fn write(path: &Path, reason: std::io::Error) -> Self {
        Self::Io { action: "write", path: path.to_owned(), reason }
    }
}
