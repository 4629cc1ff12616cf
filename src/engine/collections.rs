//! Folders of pictures that were indexed, for the service: brought up to date, searched, looked at.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::ErrorKind;
use std::ops::ControlFlow;

use super::protocol::{Collection, Failure, FailureKind, Hit, Hits, Indexed, Search, Spot, Stage};
use super::service::{Report, input};
use crate::encoder::Encoder;
use crate::image::{DecodedImage, Resampling, decode};
#[cfg(not(target_family = "wasm"))]
use crate::index::Arrangement;
use crate::index::{Event, Folder, Found, IndexError, LeftOut, Placed, Reader, Results, Shelf, Stamp, Subject, Update, UpdateError};
use crate::limits::Limits;
use crate::platform::Stopwatch;

/// All of them.
pub(super) struct Collections {
    shelf: Box<dyn Shelf>,
    /// Those that were looked at.
    readers: HashMap<String, Reader>,
    /// An update that has given way, or was stopped: it goes on where it was.
    update: Option<Underway>,
    /// Likewise an arrangement, and the collection that it is of.
    #[cfg(not(target_family = "wasm"))]
    arrangement: Option<(String, Arrangement)>,
}

struct Underway {
    stamp: Stamp,
    update: Update,
    left_out: LeftOut,
    rebuilt: Option<String>,
}

/// A part of a query.
pub(super) enum Part {
    Text(String),
    /// Its embedding, `[dim]`.
    Known(Vec<f32>),
    /// A file that is not in the index.
    Picture {
        name: String,
        bytes: Vec<u8>,
    },
}

/// Seconds that a batch takes while an app may want something else.
const TURN_SECS: f64 = 0.25;
/// Times that an index is read again which somebody else writes.
const READ_ATTEMPTS: u32 = 5;

impl Collections {
    /// Those of a program.
    pub(super) fn new(shelf: Box<dyn Shelf>) -> Self {
        Self {
            shelf,
            readers: HashMap::new(),
            update: None,
            #[cfg(not(target_family = "wasm"))]
            arrangement: None,
        }
    }

    /// All of them, by their folders.
    pub(super) async fn list(&mut self) -> Result<Vec<Collection>, Failure> {
        // Other processes may have replaced some.
        self.readers.clear();
        let mut all = Vec::new();
        for name in self.shelf.names().await.map_err(input)? {
            let described = self.describe(&name).await;
            all.push(described.unwrap_or_else(|damage| Collection {
                name,
                root: String::new(),
                model: String::new(),
                pictures: 0,
                bytes: 0,
                damage: Some(damage.to_string()),
            }));
        }
        all.sort_by(|a, b| (&a.root, &a.model).cmp(&(&b.root, &b.model)));
        Ok(all)
    }

    /// Brings the index of a folder up to date, or makes one.
    pub(super) async fn update(
        &mut self,
        root: &str,
        model: &str,
        encoder: &mut Encoder,
        report: &mut Report<'_>,
    ) -> Result<Indexed, Failure> {
        let folder = self.shelf.folder(root).map_err(input)?;
        let stamp = Stamp::new(folder.root(), model, encoder, None, Resampling::default());
        let mut underway = match self.update.take().filter(|underway| underway.stamp == stamp) {
            Some(underway) => underway,
            None => self.begin(stamp, folder, encoder).await?,
        };
        let mut stopped = None;
        let mut say = |event: Event<'_>| {
            // What was wrong with files is told at the end.
            let Event::Progress { done, total } = event else { return ControlFlow::Continue(()) };
            step(report, Stage::Pictures, [done, total], &mut stopped)
        };
        if !underway.update.run(encoder, Some(TURN_SECS), &mut say).await.map_err(failed)? {
            self.update = Some(underway);
            return Err(stopped.unwrap_or_else(|| Failure::new(FailureKind::Cancelled, "stopped")));
        }
        let Underway { stamp, update, left_out, rebuilt } = underway;
        let (added, gone) = (update.summary().added, update.summary().gone);
        // It writes no more, so that others may.
        drop(update);
        let name = stamp.index_name();
        self.readers.remove(&name);
        let unreadable = self.reader(&name).await?.unreadable().map_err(input)?;
        let unreadable = unreadable.into_values().map(|file| (file.path, file.reason)).collect();
        let collection = self.describe(&name).await.map_err(input)?;
        Ok(Indexed { collection, added, gone, unreadable, left_out: left_out.to_string(), rebuilt })
    }

    /// An index that is damaged is made anew, since all that it held comes from its folder.
    async fn begin(&mut self, stamp: Stamp, folder: Box<dyn Folder>, encoder: &Encoder) -> Result<Underway, Failure> {
        let name = stamp.index_name();
        let opened = self.shelf.writer(&name, &stamp).await;
        let (writer, rebuilt) = match opened {
            Err(damage @ IndexError::Damaged { .. }) => {
                self.readers.remove(&name);
                self.shelf.delete(&name).await.map_err(input)?;
                (self.shelf.writer(&name, &stamp).await.map_err(input)?, Some(damage.to_string()))
            }
            writer => (writer.map_err(input)?, None),
        };
        let (update, left_out) = Update::begin(writer, folder, encoder.config().vision).await.map_err(failed)?;
        Ok(Underway { stamp, update, left_out, rebuilt })
    }

    /// Who reads an index, as it is now.
    pub(super) async fn reader(&mut self, name: &str) -> Result<&Reader, Failure> {
        self.read_index(name).await.map_err(input)
    }

    /// Reads something, again if others have changed it meanwhile.
    async fn read<T>(&mut self, name: &str, mut read: impl AsyncFnMut(&Reader) -> Result<T, IndexError>) -> Result<T, Failure> {
        let mut attempts = 0..READ_ATTEMPTS;
        loop {
            match read(self.reader(name).await?).await {
                Err(IndexError::Io { reason, .. }) if reason.kind() == ErrorKind::Interrupted && attempts.next().is_some() => {}
                result => return result.map_err(input),
            }
        }
    }

    async fn read_index(&mut self, name: &str) -> Result<&Reader, IndexError> {
        Ok(match self.readers.entry(name.to_owned()) {
            Entry::Occupied(entry) => {
                let reader = entry.into_mut();
                reader.refresh().await?;
                reader
            }
            Entry::Vacant(entry) => entry.insert(self.shelf.reader(name).await?),
        })
    }

    /// The pictures that are nearest to a direction, or all in order without one.
    pub(super) async fn search(&mut self, request: &Search, direction: Option<&[f32]>) -> Result<Hits, Failure> {
        let watch = Stopwatch::start();
        let find = async |reader: &Reader| match (direction, request.within) {
            (Some(direction), Some(share)) => reader.search(direction, request.count).map(|results| results.within(share)),
            (Some(direction), None) => reader.search(direction, request.count),
            (None, _) => reader.first(request.count),
        };
        let Results { found, compared, .. } = self.read(&request.collection, find).await?;
        let score = |score| direction.map(|_| score);
        let hits = found.into_iter().map(|found| Hit { path: found.path, score: score(found.score), size: found.size }).collect();
        Ok(Hits { hits, compared, search_millis: 1e3 * watch.elapsed_secs(), ..Hits::default() })
    }

    /// Pictures that are nearly the same, group by group.
    pub(super) async fn alike(&mut self, collection: &str, least: f32, report: &mut Report<'_>) -> Result<Hits, Failure> {
        let watch = Stopwatch::start();
        let mut stopped = None;
        let mut say = |done, total| step(report, Stage::Comparison, [done, total], &mut stopped);
        let found = self.read(collection, async |reader| Ok((reader.alike(least, &mut say).await?, reader.count()? as usize))).await;
        if let Some(failure) = stopped {
            return Err(failure);
        }
        let (groups, compared) = found?;
        let groups = groups.unwrap_or_default();
        let lengths = groups.iter().map(Vec::len).collect();
        let hit = |found: Found| Hit { path: found.path, score: Some(found.score), size: found.size };
        let hits = groups.into_iter().flatten().map(hit).collect();
        Ok(Hits { hits, compared, query_millis: 0.0, search_millis: 1e3 * watch.elapsed_secs(), groups: lengths })
    }

    /// All pictures on a plane.
    pub(super) async fn plane(&mut self, collection: &str) -> Result<Vec<Spot>, Failure> {
        Ok(spots(self.read(collection, async |reader| reader.plane().await).await?))
    }

    /// The same by their neighbours; if they are too few to have some, as above.
    #[cfg(not(target_family = "wasm"))]
    pub(super) async fn arrange(&mut self, collection: &str, report: &mut Report<'_>) -> Result<Vec<Spot>, Failure> {
        let kept = self.arrangement.take().filter(|(name, _)| name == collection);
        let reader = self.reader(collection).await?;
        let begun = match kept {
            Some((_, kept)) if kept.is_of(reader).map_err(input)? => Some(kept),
            _ => Arrangement::begin(reader).map_err(input)?,
        };
        let Some(mut arrangement) = begun else { return self.plane(collection).await };
        let mut stopped = None;
        let mut say = |done, total| step(report, Stage::Comparison, [done, total], &mut stopped);
        let is_finished = arrangement.run(&mut say).map_err(input)?;
        if is_finished {
            return Ok(spots(arrangement.placed()));
        }
        self.arrangement = Some((collection.to_owned(), arrangement));
        Err(stopped.unwrap_or_else(|| Failure::new(FailureKind::Cancelled, "stopped")))
    }

    /// The library that does it would make a page too large.
    #[cfg(target_family = "wasm")]
    pub(super) async fn arrange(&mut self, collection: &str, _report: &mut Report<'_>) -> Result<Vec<Spot>, Failure> {
        self.plane(collection).await
    }

    /// What is known of a part of a query. Paths of pictures may be relative to the collection's folder.
    pub(super) async fn part(&mut self, collection: &str, subject: &Subject) -> Result<Part, Failure> {
        let Subject::Picture(path) = subject else { return Ok(Part::Text(subject.to_string())) };
        let root = self.stamp(collection).await?.root.clone();
        if let Some(below) = self.shelf.below(&root, path)
            && let Some(embed) = self.read(collection, async |reader| reader.embedding(&below)).await?
        {
            return Ok(Part::Known(embed));
        }
        let picture = path.strip_prefix("./").unwrap_or(path);
        let bytes = self.shelf.read(&root, picture).map_err(|error| input(format!("{picture}: {error}")))?;
        Ok(Part::Picture { name: picture.to_owned(), bytes })
    }

    /// How a collection was made.
    pub(super) async fn stamp(&mut self, collection: &str) -> Result<&Stamp, Failure> {
        Ok(self.reader(collection).await?.stamp())
    }

    /// Lets go of an update that is under way: nobody wants it now. What was done stays.
    pub(super) fn stop(&mut self) {
        self.update = None;
    }

    /// Encoded small pictures.
    pub(super) async fn thumbnails(&mut self, collection: &str, paths: &[String]) -> Result<Vec<Vec<u8>>, Failure> {
        self.read(collection, async |reader| reader.thumbnails(paths)).await
    }

    /// A picture from the folder of a collection.
    pub(super) async fn look(&mut self, collection: &str, path: &str) -> Result<DecodedImage, Failure> {
        let root = self.stamp(collection).await?.root.clone();
        let folder = self.shelf.folder(&root).map_err(|error| input(format!("{path}: {error}")))?;
        let bytes = folder.read(path).map_err(|error| input(format!("{path}: {error}")))?;
        decode(&bytes, &Limits::current()).map_err(|error| input(format!("{path}: {error}")))
    }

    pub(super) async fn delete(&mut self, name: &str) -> Result<(), Failure> {
        if self.update.as_ref().is_some_and(|underway| underway.stamp.index_name() == name) {
            self.update = None;
        }
        #[cfg(not(target_family = "wasm"))]
        self.arrangement.take_if(|(collection, _)| collection == name);
        self.readers.remove(name);
        self.shelf.delete(name).await.map_err(input)
    }

    async fn describe(&mut self, name: &str) -> Result<Collection, IndexError> {
        let reader = self.read_index(name).await?;
        let (stamp, pictures, bytes) = (reader.stamp(), reader.count()?, reader.bytes()?);
        Ok(Collection { name: name.to_owned(), root: stamp.root.clone(), model: stamp.model.clone(), pictures, bytes, damage: None })
    }
}

/// Tells how far of how far something is that can only take a break; why goes to `stopped`.
fn step(report: &mut Report<'_>, stage: Stage, [done, total]: [usize; 2], stopped: &mut Option<Failure>) -> ControlFlow<()> {
    match report.step(stage, done as u64, total as u64) {
        Ok(()) => ControlFlow::Continue(()),
        Err(failure) => {
            *stopped = Some(failure);
            ControlFlow::Break(())
        }
    }
}

fn spots(placed: Vec<Placed>) -> Vec<Spot> {
    placed.into_iter().map(|Placed { path, place, size }| Spot { path, place, size }).collect()
}

fn failed(error: UpdateError) -> Failure {
    match error {
        UpdateError::Encoder { .. } => Failure::new(FailureKind::Model, error),
        UpdateError::Index(_) | UpdateError::Empty { .. } | UpdateError::Other { .. } | UpdateError::Threads(_) => input(error),
    }
}
