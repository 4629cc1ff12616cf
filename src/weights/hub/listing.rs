//! What the hub's API says of a repository.

use serde::{Deserialize, Serialize};

use super::reference::is_commit;

/// What a repository holds at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The commit that the revision means now.
    pub commit: String,
    /// All files.
    pub files: Vec<ListedFile>,
}

/// A file of a repository. Size and digest are there if the API was asked for blobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedFile {
    /// Path in the repository.
    pub name: String,
    /// Bytes.
    pub size: Option<u64>,
    /// Of its content.
    pub digest: Option<Digest>,
}

/// A published digest, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Digest {
    /// SHA-256 of the content: large files.
    Sha256(String),
    /// SHA-1 of git's blob, which is `blob <size>\0` and the content: small files.
    GitSha1(String),
}

impl Listing {
    /// Reads an answer of the API.
    ///
    /// # Errors
    /// Not such an answer, in words.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let answer: Answer = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let commit = answer.sha.filter(|sha| is_commit(sha)).ok_or("the answer names no commit")?;
        Ok(Self { commit, files: answer.siblings.into_iter().map(ListedFile::from).collect() })
    }
}

#[derive(Deserialize)]
struct Answer {
    sha: Option<String>,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl From<Sibling> for ListedFile {
    fn from(Sibling { rfilename: name, size, blob_id, lfs }: Sibling) -> Self {
        match lfs {
            Some(lfs) => Self { name, size: Some(lfs.size), digest: Some(Digest::Sha256(lfs.sha256)) },
            None => Self { name, size, digest: blob_id.map(Digest::GitSha1) },
        }
    }
}
