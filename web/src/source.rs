//! Where the bytes of a model's files are in a browser: in blobs, at the hub, or not here yet.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use js_sys::Uint8Array;
use polyglance::weights::{ByteSource, ReadFuture, WeightsError};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::Blob;

use crate::files::in_words;
use crate::hub::read_range;
use crate::lock::Held;
use crate::worker::{Host, stopped};

/// The files of a model, by name.
pub(crate) type Sources = Vec<(String, Arc<dyn ByteSource>)>;

/// A blob, read by slice: the module's memory never holds more of a file than what is being read.
pub(crate) struct BlobSource {
    pub(crate) name: String,
    pub(crate) blob: Blob,
    /// Keeps other tabs from changing a downloaded model as long as it is open.
    pub(crate) _lock: Option<Rc<Held>>,
}

impl BlobSource {
    async fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, JsValue> {
        // Lengths of files are exact in f64.
        let slice = self.blob.slice_with_f64_and_f64(offset as f64, offset as f64 + len as f64)?;
        Ok(Uint8Array::new(&JsFuture::from(slice.array_buffer()).await?).to_vec())
    }
}

impl ByteSource for BlobSource {
    fn len(&self) -> u64 {
        self.blob.size() as u64
    }

    fn read_at(&self, offset: u64, len: usize) -> ReadFuture<'_> {
        Box::pin(async move {
            let bytes = self.read(offset, len).await.map_err(|error| unreadable(&self.name, &in_words(&error)))?;
            // A slice that passes the end is shorter than it was asked to be.
            let is_whole = bytes.len() == len;
            let outside = || WeightsError::OutOfBounds { file: self.name.clone(), offset, wanted: len as u64, len: self.len() };
            is_whole.then_some(Cow::Owned(bytes)).ok_or_else(outside)
        })
    }
}

/// Sources one after another, as one.
pub(crate) struct Joined(pub(crate) Vec<Arc<dyn ByteSource>>);

impl ByteSource for Joined {
    fn len(&self) -> u64 {
        self.0.iter().map(|part| part.len()).sum()
    }

    fn read_at(&self, offset: u64, len: usize) -> ReadFuture<'_> {
        Box::pin(async move {
            let (mut bytes, mut start, end) = (Vec::with_capacity(len), 0, offset.saturating_add(len as u64));
            for part in &self.0 {
                let (from, to) = (offset.max(start), end.min(start + part.len()));
                if from < to {
                    bytes.extend_from_slice(&part.read_at(from - start, (to - from) as usize).await?);
                }
                start += part.len();
            }
            Ok(Cow::Owned(bytes))
        })
    }
}

/// A part of a file that comes later.
pub(crate) struct Later {
    pub(crate) name: String,
    pub(crate) len: u64,
    pub(crate) source: RefCell<Option<Arc<dyn ByteSource>>>,
}

impl ByteSource for Later {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, len: usize) -> ReadFuture<'_> {
        let source = self.source.borrow().clone();
        Box::pin(async move {
            let source = source.ok_or_else(|| unreadable(&self.name, &"this part of it is not downloaded yet"))?;
            Ok(Cow::Owned(source.read_at(offset, len).await?.into_owned()))
        })
    }
}

/// A part of a file that stays at the hub. What was read once is kept.
pub(crate) struct Remote {
    host: Host,
    name: String,
    url: String,
    range: Range<u64>,
    known: RefCell<HashMap<Range<u64>, Vec<u8>>>,
    /// Where the hub sends those who ask for the file, for a while.
    storage: RefCell<Option<String>>,
}

/// Bytes that are kept: a few thousand rows.
const KNOWN_BYTES: usize = 16 << 20;

impl Remote {
    pub(crate) fn new(host: &Host, name: &str, url: String, range: Range<u64>) -> Self {
        Self { host: host.clone(), name: name.to_owned(), url, range, known: RefCell::default(), storage: RefCell::default() }
    }

    async fn read(&self, range: Range<u64>) -> Result<Vec<u8>, WeightsError> {
        if let Some(bytes) = self.known.borrow().get(&range) {
            return Ok(bytes.clone());
        }
        let ask = || if self.host.is_cancelled() { Err(stopped()) } else { Ok(()) };
        let storage = self.storage.borrow().clone();
        let mut read = read_range(storage.as_ref().unwrap_or(&self.url), &self.name, range.clone(), &mut &ask).await;
        if read.is_err() && storage.is_some() {
            self.storage.take();
            read = read_range(&self.url, &self.name, range.clone(), &mut &ask).await;
        }
        let (bytes, url) = read.map_err(|failure| unreadable(&self.name, &failure))?;
        self.storage.replace(Some(url));
        let mut known = self.known.borrow_mut();
        if known.values().map(Vec::len).sum::<usize>() > KNOWN_BYTES {
            known.clear();
        }
        known.insert(range, bytes.clone());
        Ok(bytes)
    }
}

impl ByteSource for Remote {
    fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn read_at(&self, offset: u64, len: usize) -> ReadFuture<'_> {
        let start = self.range.start + offset;
        Box::pin(async move { self.read(start..start + len as u64).await.map(Cow::Owned) })
    }
}

fn unreadable(file: &str, reason: &impl ToString) -> WeightsError {
    WeightsError::Io { action: "read", file: file.into(), source: std::io::Error::other(reason.to_string()) }
}
