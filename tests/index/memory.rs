//! A store that keeps records and arrays, as a browser does, and is read in small pieces.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::future::ready;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use half::f16;
use polyglance::index::catalogue::Catalogue;
use polyglance::index::store::{Array, Changes, IndexFuture, IndexStore, Parts, Picture, Snapshot, Space, WritableStore};
use polyglance::index::{IndexError, Stamp, Unreadable};

struct Kept {
    catalogue: Arc<Catalogue>,
    arrays: HashMap<(&'static str, u64), Arc<Vec<u8>>>,
}

/// An index in memory.
#[derive(Clone)]
pub(super) struct Memory {
    kept: Arc<Mutex<Kept>>,
    stamp: Stamp,
}

impl Memory {
    pub(super) fn new(stamp: &Stamp) -> Self {
        let kept = Kept { catalogue: Arc::new(read(None, &[Catalogue::begun(stamp)])), arrays: HashMap::new() };
        Self { kept: Arc::new(Mutex::new(kept)), stamp: stamp.clone() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }
}

fn read(known: Option<Catalogue>, records: &[Vec<u8>]) -> Catalogue {
    Catalogue::read(known, records.iter().map(Vec::as_slice)).unwrap().unwrap()
}

impl IndexStore for Memory {
    fn place(&self) -> &Path {
        Path::new("memory")
    }

    fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, IndexError> {
        let kept = self.kept();
        let of = |array: Array| kept.arrays.get(&(array.name(), kept.catalogue.space().generation)).cloned().unwrap_or_default();
        let (catalogue, vectors, thumbnails) = (Arc::clone(&kept.catalogue), of(Array::Vectors), of(Array::Thumbnails));
        Ok(Box::new(Moment { catalogue, vectors, thumbnails }))
    }
}

impl WritableStore for Memory {
    fn append(&mut self, array: Array, end: u64, bytes: Vec<u8>) -> IndexFuture<'_, ()> {
        let mut kept = self.kept();
        let generation = kept.catalogue.space().generation;
        let own = Arc::make_mut(kept.arrays.entry((array.name(), generation)).or_default());
        own.truncate(end as usize);
        own.extend(bytes);
        Box::pin(ready(Ok(())))
    }

    fn renew<'a>(&'a mut self, array: Array, generation: u64, parts: Parts<'a>) -> IndexFuture<'a, ()> {
        let bytes = parts.flat_map(|part| part.unwrap().into_owned()).collect();
        self.kept().arrays.insert((array.name(), generation), Arc::new(bytes));
        Box::pin(ready(Ok(())))
    }

    fn commit(&mut self, space: Space, changes: Changes) -> IndexFuture<'_, ()> {
        let mut kept = self.kept();
        // What was said is read, as whoever comes later will.
        let records = kept.catalogue.records(space, &changes);
        kept.catalogue = Arc::new(read(Some(Catalogue::clone(&kept.catalogue)), &records));
        Box::pin(ready(Ok(())))
    }
}

struct Moment {
    catalogue: Arc<Catalogue>,
    vectors: Arc<Vec<u8>>,
    thumbnails: Arc<Vec<u8>>,
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
        assert!(rows.len() <= self.rows_at_once() as usize, "{rows:?} are too many at once");
        let width = self.catalogue.stamp().dim * 2;
        let bytes = &self.vectors[rows.start as usize * width..rows.end as usize * width];
        Ok(bytes.chunks(2).map(|value| f16::from_le_bytes([value[0], value[1]])).collect())
    }

    fn rows_at_once(&self) -> u32 {
        97
    }

    fn thumbnail(&self, Picture { thumbnail: (start, len), .. }: &Picture) -> Result<Cow<'_, [u8]>, IndexError> {
        Ok(self.thumbnails[*start as usize..][..*len as usize].into())
    }

    fn bytes(&self) -> Result<u64, IndexError> {
        Ok((self.vectors.len() + self.thumbnails.len()) as u64)
    }
}
