//! Emoji world: scenes of emoji and rendered words with captions in many languages, and a tokenizer for them.
//!
//! Everything is drawn from counter-based random numbers: a scene depends on the seed, its set and its number, not on threads or on other
//! scenes. Order of reading: [`SynthRecipe`] → `World` (pictures and names) → `plan` (what is where) → `render` and `caption` →
//! `shards` → [`Generator`].
//!
//! Sources, neither of which is part of this repository: pictures from Noto Color Emoji (SIL Open Font License 1.1), names from Unicode
//! CLDR annotations (Unicode License v3).

mod annotations;
mod attributes;
mod background;
mod canvas;
mod caption;
mod draw;
mod duplicates;
mod english;
mod error;
mod font;
mod generate;
mod mask;
mod notices;
mod palette;
mod phrases;
mod plan;
mod recipe;
mod render;
mod samples;
mod shards;
mod sheet;
mod split;
mod sprite;
mod tokenizer;
mod typeface;
mod words;
mod world;

pub use annotations::{Annotations, Name};
pub use attributes::Attributes;
pub use duplicates::{Fingerprint, Seen};
pub use error::SynthError;
pub use font::EmojiFont;
pub use generate::{Generator, Report, SetReport};
pub use mask::Mask;
pub use palette::write_palette;
pub use recipe::SynthRecipe;
pub use render::{Description, Region};
pub use samples::write_samples;
pub use sheet::contact_sheet;
pub use split::Split;
pub use sprite::Sprite;
pub use tokenizer::{train as train_tokenizer, write_tokenizer};
pub use typeface::Typefaces;
pub use world::{Missing, World};
