//! An index of pictures that lasts: which files of a folder tree there are, and the embedding of each.
//!
//! ```text
//! photos.index                redb: the stamp, the files by path, the rows by number
//! photos.index.vectors-0      f16 [rows, dim], appended to; the number goes up when it is written anew
//! photos.index.thumbnails-0   JPEG files one after another, likewise
//! ```
//!
//! Old or new: vectors are appended and synced first, and become part of the index by one transaction of the database. What a crash leaves
//! behind the last row that is known is overwritten. One process writes, any number read meanwhile.

mod error;
mod faults;
mod folder;
mod left_out;
mod query;
mod reader;
mod schema;
mod shelf;
mod update;
mod writer;

pub use error::IndexError;
pub use folder::{FileKind, Listing, read_picture};
pub use left_out::{LeftOut, plural};
pub use query::{Query, QueryError, Subject, Term};
pub use reader::{Found, Reader, Results};
pub use schema::{Entry, FileState, Stamp, Unreadable};
pub use shelf::Shelf;
pub use update::{Event, Summary, Times, Update, UpdateError, below};
pub use writer::{Writer, delete};
