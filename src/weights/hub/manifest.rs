//! Checksums of a blob's chunks, recorded as it is written, so that a later check can say which part of a large file has rotted.

use std::io::{self, Read};
use std::ops::Range;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Bytes of a chunk.
pub const CHUNK: u64 = 8 << 20;

/// SHA-256 of each chunk of a file, in hexadecimal.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    bytes: u64,
    chunk_bytes: u64,
    sha256: Vec<String>,
}

impl Manifest {
    /// Reads a manifest; nothing if it is not whole, or of chunks of another size.
    pub fn from_json(json: &[u8]) -> Option<Self> {
        let manifest: Self = serde_json::from_slice(json).ok()?;
        (manifest.chunk_bytes == CHUNK).then_some(manifest)
    }

    /// Length of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Every chunk's place in the file and its digest.
    pub fn chunks(&self) -> impl Iterator<Item = (Range<u64>, &str)> {
        self.sha256.iter().enumerate().map(|(chunk, digest)| (place(chunk as u64, self.bytes), digest.as_str()))
    }

    /// Places whose digest is another one in `found`, the manifest of what is there now.
    pub fn damage(&self, found: &Self) -> Vec<Range<u64>> {
        let chunks = self.sha256.len().max(found.sha256.len()) as u64;
        let differs = |chunk: &u64| self.sha256.get(*chunk as usize) != found.sha256.get(*chunk as usize);
        (0..chunks).filter(differs).map(|chunk| place(chunk, self.bytes.max(found.bytes))).collect()
    }

    /// Whether `bytes` are the recorded contents of the chunk that starts at `start`.
    pub fn is_chunk(&self, start: u64, bytes: &[u8]) -> bool {
        self.sha256.get((start / CHUNK) as usize).is_some_and(|expected| *expected == hex(&Sha256::digest(bytes)))
    }
}

/// Where a chunk is in a file of `bytes`.
fn place(chunk: u64, bytes: u64) -> Range<u64> {
    chunk * CHUNK..((chunk + 1) * CHUNK).min(bytes)
}

/// SHA-256 of a stream as a whole and of each of its chunks.
#[derive(Clone, Default)]
pub struct Hasher {
    whole: Sha256,
    chunk: Sha256,
    bytes: u64,
    chunks: Vec<String>,
}

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
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

    /// Takes all bytes of a reader.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn update_from(&mut self, mut reader: impl Read) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count = reader.read(&mut buffer)?;
            match buffer.get(..count) {
                Some(bytes) if count > 0 => self.update(bytes),
                _ => return Ok(()),
            }
        }
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The hash of everything, in hexadecimal, and the manifest.
    pub fn finish(mut self) -> (String, Manifest) {
        if !self.bytes.is_multiple_of(CHUNK) {
            self.chunks.push(hex(&self.chunk.finalize()));
        }
        (hex(&self.whole.finalize()), Manifest { bytes: self.bytes, chunk_bytes: CHUNK, sha256: self.chunks })
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
