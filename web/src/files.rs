//! Models in a browser: files that somebody chose or dropped, those that were downloaded from the hub, and the demo model's, which lie beside
//! `worker.js`.

use std::collections::HashSet;
use std::sync::Arc;

use js_sys::Array;
use polyglance::engine::{Failure, FailureKind, Loader, ModelSource, Report, Stage, Stored, Table};
use polyglance::index::Shelf;
use polyglance::limits;
use polyglance::weights::hub::HubId;
use polyglance::weights::{ByteSource, Checkpoint};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, File, RequestInit, RequestMode, Response, Url, WorkerGlobalScope};

use crate::hub::{self, Opened, Rest};
use crate::indexes::BrowserShelf;
use crate::source::{BlobSource, Sources};
use crate::worker::Host;

/// Where the demo model is, seen from `worker.js`, and its files.
const DEMO: (&str, [&str; 4]) = ("demo/", ["config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors"]);
const CONFIG: &str = "config.json";

/// Opens models in a worker.
pub(crate) struct Files {
    host: Host,
    /// Of the model that was opened last.
    rest: Option<Rest>,
}

impl Loader for Files {
    async fn open(&mut self, source: &ModelSource, report: &mut Report<'_>) -> Result<(Checkpoint, Table), Failure> {
        self.close();
        let opened = match source {
            ModelSource::Demo => here(demo(report).await?),
            ModelSource::Named(name) => match self.host.files(name) {
                Some(files) => {
                    here(files.iter().filter_map(|pair| Array::from(&pair).get(1).dyn_into::<File>().ok()).map(blob_source).collect())
                }
                None => hub::open(&Self::id(name)?, false, &self.host, report).await?,
            },
            ModelSource::Light(name) => hub::open(&Self::id(name)?, true, &self.host, report).await?,
        };
        let checkpoint = checkpoint(opened.files).await?;
        self.rest = opened.rest;
        Ok((checkpoint, opened.table))
    }

    fn shelf(&self) -> Option<Box<dyn Shelf>> {
        Some(Box::new(BrowserShelf::new(self.host.clone())))
    }

    fn close(&mut self) {
        self.rest = None;
    }

    async fn fetch_table(&mut self, report: &mut Report<'_>) -> Result<(), Failure> {
        let nothing = || Failure::new(FailureKind::Model, "nothing more of this model can be downloaded; open it again");
        self.rest.as_mut().ok_or_else(nothing)?.go_on(&self.host, report).await?;
        self.close();
        Ok(())
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
    pub(crate) fn new(host: Host) -> Self {
        Self { host, rest: None }
    }

    fn id(name: &str) -> Result<HubId, Failure> {
        let unknown = |_| {
            let advice = "choose the model's folder again, or name a model of the hub as owner/name";
            Failure::new(FailureKind::Model, format!("the page has not handed over any files as {name:?}; {advice}"))
        };
        name.parse().map_err(unknown)
    }
}

/// A model of which all files are at hand.
fn here(files: Vec<BlobSource>) -> Opened {
    let files = files.into_iter().map(|file| (file.name.clone(), Arc::new(file) as Arc<dyn ByteSource>)).collect();
    Opened { files, table: Table::Here, rest: None }
}

fn blob_source(file: File) -> BlobSource {
    BlobSource { name: file.name(), blob: file.into(), _lock: None }
}

async fn checkpoint(files: Sources) -> Result<Checkpoint, Failure> {
    let failed = |error: &dyn ToString| Failure::new(FailureKind::Model, error.to_string());
    let mut names = HashSet::new();
    if let Some((twice, _)) = files.iter().find(|(name, _)| is_part(name) && !names.insert(name)) {
        return Err(failed(&format!("{twice} is there more than once; choose the folder of one model")));
    }
    let mut config = Vec::new();
    if let Some((_, file)) = files.iter().find(|(name, _)| name == CONFIG) {
        if file.len() > limits::CONFIG_BYTES {
            return Err(failed(&format!("{CONFIG} has {} bytes, more than the {} allowed", file.len(), limits::CONFIG_BYTES)));
        }
        config = file.read_at(0, file.len() as usize).await.map_err(|error| failed(&error))?.into_owned();
    }
    let sources = files.into_iter().filter(|(name, _)| name != CONFIG && is_part(name)).collect();
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
