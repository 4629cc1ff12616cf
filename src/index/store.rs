//! Where an index is kept: [`IndexStore`], which is a database and mapped files on a disk, and a browser's own storage on a page.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::pin::Pin;

use half::f16;
use serde::{Deserialize, Serialize};

use super::{FileState, IndexError, LeftOut, Reader, Stamp, Unreadable, Writer};
use crate::platform::Shareable;

/// What an index does that may have to wait for a browser.
pub type IndexFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, IndexError>> + 'a>>;

/// An index as those see it who read it.
pub trait IndexStore: Shareable {
    /// What it is called in messages: on a disk, where it is.
    fn place(&self) -> &Path;

    /// How it was made.
    fn stamp(&self) -> &Stamp;

    /// What it holds now; on a page, what it held at the last [`refresh`](Self::refresh).
    ///
    /// # Errors
    /// It cannot be read.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, IndexError>;

    /// Learns what others have written.
    ///
    /// # Errors
    /// It cannot be read, or is there no longer.
    fn refresh(&mut self) -> IndexFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// An index as the one sees it who writes it. Old or new: what is appended to the arrays counts from the commit that speaks of it.
pub trait WritableStore: IndexStore {
    /// Writes at the end that was committed, of the generation that was, and waits until that lasts.
    ///
    /// # Errors
    /// As for all of these: the system refuses, and the index is as before.
    fn append(&mut self, array: Array, generation: u64, end: u64, bytes: Vec<u8>) -> IndexFuture<'_, ()>;

    /// Makes an array of another generation from parts, and waits until that lasts.
    ///
    /// # Errors
    /// See [`append`](Self::append).
    fn renew<'a>(&'a mut self, array: Array, generation: u64, parts: Parts<'a>) -> IndexFuture<'a, ()>;

    /// One transaction. If it begins anew, arrays of other generations than `space` tells are removed after it.
    ///
    /// # Errors
    /// See [`append`](Self::append).
    fn commit(&mut self, space: Space, changes: Changes) -> IndexFuture<'_, ()>;
}

/// Pieces of an array, one after another.
pub type Parts<'a> = &'a mut dyn Iterator<Item = Result<Cow<'a, [u8]>, IndexError>>;

/// What lies beside the catalogue of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Array {
    /// f16 `[rows, dim]`, little endian.
    Vectors,
    /// Encoded small pictures, one after another.
    Thumbnails,
}

impl Array {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vectors => "vectors",
            Self::Thumbnails => "thumbnails",
        }
    }
}

/// An index at one moment.
pub trait Snapshot {
    /// How far its arrays go.
    fn space(&self) -> Space;

    /// Pictures.
    ///
    /// # Errors
    /// As for all of these: the index cannot be read.
    fn count(&self) -> Result<u64, IndexError>;

    /// A picture by its path below the folder.
    ///
    /// # Errors
    /// See [`count`](Self::count).
    fn picture(&self, path: &str) -> Result<Option<Picture>, IndexError>;

    /// Path and size of the picture in a row; nothing if that is gone.
    ///
    /// # Errors
    /// See [`count`](Self::count).
    fn row(&self, row: u32) -> Result<Option<(String, [u32; 2])>, IndexError>;

    /// Every picture in the order of the paths, until the visitor has seen enough.
    ///
    /// # Errors
    /// See [`count`](Self::count).
    fn for_each(&self, visit: &mut dyn FnMut(&str, Picture) -> ControlFlow<()>) -> Result<(), IndexError>;

    /// The files that could not be read, by their path below the folder.
    ///
    /// # Errors
    /// See [`count`](Self::count).
    fn unreadable(&self) -> Result<BTreeMap<String, Unreadable>, IndexError>;

    /// Embeddings of these rows, `[rows, dim]`; those of files that are gone are among them.
    ///
    /// # Errors
    /// See [`count`](Self::count).
    fn vectors(&self, rows: Range<u32>) -> Result<Cow<'_, [f16]>, IndexError>;

    /// Rows that may be asked for at once without holding much memory.
    fn rows_at_once(&self) -> u32;

    /// An encoded small picture.
    ///
    /// # Errors
    /// See [`count`](Self::count).
    fn thumbnail(&self, picture: &Picture) -> Result<Cow<'_, [u8]>, IndexError>;

    /// Bytes that it takes.
    ///
    /// # Errors
    /// See [`count`](Self::count).
    fn bytes(&self) -> Result<u64, IndexError>;
}

/// How far the arrays go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Of the arrays: goes up when they are written anew.
    pub generation: u64,
    /// Rows of vectors, those of files that are gone included.
    pub rows: u32,
    /// Bytes of thumbnails.
    pub thumbnail_bytes: u64,
}

/// What an index knows of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// The file as it was when it was read.
    pub state: FileState,
    /// Its row among the vectors.
    pub row: u32,
    /// Where its thumbnail begins, and bytes of it.
    pub thumbnail: (u64, u32),
    /// Height and width in pixels.
    pub size: [u32; 2],
}

/// What a transaction does, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Whether all that is known of pictures is forgotten first.
    pub anew: bool,
    /// Files that are forgotten, whatever was known of them.
    pub gone: Vec<String>,
    /// Pictures that take the place of what was known of their files.
    pub pictures: Vec<(String, Picture)>,
    /// Likewise files that cannot be read.
    pub unreadable: Vec<Unreadable>,
}

/// The indexes that a program keeps for its user, by name.
pub trait Shelf {
    /// What there is, whether it can be read or not.
    ///
    /// # Errors
    /// The system refuses.
    fn names(&mut self) -> IndexFuture<'_, Vec<String>>;

    /// Opens one to read it.
    ///
    /// # Errors
    /// There is none of this name, or it is damaged.
    fn reader<'a>(&'a mut self, name: &'a str) -> IndexFuture<'a, Reader>;

    /// Opens one to write it, or makes it.
    ///
    /// # Errors
    /// It is damaged, was made otherwise than the stamp says, or is being written, or the system refuses.
    fn writer<'a>(&'a mut self, name: &'a str, stamp: &'a Stamp) -> IndexFuture<'a, Writer>;

    /// Deletes one with all that belongs to it.
    ///
    /// # Errors
    /// It is being written, or the system refuses.
    fn delete<'a>(&'a mut self, name: &'a str) -> IndexFuture<'a, ()>;

    /// The pictures of a folder.
    ///
    /// # Errors
    /// There is no such folder.
    fn folder(&mut self, root: &str) -> Result<Box<dyn Folder>, IndexError>;

    /// The path below that folder of a picture as people name it: from there, or from anywhere; nothing if it is not below.
    fn below(&self, root: &str, picture: &str) -> Option<String>;

    /// The content of a picture as people name it.
    ///
    /// # Errors
    /// It cannot be read, or is larger than a picture may be.
    fn read(&mut self, root: &str, picture: &str) -> std::io::Result<Vec<u8>>;
}

/// Pictures that can be indexed: below a folder of a disk, or among files that a page was given.
pub trait Folder: Shareable {
    /// Its name in stamps; on a disk, its absolute path.
    fn root(&self) -> &str;

    /// Whether others may be called the same.
    fn is_told_by_name(&self) -> bool {
        false
    }

    /// What there is now.
    ///
    /// # Errors
    /// The folder cannot be read.
    fn census(&self) -> Result<Census, IndexError>;

    /// The content of a file.
    ///
    /// # Errors
    /// It cannot be read, or is larger than a picture may be.
    fn read(&self, below: &str) -> std::io::Result<Vec<u8>>;
}

/// What a folder holds.
#[derive(Debug, Default)]
pub struct Census {
    /// Files that seem to be pictures, by their paths below the folder with `/`, in that order.
    pub pictures: Vec<(String, FileState)>,
    /// Everything else: nothing is skipped silently.
    pub left_out: LeftOut,
    /// Beginnings of paths where nobody could look: what is there is not known.
    pub unseen: Vec<String>,
}
