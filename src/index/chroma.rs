//! [`Collection`]: a copy of an index in [Chroma](https://docs.trychroma.com), a vector database that runs on one machine or on many.
//!
//! The index stays what counts: its copy can be made again, and an interrupted one is completed by copying once more.

use std::collections::HashMap;
use std::env;
use std::ops::ControlFlow;
use std::time::Duration;

use chroma::client::{ChromaHttpClientError, ChromaHttpClientOptions};
use chroma::types::{GetResponse, Include, IncludeList, Metadata, MetadataValue, Schema, Space, UpdateMetadataValue, VectorIndexConfig};
use chroma::{ChromaCollection, ChromaHttpClient};
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;

use super::reader::{Found, Results, median};
use super::store::Picture;
use super::{IndexError, Reader, Stamp};

/// A collection that holds what an index holds.
pub struct Collection {
    server: Server,
    collection: ChromaCollection,
    stamp: Stamp,
    /// Compared with each query: `[rows, dim]`.
    sample: Vec<f32>,
}

/// What copying did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Pictures that were written.
    pub written: usize,
    /// Pictures that were there already.
    pub unchanged: usize,
    /// Pictures that are not in the index any more.
    pub gone: usize,
}

/// Why a collection cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CollectionError {
    /// The address cannot be read.
    #[error("{address} is no address of a collection ({reason}); write it as http://HOST:8000/NAME")]
    Address {
        /// As it was given.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// Nobody answers.
    #[error("no answer from {address}: {reason}; is `chroma run` up there? What was written stays, and copying again goes on there")]
    Unreachable {
        /// As it was given.
        address: String,
        /// What the network says.
        reason: String,
    },
    /// There is none.
    #[error("{address}: there is no such collection; `polyglance index … --to {address}` makes it")]
    Missing {
        /// As it was given.
        address: String,
    },
    /// It is not ours.
    #[error("{address} was not made from an index; name another collection")]
    Foreign {
        /// As it was given.
        address: String,
    },
    /// It is the copy of another index.
    #[error("{address} is the copy of an index that was made {was}, not {is}; name another collection")]
    OtherStamp {
        /// As it was given.
        address: String,
        /// How that index was made.
        was: String,
        /// How this one is made.
        is: String,
    },
    /// The server refused something.
    #[error("{address}: {reason}")]
    Refused {
        /// As it was given.
        address: String,
        /// The server's reason.
        reason: String,
    },
    /// It holds other things than were written.
    #[error("{address} holds {found} pictures and the index {expected}: does somebody else write it? Copy again")]
    Changed {
        /// As it was given.
        address: String,
        /// Pictures in the collection.
        found: u64,
        /// Pictures in the index.
        expected: u64,
    },
    /// The index cannot be read.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Name of a collection whose address has none.
const DEFAULT_NAME: &str = "polyglance";
/// Where a collection's metadata has the stamp, as JSON.
const STAMP: &str = "polyglance";
/// Records of a request. Chroma's cloud takes no more than 300.
const PAGE: usize = 256;
/// Pages of records that tell what is ordinary.
const SAMPLE_PAGES: u32 = 4;
/// After which a server that accepted a request will not answer it.
const PATIENCE: Duration = Duration::from_secs(120);
/// Seconds in which a server that went away may come back while an index is copied, and how often it may for one request.
const SECS_AWAY: u32 = 60;
const TIMES_AWAY: u32 = 5;

/// The keys of a record's metadata.
mod key {
    pub(super) const PATH: &str = "path";
    pub(super) const HEIGHT: &str = "height";
    pub(super) const WIDTH: &str = "width";
    pub(super) const BYTES: &str = "bytes";
    pub(super) const MODIFIED: &str = "modified_ns";
}

impl Collection {
    /// Opens a collection to search it: `http://HOST:PORT/NAME`. The environment has what the server wants besides, as Chroma's own programs read it:
    /// `CHROMA_TENANT`, `CHROMA_DATABASE`, and `CHROMA_API_KEY` for its cloud.
    ///
    /// # Errors
    /// There is none, nobody answers, or it is not ours.
    pub fn open(address: &str) -> Result<Self, CollectionError> {
        let (server, name) = Server::connect(address)?;
        let collection = server.ask(async |client| client.get_collection(&name).await)?;
        let stamp = stamp_of(address, &collection)?;
        let mut opened = Self { server, collection, stamp, sample: Vec::new() };
        opened.sample = opened.sample()?;
        Ok(opened)
    }

    /// Opens a collection to copy the index with this stamp into it, or makes it.
    ///
    /// # Errors
    /// Nobody answers, or it holds something else.
    pub fn make(address: &str, stamp: &Stamp) -> Result<Self, CollectionError> {
        let (mut server, name) = Server::connect(address)?;
        let refused = |reason: String| CollectionError::Refused { address: address.to_owned(), reason };
        let json = serde_json::to_string(stamp).map_err(|error| refused(error.to_string()))?;
        // Embeddings have unit length, so that the inner product is the score.
        let space = Some(Space::Ip);
        let vectors = VectorIndexConfig { space, embedding_function: None, source_key: None, hnsw: None, spann: None };
        let schema = Schema::default().create_index(None, vectors.into()).map_err(|error| refused(error.to_string()))?;
        let collection = server.ask(async |client| {
            let metadata = Metadata::from([(STAMP.to_owned(), MetadataValue::Str(json.clone()))]);
            client.get_or_create_collection(&name, Some(schema.clone()), Some(metadata)).await
        });
        let collection = collection.map_err(|error| match error {
            CollectionError::Missing { .. } => refused("what answers there is no Chroma server".to_owned()),
            error => error,
        })?;
        let was = stamp_of(address, &collection)?;
        if was != *stamp {
            return Err(CollectionError::OtherStamp { address: address.to_owned(), was: was.to_string(), is: stamp.to_string() });
        }
        server.secs_away = SECS_AWAY;
        Ok(Self { server, collection, stamp: was, sample: Vec::new() })
    }

    /// As it was given.
    pub fn address(&self) -> &str {
        &self.server.address
    }

    /// How the index was made.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Pictures in it.
    ///
    /// # Errors
    /// As for all of these: nobody answers, or the server refuses.
    pub fn count(&self) -> Result<u64, CollectionError> {
        Ok(self.ask(async |collection| collection.count().await)?.into())
    }

    /// The embedding of a picture, `[dim]`, by its path below the folder.
    ///
    /// # Errors
    /// See [`count`](Self::count).
    pub fn embedding(&self, picture: &str) -> Result<Option<Vec<f32>>, CollectionError> {
        let include = IncludeList(vec![Include::Embedding]);
        let found = self.ask(async |collection| collection.get(Some(vec![id(picture)]), None, None, None, Some(include.clone())).await)?;
        Ok(found.embeddings.and_then(|embeds| embeds.into_iter().next()))
    }

    /// About the `count` pictures that are nearest to a query of unit length, `[dim]`, the best first. The server's search is approximate; what is an
    /// ordinary score is that of some records, taken when the collection was opened.
    ///
    /// # Errors
    /// See [`count`](Self::count).
    pub fn search(&self, query: &[f32], count: usize) -> Result<Results, CollectionError> {
        let compared = self.count()?;
        let wanted = u32::try_from(compared.min(count as u64)).unwrap_or(u32::MAX).max(1);
        let include = IncludeList(vec![Include::Metadata, Include::Distance]);
        let answer =
            self.ask(async |collection| collection.query(vec![query.to_vec()], Some(wanted), None, None, Some(include.clone())).await)?;
        let (metadatas, distances) = (first(answer.metadatas), first(answer.distances));
        let mut found: Vec<Found> =
            metadatas.iter().zip(distances).filter_map(|(metadata, distance)| as_found(metadata, distance)).collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        let scores = self.sample.chunks_exact(query.len().max(1)).map(|row| row.iter().zip(query).map(|(a, b)| a * b).sum());
        Ok(Results { found, compared: compared as usize, ordinary: median(scores.collect()) })
    }

    /// Makes the collection hold what the index holds: writes what is new or changed, and deletes what is gone. `say` hears of how many of how many
    /// pictures have been looked at, and may want a break, after which nothing is given; copying again goes on there.
    ///
    /// # Errors
    /// The index cannot be read, nobody answers, or the server refuses.
    pub fn copy(&self, reader: &Reader, say: &mut dyn FnMut(usize, usize) -> ControlFlow<()>) -> Result<Option<Copied>, CollectionError> {
        let total = reader.count()? as usize;
        let mut there = self.states()?;
        let (mut copied, mut batch, mut done, mut failed, mut is_wanted) = (Copied::default(), Batch::default(), 0, None, true);
        reader.for_each(|path, picture, vector| {
            let id = id(path);
            if there.remove(&id) == Some(State::of(picture)) {
                copied.unchanged += 1;
            } else {
                batch.push(id, path, picture, vector.iter().map(|value| value.to_f32()).collect());
                copied.written += 1;
            }
            done += 1;
            if batch.ids.len() == PAGE {
                failed = self.write(std::mem::take(&mut batch)).err();
            }
            is_wanted = say(done, total).is_continue();
            if is_wanted && failed.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        if !batch.ids.is_empty() {
            self.write(batch)?;
        }
        if !is_wanted {
            return Ok(None);
        }
        copied.gone = there.len();
        let gone: Vec<String> = there.into_keys().collect();
        for ids in gone.chunks(PAGE) {
            self.ask(async |collection| collection.delete(Some(ids.to_vec()), None, None).await)?;
        }
        let found = self.count()?;
        if found != total as u64 {
            return Err(CollectionError::Changed { address: self.server.address.clone(), found, expected: total as u64 });
        }
        Ok(Some(copied))
    }

    /// What the collection knows of the files, by the ids of its records.
    fn states(&self) -> Result<HashMap<String, State>, CollectionError> {
        let mut states = HashMap::new();
        loop {
            let page = self.page(states.len() as u32, Include::Metadata)?;
            let (before, metadatas) = (states.len(), page.metadatas.unwrap_or_default());
            states.extend(page.ids.into_iter().zip(metadatas).map(|(id, metadata)| (id, State::read(&metadata.unwrap_or_default()))));
            if states.len() == before {
                return Ok(states);
            }
        }
    }

    /// Embeddings that are spread over the collection, `[rows, dim]`.
    fn sample(&self) -> Result<Vec<f32>, CollectionError> {
        let step = (self.count()? as u32 / SAMPLE_PAGES).max(PAGE as u32);
        let pages = (0..SAMPLE_PAGES).map(|page| self.page(page * step, Include::Embedding));
        let embeds = pages.map(|page| Ok(page?.embeddings.unwrap_or_default().concat())).collect::<Result<Vec<_>, CollectionError>>()?;
        Ok(embeds.concat())
    }

    fn page(&self, start: u32, include: Include) -> Result<GetResponse, CollectionError> {
        let include = IncludeList(vec![include]);
        self.ask(async |collection| collection.get(None, None, Some(PAGE as u32), Some(start), Some(include.clone())).await)
    }

    fn write(&self, batch: Batch) -> Result<(), CollectionError> {
        let Batch { ids, embeds, metadatas } = batch;
        self.ask(async |collection| collection.upsert(ids.clone(), embeds.clone(), None, None, Some(metadatas.clone())).await.map(|_| ()))
    }

    fn ask<T>(&self, mut request: impl AsyncFnMut(&ChromaCollection) -> Result<T, ChromaHttpClientError>) -> Result<T, CollectionError> {
        self.server.ask(async |_| request(&self.collection).await)
    }
}

/// A server, and how patient we are with it.
struct Server {
    address: String,
    client: ChromaHttpClient,
    runtime: Runtime,
    /// Seconds in which it may come back when it went away.
    secs_away: u32,
}

impl Server {
    /// Reads an address. Gives the name of the collection, too.
    fn connect(address: &str) -> Result<(Self, String), CollectionError> {
        let wrong = |reason: String| CollectionError::Address { address: address.to_owned(), reason };
        let is_cloud = env::var_os("CHROMA_API_KEY").is_some();
        let options = if is_cloud { ChromaHttpClientOptions::from_cloud_env() } else { ChromaHttpClientOptions::from_env() };
        let mut options = options.map_err(|error| wrong(error.to_string()))?;
        options.endpoint = address.parse().map_err(|error| wrong(format!("{error}")))?;
        let path = options.endpoint.path().trim_matches('/');
        let name = if path.is_empty() { DEFAULT_NAME.to_owned() } else { path.to_owned() };
        if name.contains('/') {
            return Err(wrong("it has more than one name after the host".to_owned()));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| wrong(format!("the system has nothing to wait with: {error}")))?;
        Ok((Self { address: address.to_owned(), client: ChromaHttpClient::new(options), runtime, secs_away: 0 }, name))
    }

    /// Makes a request, and once more each time that the server went away and has come back: every request of ours can be made twice. (The client
    /// itself repeats only what reads.)
    fn ask<T>(&self, mut request: impl AsyncFnMut(&ChromaHttpClient) -> Result<T, ChromaHttpClientError>) -> Result<T, CollectionError> {
        let address = || self.address.clone();
        let mut times = 0..TIMES_AWAY;
        self.runtime.block_on(async {
            loop {
                let answer = tokio::time::timeout(PATIENCE, request(&self.client)).await;
                let reason = match answer {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(ChromaHttpClientError::RequestError(error))) => causes(&error),
                    Ok(Err(ChromaHttpClientError::ApiError(_, status))) if status.as_u16() == 404 => {
                        return Err(CollectionError::Missing { address: address() });
                    }
                    Ok(Err(error)) => return Err(CollectionError::Refused { address: address(), reason: causes(&error) }),
                    Err(_) => format!("nothing for {} s", PATIENCE.as_secs()),
                };
                tracing::warn!(address = self.address, reason, "the server went away");
                if times.next().is_none() || !self.is_back().await {
                    return Err(CollectionError::Unreachable { address: address(), reason });
                }
            }
        })
    }

    /// Waits for it.
    async fn is_back(&self) -> bool {
        for _ in 0..self.secs_away {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let heartbeat = tokio::time::timeout(PATIENCE, self.client.heartbeat()).await;
            if heartbeat.is_ok_and(|answer| answer.is_ok()) {
                return true;
            }
        }
        false
    }
}

/// An error in words: those of HTTP say only in their sources what happened.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

fn stamp_of(address: &str, collection: &ChromaCollection) -> Result<Stamp, CollectionError> {
    let stamp = collection.metadata().as_ref().and_then(|metadata| text(metadata, STAMP)).and_then(|json| serde_json::from_str(json).ok());
    stamp.ok_or_else(|| CollectionError::Foreign { address: address.to_owned() })
}

/// A record's id: paths may be longer than Chroma's cloud allows ids to be.
fn id(path: &str) -> String {
    Sha256::digest(path).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// By what a change of a file is noticed: its length, and the nanoseconds of its last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    bytes: Option<i64>,
    modified: Option<i64>,
}

impl State {
    fn of(picture: &Picture) -> Self {
        let state = picture.state;
        // Enough until the year 2262.
        let modified = state.secs.wrapping_mul(1_000_000_000).wrapping_add(state.nanos.into());
        Self { bytes: Some(state.bytes as i64), modified: Some(modified) }
    }

    fn read(metadata: &Metadata) -> Self {
        Self { bytes: number(metadata, key::BYTES), modified: number(metadata, key::MODIFIED) }
    }
}

/// Records to write.
#[derive(Default)]
struct Batch {
    ids: Vec<String>,
    embeds: Vec<Vec<f32>>,
    metadatas: Vec<Option<HashMap<String, UpdateMetadataValue>>>,
}

impl Batch {
    fn push(&mut self, id: String, path: &str, picture: &Picture, embed: Vec<f32>) {
        let ([height, width], state) = (picture.size.map(i64::from), State::of(picture));
        let numbers = [(key::HEIGHT, Some(height)), (key::WIDTH, Some(width)), (key::BYTES, state.bytes), (key::MODIFIED, state.modified)];
        let numbers = numbers.into_iter().filter_map(|(key, value)| Some((key, UpdateMetadataValue::Int(value?))));
        let all = numbers.chain([(key::PATH, UpdateMetadataValue::Str(path.to_owned()))]);
        self.ids.push(id);
        self.embeds.push(embed);
        self.metadatas.push(Some(all.map(|(key, value)| (key.to_owned(), value)).collect()));
    }
}

fn as_found(metadata: &Option<Metadata>, distance: Option<f32>) -> Option<Found> {
    let metadata = metadata.as_ref()?;
    let pixels = |key| number(metadata, key).and_then(|pixels| u32::try_from(pixels).ok()).unwrap_or_default();
    let size = [pixels(key::HEIGHT), pixels(key::WIDTH)];
    // Chroma's inner-product distance is one less the product.
    Some(Found { path: text(metadata, key::PATH)?.to_owned(), score: 1.0 - distance?, size })
}

/// Of answers to several queries that to the only one.
fn first<T>(answers: Option<Vec<Vec<T>>>) -> Vec<T> {
    answers.and_then(|answers| answers.into_iter().next()).unwrap_or_default()
}

fn number(metadata: &Metadata, key: &str) -> Option<i64> {
    match metadata.get(key)? {
        MetadataValue::Int(value) => Some(*value),
        _ => None,
    }
}

fn text<'a>(metadata: &'a Metadata, key: &str) -> Option<&'a str> {
    match metadata.get(key)? {
        MetadataValue::Str(text) => Some(text),
        _ => None,
    }
}
