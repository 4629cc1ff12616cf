//! [`Catalogue`]: what an index holds, in memory, and the records that it is read from.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::Arc;

use half::f16;
use serde::{Deserialize, Serialize};

use super::store::{Array, Changes, Picture, Snapshot, Space};
use super::{IndexError, Stamp, Unreadable};

/// Goes up when records or arrays change their meaning.
const FORMAT: u32 = 1;

/// Everything but vectors and thumbnails: for a store whose database keeps records and cannot look into them. All of its records, one after another,
/// give it.
#[derive(Clone, Debug)]
pub struct Catalogue {
    stamp: Stamp,
    space: Space,
    pictures: BTreeMap<String, Picture>,
    rows: BTreeMap<u32, String>,
    unreadable: BTreeMap<String, Unreadable>,
}

/// What was done to an index.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    /// The first, and the first of all after it were thrown away.
    Begun {
        format: u32,
        stamp: Stamp,
    },
    Changed {
        space: Space,
        changes: Changes,
    },
}

impl Catalogue {
    /// Takes over what records say, in their order.
    ///
    /// # Errors
    /// They are damaged, or of another format; in words.
    pub fn read<'a>(mut known: Option<Self>, records: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<Self>, String> {
        for record in records {
            match (serde_json::from_slice(record).map_err(|error| error.to_string())?, &mut known) {
                (Record::Begun { format: FORMAT, stamp }, _) => known = Some(Self::new(stamp)),
                (Record::Begun { format, .. }, _) => return Err(format!("it is of format {format}, and this program reads {FORMAT}")),
                (Record::Changed { space, changes }, Some(known)) => known.change(space, changes),
                (Record::Changed { .. }, None) => return Err("its beginning is missing".to_owned()),
            }
        }
        Ok(known)
    }

    /// An empty one.
    pub fn new(stamp: Stamp) -> Self {
        Self { stamp, space: Space::default(), pictures: BTreeMap::new(), rows: BTreeMap::new(), unreadable: BTreeMap::new() }
    }

    /// The first record.
    pub fn begun(stamp: &Stamp) -> Vec<u8> {
        encoded(&Record::Begun { format: FORMAT, stamp: stamp.clone() })
    }

    /// The records of a transaction; in place of all others where it begins anew: then what they said and still holds is said again.
    pub fn records(&self, space: Space, changes: &Changes) -> Vec<Vec<u8>> {
        let mut changes = changes.clone();
        let mut records = Vec::new();
        if changes.anew {
            records.push(Self::begun(&self.stamp));
            changes.unreadable = self.unreadable.values().cloned().chain(changes.unreadable).collect();
        }
        records.push(encoded(&Record::Changed { space, changes }));
        records
    }

    /// How it was made.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// How far the arrays go.
    pub fn space(&self) -> Space {
        self.space
    }

    /// Does what a transaction does.
    pub fn change(&mut self, space: Space, changes: Changes) {
        self.space = space;
        if changes.anew {
            self.pictures.clear();
            self.rows.clear();
        }
        changes.gone.iter().for_each(|path| self.forget(path));
        for (path, picture) in changes.pictures {
            self.forget(&path);
            self.rows.insert(picture.row, path.clone());
            self.pictures.insert(path, picture);
        }
        for file in changes.unreadable {
            self.forget(&file.path);
            self.unreadable.insert(file.path.clone(), file);
        }
    }

    /// Forgets a file, whatever was known of it.
    fn forget(&mut self, path: &str) {
        if let Some(picture) = self.pictures.remove(path) {
            self.rows.remove(&picture.row);
        }
        self.unreadable.remove(path);
    }
}

/// The arrays beside a catalogue, as they were when it was read.
pub trait Beside {
    /// Bytes of one.
    fn len(&self, array: Array) -> u64;

    /// Reads a part that is there.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(&self, array: Array, start: u64, bytes: &mut [u8]) -> Result<(), IndexError>;
}

/// An index of a catalogue and arrays that are read piece by piece.
pub struct Moment<A> {
    /// What the index is called in messages.
    pub place: PathBuf,
    /// What it holds.
    pub catalogue: Arc<Catalogue>,
    /// And where the rest is.
    pub arrays: A,
    /// Bytes of vectors that may be in memory at once.
    pub piece_bytes: usize,
}

impl<A: Beside> Moment<A> {
    /// Nothing is allocated before it is known to be there.
    fn check(&self, array: Array, start: u64, bytes: u64) -> Result<(), IndexError> {
        if start.saturating_add(bytes) <= self.arrays.len(array) {
            return Ok(());
        }
        Err(IndexError::Damaged { file: self.place.clone(), reason: format!("its {} end too early", array.name()) })
    }
}

impl<A: Beside> Snapshot for Moment<A> {
    fn space(&self) -> Space {
        self.catalogue.space
    }

    fn count(&self) -> Result<u64, IndexError> {
        Ok(self.catalogue.pictures.len() as u64)
    }

    fn picture(&self, path: &str) -> Result<Option<Picture>, IndexError> {
        Ok(self.catalogue.pictures.get(path).copied())
    }

    fn row(&self, row: u32) -> Result<Option<(String, [u32; 2])>, IndexError> {
        let known = self.catalogue.rows.get(&row).and_then(|path| Some((path.clone(), self.catalogue.pictures.get(path)?.size)));
        Ok(known)
    }

    fn for_each(&self, visit: &mut dyn FnMut(&str, Picture) -> ControlFlow<()>) -> Result<(), IndexError> {
        let _ = self.catalogue.pictures.iter().try_for_each(|(path, picture)| visit(path, *picture));
        Ok(())
    }

    fn unreadable(&self) -> Result<BTreeMap<String, Unreadable>, IndexError> {
        Ok(self.catalogue.unreadable.clone())
    }

    fn vectors(&self, rows: Range<u32>) -> Result<Cow<'_, [f16]>, IndexError> {
        let dim = self.catalogue.stamp.dim;
        let start = u64::from(rows.start) * dim as u64 * 2;
        self.check(Array::Vectors, start, rows.len() as u64 * dim as u64 * 2)?;
        let mut values = vec![f16::ZERO; rows.len() * dim];
        self.arrays.read(Array::Vectors, start, bytemuck::cast_slice_mut(&mut values))?;
        Ok(values.into())
    }

    fn rows_at_once(&self) -> u32 {
        (self.piece_bytes / (self.catalogue.stamp.dim * 2).max(1)) as u32
    }

    fn thumbnail(&self, Picture { thumbnail: (start, len), .. }: &Picture) -> Result<Cow<'_, [u8]>, IndexError> {
        self.check(Array::Thumbnails, *start, u64::from(*len))?;
        let mut bytes = vec![0; *len as usize];
        self.arrays.read(Array::Thumbnails, *start, &mut bytes)?;
        Ok(bytes.into())
    }

    /// Without the records: what a browser's database takes is not told to pages.
    fn bytes(&self) -> Result<u64, IndexError> {
        Ok(self.arrays.len(Array::Vectors) + self.arrays.len(Array::Thumbnails))
    }
}

fn encoded(record: &Record) -> Vec<u8> {
    // Plain structs of strings and numbers, which have a form in JSON.
    serde_json::to_vec(record).unwrap_or_default()
}
