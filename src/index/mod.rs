//! An index of pictures that lasts: which files of a folder tree there are, and the embedding of each.
//!
//! [`Writer`] and [`Reader`] know how an index works; where it is kept is an [`IndexStore`]'s business: [`disk`] on a machine, the browser's storage on
//! a page. Likewise pictures come from a [`Folder`], and a [`Shelf`] keeps a program's indexes.

pub mod catalogue;
#[cfg(all(feature = "chroma", not(target_family = "wasm")))]
pub mod chroma;
#[cfg(not(target_family = "wasm"))]
pub mod disk;
mod entry;
mod error;
mod left_out;
mod query;
mod reader;
mod stamp;
pub mod store;
mod update;
mod writer;

pub use entry::{Entry, FileKind, FileState, Unreadable};
pub use error::IndexError;
pub use left_out::{LeftOut, plural};
pub use query::{Query, QueryError, Subject, Term};
#[cfg(not(target_family = "wasm"))]
pub use reader::Arrangement;
pub use reader::{Found, Placed, Reader, Results};
pub use stamp::Stamp;
pub use store::{Folder, IndexStore, Shelf};
pub use update::{Event, Summary, Times, Update, UpdateError};
pub use writer::Writer;
