//! Models by name on this machine: a local path, or a repository of the hub in the cache that the Python tools share.
//!
//! What those tools have downloaded is found without the network, and what [`Hub::fetch`] downloads is found by them.

mod cache;
mod download;
mod http;
mod options;
mod verify;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::files::{CHECKPOINT_FILES, needed};
use super::{DEFAULT_ENDPOINT, HubError, HubId, Listing, is_content_range, manifest, reference};
use cache::Repository;
use download::{Meter, download, retry};
use http::Client;

pub use options::{HubOptions, Token};
pub use verify::Damage;

/// Small files beside the weights: ours, and those that `transformers` needs to load the same folder.
const SMALL_FILES: [&str; 6] = {
    let [config, processor, newer_processor, tokenizer] = CHECKPOINT_FILES;
    [config, processor, newer_processor, "special_tokens_map.json", tokenizer, "tokenizer_config.json"]
};

/// A model as named by the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelRef {
    /// A folder, or a weight file, on this machine.
    Local(PathBuf),
    /// A repository of the hub.
    Hub(HubId),
}

impl ModelRef {
    /// Reads a path or `owner/name[@revision]`. What exists on disk wins.
    ///
    /// # Errors
    /// Neither.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        let path = Path::new(text);
        if path.exists() {
            return Ok(Self::Local(path.to_owned()));
        }
        text.parse().map(Self::Hub)
    }
}

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

    /// Bytes of a model's files, if all of them are in the cache.
    pub fn stored_bytes(&self, id: &HubId) -> Option<u64> {
        let files = fs::read_dir(self.locate(id)?).ok()?.flatten();
        Some(files.filter_map(|file| Some(fs::metadata(file.path()).ok()?.len())).sum())
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
        let names: Vec<String> = listing.files.into_iter().map(|file| file.name).collect();
        let names = needed(&names, &SMALL_FILES).ok_or_else(|| HubError::NoWeights { id: id.to_string() })?;
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
