//! The pictures below a folder.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use image::ImageFormat;

use super::left_out::{LeftOut, extension};
use crate::image::{ExtensionSupport, ImageError, UnsupportedFormat, extension_support};
use crate::limits::Limits;

/// Files that seem to be pictures, in the order of their paths, and what was found besides.
#[derive(Debug, Default)]
pub struct Listing {
    /// Worth decoding.
    pub pictures: Vec<PathBuf>,
    /// Everything else: nothing is skipped silently.
    pub left_out: LeftOut,
    /// Places that could not be looked into: what is there is not known.
    pub unseen: Vec<PathBuf>,
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

impl Listing {
    /// Every file of a folder and of the folders below it. Links are followed, but never back into a folder that is being walked.
    ///
    /// # Errors
    /// The folder itself cannot be read; one below it that cannot is among what was left out.
    pub fn of(folder: &Path) -> std::io::Result<Self> {
        fs::read_dir(folder)?;
        let (mut listing, mut files) = (Self::default(), Vec::new());
        walk(folder, &mut Vec::new(), &mut files, &mut listing);
        listing.add(files);
        Ok(listing)
    }

    fn not_seen(&mut self, place: &Path, error: &std::io::Error) {
        self.left_out.trouble(place, &error.to_string());
        self.unseen.push(place.to_owned());
    }

    /// Sorts files, and sets those aside that cannot be pictures.
    pub fn add(&mut self, mut files: Vec<PathBuf>) {
        files.sort();
        for path in files {
            match FileKind::of(&path) {
                FileKind::Picture => self.pictures.push(path),
                FileKind::Undecodable(_) | FileKind::Other => self.left_out.file(path),
            }
        }
    }
}

impl FileKind {
    /// By its extension and its first bytes.
    pub fn of(path: &Path) -> Self {
        match extension_support(&extension(path)) {
            ExtensionSupport::Decodable => Self::Picture,
            // Phones save JPEG under .heic; but camera raw files, which are TIFF inside, are what they say.
            ExtensionSupport::Unsupported(_) if signature(path).is_some_and(|format| format != ImageFormat::Tiff) => Self::Picture,
            ExtensionSupport::Unsupported(format) => Self::Undecodable(format),
            ExtensionSupport::NotAnImage if signature(path).is_some() => Self::Picture,
            ExtensionSupport::NotAnImage => Self::Other,
        }
    }
}

/// The encoded picture in a file.
///
/// # Errors
/// It cannot be read, or is larger than a picture may be.
pub fn read_picture(path: &Path) -> std::io::Result<Vec<u8>> {
    let (bytes, limit) = (fs::metadata(path)?.len(), Limits::current().encoded_image_bytes);
    if bytes > limit {
        return Err(std::io::Error::other(ImageError::FileTooLarge { bytes, limit }));
    }
    fs::read(path)
}

/// The decodable format that the first bytes are of.
fn signature(path: &Path) -> Option<ImageFormat> {
    let mut head = Vec::with_capacity(32);
    File::open(path).ok()?.take(32).read_to_end(&mut head).ok()?;
    image::guess_format(&head).ok().filter(ImageFormat::reading_enabled)
}

/// Collects the regular files under `folder`.
///
/// `open` holds the canonical paths of the folders from the top down to this one.
fn walk(folder: &Path, open: &mut Vec<PathBuf>, files: &mut Vec<PathBuf>, listing: &mut Listing) {
    let entries = folder.canonicalize().and_then(|canonical| Ok((canonical, fs::read_dir(folder)?)));
    let (canonical, entries) = match entries {
        Ok(entries) => entries,
        Err(error) => return listing.not_seen(folder, &error),
    };
    // A link to any ancestor, even to one above the folder that was asked for, would come back here.
    if open.iter().any(|ancestor| ancestor.starts_with(&canonical)) {
        return listing.left_out.trouble(folder, "a symbolic link back to a folder that contains it; not followed");
    }
    open.push(canonical);
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => {
                listing.not_seen(folder, &error);
                continue;
            }
        };
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => walk(&path, open, files, listing),
            Ok(metadata) if metadata.is_file() => files.push(path),
            Ok(_) => listing.left_out.file(path),
            Err(error) => listing.not_seen(&path, &error),
        }
    }
    open.pop();
}
