//! What can go wrong between a model's name and its files.

use std::path::PathBuf;

/// Why a model could not be found or downloaded.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Neither an existing path nor a hub id.
    #[error(
        "{0:?} is neither an existing folder nor a hub id; give a checkpoint folder or an id such as google/siglip2-base-patch16-naflex, \
         with @revision if needed"
    )]
    NotAModel(String),
    /// Not in the cache, and the network is not to be used.
    #[error(
        "{id} is not complete in {}, and offline mode forbids downloading it; run once without --offline and HF_HUB_OFFLINE",
        cache.display()
    )]
    Offline {
        /// The model.
        id: String,
        /// The cache folder.
        cache: PathBuf,
    },
    /// The hub knows no such model, revision or file, or hides it.
    #[error("the hub has no {what}, or it is private; check the spelling, or set HF_TOKEN to a token that may read it")]
    NotFound {
        /// The model, revision or file.
        what: String,
    },
    /// The model's terms have not been accepted, or the token is not valid.
    #[error("the hub refuses {what}; accept its terms on its page at {endpoint} and set HF_TOKEN to a token of that account")]
    Refused {
        /// The model or file.
        what: String,
        /// The hub.
        endpoint: String,
    },
    /// The repository has nothing that can be loaded.
    #[error("{id} has no model.safetensors, no sharded safetensors and no single .npz; choose a SigLIP checkpoint")]
    NoWeights {
        /// The model.
        id: String,
    },
    /// Another HTTP status than expected.
    #[error("{url} answers with status {status}; try again later")]
    Status {
        /// Address without its query.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The connection failed or stalled.
    #[error("{url}: {reason}; check the network and run again, the download resumes")]
    Network {
        /// Address without its query.
        url: String,
        /// What the HTTP client says.
        reason: String,
    },
    /// The answer is not one that a hub gives.
    #[error("{url}: {reason}; check that HF_ENDPOINT is a Hugging Face hub")]
    NotAHub {
        /// Address without its query.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// Fewer or more bytes than announced.
    #[error("{file}: {got} of {expected} bytes arrived; run again, the download resumes")]
    Length {
        /// The file.
        file: String,
        /// Bytes on disk.
        got: u64,
        /// Bytes announced.
        expected: u64,
    },
    /// The bytes are not those that the hub published.
    #[error("{file}: the SHA-256 is {actual}, the hub says {expected}; the download was thrown away, run again")]
    Corrupt {
        /// The file.
        file: String,
        /// Published hash.
        expected: String,
        /// Hash of what arrived.
        actual: String,
    },
    /// The cache folder cannot be read or written.
    #[error("cannot use {}: {source}; free some space or set HF_HUB_CACHE to another folder", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The caller asked to stop.
    #[error("the download was stopped; run again, it resumes")]
    Cancelled,
}

impl HubError {
    /// Whether the same request may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Network { .. } | Self::Length { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            _ => false,
        }
    }
}
