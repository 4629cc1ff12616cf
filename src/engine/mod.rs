//! The service that apps talk to: it owns a model on a device, takes jobs, tells how they get on, and answers.
//!
//! ```text
//! app ── Client ── Transport ── Service ── Encoder
//!        replays    thread | Web Worker
//! ```
//!
//! A [`Client`] turns calls into [`Request`]s and hands out [`Reply`]s. A [`Transport`] carries both to where a [`Service`] runs: a thread
//! ([`thread`]), or a Web Worker (`worker`, in browsers). If that dies, the client starts another, tells it what it knew, and replays the jobs that were under way, each of them once.

mod cache;
mod client;
#[cfg(feature = "index")]
mod collections;
mod protocol;
#[cfg(feature = "index")]
mod retrieval;
mod service;
#[cfg(not(target_family = "wasm"))]
pub mod thread;
#[cfg(target_family = "wasm")]
pub mod worker;

pub use client::{Client, Incoming, Transport};
pub use protocol::{
    AddImage, Classify, Collection, EmbedImage, Failure, FailureKind, Hit, Hits, ImageForm, ImageInfo, Indexed, Job, ModelInfo,
    ModelSource, News, OpenModel, PROTOCOL, Progress, Reply, Request, Scores, Search, Spot, Stage, Stored, StoredModel, Table, TextInfo,
    ViewJob, ViewOf,
};
pub use service::{Answer, Loader, Report, Service};
