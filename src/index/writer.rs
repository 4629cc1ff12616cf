//! [`Writer`]: adds files to an index, and takes them out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
#[cfg(not(target_family = "wasm"))]
use std::path::Path;

use half::f16;

use super::store::{Array, Changes, Picture, Snapshot, Space, WritableStore};
use super::{Entry, FileState, IndexError, Stamp, Unreadable};

/// The one who writes an index.
pub struct Writer {
    store: Box<dyn WritableStore>,
    space: Space,
}

/// Rows of files that are gone, as a share of all, from which the vectors are written anew.
const GONE_SHARE: f64 = 0.1;
/// How thumbnails begin, so that nobody takes their file for the first of them.
const THUMBNAILS_MAGIC: &[u8] = b"polyglance thumbnails\n";

impl Writer {
    /// Opens the index at `path`, or makes one. Only its owner can read the files.
    ///
    /// # Errors
    /// The index was made otherwise than `stamp` says, is damaged or being written by another process, or the system refuses.
    #[cfg(not(target_family = "wasm"))]
    pub fn open(path: &Path, stamp: &Stamp) -> Result<Self, IndexError> {
        Self::new(Box::new(super::disk::Writing::open(path, stamp)?))
    }

    /// Writes what is kept there.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn new(store: Box<dyn WritableStore>) -> Result<Self, IndexError> {
        let space = store.snapshot()?.space();
        Ok(Self { store, space })
    }

    /// How it is made.
    pub fn stamp(&self) -> &Stamp {
        self.store.stamp()
    }

    /// The pictures that are known, by their path below the folder.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn known(&self) -> Result<BTreeMap<String, FileState>, IndexError> {
        Ok(pictures(&*self.store.snapshot()?)?.into_iter().map(|(path, picture)| (path, picture.state)).collect())
    }

    /// The files that could not be read, by their path below the folder.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn unreadable(&self) -> Result<BTreeMap<String, Unreadable>, IndexError> {
        self.store.snapshot()?.unreadable()
    }

    /// Adds pictures with their embeddings, `[pictures, dim]` of unit length, in place of what was known of them. All or, after a crash, none.
    ///
    /// # Errors
    /// The system refuses; the index is as before.
    pub async fn add(&mut self, entries: &[Entry], embeds: &[f32]) -> Result<(), IndexError> {
        let too_many = || IndexError::Database { file: self.store.place().to_owned(), reason: format!("more than {} pictures", u32::MAX) };
        let rows = u32::try_from(entries.len()).ok().and_then(|count| self.space.rows.checked_add(count)).ok_or_else(too_many)?;
        let values = embeds.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect();
        let Space { generation, rows: first, thumbnail_bytes: before } = self.space;
        self.store.append(Array::Vectors, generation, u64::from(first) * self.stamp().dim as u64 * 2, values).await?;
        let magic = if before == 0 { THUMBNAILS_MAGIC } else { &[] };
        let thumbnails: Vec<u8> = magic.iter().chain(entries.iter().flat_map(|entry| &entry.thumbnail)).copied().collect();
        let space = Space { rows, thumbnail_bytes: before + thumbnails.len() as u64, ..self.space };
        self.store.append(Array::Thumbnails, generation, before, thumbnails).await?;
        let mut start = before + magic.len() as u64;
        let mut picture = |(entry, row): (&Entry, u32)| {
            let thumbnail = (start, entry.thumbnail.len() as u32);
            start += u64::from(thumbnail.1);
            (entry.path.clone(), Picture { state: entry.state, row, thumbnail, size: entry.size })
        };
        let pictures = entries.iter().zip(first..).map(&mut picture).collect();
        self.commit(space, Changes { pictures, ..Changes::default() }).await
    }

    /// Notes files that cannot be read, in place of what was known of them.
    ///
    /// # Errors
    /// The system refuses; the index is as before.
    pub async fn refuse(&mut self, files: &[Unreadable]) -> Result<(), IndexError> {
        self.commit(self.space, Changes { unreadable: files.to_vec(), ..Changes::default() }).await
    }

    /// Takes files out.
    ///
    /// # Errors
    /// The system refuses; the index is as before.
    pub async fn remove(&mut self, paths: impl IntoIterator<Item = String>) -> Result<(), IndexError> {
        self.commit(self.space, Changes { gone: paths.into_iter().collect(), ..Changes::default() }).await
    }

    /// Gives back the space of files that are gone, if it is worth it.
    ///
    /// # Errors
    /// The system refuses; the index is as before.
    pub async fn tidy(&mut self) -> Result<(), IndexError> {
        self.store.refresh().await?;
        let snapshot = self.store.snapshot()?;
        let mut kept = pictures(&*snapshot)?;
        let gone = f64::from(self.space.rows) - kept.len() as f64;
        if gone <= GONE_SHARE * f64::from(self.space.rows) {
            return Ok(());
        }
        let generation = self.space.generation + 1;
        let mut vectors = kept.iter().map(|(_, Picture { row, .. })| {
            let values = snapshot.vectors(*row..row + 1)?;
            Ok(Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect()))
        });
        self.store.renew(Array::Vectors, generation, &mut vectors).await?;
        let magic = std::iter::once(Ok(Cow::Borrowed(THUMBNAILS_MAGIC)));
        let mut thumbnails = magic.chain(kept.iter().map(|(_, picture)| snapshot.thumbnail(picture)));
        self.store.renew(Array::Thumbnails, generation, &mut thumbnails).await?;
        let mut thumbnail_bytes = THUMBNAILS_MAGIC.len() as u64;
        for ((_, picture), row) in kept.iter_mut().zip(0..) {
            (picture.row, picture.thumbnail.0) = (row, thumbnail_bytes);
            thumbnail_bytes += u64::from(picture.thumbnail.1);
        }
        let space = Space { generation, rows: kept.len() as u32, thumbnail_bytes };
        drop(snapshot);
        self.commit(space, Changes { anew: true, pictures: kept, ..Changes::default() }).await
    }

    async fn commit(&mut self, space: Space, changes: Changes) -> Result<(), IndexError> {
        self.store.commit(space, changes).await?;
        self.space = space;
        Ok(())
    }
}

/// Every picture, in the order of the paths.
fn pictures(snapshot: &dyn Snapshot) -> Result<Vec<(String, Picture)>, IndexError> {
    let mut all = Vec::new();
    snapshot.for_each(&mut |path, picture| {
        all.push((path.to_owned(), picture));
        ControlFlow::Continue(())
    })?;
    Ok(all)
}
