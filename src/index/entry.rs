//! Files as an index knows them.

use std::path::Path;

use image::ImageFormat;
use serde::{Deserialize, Serialize};

use super::left_out::extension;
use crate::image::{ExtensionSupport, UnsupportedFormat, extension_support};

/// A picture of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Below the folder, with `/` on every system.
    pub path: String,
    /// The file as it was when it was read.
    pub state: FileState,
    /// Height and width in pixels.
    pub size: [u32; 2],
    /// An encoded small picture; may be empty.
    pub thumbnail: Vec<u8>,
}

/// A file that seemed to be a picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Below the folder.
    pub path: String,
    /// The file as it was when it was tried.
    pub state: FileState,
    /// Why it could not be read, for people.
    pub reason: String,
}

/// By what a change of a file is noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    /// Length.
    pub bytes: u64,
    /// Seconds since 1970 of the last change.
    pub secs: i64,
    /// Nanoseconds after that.
    pub nanos: u32,
}

/// What a file seems to be. Decoding has the last word.
#[derive(Clone, Copy, Debug)]
pub enum FileKind {
    /// Worth decoding.
    Picture,
    /// A picture format that needs converting first.
    Undecodable(&'static UnsupportedFormat),
    /// No picture, such as the notes beside the photos.
    Other,
}

impl FileKind {
    /// Bytes that tell a format.
    pub const HEAD_BYTES: usize = 32;

    /// By its extension and, where that does not settle it, its first [`HEAD_BYTES`](Self::HEAD_BYTES).
    pub fn of(path: &Path, head: impl Fn() -> Option<Vec<u8>>) -> Self {
        let signature = || image::guess_format(&head()?).ok().filter(ImageFormat::reading_enabled);
        match extension_support(&extension(path)) {
            ExtensionSupport::Decodable => Self::Picture,
            // Phones save JPEG under .heic; but camera raw files, which are TIFF inside, are what they say.
            ExtensionSupport::Unsupported(_) if signature().is_some_and(|format| format != ImageFormat::Tiff) => Self::Picture,
            ExtensionSupport::Unsupported(format) => Self::Undecodable(format),
            ExtensionSupport::NotAnImage if signature().is_some() => Self::Picture,
            ExtensionSupport::NotAnImage => Self::Other,
        }
    }
}
