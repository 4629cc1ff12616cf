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

/// The indexes of this site.
pub(crate) struct BrowserShelf {
    host: Host,
}

impl BrowserShelf {
    pub(crate) fn new(host: Host) -> Self {
        Self { host }
    }

    /// A lock that whoever writes an index holds.
    async fn lock(&self, name: &str) -> Result<Lock, IndexError> {
        let lock = Lock::soon(&self.host, &format!("polyglance index {name}"), "exclusive").await;
        let is_busy = || IndexError::Database {
            file: name.into(),
            reason: "another tab is writing it; close that, or wait until it is done".to_owned(),
        };
        lock.map_err(|failure| refused("lock", name, failure))?.ok_or_else(is_busy)
    }

    async fn write(&self, name: &str, stamp: &Stamp) -> Result<Writer, IndexError> {
        let lock = self.lock(name).await?;
        let folder = async { at_root().await?.folder(name, true).await };
        let folder = folder.await.map_err(|failure| refused("make", name, failure))?.ok_or_else(|| damaged(name, "its folder is gone"))?;
        let mut store = match Store::open(name, folder.clone()).await? {
            Some(store) => store,
            None => {
                write_journal(name, 0.0, [Catalogue::begun(stamp)], false).await?;
                Store::open(name, folder).await?.ok_or_else(|| damaged(name, "its beginning is gone"))?
            }
        };
        let was = store.catalogue.stamp();
        if was != stamp {
            return Err(IndexError::OtherStamp { file: name.into(), was: was.to_string(), is: stamp.to_string() });
        }
        store._lock = Some(lock);
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
            let missing = || IndexError::Database { file: name.into(), reason: "there is no such index".to_owned() };
            let folder = folder.await.map_err(|failure| refused("open", name, failure))?.ok_or_else(missing)?;
            let store = Store::open(name, folder).await?.ok_or_else(|| damaged(name, "its beginning is missing"))?;
            Ok(Reader::new(Box::new(store)))
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

    fn read(&mut self, root: &str, picture: &str) -> std::io::Result<Vec<u8>> {
        // A picture that was dropped is in no folder.
        let loose = GivenFolder::new(&self.host, WorkerTransport::LOOSE).map(|files| files.read(picture));
        match loose {
            Ok(Ok(bytes)) => Ok(bytes),
            _ => GivenFolder::new(&self.host, root).map_err(std::io::Error::other)?.read(picture),
        }
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
    /// Nothing if its journal is empty.
    async fn open(name: &str, folder: Folder) -> Result<Option<Self>, IndexError> {
        let (records, next) = read_journal(name, 0.0).await?;
        let Some(catalogue) = catalogue(name, None, &records)? else { return Ok(None) };
        let mut store = Self { name: name.to_owned(), folder, catalogue: Rc::new(catalogue), next, arrays: [None, None], _lock: None };
        store.open_arrays().await?;
        Ok(Some(store))
    }

    /// Takes over the records that were added.
    async fn read_on(&mut self) -> Result<(), IndexError> {
        let (records, next) = read_journal(&self.name, self.next).await?;
        if !records.is_empty() {
            let known = catalogue(&self.name, Some(Catalogue::clone(&self.catalogue)), &records)?;
            self.catalogue = Rc::new(known.ok_or_else(|| damaged(&self.name, "its beginning is missing"))?);
        }
        self.next = next.max(self.next);
        Ok(())
    }

    async fn open_arrays(&mut self) -> Result<(), IndexError> {
        let generation = self.catalogue.space().generation;
        for (array, open) in [IndexArray::Vectors, IndexArray::Thumbnails].into_iter().zip(&mut self.arrays) {
            let file = self.folder.file(&file_name(array, generation)).await;
            *open = file.map_err(|failure| refused("open", &self.name, failure))?;
        }
        Ok(())
    }

    async fn write_array(&self, array: IndexArray, generation: u64, end: u64, bytes: &[u8]) -> Result<(), Failure> {
        let writer = self.folder.writer(&file_name(array, generation)).await?;
        writer.write(&Uint8Array::from(bytes), end)?;
        writer.flush()
    }

    async fn renew_array(&self, array: IndexArray, generation: u64, parts: Parts<'_>) -> Result<(), IndexError> {
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
        Box::pin(async {
            self.read_on().await?;
            self.open_arrays().await
        })
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
            let anew = changes.anew;
            // The only chance to let go of old records: then what they said and still holds is said again.
            let begun = anew.then(|| Catalogue::begun(self.stamp()));
            let known = anew.then(|| self.catalogue.unreadable().values().cloned()).into_iter().flatten();
            let unreadable = known.chain(changes.unreadable).collect();
            let changed = Catalogue::changed(space, Changes { unreadable, ..changes });
            write_journal(&self.name, self.next, begun.into_iter().chain([changed]), anew).await?;
            self.refresh().await?;
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
    /// Fills `bytes` with a part of an array.
    fn read(&self, array: IndexArray, start: u64, bytes: &mut [u8]) -> Result<(), IndexError> {
        let [vectors, thumbnails] = &self.arrays;
        let file = if array == IndexArray::Vectors { vectors } else { thumbnails };
        let file = file.as_ref().ok_or_else(|| damaged(&self.name, &format!("its {} are gone", array.name())))?;
        // Another tab may have written meanwhile: then the browser does not read the file, and whoever looks again finds it as it is.
        let changed = |_| IndexError::Io {
            action: "read",
            file: self.name.as_str().into(),
            reason: std::io::Error::new(std::io::ErrorKind::Interrupted, "another tab is writing it; try again"),
        };
        let part = read_slice(file, start, bytes.len()).map_err(changed)?;
        if part.length() as usize != bytes.len() {
            return Err(damaged(&self.name, &format!("its {} end too early", array.name())));
        }
        part.copy_to(bytes);
        Ok(())
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
        let mut values = vec![f16::ZERO; rows.len() * dim];
        self.read(IndexArray::Vectors, u64::from(rows.start) * dim as u64 * 2, bytemuck::cast_slice_mut(&mut values))?;
        Ok(values.into())
    }

    fn rows_at_once(&self) -> u32 {
        (PIECE_BYTES / (self.catalogue.stamp().dim * 2).max(1)) as u32
    }

    fn thumbnail(&self, Picture { thumbnail: (start, len), .. }: &Picture) -> Result<Cow<'_, [u8]>, IndexError> {
        let mut bytes = vec![0; *len as usize];
        self.read(IndexArray::Thumbnails, *start, &mut bytes)?;
        Ok(bytes.into())
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

/// The records of a journal from a number on, and the number of the next.
async fn read_journal(name: &str, number: f64) -> Result<(Vec<Vec<u8>>, f64), IndexError> {
    let records = read(name, number).await.map_err(|error| refused("read", name, failure(&error)))?;
    let (mut all, mut next) = (Vec::new(), number);
    for record in Array::from(&records) {
        let record = Array::from(&record);
        next = record.get(0).as_f64().unwrap_or_default() + 1.0;
        all.push(Uint8Array::new(&record.get(1)).to_vec());
    }
    Ok((all, next))
}

async fn write_journal(name: &str, number: f64, records: impl IntoIterator<Item = Vec<u8>>, anew: bool) -> Result<(), IndexError> {
    let added: Array = records.into_iter().map(|record| JsValue::from(Uint8Array::from(record.as_slice()))).collect();
    append(name, number, &added, anew).await.map(drop).map_err(|error| refused("write", name, failure(&error)))
}

fn catalogue(name: &str, known: Option<Catalogue>, records: &[Vec<u8>]) -> Result<Option<Catalogue>, IndexError> {
    Catalogue::read(known, records.iter().map(Vec::as_slice)).map_err(|reason| damaged(name, &reason))
}

fn refused(action: &'static str, name: &str, failure: Failure) -> IndexError {
    IndexError::Io { action, file: name.into(), reason: std::io::Error::other(failure.message) }
}

fn damaged(name: &str, reason: &str) -> IndexError {
    IndexError::Damaged { file: name.into(), reason: reason.to_owned() }
}
