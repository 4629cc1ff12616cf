//! How users name a model: a path, or an id on the hub.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::HubError;

/// A model as named by the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelRef {
    /// A folder, or a weight file, on this machine.
    Local(PathBuf),
    /// A repository of the hub.
    Hub(HubId),
}

/// A repository of the hub at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubId {
    owner: String,
    name: String,
    revision: String,
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

impl FromStr for HubId {
    type Err = HubError;

    /// Reads `owner/name[@revision]`, whether or not a path of that name exists.
    fn from_str(text: &str) -> Result<Self, HubError> {
        let (id, revision) = text.split_once('@').unwrap_or((text, "main"));
        match id.split_once('/') {
            Some((owner, name)) if is_name(owner) && is_name(name) && revision.split('/').all(is_name) => {
                Ok(Self { owner: owner.to_owned(), name: name.to_owned(), revision: revision.to_owned() })
            }
            _ => Err(HubError::NotAModel(text.to_owned())),
        }
    }
}

impl HubId {
    /// `owner/name`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// Branch, tag or commit; `main` unless given.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The repository's folder in the cache.
    pub(super) fn folder_name(&self) -> String {
        format!("models--{}--{}", self.owner, self.name)
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.owner, self.name)?;
        if self.revision == "main" { Ok(()) } else { write!(formatter, "@{}", self.revision) }
    }
}

/// A word that is safe as a file name and in a URL: these names become folders of the cache.
pub(super) fn is_name(text: &str) -> bool {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=128).contains(&text.len()) && text.bytes().all(safe) && !text.starts_with(['.', '-']) && !text.contains("..")
}

/// A full commit hash, which never changes its meaning.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
