//! TensorBoard event files: TFRecords (length and masked CRC-32C around each record) of `tensorflow.Event` messages.
//!
//! Only scalars are written, so the protocol buffers are encoded by hand: `tensorflow/core/util/event.proto`, `summary.proto`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::MetricsError;

/// A growing event file.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Starts a new file in `folder` for what follows `step`. TensorBoard then hides what older files of the folder say about later steps.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(folder: &Path, step: u64) -> Result<Self, MetricsError> {
        // TensorBoard reads a folder's files in order of name.
        let path = folder.join(format!("events.out.tfevents.{:.0}.{step:012}", now_secs() * 1e3));
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|source| MetricsError { path: path.clone(), source })?;
        let mut events = Self { path, file };
        events.write(&event(0, |event| event.bytes(3, b"brain.Event:2")))?;
        // SessionLog { status: START } marks steps from here on as superseded.
        events.write(&event(step + 1, |event| event.message(7, |log| log.varint(1, 1))))?;
        Ok(events)
    }

    /// Appends one point to each curve.
    ///
    /// # Errors
    /// The disk is full or refuses.
    pub fn scalars(&mut self, step: u64, scalars: &[(&str, f64)]) -> Result<(), MetricsError> {
        let value = |summary: &mut Message, (tag, value): &(&str, f64)| {
            summary.message(1, |message| {
                message.bytes(1, tag.as_bytes());
                message.float(2, *value as f32);
            });
        };
        self.write(&event(step, |event| event.message(5, |summary| scalars.iter().for_each(|scalar| value(summary, scalar)))))
    }

    fn write(&mut self, record: &[u8]) -> Result<(), MetricsError> {
        let written = self.file.write_all(&framed(record));
        written.map_err(|source: io::Error| MetricsError { path: self.path.clone(), source })
    }
}

#[expect(clippy::disallowed_methods, reason = "an event carries the time of day, which no stopwatch knows; the trainer is native")]
fn now_secs() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn event(step: u64, what: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut event = Message::default();
    event.double(1, now_secs());
    event.varint(2, step);
    what(&mut event);
    event.0
}

/// A protocol-buffer message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn key(&mut self, field: u64, wire_type: u64) {
        self.raw_varint(field << 3 | wire_type);
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn varint(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.raw_varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, 2);
        self.raw_varint(value.len() as u64);
        self.0.extend(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }

    fn message(&mut self, field: u64, fill: impl FnOnce(&mut Self)) {
        let mut message = Self::default();
        fill(&mut message);
        self.bytes(field, &message.0);
    }
}

/// A TFRecord around `record`.
fn framed(record: &[u8]) -> Vec<u8> {
    let length = (record.len() as u64).to_le_bytes();
    let mut bytes = length.to_vec();
    bytes.extend(masked(crc32c(&length)).to_le_bytes());
    bytes.extend(record);
    bytes.extend(masked(crc32c(record)).to_le_bytes());
    bytes
}

/// TFRecord's mask: checksums of data that contains checksums are weak.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: records are a few hundred bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check values of RFC 3720, appendix B.4.
    #[test]
    fn crc32c_of_the_standard_vectors() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_message_is_encoded_as_protoc_does() {
        let mut message = Message::default();
        message.varint(1, 150);
        message.bytes(2, b"testing");
        assert_eq!(message.0, [0x08, 0x96, 0x01, 0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67]);
    }
}
