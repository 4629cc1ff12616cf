//! Models of the hub in the browser's storage: downloaded once, checked at every opening, one writer at a time.
//!
//! ```text
//! models/owner+name@revision/record.json                      the commit and the files with their digests: written before the first byte
//!                            model.safetensors                grows until it has its published length
//!                            model.safetensors.sha256.json    digests of its chunks: written when the whole is what was published
//! ```
//!
//! A file counts as complete when its manifest can be read, a model when all its files are. Record and manifest are written once, and half of one cannot
//! be read: after a crash there is the new state or the old.

use std::ops::Range;
use std::rc::Rc;

use js_sys::Function;
use polyglance::engine::{Failure, FailureKind, Report, Stage, Stored, StoredModel};
use polyglance::weights::hub::{CHECKPOINT_FILES, DEFAULT_ENDPOINT, HubId, ListedFile, Listing, Manifest, needed};
use serde::{Deserialize, Serialize};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::File;

use crate::download::{Meter, digest, download, model, read_chunk, read_small, tick};
use crate::files::{BlobSource, in_words};
use crate::opfs::{Folder, Room, full};
use crate::worker::Host;

const MODELS: &str = "models";
const RECORD: &str = "record.json";
/// Longest listing, record or manifest.
const JSON_BYTES: usize = 8 << 20;

/// What a model's folder will hold.
#[derive(Serialize, Deserialize)]
struct Record {
    commit: String,
    files: Vec<ListedFile>,
}

/// A model of which all files are there.
struct Model {
    folder: Folder,
    commit: String,
    files: Vec<(File, Manifest)>,
}

/// What is wrong in a file of a model.
struct Damage {
    /// Which of the model's files.
    file: usize,
    ranges: Vec<Range<u64>>,
}

/// A Web Lock of a model: shared while it is read, exclusive while it is written. The browser returns it if the worker dies.
pub(crate) struct Lock(Function);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.call0(&JsValue::NULL);
    }
}

impl Lock {
    async fn take(host: &Host, id: &HubId, mode: &str) -> Result<Option<Self>, Failure> {
        let taken = host.lock(&format!("polyglance model {}", folder_name(id)), mode).await;
        let taken = taken.map_err(|error| Failure::new(FailureKind::Storage, format!("the browser has no locks: {}", in_words(&error))))?;
        Ok(taken.dyn_into().ok().map(Self))
    }

    /// A lock that is free within a second: one that was just returned is not free at once.
    async fn soon(host: &Host, id: &HubId, mode: &str) -> Result<Option<Self>, Failure> {
        for _ in 0..5 {
            if let Some(lock) = Self::take(host, id, mode).await? {
                return Ok(Some(lock));
            }
            tick().await;
        }
        Ok(None)
    }

    /// A lock, once other tabs are done.
    async fn wait(host: &Host, id: &HubId, mode: &str, report: &mut Report<'_>) -> Result<Self, Failure> {
        loop {
            if let Some(lock) = Self::soon(host, id, mode).await? {
                return Ok(lock);
            }
            report.step(Stage::Wait, 0, 1)?;
        }
    }
}

/// The files of a model, downloaded if need be. Without a request if all of them are there and in order.
pub(crate) async fn open(id: &HubId, host: &Host, report: &mut Report<'_>) -> Result<Vec<BlobSource>, Failure> {
    let models = Folder::at_root(MODELS).await?;
    // As it is, and after a repair; once more if another tab deletes it meanwhile.
    for _ in 0..3 {
        if Model::find(&models, id).await?.is_none() {
            let _lock = Lock::wait(host, id, "exclusive", report).await?;
            // Another tab may have done it meanwhile.
            if Model::find(&models, id).await?.is_none() {
                fetch(&models, id, report).await?;
            }
        }
        let lock = Lock::wait(host, id, "shared", report).await?;
        // Nobody changes it from now on, but somebody may have deleted it.
        let Some(model) = Model::find(&models, id).await? else { continue };
        let damage = model.damage(report).await?;
        if damage.is_empty() {
            return Ok(model.sources(lock));
        }
        drop(lock);
        let in_use = || {
            Failure::new(FailureKind::Storage, format!("{id} is damaged, and in use by another tab; close it, and open the model again"))
        };
        let _lock = Lock::soon(host, id, "exclusive").await?.ok_or_else(in_use)?;
        model.repair(id, &damage, report).await?;
    }
    Err(Failure::new(FailureKind::Storage, format!("the browser does not keep {id} as it was written; delete it and open it again")))
}

/// What was downloaded, and the room there is.
pub(crate) async fn stored() -> Result<Stored, Failure> {
    let models = Folder::at_root(MODELS).await?;
    let mut stored = Vec::new();
    for name in models.names().await? {
        let Ok(id) = name.replace('+', "/").parse::<HubId>() else { continue };
        let Some(folder) = models.folder(&name, false).await? else { continue };
        let mut bytes = 0;
        for file in folder.names().await? {
            bytes += folder.file(&file).await?.map_or(0, |file| file.size() as u64);
        }
        let complete = Model::find(&models, &id).await?.is_some();
        stored.push(StoredModel { name: id.repository(), revision: id.revision().to_owned(), bytes, complete });
    }
    stored.sort_by(|a, b| (&a.name, &a.revision).cmp(&(&b.name, &b.revision)));
    let room = Room::now().await?;
    Ok(Stored { models: stored, usage: room.usage, quota: room.quota })
}

/// Deletes a model that nobody uses.
pub(crate) async fn delete(id: &HubId, host: &Host) -> Result<(), Failure> {
    let in_use = || {
        let advice = "open another model or close that tab, and delete it then";
        Failure::new(FailureKind::Storage, format!("{id} is open or being downloaded, here or in another tab; {advice}"))
    };
    let _lock = Lock::soon(host, id, "exclusive").await?.ok_or_else(in_use)?;
    Folder::at_root(MODELS).await?.remove(&folder_name(id)).await
}

/// Downloads what is missing of a model.
async fn fetch(models: &Folder, id: &HubId, report: &mut Report<'_>) -> Result<(), Failure> {
    let mut meter = Meter { report, finished: 0, total: 0 };
    let (folder, record) = match begun(models, id).await? {
        Some((folder, record)) => {
            let mut there = 0;
            for file in &record.files {
                there += folder.file(&file.name).await?.map_or(0, |file| file.size() as u64);
            }
            check_room(record.bytes().saturating_sub(there)).await?;
            (folder, record)
        }
        None => begin(models, id, &mut meter).await?,
    };
    meter.total = record.bytes();
    for file in &record.files {
        let size = file.size.unwrap_or(0);
        if complete(&folder, file).await?.is_none() {
            let url = id.file_url(DEFAULT_ENDPOINT, &record.commit, &file.name);
            let manifest = download(&folder, file, size, &url, &mut meter).await?;
            folder.write(&manifest_name(&file.name), &json(&manifest)?).await?;
        }
        meter.finished += size;
    }
    Ok(())
}

/// A download that was begun before, of the commit of that time.
async fn begun(models: &Folder, id: &HubId) -> Result<Option<(Folder, Record)>, Failure> {
    let Some(folder) = models.folder(&folder_name(id), false).await? else { return Ok(None) };
    let Some(bytes) = folder.read(RECORD, JSON_BYTES as u64).await? else { return Ok(None) };
    Ok(serde_json::from_slice(&bytes).ok().map(|record| (folder, record)))
}

/// Asks the hub what the revision means now, and records it in an empty folder.
async fn begin(models: &Folder, id: &HubId, meter: &mut Meter<'_, '_>) -> Result<(Folder, Record), Failure> {
    let url = format!("{}?blobs=true", id.listing_url(DEFAULT_ENDPOINT));
    let answer = read_small(&url, &id.to_string(), JSON_BYTES, meter).await?;
    let listing = Listing::parse(&answer).map_err(|reason| model(format!("{id}: the hub's answer cannot be read: {reason}")))?;
    let names: Vec<String> = listing.files.iter().map(|file| file.name.clone()).collect();
    let no_weights =
        || model(format!("{id} has no model.safetensors, no sharded safetensors and no single .npz; choose a SigLIP checkpoint"));
    let names = needed(&names, &CHECKPOINT_FILES).ok_or_else(no_weights)?;
    let files = names.iter().filter_map(|name| listing.files.iter().find(|file| file.name == *name).cloned()).collect();
    let record = Record { commit: listing.commit, files };
    if let Some(file) = record.files.iter().find(|file| file.size.is_none()) {
        return Err(model(format!("{id}: the hub does not say how large {} is", file.name)));
    }
    check_room(record.bytes()).await?;
    models.remove(&folder_name(id)).await?;
    let folder = models.folder(&folder_name(id), true).await?.ok_or_else(full)?;
    folder.write(RECORD, &json(&record)?).await?;
    Ok((folder, record))
}

/// Refuses a download that cannot end well, before it begins.
async fn check_room(missing: u64) -> Result<(), Failure> {
    let free = Room::now().await?.free();
    let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
    match free {
        Some(free) if free < missing => {
            let reason =
                format!("{} MB are to be downloaded, and the browser gives this site {} MB more", megabytes(missing), free / 1_000_000);
            Err(Failure::new(
                FailureKind::Storage,
                format!("{reason}; free space by deleting a model in the list of models, or on the disk"),
            ))
        }
        _ => Ok(()),
    }
}

impl Record {
    fn bytes(&self) -> u64 {
        self.files.iter().filter_map(|file| file.size).sum()
    }
}

/// A file and its manifest, if all of it is there.
async fn complete(folder: &Folder, listed: &ListedFile) -> Result<Option<(File, Manifest)>, Failure> {
    let manifest = folder.read(&manifest_name(&listed.name), JSON_BYTES as u64).await?;
    let manifest = manifest.and_then(|bytes| Manifest::from_json(&bytes)).filter(|manifest| Some(manifest.bytes()) == listed.size);
    let file = folder.file(&listed.name).await?;
    Ok(file.zip(manifest).filter(|(file, manifest)| file.size() as u64 == manifest.bytes()))
}

impl Model {
    async fn find(models: &Folder, id: &HubId) -> Result<Option<Self>, Failure> {
        let Some((folder, record)) = begun(models, id).await? else { return Ok(None) };
        let mut files = Vec::new();
        for listed in &record.files {
            let Some(file) = complete(&folder, listed).await? else { return Ok(None) };
            files.push(file);
        }
        Ok(Some(Self { folder, commit: record.commit, files }))
    }

    /// Compares every chunk with its digest.
    async fn damage(&self, report: &mut Report<'_>) -> Result<Vec<Damage>, Failure> {
        let total = self.files.iter().map(|(_, manifest)| manifest.bytes()).sum();
        let (mut damage, mut done) = (Vec::new(), 0);
        for (index, (file, manifest)) in self.files.iter().enumerate() {
            let mut ranges = Vec::new();
            for (range, expected) in manifest.chunks() {
                report.step(Stage::Check, done, total)?;
                if digest_of(file, &range).await?.is_none_or(|digest| digest != expected) {
                    ranges.push(range.clone());
                }
                done += range.end - range.start;
            }
            if !ranges.is_empty() {
                damage.push(Damage { file: index, ranges });
            }
        }
        Ok(damage)
    }

    /// Fetches damaged chunks again, and nothing else.
    async fn repair(&self, id: &HubId, damage: &[Damage], report: &mut Report<'_>) -> Result<(), Failure> {
        let bytes = |damage: &Damage| damage.ranges.iter().map(|range| range.end - range.start).sum::<u64>();
        let mut meter = Meter { report, finished: 0, total: damage.iter().map(bytes).sum() };
        for Damage { file, ranges } in damage {
            let Some((file, manifest)) = self.files.get(*file) else { continue };
            let url = id.file_url(DEFAULT_ENDPOINT, &self.commit, &file.name());
            for range in ranges {
                let chunk = read_chunk(&url, &file.name(), range.clone(), manifest, &mut meter).await?;
                let writer = self.folder.writer(&file.name()).await?;
                writer.write(&chunk, range.start)?;
                writer.flush()?;
                meter.finished += range.end - range.start;
            }
        }
        Ok(())
    }

    /// The files as sources that keep the lock.
    fn sources(self, lock: Lock) -> Vec<BlobSource> {
        let lock = Rc::new(lock);
        self.files.into_iter().map(|(file, _)| BlobSource { name: file.name(), blob: file.into(), _lock: Some(Rc::clone(&lock)) }).collect()
    }
}

/// The SHA-256 of a range, computed outside of this module's memory; nothing if the browser cannot read it.
async fn digest_of(file: &File, range: &Range<u64>) -> Result<Option<String>, Failure> {
    let bytes = async { JsFuture::from(file.slice_with_f64_and_f64(range.start as f64, range.end as f64)?.array_buffer()).await };
    match bytes.await {
        Ok(bytes) => digest("SHA-256", bytes.unchecked_ref()).await.map(Some),
        Err(_) => Ok(None),
    }
}

/// A model's folder: no name has a plus sign.
fn folder_name(id: &HubId) -> String {
    format!("{}@{}", id.repository(), id.revision()).replace('/', "+")
}

fn manifest_name(file: &str) -> String {
    format!("{file}.sha256.json")
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(model)
}
