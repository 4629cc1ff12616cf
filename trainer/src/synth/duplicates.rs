//! Fingerprints, by which held-out scenes that look like a training scene are found and drawn anew.

use std::collections::{HashMap, HashSet};

use image::RgbImage;

/// How many of the 64 bits two fingerprints of the same things may differ in and still count as one image. Scenes of one emoji at two places
/// differ in a dozen.
const NEAR_BITS: u32 = 3;

/// Two ways of looking at an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Of all bytes.
    exact: u64,
    /// Difference hash: whether each of 8 × 8 areas is darker than its right neighbour.
    perceptual: u64,
    /// Of the things it shows.
    content: u64,
}

impl Fingerprint {
    /// Of an image that shows these glyphs.
    pub fn of(image: &RgbImage, glyphs: &[usize]) -> Self {
        let content = glyphs.iter().flat_map(|glyph| (*glyph as u64).to_le_bytes());
        let size = [image.height(), image.width()].into_iter().flat_map(u32::to_le_bytes);
        Self { exact: fnv(size.chain(image.as_raw().iter().copied())), perceptual: difference_hash(image), content: fnv(content) }
    }
}

/// Fingerprints of the scenes that others must not repeat.
#[derive(Default)]
pub struct Seen {
    exact: HashSet<u64>,
    by_content: HashMap<u64, Vec<u64>>,
}

impl Seen {
    /// Adds one.
    pub fn insert(&mut self, fingerprint: Fingerprint) {
        self.exact.insert(fingerprint.exact);
        self.by_content.entry(fingerprint.content).or_default().push(fingerprint.perceptual);
    }

    /// Whether one has the same bytes, or shows the same things and looks the same.
    pub fn repeats(&self, fingerprint: &Fingerprint) -> bool {
        let near = |other: &u64| (other ^ fingerprint.perceptual).count_ones() <= NEAR_BITS;
        self.exact.contains(&fingerprint.exact) || self.by_content.get(&fingerprint.content).is_some_and(|all| all.iter().any(near))
    }
}

/// FNV-1a.
fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn difference_hash(image: &RgbImage) -> u64 {
    const ROWS: usize = 8;
    const COLUMNS: usize = 9;
    let (mut sums, mut counts) = ([0u64; ROWS * COLUMNS], [0u64; ROWS * COLUMNS]);
    for (x, y, pixel) in image.enumerate_pixels() {
        let row = y as usize * ROWS / image.height() as usize;
        let cell = row * COLUMNS + x as usize * COLUMNS / image.width() as usize;
        sums[cell] += pixel.0.iter().map(|channel| u64::from(*channel)).sum::<u64>();
        counts[cell] += 1;
    }
    let mean = |cell: usize| sums[cell] as f64 / counts[cell].max(1) as f64;
    let cells = (0..ROWS * COLUMNS).filter(|cell| cell % COLUMNS + 1 < COLUMNS);
    cells.fold(0, |bits, cell| bits << 1 | u64::from(mean(cell) < mean(cell + 1)))
}
