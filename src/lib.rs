//! SigLIP 2 vision-language encoders, fixed-resolution and NaFlex, on any CPU or GPU.
//!
//! The way of an image: [`image::decode`] → [`image::preprocess`] → [`image::PatchBatch`] → [`encoder::Encoder::encode_images`]. The way
//! of a text: [`text::Tokenizer::encode`] → [`encoder::Encoder::encode_texts`]. Both need a [`weights::Checkpoint`], which is opened from a
//! folder or any other source and read as far as needed. [`tasks::Classifier`] turns embeddings into scores.
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//! use polyglance::encoder::{Encoder, EncoderOptions, ImageOutputs};
//! use polyglance::image::{PatchBatch, Resampling, decode, preprocess};
//! use polyglance::{limits::Limits, platform::block_on, weights::Checkpoint};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let checkpoint = Arc::new(block_on(Checkpoint::open(Path::new("model")))?);
//! let mut encoder = block_on(Encoder::new(checkpoint, EncoderOptions::default()))?;
//! let photo = decode(&std::fs::read("photo.jpg")?, &Limits::current())?;
//! let patches = preprocess(&photo.pixels, &encoder.config().vision, None, Resampling::Hf)?;
//! let features = block_on(encoder.encode_images(&PatchBatch::pack(&[patches]), ImageOutputs::default()))?;
//! assert_eq!(features.embeds.len(), encoder.config().embedding_dim());
//! # Ok(())
//! # }
//! ```
//!
//! ARCHITECTURE.md has the map of the crate and the rules that hold in it.

#[cfg(feature = "app")]
pub mod app;
pub mod config;
pub mod cpu;
#[cfg(feature = "demo-model")]
pub mod demo;
pub mod encoder;
pub mod engine;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod image;
#[cfg(feature = "index")]
pub mod index;
pub mod kernels;
pub mod limits;
pub mod platform;
pub mod tasks;
pub mod text;
pub mod weights;
