//! Indexes in a browser: what they know in IndexedDB, their vectors and thumbnails in the origin's private file system.

use std::path::Path;
use std::sync::Arc;

use js_sys::{Array, Uint8Array};
use polyglance::engine::Failure;
use polyglance::engine::worker::WorkerTransport;
use polyglance::index::catalogue::{Beside, Catalogue, Moment};
use polyglance::index::store::{Array as IndexArray, Changes, IndexFuture, IndexStore, Parts, Shelf, Snapshot, Space, WritableStore};
use polyglance::index::{Folder as Pictures, IndexError, Reader, Stamp, Writer};
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
        let lock = self.lock(name).await?;
        let mut journal = Journal::read(name, 0.0).await?;
        if journal.records.is_empty() {
            // What a deletion may have left: then its arrays are nothing.
            let removed = async { at_root().await?.remove(name).await };
            removed.await.map_err(|failure| refused("make", name, failure))?;
            // Numbers only ever go up, so that who knew an index of this name before finds the beginning of this one.
            write_journal(name, js_sys::Date::now(), &[Catalogue::begun(stamp)], false).await?;
            journal = Journal::read(name, 0.0).await?;
        }
        let folder = async { at_root().await?.folder(name, true).await };
        let folder = folder.await.map_err(|failure| refused("make", name, failure))?.ok_or_else(|| damaged(name, "its folder is gone"))?;
        let store = Store::open(name, folder, &journal, Some(lock)).await?;
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
            Ok(Reader::new(Box::new(Store::open(name, folder, &Journal::read(name, 0.0).await?, None).await?)))
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
    catalogue: Arc<Catalogue>,
    /// The number of the next record.
    next: f64,
    /// Vectors and thumbnails, as they were when they were asked for: the browser reads no file that has changed since.
    arrays: [Option<File>; 2],
    /// Of whoever writes.
    _lock: Option<Lock>,
}

impl Store {
    /// From a whole journal. Whoever writes it hands over a lock.
    async fn open(name: &str, folder: Folder, journal: &Journal, lock: Option<Lock>) -> Result<Self, IndexError> {
        let catalogue = journal.catalogue(name, None)?;
        let (name, catalogue, arrays) = (name.to_owned(), Arc::new(catalogue), [None, None]);
        let mut store = Self { name, folder, catalogue, next: journal.next, arrays, _lock: lock };
        store.load().await?;
        Ok(store)
    }

    /// Takes over the records that were added, and looks at the arrays as they are now.
    async fn load(&mut self) -> Result<(), IndexError> {
        for _ in 0..LOAD_ATTEMPTS {
            // From the last one that is known: if that is there no longer, all is new, or nothing is left.
            let last = self.next - 1.0;
            let mut journal = Journal::read(&self.name, last).await?;
            if journal.records.first().is_some_and(|(number, _)| *number == last) {
                journal.records.remove(0);
            } else if journal.records.is_empty() {
                return Err(missing(&self.name));
            }
            if !journal.records.is_empty() {
                self.catalogue = Arc::new(journal.catalogue(&self.name, Some(Catalogue::clone(&self.catalogue)))?);
            }
            self.next = journal.next;
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
        let (catalogue, arrays) = (Arc::clone(&self.catalogue), Arrays { name: self.name.clone(), files: self.arrays.clone() });
        Ok(Box::new(Moment { place: self.place().to_owned(), catalogue, arrays, piece_bytes: PIECE_BYTES }))
    }

    fn refresh(&mut self) -> IndexFuture<'_, ()> {
        Box::pin(self.load())
    }
}

impl WritableStore for Store {
    fn append(&mut self, array: IndexArray, generation: u64, end: u64, bytes: Vec<u8>) -> IndexFuture<'_, ()> {
        Box::pin(async move {
            let written = self.write_array(array, generation, end, &bytes).await;
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
            Arc::make_mut(&mut self.catalogue).change(space, changes);
            if anew {
                self.remove_leftovers().await;
            }
            Ok(())
        })
    }
}

/// Vectors and thumbnails as they were when they were opened.
struct Arrays {
    name: String,
    files: [Option<File>; 2],
}

impl Arrays {
    fn file(&self, array: IndexArray) -> Option<&File> {
        let [vectors, thumbnails] = &self.files;
        match array {
            IndexArray::Vectors => vectors.as_ref(),
            IndexArray::Thumbnails => thumbnails.as_ref(),
        }
    }
}

impl Beside for Arrays {
    fn len(&self, array: IndexArray) -> u64 {
        self.file(array).map_or(0, |file| file.size() as u64)
    }

    fn read(&self, array: IndexArray, start: u64, bytes: &mut [u8]) -> Result<(), IndexError> {
        let file = self.file(array).ok_or_else(|| damaged(&self.name, &format!("its {} are gone", array.name())))?;
        // Another tab may have written meanwhile: then the browser does not read the file, and whoever looks again finds it as it is.
        let changed = || IndexError::Io {
            action: "read",
            file: self.name.as_str().into(),
            reason: std::io::Error::new(std::io::ErrorKind::Interrupted, "another tab is writing it; try again"),
        };
        let part = read_slice(file, start, bytes.len()).map_err(|_| changed())?;
        if part.length() as usize != bytes.len() {
            return Err(changed());
        }
        part.copy_to(bytes);
        Ok(())
    }
}

async fn at_root() -> Result<Folder, Failure> {
    Folder::at_root(INDEXES).await
}

fn file_name(array: IndexArray, generation: u64) -> String {
    format!("{}-{generation}", array.name())
}

/// Records of a journal with their numbers, and the number of the next.
struct Journal {
    records: Vec<(f64, Vec<u8>)>,
    next: f64,
}

impl Journal {
    /// From a number on.
    async fn read(name: &str, number: f64) -> Result<Self, IndexError> {
        let records = read(name, number).await.map_err(|error| refused("read", name, failure(&error)))?;
        let record = |record: JsValue| {
            let record = Array::from(&record);
            (record.get(0).as_f64().unwrap_or_default(), Uint8Array::new(&record.get(1)).to_vec())
        };
        let records: Vec<(f64, Vec<u8>)> = Array::from(&records).iter().map(record).collect();
        let next = records.last().map_or(number, |(last, _)| last + 1.0);
        Ok(Self { records, next })
    }

    /// What the records make of what was known before.
    fn catalogue(&self, name: &str, known: Option<Catalogue>) -> Result<Catalogue, IndexError> {
        let known = Catalogue::read(known, self.records.iter().map(|(_, record)| record.as_slice()));
        known.map_err(|reason| damaged(name, &reason))?.ok_or_else(|| missing(name))
    }
}

async fn write_journal(name: &str, number: f64, records: &[Vec<u8>], anew: bool) -> Result<(), IndexError> {
    let added: Array = records.iter().map(|record| JsValue::from(Uint8Array::from(record.as_slice()))).collect();
    append(name, number, &added, anew).await.map(drop).map_err(|error| refused("write", name, failure(&error)))
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
