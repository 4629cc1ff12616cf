//! The part of the zip format that `.npz` files use: the central directory, stored and deflated entries, zip64.
//!
//! Parsed by hand because entries must be found and read by range through an asynchronous [`super::ByteSource`], stored ones without a
//! copy; zip libraries want a blocking reader over the whole file. Layout: PKWARE APPNOTE 6.3.10, sections 4.3.7 to 4.3.16.

use std::collections::HashSet;

use super::WeightsError;
use super::array::NamedSource;
use super::inflate::Deflated;
use crate::limits;

const END_RECORD: u32 = 0x0605_4b50;
const END_RECORD_LEN: usize = 22;
const ZIP64_LOCATOR: u32 = 0x0706_4b50;
const ZIP64_LOCATOR_LEN: usize = 20;
const ZIP64_END_RECORD: u32 = 0x0606_4b50;
const ZIP64_END_RECORD_LEN: u64 = 56;
const DIRECTORY_ENTRY: u32 = 0x0201_4b50;
const LOCAL_HEADER: u32 = 0x0403_4b50;
const LOCAL_HEADER_LEN: u64 = 30;
const ZIP64_EXTRA: u16 = 1;

/// One file inside the archive.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    method: Method,
    compressed: u64,
    /// Inflated size in bytes.
    pub(crate) size: u64,
    crc: u32,
    header_offset: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Method {
    Stored,
    Deflated,
}

/// Where an entry's bytes are.
pub(crate) enum Content {
    /// As they are, from this offset.
    Stored(u64),
    /// In a deflate stream.
    Deflated(Deflated),
}

/// Every entry of the archive.
///
/// # Errors
/// Not a zip file, more entries or inflated bytes than [`limits`] allows, encrypted or otherwise compressed entries, entries that
/// together are longer than the file (so they overlap), duplicate names.
pub(crate) async fn read_directory(file: &NamedSource) -> Result<Vec<Entry>, WeightsError> {
    let damaged = |reason: &str| WeightsError::malformed(&file.name, reason);
    let directory = find_directory(file).await?;
    if directory.entries > limits::NPZ_ENTRIES as u64 {
        return Err(damaged(&format!("{} entries, more than the {} allowed", directory.entries, limits::NPZ_ENTRIES)));
    }
    if directory.len > limits::SAFETENSORS_HEADER_BYTES {
        return Err(damaged(&format!(
            "a zip directory of {} bytes, more than the {} allowed",
            directory.len,
            limits::SAFETENSORS_HEADER_BYTES
        )));
    }
    let bytes = file.read(directory.offset, directory.len).await?;
    let mut fields = Fields(&bytes);
    let mut entries = Vec::new();
    for _ in 0..directory.entries {
        let entry = read_entry(&mut fields).unwrap_or_else(|| Err("its zip directory is cut short".to_owned()));
        entries.push(entry.map_err(|reason| damaged(&reason))?);
    }
    check_totals(&entries, file.source.len()).map_err(|reason| damaged(&reason))?;
    Ok(entries)
}

fn check_totals(entries: &[Entry], file_len: u64) -> Result<(), String> {
    let total = |size: fn(&Entry) -> u64| entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(size(entry)));
    let (inflated, compressed) = (total(|entry| entry.size), total(|entry| entry.compressed));
    if inflated > limits::NPZ_INFLATED_BYTES {
        return Err(format!("its entries inflate to {inflated} bytes, more than the {} allowed", limits::NPZ_INFLATED_BYTES));
    }
    if compressed > file_len {
        return Err(format!("its entries claim {compressed} of the file's {file_len} bytes"));
    }
    let mut names = HashSet::new();
    match entries.iter().find(|entry| !names.insert(entry.name.as_str())) {
        Some(entry) => Err(format!("{:?} stands there twice", entry.name)),
        None => Ok(()),
    }
}

struct Directory {
    offset: u64,
    len: u64,
    entries: u64,
}

/// Finds the end record, which is the last thing in the file but for a comment, and its zip64 extension.
async fn find_directory(file: &NamedSource) -> Result<Directory, WeightsError> {
    let not_zip = || WeightsError::malformed(&file.name, "no zip directory at its end, so it is cut short or not an .npz file");
    let len = file.source.len();
    let tail_len = len.min((END_RECORD_LEN + ZIP64_LOCATOR_LEN + usize::from(u16::MAX)) as u64);
    let tail = file.read(len - tail_len, tail_len).await?;
    let position = (0..=tail.len().saturating_sub(END_RECORD_LEN)).rev().find(|&position| is_end_record(&tail, position));
    let position = position.ok_or_else(not_zip)?;
    let mut record = Fields(tail.get(position + 8..).unwrap_or_default());
    let fields = (|| {
        record.u16()?;
        Some((record.u16()?, record.u32()?, record.u32()?))
    })();
    let (entries, size, offset) = fields.ok_or_else(not_zip)?;
    let plain = Directory { offset: offset.into(), len: size.into(), entries: entries.into() };
    if entries != u16::MAX && size != u32::MAX && offset != u32::MAX {
        return Ok(plain);
    }
    let locator = position.checked_sub(ZIP64_LOCATOR_LEN).and_then(|start| tail.get(start..position)).unwrap_or_default();
    let mut locator = Fields(locator);
    if locator.u32() != Some(ZIP64_LOCATOR) {
        return Ok(plain);
    }
    let record_offset = locator.skip(4).and_then(|()| locator.u64()).ok_or_else(not_zip)?;
    let bytes = file.read(record_offset, ZIP64_END_RECORD_LEN).await?;
    let mut record = Fields(&bytes);
    if record.u32() != Some(ZIP64_END_RECORD) {
        return Err(not_zip());
    }
    let fields = (|| {
        record.skip(28)?;
        Some(Directory { entries: record.u64()?, len: record.u64()?, offset: record.u64()? })
    })();
    fields.ok_or_else(not_zip)
}

fn is_end_record(tail: &[u8], position: usize) -> bool {
    let mut record = Fields(tail.get(position..).unwrap_or_default());
    let comment = (record.u32() == Some(END_RECORD)).then(|| record.skip(16).and_then(|()| record.u16())).flatten();
    comment.is_some_and(|comment| position + END_RECORD_LEN + usize::from(comment) == tail.len())
}

/// One directory entry; `None` if the directory ends inside it.
fn read_entry(fields: &mut Fields<'_>) -> Option<Result<Entry, String>> {
    if fields.u32()? != DIRECTORY_ENTRY {
        return Some(Err("its zip directory is damaged".to_owned()));
    }
    fields.skip(4)?;
    let (flags, method) = (fields.u16()?, fields.u16()?);
    fields.skip(4)?;
    let (crc, compressed, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let (name_len, extra_len, comment_len) = (fields.u16()?, fields.u16()?, fields.u16()?);
    fields.skip(8)?;
    let offset = fields.u32()?;
    let name = fields.take(name_len.into())?;
    let mut extra = zip64_extra(fields.take(extra_len.into())?);
    fields.skip(comment_len.into())?;
    // The extension holds only the saturated fields, in this order.
    let mut widen = |value: u32| if value == u32::MAX { extra.u64() } else { Some(value.into()) };
    let (size, compressed, header_offset) = (widen(size)?, widen(compressed)?, widen(offset)?);
    let Ok(name) = String::from_utf8(name.to_vec()) else { return Some(Err("an entry's name is not UTF-8".to_owned())) };
    let method = match method {
        _ if flags & 1 != 0 => return Some(Err(format!("entry {name:?} is encrypted"))),
        0 if size != compressed => return Some(Err(format!("stored entry {name:?} has two sizes"))),
        0 => Method::Stored,
        8 => Method::Deflated,
        other => return Some(Err(format!("entry {name:?} uses compression method {other}; numpy writes 0 and 8"))),
    };
    Some(Ok(Entry { name, method, compressed, size, crc, header_offset }))
}

fn zip64_extra(extra: &[u8]) -> Fields<'_> {
    let mut fields = Fields(extra);
    while let (Some(id), Some(len)) = (fields.u16(), fields.u16()) {
        match fields.take(len.into()) {
            Some(body) if id == ZIP64_EXTRA => return Fields(body),
            Some(_) => {}
            None => break,
        }
    }
    Fields(&[])
}

impl Entry {
    /// Where the entry's bytes are, past its local header.
    pub(crate) async fn content(&self, file: &NamedSource) -> Result<Content, WeightsError> {
        let damaged = || WeightsError::malformed(&file.name, format!("the local header of {:?} is damaged", self.name));
        let bytes = file.read(self.header_offset, LOCAL_HEADER_LEN).await?;
        let mut fields = Fields(&bytes);
        if fields.u32() != Some(LOCAL_HEADER) {
            return Err(damaged());
        }
        let lens = fields.skip(22).and_then(|()| Some((fields.u16()?, fields.u16()?)));
        let (name_len, extra_len) = lens.ok_or_else(damaged)?;
        let offset = self.header_offset + LOCAL_HEADER_LEN + u64::from(name_len) + u64::from(extra_len);
        if offset.checked_add(self.compressed).is_none_or(|end| end > file.source.len()) {
            return Err(damaged());
        }
        Ok(match self.method {
            Method::Stored => Content::Stored(offset),
            Method::Deflated => Content::Deflated(Deflated { offset, compressed: self.compressed, size: self.size, crc: self.crc }),
        })
    }
}

/// Little-endian fields, read front to back.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn skip(&mut self, len: usize) -> Option<()> {
        self.take(len).map(|_| ())
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}
