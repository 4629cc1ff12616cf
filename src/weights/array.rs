//! One array inside a file: where its bytes are, how they are packed, and reading any part of it.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::inflate::{Deflated, inflate};
use super::{ByteSource, Dtype, WeightsError};

/// Parts of a file that are asked for before the first has come.
const READS_AT_ONCE: usize = 16;

/// A file of the checkpoint and the name that errors call it by.
#[derive(Clone)]
pub(crate) struct NamedSource {
    pub(crate) name: String,
    pub(crate) source: Arc<dyn ByteSource>,
}

impl NamedSource {
    /// Whether this is the file `name`, whatever folder it lies in.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.file_name() == name
    }

    /// The name without its folder.
    pub(crate) fn file_name(&self) -> &str {
        self.name.rsplit(['/', '\\']).next().unwrap_or(&self.name)
    }

    /// The whole file, refused above `limit` bytes.
    pub(crate) async fn read_all(&self, limit: u64) -> Result<Cow<'_, [u8]>, WeightsError> {
        let len = self.source.len();
        if len > limit {
            return Err(WeightsError::malformed(&self.name, format!("it has {len} bytes, more than the {limit} allowed")));
        }
        self.read(0, len).await
    }

    /// `len` bytes from `offset`.
    pub(crate) async fn read(&self, offset: u64, len: u64) -> Result<Cow<'_, [u8]>, WeightsError> {
        let total = self.source.len();
        let inside = offset.checked_add(len).is_some_and(|end| end <= total);
        match usize::try_from(len) {
            Ok(len) if inside => self.source.read_at(offset, len).await,
            _ => Err(WeightsError::OutOfBounds { file: self.name.clone(), offset, wanted: len, len: total }),
        }
    }
}

/// How an array's bytes lie in the file.
#[derive(Clone, Debug)]
pub(crate) enum Packing {
    /// As they are, from this offset.
    Plain { offset: u64 },
    /// Inside a deflate stream, after `skip` inflated bytes.
    Deflated { stream: Deflated, skip: u64 },
}

/// An array as the file describes it.
#[derive(Clone, Debug)]
pub(crate) struct Array {
    /// Index of its file among the checkpoint's files.
    pub(crate) file: usize,
    pub(crate) packing: Packing,
    /// The number format, or the name of one that is not read.
    pub(crate) dtype: Result<Dtype, String>,
    /// Row-major, as in the file.
    pub(crate) shape: Vec<usize>,
}

impl Array {
    /// The bytes of each range (relative to the array's first byte), in order.
    pub(crate) async fn read<'a>(&self, file: &'a NamedSource, ranges: &[Range<u64>]) -> Result<Vec<Cow<'a, [u8]>>, WeightsError> {
        match &self.packing {
            Packing::Plain { offset } => {
                // Many at once: a source may be a question to another computer.
                let read = |range: &Range<u64>| file.read(offset.saturating_add(range.start), range.end.saturating_sub(range.start));
                stream::iter(ranges.iter().map(read)).buffered(READS_AT_ONCE).try_collect().await
            }
            Packing::Deflated { stream, skip } => {
                let shifted: Vec<_> =
                    ranges.iter().map(|range| range.start.saturating_add(*skip)..range.end.saturating_add(*skip)).collect();
                Ok(inflate(file, stream, &shifted).await?.into_iter().map(Cow::Owned).collect())
            }
        }
    }
}

/// Number of elements, unless it overflows.
pub(crate) fn element_count(shape: &[usize]) -> Option<u64> {
    shape.iter().try_fold(1_u64, |count, &dim| count.checked_mul(dim as u64))
}
