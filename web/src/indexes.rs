//! Indexes in a browser: what they know in IndexedDB, their vectors and thumbnails in the origin's private file system.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::rc::Rc;

use half::f16;
use js_sys::{Array, Uint8Array};
use polyglance::engine::Failure;
use polyglance::engine::worker::WorkerTransport;
use polyglance::index::catalogue::Catalogue;
use polyglance::index::store::{
    Array as IndexArray, Changes, IndexFuture, IndexStore, Parts, Picture, Shelf, Snapshot, Space, WritableStore,
};
use polyglance::index::{Folder as Pictures, IndexError, Reader, Stamp, Unreadable, Writer};
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};
use web_sys::File;

use crate::folder::{GivenFolder, read_slice};
use crate::lock::Lock;
use crate::opfs::{Folder, failure};
use crate::worker::Host;

#[wasm_bindgen(raw_module = "./journal.js")]
extern "C" {
    #[wasm_bindgen(catch)]
    async fn read(name: &str, number: f64) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(catch)]
    async fn append(name: &str, number: f64, added: &Array, anew: bool) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(catch)]
    async fn remove(name: &str) -> Result<JsValue, JsValue>;
}

/// The folder of all indexes; each has one of its own in it, which holds its arrays.
const INDEXES: &str = "indexes";
/// Vectors that are in memory at once.
const PIECE_BYTES: usize = 32 << 20;
/// Each takes a second.
const LOCK_ATTEMPTS: u32 = 5;
/// Times that another tab may make arrays anew while this one opens them.
const LOAD_ATTEMPTS: u32 = 5;

/// The indexes of this site.
pub(crate) struct BrowserShelf {
    host: Host,
}

impl BrowserShelf {
    pub(crate) fn new(host: Host) -> Self {
        Self { host }
    }

    /// A lock that whoever writes an index holds. A worker that has died returns its own after seconds.
    async fn lock(&self, name: &str) -> Result<Lock, IndexError> {
        for _ in 0..LOCK_ATTEMPTS {
            let lock = Lock::soon(&self.host, &format!("polyglance index {name}"), "exclusive").await;
            if let Some(lock) = lock.map_err(|failure| refused("lock", name, failure))? {
                return Ok(lock);
            }
        }
        Err(IndexError::Database {
            file: name.into(),
            reason: "another tab is writing it; close that, or wait until it is done".to_owned(),
        })
    }

    async fn write(&self, name: &str, stamp: &Stamp) -> Result<Writer, IndexError> {
        let mut lock = Some(self.lock(name).await?);
        let make = async {
            let indexes = at_root().await?;
            let is_new = read(name, 0.0).await.map(|records| Array::from(&records).length() == 0).map_err(|error| failure(&error))?;
            if is_new {
                // What a deletion may have left: then its arrays are nothing.
                indexes.remove(name).await?;
            }
            Ok((is_new, indexes.folder(name, true).await?))
        };
        let (is_new, folder) = make.await.map_err(|failure| refused("make", name, failure))?;
        let folder = folder.ok_or_else(|| damaged(name, "its folder is gone"))?;
        if is_new {
            // Numbers only ever go up, so that who knew an index of this name before finds the beginning of this one.
            write_journal(name, js_sys::Date::now(), &[Catalogue::begun(stamp)], false).await?;
        }
        let store = Store::open(name, folder, &mut lock).await?;
        let was = store.catalogue.stamp();
        if was != stamp {
            return Err(IndexError::OtherStamp { file: name.into(), was: was.to_string(), is: stamp.to_string() });
        }
        store.remove_leftovers().await;
        Writer::new(Box::new(store))
    }
}

impl Shelf for BrowserShelf {
    fn names(&mut self) -> IndexFuture<'_, Vec<String>> {
        Box::pin(async {
            let names = async { at_root().await?.names().await };
            // A browser that keeps no files has no indexes.
            Ok(names.await.unwrap_or_default())
        })
    }

    fn reader<'a>(&'a mut self, name: &'a str) -> IndexFuture<'a, Reader> {
        Box::pin(async move {
            let folder = async { at_root().await?.folder(name, false).await };
            let folder = folder.await.map_err(|failure| refused("open", name, failure))?.ok_or_else(|| missing(name))?;
            Ok(Reader::new(Box::new(Store::open(name, folder, &mut None).await?)))
        })
    }

    fn writer<'a>(&'a mut self, name: &'a str, stamp: &'a Stamp) -> IndexFuture<'a, Writer> {
        Box::pin(self.write(name, stamp))
    }

    fn delete<'a>(&'a mut self, name: &'a str) -> IndexFuture<'a, ()> {
        Box::pin(async move {
            let _lock = self.lock(name).await?;
            // The journal goes first: without it the arrays are nothing.
            remove(name).await.map_err(|error| refused("delete", name, failure(&error)))?;
            let removed = async { at_root().await?.remove(name).await };
            removed.await.map_err(|failure| refused("delete", name, failure))
        })
    }

    fn folder(&mut self, root: &str) -> Result<Box<dyn Pictures>, IndexError> {
        Ok(Box::new(GivenFolder::new(&self.host, root)?))
    }

    fn below(&self, _root: &str, picture: &str) -> Option<String> {
        // What was dropped is in no folder, and a page knows no paths from anywhere else.
        (!picture.starts_with('/')).then(|| picture.strip_prefix("./").unwrap_or(picture).to_owned())
    }

    fn read(&mut self, root: &str, picture: &str) -> std::io::Result<Vec<u8>> {
        let (root, picture) =
            picture.strip_prefix(WorkerTransport::DROPPED).map_or((root, picture), |name| (WorkerTransport::DROPPED, name));
        GivenFolder::new(&self.host, root).map_err(std::io::Error::other)?.read(picture)
    }
}

/// An index.
struct Store {
    name: String,
    folder: Folder,
    catalogue: Rc<Catalogue>,
    /// The number of the next record.
    next: f64,
    /// Vectors and thumbnails, as they were when they were asked for: the browser reads no file that has changed since.
    arrays: [Option<File>; 2],
    /// Of whoever writes.
    _lock: Option<Lock>,
}

impl Store {
    /// Whoever writes it hands over a lock.
    async fn open(name: &str, folder: Folder, lock: &mut Option<Lock>) -> Result<Self, IndexError> {
        let (records, next) = read_journal(name, 0.0).await?;
        let catalogue = catalogue(name, None, &records)?.ok_or_else(|| missing(name))?;
        let (name, catalogue, arrays) = (name.to_owned(), Rc::new(catalogue), [None, None]);
        let mut store = Self { name, folder, catalogue, next, arrays, _lock: lock.take() };
        store.load().await?;
        Ok(store)
    }

    /// Takes over the records that were added, and looks at the arrays as they are now.
    async fn load(&mut self) -> Result<(), IndexError> {
        for _ in 0..LOAD_ATTEMPTS {
            // From the last one that is known: if that is there no longer, all is new, or nothing is left.
            let last = self.next - 1.0;
            let (mut records, next) = read_journal(&self.name, last).await?;
            if records.first().is_some_and(|(number, _)| *number == last) {
                records.remove(0);
            } else if records.is_empty() {
                return Err(missing(&self.name));
            }
            if !records.is_empty() {
                let known = catalogue(&self.name, Some(Catalogue::clone(&self.catalogue)), &records)?;
                self.catalogue = Rc::new(known.ok_or_else(|| missing(&self.name))?);
            }
            self.next = next;
            if self.open_arrays().await? {
                return Ok(());
            }
            // Another tab may have made them anew since their journal was read.
        }
        Err(damaged(&self.name, "its vectors or thumbnails are shorter than they were"))
    }

    /// Whether they are as long as the catalogue tells.
    async fn open_arrays(&mut self) -> Result<bool, IndexError> {
        let space = self.catalogue.space();
        let vectors = u64::from(space.rows) * self.catalogue.stamp().dim as u64 * 2;
        let wanted = [(IndexArray::Vectors, vectors), (IndexArray::Thumbnails, space.thumbnail_bytes)];
        for ((array, bytes), open) in wanted.into_iter().zip(&mut self.arrays) {
            let file = self.folder.file(&file_name(array, space.generation)).await;
            *open = file.map_err(|failure| refused("open", &self.name, failure))?;
            if bytes > open.as_ref().map_or(0, |file| file.size() as u64) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn write_array(&self, array: IndexArray, generation: u64, end: u64, bytes: &[u8]) -> Result<(), Failure> {
        let writer = self.folder.writer(&file_name(array, generation)).await?;
        writer.write(&Uint8Array::from(bytes), end)?;
        writer.flush()
    }

    async fn renew_array(&self, array: IndexArray, generation: u64, parts: Parts<'_>) -> Result<(), IndexError> {
        let made = self.make_array(array, generation, parts).await;
        if made.is_err() {
            // Half of it only takes room, of which there may be too little.
            let _ = self.folder.remove(&file_name(array, generation)).await;
        }
        made
    }

    async fn make_array(&self, array: IndexArray, generation: u64, parts: Parts<'_>) -> Result<(), IndexError> {
        let failed = |failure| refused("write", &self.name, failure);
        let writer = self.folder.writer(&file_name(array, generation)).await.map_err(failed)?;
        writer.truncate(0).map_err(failed)?;
        let (mut end, mut piece) = (0, Vec::with_capacity(PIECE_BYTES));
        for part in parts {
            piece.extend_from_slice(&part?);
            if piece.len() >= PIECE_BYTES {
                writer.write(&Uint8Array::from(piece.as_slice()), end).map_err(failed)?;
                end += piece.len() as u64;
                piece.clear();
            }
        }
        writer.write(&Uint8Array::from(piece.as_slice()), end).and_then(|()| writer.flush()).map_err(failed)
    }

    /// Removes arrays of other generations, as far as it can be: another tab may still read them.
    async fn remove_leftovers(&self) {
        let now = self.catalogue.space().generation;
        for generation in [now.checked_sub(1), Some(now + 1)].into_iter().flatten() {
            for array in [IndexArray::Vectors, IndexArray::Thumbnails] {
                let _ = self.folder.remove(&file_name(array, generation)).await;
            }
        }
    }
}

impl IndexStore for Store {
    fn place(&self) -> &Path {
        Path::new(&self.name)
    }

    fn stamp(&self) -> &Stamp {
        self.catalogue.stamp()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, IndexError> {
        Ok(Box::new(Moment { name: self.name.clone(), catalogue: Rc::clone(&self.catalogue), arrays: self.arrays.clone() }))
    }

    fn refresh(&mut self) -> IndexFuture<'_, ()> {
        Box::pin(self.load())
    }
}

impl WritableStore for Store {
    fn append(&mut self, array: IndexArray, end: u64, bytes: Vec<u8>) -> IndexFuture<'_, ()> {
        Box::pin(async move {
            let written = self.write_array(array, self.catalogue.space().generation, end, &bytes).await;
            written.map_err(|failure| refused("write", &self.name, failure))
        })
    }

    fn renew<'a>(&'a mut self, array: IndexArray, generation: u64, parts: Parts<'a>) -> IndexFuture<'a, ()> {
        Box::pin(self.renew_array(array, generation, parts))
    }

    fn commit(&mut self, space: Space, changes: Changes) -> IndexFuture<'_, ()> {
        Box::pin(async move {
            let records = self.catalogue.records(space, &changes);
            let anew = changes.anew;
            write_journal(&self.name, self.next, &records, anew).await?;
            self.next += records.len() as f64;
            Rc::make_mut(&mut self.catalogue).change(space, changes);
            if anew {
                self.remove_leftovers().await;
            }
            Ok(())
        })
    }
}

/// An index as it was read.
struct Moment {
    name: String,
    catalogue: Rc<Catalogue>,
    arrays: [Option<File>; 2],
}

impl Moment {
    /// A part of an array.
    fn read(&self, array: IndexArray, start: u64, len: usize) -> Result<Uint8Array, IndexError> {
        let [vectors, thumbnails] = &self.arrays;
        let file = if array == IndexArray::Vectors { vectors } else { thumbnails };
        let file = file.as_ref().ok_or_else(|| damaged(&self.name, &format!("its {} are gone", array.name())))?;
        // Another tab may have written meanwhile: then the browser does not read the file, and whoever looks again finds it as it is.
        let changed = |_| IndexError::Io {
            action: "read",
            file: self.name.as_str().into(),
            reason: std::io::Error::new(std::io::ErrorKind::Interrupted, "another tab is writing it; try again"),
        };
        let part = read_slice(file, start, len).map_err(changed)?;
        let is_whole = part.length() as usize == len;
        is_whole.then_some(part).ok_or_else(|| damaged(&self.name, &format!("its {} end too early", array.name())))
    }
}

impl Snapshot for Moment {
    fn space(&self) -> Space {
        self.catalogue.space()
    }

    fn count(&self) -> Result<u64, IndexError> {
        Ok(self.catalogue.pictures().len() as u64)
    }

    fn picture(&self, path: &str) -> Result<Option<Picture>, IndexError> {
        Ok(self.catalogue.pictures().get(path).copied())
    }

    fn row(&self, row: u32) -> Result<Option<(String, [u32; 2])>, IndexError> {
        Ok(self.catalogue.row(row))
    }

    fn for_each(&self, visit: &mut dyn FnMut(&str, Picture) -> ControlFlow<()>) -> Result<(), IndexError> {
        let _ = self.catalogue.pictures().iter().try_for_each(|(path, picture)| visit(path, *picture));
        Ok(())
    }

    fn unreadable(&self) -> Result<BTreeMap<String, Unreadable>, IndexError> {
        Ok(self.catalogue.unreadable().clone())
    }

    fn vectors(&self, rows: Range<u32>) -> Result<Cow<'_, [f16]>, IndexError> {
        let dim = self.catalogue.stamp().dim;
        let part = self.read(IndexArray::Vectors, u64::from(rows.start) * dim as u64 * 2, rows.len() * dim * 2)?;
        let mut values = vec![f16::ZERO; rows.len() * dim];
        part.copy_to(bytemuck::cast_slice_mut(&mut values));
        Ok(values.into())
    }

    fn rows_at_once(&self) -> u32 {
        (PIECE_BYTES / (self.catalogue.stamp().dim * 2).max(1)) as u32
    }

    fn thumbnail(&self, Picture { thumbnail: (start, len), .. }: &Picture) -> Result<Cow<'_, [u8]>, IndexError> {
        Ok(self.read(IndexArray::Thumbnails, *start, *len as usize)?.to_vec().into())
    }

    fn bytes(&self) -> Result<u64, IndexError> {
        // What the database takes is not told to pages.
        Ok(self.arrays.iter().flatten().map(|file| file.size() as u64).sum())
    }
}

async fn at_root() -> Result<Folder, Failure> {
    Folder::at_root(INDEXES).await
}

fn file_name(array: IndexArray, generation: u64) -> String {
    format!("{}-{generation}", array.name())
}

/// The records of a journal with their numbers, from one on, and the number of the next.
async fn read_journal(name: &str, number: f64) -> Result<(Vec<(f64, Vec<u8>)>, f64), IndexError> {
    let records = read(name, number).await.map_err(|error| refused("read", name, failure(&error)))?;
    let record = |record: JsValue| {
        let record = Array::from(&record);
        (record.get(0).as_f64().unwrap_or_default(), Uint8Array::new(&record.get(1)).to_vec())
    };
    let all: Vec<(f64, Vec<u8>)> = Array::from(&records).iter().map(record).collect();
    let next = all.last().map_or(number, |(last, _)| last + 1.0);
    Ok((all, next))
}

async fn write_journal(name: &str, number: f64, records: &[Vec<u8>], anew: bool) -> Result<(), IndexError> {
    let added: Array = records.iter().map(|record| JsValue::from(Uint8Array::from(record.as_slice()))).collect();
    append(name, number, &added, anew).await.map(drop).map_err(|error| refused("write", name, failure(&error)))
}

fn catalogue(name: &str, known: Option<Catalogue>, records: &[(f64, Vec<u8>)]) -> Result<Option<Catalogue>, IndexError> {
    Catalogue::read(known, records.iter().map(|(_, record)| record.as_slice())).map_err(|reason| damaged(name, &reason))
}

fn missing(name: &str) -> IndexError {
    IndexError::Database { file: name.into(), reason: "there is no such index".to_owned() }
}

fn refused(action: &'static str, name: &str, failure: Failure) -> IndexError {
    IndexError::Io { action, file: name.into(), reason: std::io::Error::other(failure.message) }
}

fn damaged(name: &str, reason: &str) -> IndexError {
    IndexError::Damaged { file: name.into(), reason: reason.to_owned() }
}
