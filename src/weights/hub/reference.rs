//! How users name a model of the hub, and where the hub has it.

use std::fmt;
use std::str::FromStr;

use super::HubError;

/// A repository of the hub at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubId {
    owner: String,
    name: String,
    revision: String,
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

    /// Where the hub's API says what is in the repository.
    pub fn listing_url(&self, endpoint: &str) -> String {
        format!("{endpoint}/api/models/{}/revision/{}", self.repository(), self.revision.replace('/', "%2F"))
    }

    /// Where a file of the repository is at a commit.
    pub fn file_url(&self, endpoint: &str, commit: &str, name: &str) -> String {
        format!("{endpoint}/{}/resolve/{commit}/{name}", self.repository())
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
