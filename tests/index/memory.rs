//! A store that keeps records and arrays, as a browser does, and is read in small pieces.

use std::collections::HashMap;
use std::future::ready;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use polyglance::index::catalogue::{Beside, Catalogue, Moment};
use polyglance::index::store::{Array, Changes, IndexFuture, IndexStore, Parts, Snapshot, Space, WritableStore};
use polyglance::index::{IndexError, Stamp};

/// 97 rows.
const PIECE_BYTES: usize = 97 * super::DIM * 2;

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
        let (place, catalogue) = (self.place().to_owned(), Arc::clone(&kept.catalogue));
        let arrays = Arrays([Array::Vectors, Array::Thumbnails].map(of));
        Ok(Box::new(Moment { place, catalogue, arrays, piece_bytes: PIECE_BYTES }))
    }
}

impl WritableStore for Memory {
    fn append(&mut self, array: Array, generation: u64, end: u64, bytes: Vec<u8>) -> IndexFuture<'_, ()> {
        let mut kept = self.kept();
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

/// Vectors and thumbnails.
struct Arrays([Arc<Vec<u8>>; 2]);

impl Arrays {
    fn of(&self, array: Array) -> &[u8] {
        &self.0[usize::from(array == Array::Thumbnails)]
    }
}

impl Beside for Arrays {
    fn len(&self, array: Array) -> u64 {
        self.of(array).len() as u64
    }

    fn read(&self, array: Array, start: u64, bytes: &mut [u8]) -> Result<(), IndexError> {
        assert!(array == Array::Thumbnails || bytes.len() <= PIECE_BYTES, "{} bytes of vectors are too many at once", bytes.len());
        bytes.copy_from_slice(&self.of(array)[start as usize..][..bytes.len()]);
        Ok(())
    }
}
