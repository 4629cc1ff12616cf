//! Text to token ids: lower-casing, `tokenizer.json`, exactly as many positions as the model has; prompts, templates and label lists.
//!
//! Everything that decides which ids a text becomes is in here and not the caller's choice by accident. SigLIP 2 was trained on lower-cased
//! text, Gemma's vocabulary, EOS, and padding to 64 positions, without a mask: one of these left out costs points silently.

mod file;
mod labels;
mod prompts;
mod templates;
mod tokenizer;

pub use labels::{parse_label_file, parse_labels};
pub use prompts::{canonicalize, ensemble, expand};
pub use templates::IMAGENET_TEMPLATES;
pub use tokenizer::{Lowercase, TextOptions, Tokenizer, Tokens};

use crate::limits;

/// Why a tokenizer, a text, a template or a list of labels was refused.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The file is far larger than any tokenizer.
    #[error("tokenizer.json has {bytes} bytes, more than the {} allowed; is it really a tokenizer?", limits::TOKENIZER_BYTES)]
    TokenizerTooLarge {
        /// Size of the file.
        bytes: u64,
    },
    /// Not JSON, or not a tokenizer's JSON.
    #[error("tokenizer.json cannot be read: {0}; download it again from the model's own repository")]
    TokenizerJson(#[from] serde_json::Error),
    /// Readable, but with parts that no SigLIP tokenizer has, or parts that contradict each other.
    #[error("tokenizer.json: {0}; take the file from the model's own repository")]
    TokenizerPart(String),
    /// The tokenizer of another model.
    #[error("tokenizer.json does not belong to this model: {0}")]
    WrongTokenizer(String),
    /// The text is far longer than anything the model could read.
    #[error("a text has {bytes} bytes, more than the {} allowed; the model reads only its first few dozen words", limits::TEXT_BYTES)]
    TextTooLong {
        /// Size of the text in UTF-8.
        bytes: usize,
    },
    /// The tokenizer could not split a text, which the file's own settings cause (no token for an unknown character, say).
    #[error("the tokenizer failed on a text: {0}")]
    Tokenize(String),
    /// A template needs exactly one place for the label.
    #[error("template {template:?} has {slots} places for the label; write {{}} exactly once, as in \"This is a photo of {{}}.\"")]
    Template {
        /// The template as given.
        template: String,
        /// How often `{}` occurs in it.
        slots: usize,
    },
    /// A list of labels on one line.
    #[error("labels {list:?}: {problem}")]
    Labels {
        /// The list as given.
        list: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A file of labels or texts.
    #[error("{file}, line {line}: {problem}")]
    LabelFile {
        /// Name of the file.
        file: String,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of labels or texts without any.
    #[error("{file} holds no labels; write one per line, or a JSON list of strings")]
    EmptyLabelFile {
        /// Name of the file.
        file: String,
    },
    /// Prompt embeddings that cannot be averaged.
    #[error("prompt embeddings cannot be averaged: {0}")]
    Ensemble(String),
}
