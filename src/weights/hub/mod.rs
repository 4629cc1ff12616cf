//! Models of the Hugging Face hub: names, listings, checksums, and on a machine with files the cache that the Python tools share.
//!
//! A download is pinned to one commit, resumes after interruptions, and is checked for length and digest before it counts as complete. What of this
//! needs no files is the same natively and in a browser, where `web/` downloads.

mod error;
mod files;
mod hosts;
mod listing;
mod manifest;
#[cfg(all(feature = "hub", not(target_family = "wasm")))]
mod native;
mod range;
mod reference;

pub use error::HubError;
pub use files::{CHECKPOINT_FILES, needed};
pub use hosts::{DEFAULT_ENDPOINT, HOSTS};
pub use listing::{Digest, ListedFile, Listing};
pub use manifest::{CHUNK, Hasher, Manifest};
#[cfg(all(feature = "hub", not(target_family = "wasm")))]
pub use native::{Damage, Hub, HubOptions, ModelRef, Progress, Token};
pub use range::is_content_range;
pub use reference::HubId;
