//! Checksums of a blob's chunks, recorded as it is written, so that a later check can say which part of a large file has rotted.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::HubError;
use super::cache::{create_parent, write_whole};

/// Bytes of a chunk.
pub(super) const CHUNK: u64 = 8 << 20;

/// SHA-256 of each chunk of a file, in hexadecimal.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    bytes: u64,
    chunk_bytes: u64,
    sha256: Vec<String>,
}

impl Manifest {
    pub(super) fn load(path: &Path) -> Option<Self> {
        let manifest: Self = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        (manifest.chunk_bytes == CHUNK).then_some(manifest)
    }

    pub(super) fn save(&self, path: &Path) -> Result<(), HubError> {
        create_parent(path)?;
        let json = serde_json::to_vec(self).map_err(|error| HubError::Io { path: path.to_owned(), source: io::Error::other(error) })?;
        write_whole(path, &json)
    }

    /// Length of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Byte ranges of the file whose chunks differ from those recorded.
    pub(super) fn damage(&self, path: &Path) -> io::Result<Vec<Range<u64>>> {
        let mut hasher = Hasher::default();
        hasher.update_from(File::open(path)?)?;
        let (_, found) = hasher.finish();
        let chunks = self.sha256.len().max(found.sha256.len()) as u64;
        let differs = |chunk: &u64| self.sha256.get(*chunk as usize) != found.sha256.get(*chunk as usize);
        let range = |chunk: u64| chunk * CHUNK..((chunk + 1) * CHUNK).min(self.bytes.max(found.bytes));
        Ok((0..chunks).filter(differs).map(range).collect())
    }

    /// Whether `bytes` are the recorded contents of the chunk that starts at `start`.
    pub(super) fn is_chunk(&self, start: u64, bytes: &[u8]) -> bool {
        self.sha256.get((start / CHUNK) as usize).is_some_and(|expected| *expected == hex(&Sha256::digest(bytes)))
    }
}

/// SHA-256 of a stream as a whole and of each of its chunks.
#[derive(Default)]
pub(super) struct Hasher {
    whole: Sha256,
    chunk: Sha256,
    bytes: u64,
    chunks: Vec<String>,
}

impl Hasher {
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        self.whole.update(bytes);
        while !bytes.is_empty() {
            let room = CHUNK - self.bytes % CHUNK;
            let (head, rest) = bytes.split_at_checked(room as usize).unwrap_or((bytes, &[]));
            self.chunk.update(head);
            self.bytes += head.len() as u64;
            if self.bytes.is_multiple_of(CHUNK) {
                self.chunks.push(hex(&self.chunk.finalize_reset()));
            }
            bytes = rest;
        }
    }

    pub(super) fn update_from(&mut self, mut reader: impl Read) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count = reader.read(&mut buffer)?;
            match buffer.get(..count) {
                Some(bytes) if count > 0 => self.update(bytes),
                _ => return Ok(()),
            }
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The hash of everything, in hexadecimal, and the manifest.
    pub(super) fn finish(mut self) -> (String, Manifest) {
        if !self.bytes.is_multiple_of(CHUNK) {
            self.chunks.push(hex(&self.chunk.finalize()));
        }
        (hex(&self.whole.finalize()), Manifest { bytes: self.bytes, chunk_bytes: CHUNK, sha256: self.chunks })
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
