//! Which split a scene, a pair of things, a background or a wording belongs to.
//!
//! A scene of the test split shows something that no training scene does: two glyphs that never meet there, a combination of attributes, a
//! background and a wording that are kept out. What training contains is what remains.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::random::Stream;

/// A part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// What the model learns from.
    Train,
    /// What decisions during development look at.
    Validation,
    /// What is reported.
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        })
    }
}

/// Share of glyph pairs kept for the test, and as many for validation.
const HELD_OUT_PAIRS: f32 = 0.05;

/// The split that may show these two glyphs (numbers in the catalogue) together. Two of a kind may meet anywhere.
pub(super) fn pair_home(seed: u64, a: usize, b: usize) -> Split {
    if a == b {
        return Split::Train;
    }
    let (low, high) = (a.min(b) as u64, a.max(b) as u64);
    match Stream::new(seed, "pairs").uniform(high << 32 | low) {
        u if u < HELD_OUT_PAIRS => Split::Test,
        u if u < 2.0 * HELD_OUT_PAIRS => Split::Validation,
        _ => Split::Train,
    }
}
