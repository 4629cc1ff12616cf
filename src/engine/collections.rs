//! Folders of pictures that were indexed, for the service: brought up to date, searched, looked at.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::protocol::{Collection, Failure, FailureKind, Hit, Hits, Indexed, Search, Stage};
use super::service::{Report, input};
use crate::encoder::Encoder;
use crate::image::{DecodedImage, Resampling, decode};
use crate::index::{Event, Found, IndexError, LeftOut, Results, Shelf, Stamp, Subject, Update, UpdateError, below, read_picture};
use crate::limits::Limits;
use crate::platform::Stopwatch;

/// All of them.
pub(super) struct Collections {
    shelf: Shelf,
    /// An update that has given way, or was stopped: it goes on where it was.
    update: Option<Underway>,
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
    /// A picture that is not in the index.
    Picture(PathBuf),
}

/// Seconds that a batch takes while an app may want something else.
const TURN_SECS: f64 = 0.25;

impl Collections {
    /// Those in a folder of this machine.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { shelf: Shelf::new(folder), update: None }
    }

    /// All of them, by their folders.
    pub(super) fn list(&mut self) -> Vec<Collection> {
        // Other processes may have replaced some.
        self.shelf.close();
        let mut all = Vec::new();
        for name in self.shelf.names() {
            // A page that is torn in the right place makes the database panic: that shall not take the others along.
            let described = catch_unwind(AssertUnwindSafe(|| self.describe(&name).map_err(|error| error.to_string())));
            all.push(described.unwrap_or_else(|_| Err("it is damaged".to_owned())).unwrap_or_else(|damage| Collection {
                name,
                root: String::new(),
                model: String::new(),
                pictures: 0,
                bytes: 0,
                damage: Some(damage),
            }));
        }
        all.sort_by(|a, b| (&a.root, &a.model).cmp(&(&b.root, &b.model)));
        all
    }

    /// Brings the index of a folder up to date, or makes one.
    pub(super) async fn update(
        &mut self,
        root: &str,
        model: &str,
        encoder: &mut Encoder,
        report: &mut Report<'_>,
    ) -> Result<Indexed, Failure> {
        let stamp = Stamp::new(Path::new(root), model, encoder, None, Resampling::default()).map_err(input)?;
        let mut underway = match self.update.take().filter(|underway| underway.stamp == stamp) {
            Some(underway) => underway,
            None => self.begin(stamp, encoder)?,
        };
        let mut stopped = None;
        let mut say = |event: Event<'_>| {
            // What was wrong with files is told at the end.
            let Event::Progress { done, total } = event else { return ControlFlow::Continue(()) };
            match report.step(Stage::Pictures, done as u64, total as u64) {
                Ok(()) => ControlFlow::Continue(()),
                Err(failure) => {
                    stopped = Some(failure);
                    ControlFlow::Break(())
                }
            }
        };
        if !underway.update.run(encoder, Some(TURN_SECS), &mut say).await.map_err(failed)? {
            self.update = Some(underway);
            return Err(stopped.unwrap_or_else(|| Failure::new(FailureKind::Cancelled, "stopped")));
        }
        let Underway { stamp, update, left_out, rebuilt } = underway;
        let (added, gone) = (update.summary().added, update.summary().gone);
        // It writes no more, so that others may.
        drop(update);
        self.shelf.close();
        let name = Shelf::name(&stamp);
        let unreadable = self.shelf.reader(&name).and_then(|reader| reader.unreadable()).map_err(input)?;
        let unreadable = unreadable.into_values().map(|file| (file.path, file.reason)).collect();
        let collection = self.describe(&name).map_err(input)?;
        Ok(Indexed { collection, added, gone, unreadable, left_out: left_out.to_string(), rebuilt })
    }

    fn begin(&mut self, stamp: Stamp, encoder: &Encoder) -> Result<Underway, Failure> {
        let (writer, rebuilt) = self.shelf.writer(&stamp).map_err(input)?;
        let (update, left_out) = Update::begin(writer, encoder.config().vision).map_err(failed)?;
        Ok(Underway { stamp, update, left_out, rebuilt: rebuilt.map(|damage| damage.to_string()) })
    }

    /// The pictures that are nearest to a direction, or all in order without one.
    pub(super) fn search(&mut self, request: &Search, direction: Option<&[f32]>) -> Result<Hits, Failure> {
        let watch = Stopwatch::start();
        let reader = self.shelf.reader(&request.collection).map_err(input)?;
        let results = match direction {
            Some(direction) => reader.search(direction, request.count).map(|results| match request.within {
                Some(share) => results.within(share),
                None => results,
            }),
            None => reader.first(request.count),
        };
        let Results { found, compared, .. } = results.map_err(input)?;
        let score = |score| direction.map(|_| score);
        let hits = found.into_iter().map(|found| Hit { path: found.path, score: score(found.score), size: found.size }).collect();
        Ok(Hits { hits, compared, search_millis: 1e3 * watch.elapsed_secs(), ..Hits::default() })
    }

    /// Pictures that are nearly the same, group by group.
    pub(super) fn alike(&mut self, collection: &str, least: f32, report: &mut Report<'_>) -> Result<Hits, Failure> {
        let watch = Stopwatch::start();
        let reader = self.shelf.reader(collection).map_err(input)?;
        let mut stopped = None;
        let groups = reader.alike(least, &mut |done, total| match report.step(Stage::Comparison, done as u64, total as u64) {
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => {
                stopped = Some(failure);
                ControlFlow::Break(())
            }
        });
        if let Some(failure) = stopped {
            return Err(failure);
        }
        let groups = groups.map_err(input)?.unwrap_or_default();
        let lengths = groups.iter().map(Vec::len).collect();
        let hit = |found: Found| Hit { path: found.path, score: Some(found.score), size: found.size };
        let compared = reader.count().map_err(input)? as usize;
        let hits = groups.into_iter().flatten().map(hit).collect();
        Ok(Hits { hits, compared, query_millis: 0.0, search_millis: 1e3 * watch.elapsed_secs(), groups: lengths })
    }

    /// What is known of a part of a query. Paths of pictures may be relative to the collection's folder.
    pub(super) fn part(&mut self, collection: &str, subject: &Subject) -> Result<Part, Failure> {
        let reader = self.shelf.reader(collection).map_err(input)?;
        let Subject::Picture(path) = subject else { return Ok(Part::Text(subject.to_string())) };
        let root = Path::new(&reader.stamp().root);
        let path = root.join(path.strip_prefix("./").unwrap_or(path));
        let below = below(root, &path);
        let known = below.map(|below| reader.embedding(&below)).transpose().map_err(input)?.flatten();
        Ok(known.map_or(Part::Picture(path), Part::Known))
    }

    /// How a collection was made.
    pub(super) fn stamp(&mut self, collection: &str) -> Result<&Stamp, Failure> {
        Ok(self.shelf.reader(collection).map_err(input)?.stamp())
    }

    /// Lets go of an update that is under way: nobody wants it now. What was done stays.
    pub(super) fn stop(&mut self) {
        self.update = None;
    }

    /// Encoded small pictures.
    pub(super) fn thumbnails(&mut self, collection: &str, paths: &[String]) -> Result<Vec<Vec<u8>>, Failure> {
        self.shelf.reader(collection).and_then(|reader| reader.thumbnails(paths)).map_err(input)
    }

    /// A picture from the folder of a collection.
    pub(super) fn read(&mut self, collection: &str, path: &str) -> Result<DecodedImage, Failure> {
        let reader = self.shelf.reader(collection).map_err(input)?;
        read(&reader.locate(path).ok_or_else(|| input(format!("{path} is not below the folder")))?)
    }

    pub(super) fn delete(&mut self, name: &str) -> Result<(), Failure> {
        if self.update.as_ref().is_some_and(|underway| Shelf::name(&underway.stamp) == name) {
            self.update = None;
        }
        self.shelf.delete(name).map_err(input)
    }

    fn describe(&mut self, name: &str) -> Result<Collection, IndexError> {
        let reader = self.shelf.reader(name)?;
        let (stamp, pictures, bytes) = (reader.stamp(), reader.count()?, reader.bytes()?);
        Ok(Collection { name: name.to_owned(), root: stamp.root.clone(), model: stamp.model.clone(), pictures, bytes, damage: None })
    }
}

/// A picture of this machine.
pub(super) fn read(path: &Path) -> Result<DecodedImage, Failure> {
    let refused = |error: &dyn std::fmt::Display| input(format!("{}: {error}", path.display()));
    let bytes = read_picture(path).map_err(|error| refused(&error))?;
    decode(&bytes, &Limits::current()).map_err(|error| refused(&error))
}

fn failed(error: UpdateError) -> Failure {
    match error {
        UpdateError::Encoder { .. } => Failure::new(FailureKind::Model, error),
        UpdateError::Index(_) | UpdateError::Empty { .. } | UpdateError::Threads(_) => input(error),
    }
}
