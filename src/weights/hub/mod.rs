//! Models by name: a local path, or a repository of the Hugging Face hub in the cache that the Python tools share.
//!
//! What those tools have downloaded is found without the network, and what [`Hub::fetch`] downloads is found by them. A download is
//! pinned to one commit, resumes after interruptions, and is checked for length and SHA-256 before it gets its final name.

mod cache;
mod download;
mod error;
mod http;
mod manifest;
mod options;
mod reference;
mod verify;

use std::ops::ControlFlow;
use std::path::PathBuf;

use cache::Repository;
use download::{Meter, download, retry};
use http::Client;

pub use error::HubError;
pub use options::{DEFAULT_ENDPOINT, HubOptions, Token};
pub use reference::{HubId, ModelRef};
pub use verify::Damage;

use super::safetensors::is_shard_name;
use reference::is_name;

/// Small files of a checkpoint: ours and those that `transformers` needs to load the same folder.
const SMALL_FILES: [&str; 6] = [
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
];
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file in transfer.
    pub file: &'a str,
    /// Bytes of all files that are on disk.
    pub done: u64,
    /// Bytes of all files.
    pub total: u64,
}

/// A hub and its cache.
pub struct Hub {
    options: HubOptions,
    client: Client,
}

impl Hub {
    /// A hub with these settings. Nothing is contacted yet.
    pub fn new(options: HubOptions) -> Self {
        let client = Client::new(&options);
        Self { options, client }
    }

    /// The folder (or weight file) that `model` names: a path as it is, a hub id from the cache, or else downloaded.
    /// `progress` hears of a download and may stop it.
    ///
    /// # Errors
    /// As for [`ModelRef::parse`] and [`Hub::fetch`]; [`HubError::Offline`] if a download is needed but forbidden.
    pub fn resolve(&self, model: &str, progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>) -> Result<PathBuf, HubError> {
        match ModelRef::parse(model)? {
            ModelRef::Local(path) => Ok(path),
            ModelRef::Hub(id) => self.locate(&id).map_or_else(|| self.fetch(&id, progress), Ok),
        }
    }

    /// The snapshot folder of a model whose configuration and weights are in the cache. Uses no network, so a branch means what it
    /// meant when it was last fetched.
    pub fn locate(&self, id: &HubId) -> Option<PathBuf> {
        let repository = Repository::new(&self.options.cache, id);
        let commit = repository.commit(id.revision())?;
        repository.is_complete(&commit).then(|| repository.snapshot(&commit))
    }

    /// Downloads what the cache lacks of a model and returns its snapshot folder. Asks the hub what the revision means today.
    ///
    /// # Errors
    /// Offline mode, an unknown or refused model, a network or disk failure, or bytes that are not those published.
    pub fn fetch(&self, id: &HubId, progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>) -> Result<PathBuf, HubError> {
        if self.options.offline {
            return Err(HubError::Offline { id: id.to_string(), cache: self.options.cache.clone() });
        }
        let mut meter = Meter::new(progress);
        let listing = retry(&self.options, &mut meter, &id.to_string(), |_, _| self.client.list(id))?;
        let names = needed(&listing.files).ok_or_else(|| HubError::NoWeights { id: id.to_string() })?;
        let mut files = Vec::new();
        for name in names {
            files.push(retry(&self.options, &mut meter, name, |_, _| self.client.describe(id, &listing.commit, name))?);
        }
        meter.expect(files.iter().filter_map(|file| file.size).sum());
        let repository = Repository::new(&self.options.cache, id);
        for file in &files {
            download(&self.client, &self.options, &repository, file, &mut meter)?;
            repository.link(&listing.commit, &file.name, &file.etag)?;
            meter.finish(file)?;
        }
        repository.set_commit(id.revision(), &listing.commit)?;
        Ok(repository.snapshot(&listing.commit))
    }
}

/// The files to download, weights last, or `None` if there are no weights. Names are checked because they become paths.
fn needed(files: &[String]) -> Option<Vec<&str>> {
    let has = |name: &str| files.iter().any(|file| file == name);
    let plain = || files.iter().map(String::as_str).filter(|name| is_name(name));
    let archives: Vec<&str> = plain().filter(|name| name.ends_with(".npz")).collect();
    let mut names: Vec<&str> = SMALL_FILES.into_iter().filter(|name| has(name)).collect();
    if has(SINGLE) {
        names.push(SINGLE);
    } else if has(INDEX) {
        names.push(INDEX);
        names.extend(plain().filter(|name| name.starts_with("model-") && is_shard_name(name)));
    } else if let [archive] = archives.as_slice() {
        names.push(archive);
    } else {
        return None;
    }
    Some(names)
}
