//! Models in a browser: files that somebody chose or dropped, those that were downloaded from the hub, and the demo model's, which lie beside
//! `worker.js`. All are blobs, read by slice: the module's memory never holds more of a file than the tensor that is being read.

use std::borrow::Cow;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use js_sys::Uint8Array;
use polyglance::engine::{Failure, FailureKind, Loader, ModelSource, Report, Stage, Stored};
use polyglance::limits;
use polyglance::weights::hub::HubId;
use polyglance::weights::{ByteSource, Checkpoint, ReadFuture, WeightsError};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, File, RequestInit, RequestMode, Response, Url, WorkerGlobalScope};

use crate::hub::{self, Lock};
use crate::worker::Host;

/// Where the demo model is, seen from `worker.js`, and its files.
const DEMO: (&str, [&str; 4]) = ("demo/", ["config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors"]);
const CONFIG: &str = "config.json";

/// A blob as a source of bytes.
pub(crate) struct BlobSource {
    pub(crate) name: String,
    pub(crate) blob: Blob,
    /// Keeps other tabs from changing a downloaded model as long as it is open.
    pub(crate) _lock: Option<Rc<Lock>>,
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
            let bytes = self.read(offset, len).await.map_err(|error| WeightsError::Io {
                action: "read",
                file: self.name.clone().into(),
                source: std::io::Error::other(in_words(&error)),
            })?;
            // A slice that passes the end is shorter than it was asked to be.
            let is_whole = bytes.len() == len;
            let outside = || WeightsError::OutOfBounds { file: self.name.clone(), offset, wanted: len as u64, len: self.len() };
            is_whole.then_some(Cow::Owned(bytes)).ok_or_else(outside)
        })
    }
}

/// Opens models in a worker.
pub(crate) struct Files {
    pub(crate) host: Host,
}

impl Loader for Files {
    async fn open(&mut self, source: &ModelSource, report: &mut Report<'_>) -> Result<Checkpoint, Failure> {
        let files = match source {
            ModelSource::Demo => demo(report).await?,
            ModelSource::Named(name) => self.named(name, report).await?,
        };
        checkpoint(files).await
    }

    async fn stored(&mut self) -> Result<Stored, Failure> {
        hub::stored().await
    }

    async fn delete(&mut self, name: &str) -> Result<(), Failure> {
        let id: HubId = name.parse().map_err(|error| Failure::new(FailureKind::Input, error))?;
        hub::delete(&id, &self.host).await
    }
}

impl Files {
    async fn named(&self, name: &str, report: &mut Report<'_>) -> Result<Vec<BlobSource>, Failure> {
        if let Some(files) = self.host.files(name) {
            let source = |file: File| BlobSource { name: file.name(), blob: file.into(), _lock: None };
            return Ok(files.iter().filter_map(|file| file.dyn_into().ok()).map(source).collect());
        }
        let unknown = |_| {
            let advice = "choose the model's folder again, or name a model of the hub as owner/name";
            Failure::new(FailureKind::Model, format!("the page has not handed over any files as {name:?}; {advice}"))
        };
        hub::open(&name.parse().map_err(unknown)?, &self.host, report).await
    }
}

async fn checkpoint(files: Vec<BlobSource>) -> Result<Checkpoint, Failure> {
    let failed = |error: &dyn ToString| Failure::new(FailureKind::Model, error.to_string());
    let mut names = HashSet::new();
    if let Some(twice) = files.iter().find(|file| is_part(&file.name) && !names.insert(&file.name)) {
        return Err(failed(&format!("{} is there more than once; choose the folder of one model", twice.name)));
    }
    let mut config = Vec::new();
    if let Some(file) = files.iter().find(|file| file.name == CONFIG) {
        if file.len() > limits::CONFIG_BYTES {
            return Err(failed(&format!("{CONFIG} has {} bytes, more than the {} allowed", file.len(), limits::CONFIG_BYTES)));
        }
        config = file.read_at(0, file.len() as usize).await.map_err(|error| failed(&error))?.into_owned();
    }
    let sources = files.into_iter().filter(|file| file.name != CONFIG && is_part(&file.name));
    let sources = sources.map(|file| (file.name.clone(), Arc::new(file) as Arc<dyn ByteSource>)).collect();
    Checkpoint::from_sources(&config, sources).await.map_err(|error| failed(&error))
}

/// Whether a file can be one of a checkpoint's.
fn is_part(name: &str) -> bool {
    [".json", ".safetensors", ".npz"].iter().any(|ending| name.ends_with(ending))
}

async fn demo(report: &mut Report<'_>) -> Result<Vec<BlobSource>, Failure> {
    let (folder, names) = DEMO;
    let failed = |name: &str, error: &JsValue| {
        let reason = in_words(error);
        Failure::new(FailureKind::Model, format!("{folder}{name} could not be fetched from where worker.js lies: {reason}"))
    };
    let mut responses = Vec::with_capacity(names.len());
    for name in names {
        report.step(Stage::Download, 0, 0)?;
        responses.push((name, fetch(&format!("{folder}{name}")).await.map_err(|error| failed(name, &error))?));
    }
    let length = |response: &Response| response.headers().get("content-length").ok().flatten()?.parse::<u64>().ok();
    let total: u64 = responses.iter().filter_map(|(_, response)| length(response)).sum();
    let mut files: Vec<BlobSource> = Vec::with_capacity(names.len());
    for (name, response) in responses {
        let done = files.iter().map(ByteSource::len).sum();
        // A server that compresses announces less than arrives.
        report.step(Stage::Download, done, total.max(done))?;
        let blob = blob(&response).await.map_err(|error| failed(name, &error))?;
        files.push(BlobSource { name: name.to_owned(), blob, _lock: None });
    }
    Ok(files)
}

/// Asks for a file of the worker's own origin.
async fn fetch(path: &str) -> Result<Response, JsValue> {
    let scope: WorkerGlobalScope = js_sys::global().dyn_into()?;
    let url = Url::new_with_base(path, &scope.location().href())?.href();
    let options = RequestInit::new();
    options.set_mode(RequestMode::SameOrigin);
    let response: Response = JsFuture::from(scope.fetch_with_str_and_init(&url, &options)).await?.dyn_into()?;
    if response.ok() { Ok(response) } else { Err(format!("the server answers {}", response.status()).into()) }
}

async fn blob(response: &Response) -> Result<Blob, JsValue> {
    JsFuture::from(response.blob()?).await?.dyn_into()
}

pub(crate) fn in_words(error: &JsValue) -> String {
    let message = error.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message()));
    message.or_else(|| error.as_string()).unwrap_or_else(|| format!("{error:?}"))
}
