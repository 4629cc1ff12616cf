//! Streaming inflation: any ranges of a deflated entry, without ever holding more than those ranges and one block.

use std::ops::Range;

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::WeightsError;
use super::array::NamedSource;

/// A raw deflate stream inside a file, as a zip directory describes it.
#[derive(Clone, Debug)]
pub(crate) struct Deflated {
    pub(crate) offset: u64,
    /// Compressed bytes.
    pub(crate) compressed: u64,
    /// Inflated bytes. A stream that yields another number is damaged, so this also bounds what a bomb can do.
    pub(crate) size: u64,
    /// CRC-32 of the inflated bytes.
    pub(crate) crc: u32,
}

const BLOCK: usize = 256 << 10;

/// The inflated bytes of each range. The stream is read up to the end of the last range; the checksum is verified if that is its end.
pub(crate) async fn inflate(file: &NamedSource, stream: &Deflated, ranges: &[Range<u64>]) -> Result<Vec<Vec<u8>>, WeightsError> {
    let damaged = |reason: &str| WeightsError::malformed(&file.name, reason);
    let end = ranges.iter().map(|range| range.end).max().unwrap_or(0);
    if end > stream.size {
        return Err(damaged("an entry is shorter than its array"));
    }
    let mut sink = Sink::new(ranges);
    let mut inflater = Decompress::new(false);
    let mut block = vec![0; BLOCK];
    let mut checksum = Crc::new();
    while inflater.total_out() < end {
        let consumed = inflater.total_in();
        let chunk = stream.compressed.saturating_sub(consumed).min(BLOCK as u64);
        let input = file.read(stream.offset.saturating_add(consumed), chunk).await?;
        let produced = inflater.total_out();
        let status = inflater.decompress(&input, &mut block, FlushDecompress::None).map_err(|error| damaged(&error.to_string()))?;
        let count = usize::try_from(inflater.total_out() - produced).unwrap_or(0);
        let output = block.get(..count).unwrap_or_default();
        checksum.update(output);
        sink.accept(produced, output);
        let stuck = count == 0 && inflater.total_in() == consumed;
        if inflater.total_out() > stream.size || (inflater.total_out() < end && (stuck || status == Status::StreamEnd)) {
            return Err(damaged("an entry does not inflate to the size that the archive states"));
        }
    }
    if end == stream.size && checksum.sum() != stream.crc {
        return Err(damaged("the checksum of an entry does not match its bytes"));
    }
    Ok(sink.parts)
}

/// Collects ranges from a stream that passes by once. Ranges may overlap and come in any order.
struct Sink<'a> {
    ranges: &'a [Range<u64>],
    /// Indices of `ranges`, by start.
    order: Vec<usize>,
    parts: Vec<Vec<u8>>,
}

impl<'a> Sink<'a> {
    fn new(ranges: &'a [Range<u64>]) -> Self {
        let mut order: Vec<usize> = (0..ranges.len()).collect();
        order.sort_by_key(|&index| ranges.get(index).map(|range| range.start));
        Self { ranges, order, parts: vec![Vec::new(); ranges.len()] }
    }

    /// Takes what it needs of `bytes`, which start at `position` of the stream.
    fn accept(&mut self, position: u64, bytes: &[u8]) {
        let end = position + bytes.len() as u64;
        for &index in &self.order {
            let (Some(range), Some(part)) = (self.ranges.get(index), self.parts.get_mut(index)) else { continue };
            if range.start >= end {
                break;
            }
            let (from, to) = (range.start.max(position), range.end.min(end));
            if from < to
                && let Some(piece) = bytes.get((from - position) as usize..(to - position) as usize)
            {
                part.extend_from_slice(piece);
            }
        }
    }
}
