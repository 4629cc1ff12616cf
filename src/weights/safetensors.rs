//! The safetensors format: 8 bytes of header length, a JSON header, then the tensors back to back.
//!
//! Only the header is read here. It is parsed by hand because the `safetensors` crate wants the whole file in memory to check a header,
//! keeps the last of two tensors with one name, and refuses a file for a data type that no needed tensor has.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Error as _, MapAccess, Visitor};

use super::array::{Array, NamedSource, Packing, element_count};
use super::names::{TOKEN_TABLE, canonical_name};
use super::{ByteSource, Dtype, WeightsError};
use crate::limits;

/// Bytes before the header.
const PREFIX: u64 = 8;

/// Names and places of a file's tensors.
///
/// # Errors
/// The file is too short, its header is too long or not what the format says, or its tensors overlap, leave holes or do not fill the file.
pub(crate) async fn read_header(file: &NamedSource, file_index: usize) -> Result<Vec<(String, Array)>, WeightsError> {
    let damaged = |reason: String| WeightsError::malformed(&file.name, reason);
    let len = file.source.len();
    if len < PREFIX {
        return Err(damaged(format!("{len} bytes are too few for a safetensors file")));
    }
    let prefix = file.read(0, PREFIX).await?;
    let header_len = prefix.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    if header_len > limits::SAFETENSORS_HEADER_BYTES {
        return Err(damaged(format!("a header of {header_len} bytes, more than the {} allowed", limits::SAFETENSORS_HEADER_BYTES)));
    }
    let data_start = PREFIX + header_len;
    if data_start > len {
        return Err(damaged(format!("the header should end at byte {data_start}, but the file has {len}")));
    }
    let bytes = file.read(PREFIX, header_len).await?;
    let header: Header = serde_json::from_slice(&bytes).map_err(|error| damaged(format!("unreadable header: {error}")))?;
    let arrays = header.arrays(file_index, data_start, len - data_start).map_err(damaged)?;
    Ok(arrays)
}

/// Where the bytes of the token table are in a safetensors file, if it is in this one. Reads the header only.
///
/// # Errors
/// The header cannot be read, or is not what the format says.
pub async fn token_table(name: &str, source: Arc<dyn ByteSource>) -> Result<Option<Range<u64>>, WeightsError> {
    let arrays = read_header(&NamedSource { name: name.to_owned(), source }, 0).await?;
    let table = arrays.into_iter().find(|(tensor, _)| canonical_name(tensor) == TOKEN_TABLE);
    Ok(table.and_then(|(_, Array { packing, dtype, shape, .. })| {
        let Packing::Plain { offset } = packing else { return None };
        let bytes = element_count(&shape)?.checked_mul(dtype.ok()?.size() as u64)?;
        Some(offset..offset.checked_add(bytes)?)
    }))
}

/// The header in file order, duplicates included.
struct Header(Vec<(String, Entry)>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

impl Header {
    fn arrays(mut self, file: usize, data_start: u64, data_len: u64) -> Result<Vec<(String, Array)>, String> {
        self.0.sort_by_key(|(_, entry)| entry.data_offsets);
        let mut arrays = Vec::with_capacity(self.0.len());
        let mut cursor = 0;
        for (name, entry) in self.0 {
            let (start, end) = entry.data_offsets;
            if start != cursor || end < start {
                return Err(format!("tensor {name:?} takes bytes {start} to {end}, but the one before it ends at {cursor}"));
            }
            if let Some(bits) = bits(&entry.dtype) {
                let expected = element_count(&entry.shape).and_then(|count| count.checked_mul(bits)).map(|bits| bits.div_ceil(8));
                if expected != Some(end - start) {
                    return Err(format!("tensor {name:?} of {} {:?} takes {} bytes", entry.dtype, entry.shape, end - start));
                }
            }
            cursor = end;
            let packing = Packing::Plain { offset: data_start.saturating_add(start) };
            arrays.push((name, Array { file, packing, dtype: dtype(entry.dtype), shape: entry.shape }));
        }
        if cursor == data_len { Ok(arrays) } else { Err(format!("the tensors take {cursor} bytes, but {data_len} follow the header")) }
    }
}

fn dtype(name: String) -> Result<Dtype, String> {
    match name.as_str() {
        "F32" => Ok(Dtype::F32),
        "F16" => Ok(Dtype::F16),
        "BF16" => Ok(Dtype::Bf16),
        _ => Err(name),
    }
}

/// Bits of one element. Formats invented later are unknown, so their sizes cannot be checked; nor are they ever read.
fn bits(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" => 8,
        "U16" | "I16" | "F16" | "BF16" => 16,
        "U32" | "I32" | "F32" => 32,
        "U64" | "I64" | "F64" | "C64" => 64,
        _ => return None,
    })
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut seen = HashSet::new();
        let mut tensors = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom(format!("{name:?} stands there twice")));
            }
            if name == "__metadata__" {
                map.next_value::<BTreeMap<String, String>>()?;
                continue;
            }
            if tensors.len() == limits::CHECKPOINT_TENSORS {
                return Err(A::Error::custom(format!("more than {} tensors", limits::CHECKPOINT_TENSORS)));
            }
            tensors.push((name, map.next_value()?));
        }
        Ok(Header(tensors))
    }
}

/// `model.safetensors.index.json`: which shard holds which tensor.
#[derive(Deserialize)]
pub(crate) struct ShardIndex {
    pub(crate) weight_map: BTreeMap<String, String>,
}

impl ShardIndex {
    /// Reads an index; its shards must be files of the same folder.
    pub(crate) async fn read(file: &NamedSource) -> Result<Self, WeightsError> {
        let damaged = |reason: String| WeightsError::malformed(&file.name, reason);
        let bytes = file.read_all(limits::SAFETENSORS_HEADER_BYTES).await?;
        let index: Self = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if let Some(shard) = index.weight_map.values().find(|shard| !is_shard_name(shard)) {
            return Err(damaged(format!("{shard:?} is not the name of a safetensors file in the same folder")));
        }
        Ok(index)
    }

    /// The shard files, each once.
    pub(crate) fn shards(&self) -> Vec<&str> {
        let mut shards: Vec<&str> = self.weight_map.values().map(String::as_str).collect();
        shards.sort_unstable();
        shards.dedup();
        shards
    }
}

/// A plain file name, so that an index cannot reach outside its folder.
pub(crate) fn is_shard_name(name: &str) -> bool {
    name.ends_with(".safetensors") && !name.starts_with('.') && !name.contains(['/', '\\', ':', '\0'])
}
