//! The pictures below a folder.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::{MAIN_SEPARATOR_STR, Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::super::store::{Census, Folder};
use super::super::{FileKind, FileState, IndexError, LeftOut};
use super::shelf::is_below;
use crate::image::ImageError;
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
            match kind(&path) {
                FileKind::Picture => self.pictures.push(path),
                FileKind::Undecodable(_) | FileKind::Other => self.left_out.file(path),
            }
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

/// A folder of a disk.
#[derive(Debug)]
pub struct DiskFolder {
    root: String,
}

impl DiskFolder {
    /// The folder at `path`, wherever the process is.
    ///
    /// # Errors
    /// There is no such folder, or its path is not valid Unicode.
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        let refused = |reason| IndexError::Io { action: "read", file: path.to_owned(), reason };
        let whole = fs::canonicalize(path).map_err(refused)?;
        let root = whole.to_str().ok_or_else(|| refused(std::io::Error::other("its path is not valid Unicode")))?;
        Ok(Self { root: root.to_owned() })
    }
}

impl Folder for DiskFolder {
    fn root(&self) -> &str {
        &self.root
    }

    fn census(&self) -> Result<Census, IndexError> {
        let root = Path::new(&self.root);
        let refused = |reason| IndexError::Io { action: "read", file: root.to_owned(), reason };
        let Listing { pictures, mut left_out, mut unseen } = Listing::of(root).map_err(refused)?;
        let mut known = Vec::with_capacity(pictures.len());
        for path in pictures {
            match (below(root, &path), fs::metadata(&path)) {
                (Some(below), Ok(metadata)) => known.push((below, state(&metadata))),
                (None, _) => left_out.trouble(&path, "its name is not valid Unicode"),
                // Gone since it was listed.
                (_, Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {}
                (_, Err(error)) => {
                    left_out.trouble(&path, &error.to_string());
                    unseen.push(path);
                }
            }
        }
        let unseen = unseen.iter().filter_map(|path| below(root, path)).collect();
        Ok(Census { pictures: known, left_out, unseen })
    }

    fn read(&self, below: &str) -> std::io::Result<Vec<u8>> {
        if !is_below(Path::new(below)) {
            return Err(std::io::Error::other("this is not below the folder"));
        }
        read_picture(&Path::new(&self.root).join(below))
    }
}

/// The path below a folder as the index knows it, with `/` on every system; nothing if it is not below, or not Unicode.
pub fn below(root: &Path, path: &Path) -> Option<String> {
    Some(path.strip_prefix(root).ok()?.to_str()?.replace(MAIN_SEPARATOR_STR, "/"))
}

fn state(metadata: &Metadata) -> FileState {
    // A system without times of change, or a file from before 1970, is told by its length alone.
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    FileState { bytes: metadata.len(), secs: since.as_secs() as i64, nanos: since.subsec_nanos() }
}

/// What a file of this machine seems to be.
pub fn kind(path: &Path) -> FileKind {
    FileKind::of(path, || head(path))
}

/// The first bytes of a file.
fn head(path: &Path) -> Option<Vec<u8>> {
    let mut head = Vec::with_capacity(FileKind::HEAD_BYTES);
    File::open(path).ok()?.take(FileKind::HEAD_BYTES as u64).read_to_end(&mut head).ok()?;
    Some(head)
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
