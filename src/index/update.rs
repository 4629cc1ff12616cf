//! [`Update`]: brings an index up to date with its folder.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;

use super::left_out::LeftOut;
use super::store::{Census, Folder};
use super::{Entry, FileState, IndexError, Unreadable, Writer};
use crate::config::VisionConfig;
use crate::encoder::{Encoder, EncoderError, ImageOutputs};
use crate::image::{PatchBatch, Patches, Resampling, decode, preprocess, preview};
use crate::limits::Limits;
use crate::platform::{ReadAhead, Stopwatch, yield_now};
use crate::tasks::Batcher;

/// Longer side of a thumbnail: sharp in a row of pictures on a screen of two pixels a point.
const THUMBNAIL_SIDE: u32 = 320;
const THUMBNAIL_QUALITY: u8 = 80;
/// Patches encoded at once, at most: enough to fill a device.
const TOKENS_PER_BATCH: usize = 4_096;
/// As many of a batch does a picture take that has nothing to be encoded.
const TOKENS_OF_KNOWN: usize = 64;

/// The way from what an index knows of a folder to what is there now. It can be left at any time, and gone on with.
pub struct Update {
    writer: Writer,
    folder: Arc<dyn Folder>,
    how: How,
    /// Embeddings that need not be computed, by paths below the folder.
    given: Arc<HashMap<String, Vec<f32>>>,
    /// What has to be looked at, in the order of the paths.
    todo: Arc<Vec<Todo>>,
    /// The first of them that is not in the index.
    next: usize,
    /// Patches a second, once some were encoded.
    pace: Option<f64>,
    summary: Summary,
}

/// How pictures become entries.
#[derive(Clone, Copy)]
struct How {
    vision: VisionConfig,
    max_num_patches: Option<usize>,
    resampling: Resampling,
}

struct Todo {
    below: String,
    state: FileState,
}

/// What an update has come to so far.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Pictures that were new or have changed, and are in the index now.
    pub added: usize,
    /// Of these, pictures whose embeddings were given.
    pub given: usize,
    /// Files that are as they were.
    pub unchanged: usize,
    /// Files that are in the index no longer, since they are gone.
    pub gone: usize,
    /// Files that seemed to be pictures, were looked at and could not be read.
    pub unreadable: usize,
    /// Files that could not be read before either and have not changed since.
    pub still_unreadable: Vec<Unreadable>,
    /// Where the time went.
    pub times: Times,
}

impl Summary {
    /// Files that seem to be pictures and are not in the index.
    pub fn lost(&self) -> usize {
        self.unreadable + self.still_unreadable.len()
    }
}

/// Seconds of an update.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// In all, from the first picture.
    pub total: f64,
    /// Of that, waiting for pictures to be read and prepared.
    pub waiting: f64,
    /// Of that, in the encoder.
    pub encoding: f64,
    /// Of that, writing.
    pub writing: f64,
    /// On other threads meanwhile: reading and decoding.
    pub decoding: f64,
    /// On other threads meanwhile: resizing, to patches and to thumbnails.
    pub resizing: f64,
}

/// What an update says while it runs.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// This many of those that have to be looked at are done.
    Progress {
        /// Done.
        done: usize,
        /// In all.
        total: usize,
    },
    /// A picture was taken, but the decoder had to work around something.
    Warning {
        /// Path below the folder.
        path: &'a str,
        /// What.
        warning: &'a str,
    },
    /// A file could not be read.
    Unreadable {
        /// Path below the folder.
        path: &'a str,
        /// Why.
        reason: &'a str,
    },
}

/// Why an update stopped.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The encoder failed.
    #[error("{first} and those after it: {reason}")]
    Encoder {
        /// The first picture of the batch.
        first: String,
        /// Why.
        reason: EncoderError,
    },
    /// Everything would be taken out.
    #[error("{root} holds no pictures, and its index has {pictures}; is its drive connected? If they are gone for good, delete the index")]
    Empty {
        /// The folder.
        root: String,
        /// Pictures in the index.
        pictures: usize,
    },
    /// It seems to be another folder.
    #[error(
        "none of the {pictures} pictures in the index of {root} is in the folder that was chosen: is it another one of that name? If not, delete the index"
    )]
    Other {
        /// The folder's name.
        root: String,
        /// Pictures in the index.
        pictures: usize,
    },
    /// The system has no threads to read on.
    #[error("cannot read pictures: {0}")]
    Threads(std::io::Error),
}

/// A picture on its way into the index.
struct Prepared {
    /// Its place among those that have to be looked at.
    index: usize,
    content: Content,
    size: [u32; 2],
    thumbnail: Vec<u8>,
    warnings: Vec<String>,
    decoding: f64,
    resizing: f64,
}

/// What becomes of a picture's pixels.
enum Content {
    /// Something to encode.
    Patches(Patches),
    /// Nothing: its embedding is known.
    Embedding(Vec<f32>),
}

impl Update {
    /// Compares what `writer` knows with what is in its folder, and takes out of it what is gone. Gives what was found besides pictures, too.
    ///
    /// # Errors
    /// The folder cannot be read, or the index cannot be written.
    pub async fn begin(mut writer: Writer, folder: Box<dyn Folder>, vision: VisionConfig) -> Result<(Self, LeftOut), UpdateError> {
        let stamp = writer.stamp();
        // A stamp of a version to come is refused when the index is opened.
        let resampling = stamp.resampling.parse().unwrap_or_default();
        let how = How { vision, max_num_patches: stamp.max_num_patches, resampling };
        let Census { pictures, left_out, unseen } = folder.census()?;
        let (known, unreadable) = (writer.known()?, writer.unreadable()?);
        if pictures.is_empty() && !known.is_empty() {
            return Err(UpdateError::Empty { root: folder.root().to_owned(), pictures: known.len() });
        }
        let is_other = folder.is_told_by_name() && !known.is_empty() && !pictures.iter().any(|(below, _)| known.contains_key(below));
        if is_other {
            return Err(UpdateError::Other { root: folder.root().to_owned(), pictures: known.len() });
        }
        let (mut todo, mut present, mut summary) = (Vec::new(), BTreeSet::new(), Summary::default());
        for (below, state) in pictures {
            present.insert(below.clone());
            if known.get(&below) == Some(&state) {
                summary.unchanged += 1;
            } else if let Some(refused) = unreadable.get(&below).filter(|refused| refused.state == state) {
                summary.still_unreadable.push(refused.clone());
            } else {
                todo.push(Todo { below, state });
            }
        }
        // What is where nobody could look may still be there.
        let is_below = |path: &str, place: &str| path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        // The whole folder has an empty path.
        let is_unseen = |path: &str| unseen.iter().any(|place| place.is_empty() || is_below(path, place));
        let gone = |path: &&String| !present.contains(*path) && !is_unseen(path);
        let gone: BTreeSet<String> = known.keys().chain(unreadable.keys()).filter(gone).cloned().collect();
        summary.gone = gone.iter().filter(|path| known.contains_key(*path)).count();
        if !gone.is_empty() {
            writer.remove(gone).await?;
        }
        let (folder, given, todo) = (folder.into(), Arc::default(), Arc::new(todo));
        Ok((Self { writer, folder, how, given, todo, next: 0, pace: None, summary }, left_out))
    }

    /// Pictures that have to be looked at.
    pub fn total(&self) -> usize {
        self.todo.len()
    }

    /// Takes embeddings that somebody has computed: `[dim]` of unit length, by paths below the folder. Pictures that have one are not encoded; gives how
    /// many these are.
    pub fn give(&mut self, embeds: HashMap<String, Vec<f32>>) -> usize {
        self.given = Arc::new(embeds);
        self.todo.iter().filter(|todo| self.given.contains_key(&todo.below)).count()
    }

    /// What has been done so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Goes on until everything is done, or `say` wants a break; gives whether it is the former. What was encoded stays: whoever calls again goes on
    /// there. A batch takes about `turn` seconds, if that is given.
    ///
    /// # Errors
    /// The encoder or the disk refuses; what was done before is in the index.
    pub async fn run(
        &mut self,
        encoder: &mut Encoder,
        turn: Option<f64>,
        say: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<bool, UpdateError> {
        let (todo, folder, given) = (Arc::clone(&self.todo), Arc::clone(&self.folder), Arc::clone(&self.given));
        let (how, start) = (self.how, self.next);
        let prepare = move |index: usize| {
            let todo = todo.get(start + index)?;
            Some(how.prepare(start + index, todo, given.get(&todo.below), &*folder))
        };
        let total = self.todo.len();
        let mut ahead = ReadAhead::new(total - start, prepare).map_err(UpdateError::Threads)?;
        let (watch, before) = (Stopwatch::start(), self.summary.times.total);
        let (mut batcher, mut refused) = (Batcher::new(self.batch_tokens(turn)), Vec::new());
        let mut is_wanted = true;
        while is_wanted {
            let waited = Stopwatch::start();
            let prepared = ahead.next().flatten();
            self.summary.times.waiting += waited.elapsed_secs();
            let Some(prepared) = prepared else { break };
            match prepared {
                Ok(prepared) => {
                    let (index, tokens) = (prepared.index, prepared.content.tokens());
                    if let Some(batch) = batcher.push(prepared, tokens) {
                        self.add(encoder, batch, std::mem::take(&mut refused), index, say).await?;
                        batcher.set_budget(self.batch_tokens(turn));
                    }
                }
                Err(unreadable) => {
                    let _ = say(Event::Unreadable { path: &unreadable.path, reason: &unreadable.reason });
                    refused.push(unreadable);
                }
            }
            self.summary.times.total = before + watch.elapsed_secs();
            // So that a page hears when it is not wanted any more.
            yield_now().await;
            is_wanted = say(Event::Progress { done: self.next, total }).is_continue();
        }
        // What is prepared is not thrown away, so that an update gets on however short its turns are.
        let waiting = batcher.take().unwrap_or_default();
        let seen = self.next + waiting.len() + refused.len();
        self.add(encoder, waiting, refused, seen, say).await?;
        self.summary.times.total = before + watch.elapsed_secs();
        let _ = say(Event::Progress { done: self.next, total });
        if self.next < total {
            return Ok(false);
        }
        // The pictures are in the index, whatever becomes of the space.
        if let Err(error) = self.writer.tidy().await {
            tracing::warn!(%error, "the space of files that are gone could not be given back");
        }
        Ok(true)
    }
}

impl Update {
    /// Patches of the next batch.
    fn batch_tokens(&self, turn: Option<f64>) -> usize {
        match (turn, self.pace) {
            (None, _) => TOKENS_PER_BATCH,
            // One picture, to learn how fast they go.
            (Some(_), None) => 1,
            (Some(secs), Some(pace)) => ((secs * pace) as usize).min(TOKENS_PER_BATCH),
        }
    }

    /// Encodes pictures and writes them, and what could not be read among them. After that everything before `next` is done.
    async fn add(
        &mut self,
        encoder: &mut Encoder,
        batch: Vec<Prepared>,
        refused: Vec<Unreadable>,
        next: usize,
        say: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), UpdateError> {
        if !batch.is_empty() {
            self.encode(encoder, batch, say).await?;
        }
        self.refuse(&refused).await?;
        self.next = next;
        Ok(())
    }

    async fn encode(
        &mut self,
        encoder: &mut Encoder,
        batch: Vec<Prepared>,
        say: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), UpdateError> {
        let path = |prepared: &Prepared| self.todo.get(prepared.index).map(|todo| todo.below.as_str()).unwrap_or_default();
        for prepared in &batch {
            for warning in &prepared.warnings {
                let _ = say(Event::Warning { path: path(prepared), warning });
            }
        }
        let first = batch.first().map(path).unwrap_or_default().to_owned();
        let (mut patches, mut entries, mut given, mut embeds) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for Prepared { index, content, size, thumbnail, decoding, resizing, .. } in batch {
            self.summary.times.decoding += decoding;
            self.summary.times.resizing += resizing;
            let Some(todo) = self.todo.get(index) else { continue };
            let entry = Entry { path: todo.below.clone(), state: todo.state, size, thumbnail };
            match content {
                Content::Patches(own) => {
                    patches.push(own);
                    entries.push(entry);
                }
                Content::Embedding(embed) => {
                    embeds.extend(embed);
                    given.push(entry);
                }
            }
        }
        if !patches.is_empty() {
            let watch = Stopwatch::start();
            let encoded = encoder.encode_images(&PatchBatch::pack(&patches), ImageOutputs::default()).await;
            let encoded = encoded.map_err(|reason| UpdateError::Encoder { first, reason })?;
            let secs = watch.elapsed_secs();
            self.summary.times.encoding += secs;
            let tokens: usize = patches.iter().map(|patches| patches.grid.patches()).sum();
            self.pace = Some(tokens as f64 / secs.max(1e-3));
            embeds.extend(encoded.embeds);
        }
        self.summary.given += given.len();
        // In the order of the embeddings.
        given.append(&mut entries);
        let entries = given;
        let watch = Stopwatch::start();
        self.writer.add(&entries, &embeds).await?;
        self.summary.times.writing += watch.elapsed_secs();
        self.summary.added += entries.len();
        Ok(())
    }

    /// Writes down what cannot be read, so that it is not tried again until it changes.
    async fn refuse(&mut self, refused: &[Unreadable]) -> Result<(), IndexError> {
        if !refused.is_empty() {
            self.writer.refuse(refused).await?;
            self.summary.unreadable += refused.len();
        }
        Ok(())
    }
}

impl How {
    fn prepare(&self, index: usize, todo: &Todo, given: Option<&Vec<f32>>, folder: &dyn Folder) -> Result<Prepared, Unreadable> {
        let refused = |reason: String| Unreadable { path: todo.below.clone(), state: todo.state, reason };
        let watch = Stopwatch::start();
        // A file that could not be had is tried again each time: its state is none that a file has.
        let not_had = |error: std::io::Error| Unreadable { state: FileState::default(), ..refused(error.to_string()) };
        let bytes = folder.read(&todo.below).map_err(not_had)?;
        let decoded = decode(&bytes, &Limits::current()).map_err(|error| refused(error.to_string()))?;
        let decoding = watch.elapsed_secs();
        let watch = Stopwatch::start();
        let content = match given {
            Some(embed) => Content::Embedding(embed.clone()),
            None => {
                let patches = preprocess(&decoded.pixels, &self.vision, self.max_num_patches, self.resampling);
                Content::Patches(patches.map_err(|error| refused(error.to_string()))?)
            }
        };
        let size = [decoded.pixels.height(), decoded.pixels.width()];
        let thumbnail = thumbnail(&decoded.pixels).map_err(refused)?;
        Ok(Prepared { index, content, size, thumbnail, warnings: decoded.warnings, decoding, resizing: watch.elapsed_secs() })
    }
}

impl Content {
    /// Patches that it fills a batch with; what is known has none, but takes memory.
    fn tokens(&self) -> usize {
        match self {
            Self::Patches(patches) => patches.grid.patches(),
            Self::Embedding(_) => TOKENS_OF_KNOWN,
        }
    }
}

/// A small JPEG of a picture.
fn thumbnail(pixels: &RgbImage) -> Result<Vec<u8>, String> {
    let small = preview(pixels, THUMBNAIL_SIDE);
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, THUMBNAIL_QUALITY).encode_image(&*small).map_err(|error| error.to_string())?;
    Ok(jpeg)
}
