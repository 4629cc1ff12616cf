//! [`Catalogue`]: what an index holds, in memory, and the records that it is read from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::store::{Changes, Picture, Space};
use super::{Stamp, Unreadable};

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

    /// Every picture, by its path below the folder.
    pub fn pictures(&self) -> &BTreeMap<String, Picture> {
        &self.pictures
    }

    /// Path and size of the picture in a row.
    pub fn row(&self, row: u32) -> Option<(String, [u32; 2])> {
        let path = self.rows.get(&row)?;
        Some((path.clone(), self.pictures.get(path)?.size))
    }

    /// The files that could not be read.
    pub fn unreadable(&self) -> &BTreeMap<String, Unreadable> {
        &self.unreadable
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

fn encoded(record: &Record) -> Vec<u8> {
    // Plain structs of strings and numbers, which have a form in JSON.
    serde_json::to_vec(record).unwrap_or_default()
}
