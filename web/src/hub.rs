//! Models of the hub in the browser's storage: downloaded once, checked at every opening, one writer at a time.
//!
//! ```text
//! models/owner+name@revision/record.json                      the commit and the files with their digests: written before the first byte
//!                            tokenizer.json                   grows until it has its published length
//!                            tokenizer.json.sha256.json       digests of its chunks: written when the whole is what was published
//!                            model.safetensors.before, .table, .after   a file whose token table comes last
//! ```
//!
//! A file counts as complete when its manifest can be read, a model when all its files are. Record and manifest are written once, and half of one cannot
//! be read: after a crash there is the new state or the old.
//!
//! The token table is half of a model, and pictures do not need it: it is downloaded after the rest, while the model is in use ([`Rest`]), or not at all
//! in the light mode, which fetches its rows when they are needed. Either way the model is not checked until all of it is there.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use polyglance::engine::{Failure, FailureKind, Report, Stored, StoredModel, Table};
use polyglance::weights::hub::{CHECKPOINT_FILES, DEFAULT_ENDPOINT, Hasher, HubId, ListedFile, Listing, needed};
use polyglance::weights::{ByteSource, token_table};
use web_sys::File;

mod model;
mod part;
mod request;

use self::model::{JSON_BYTES, Model, Record, StoredFile, TablePlace, folder_name, lock_name};
use self::part::{Download, Part};
use self::request::{Meter, failed, read_small};
pub(crate) use self::request::{read_range, tick};
use crate::lock::{Held, Lock};
use crate::opfs::{Folder, Room, full};
use crate::source::{BlobSource, Later, Remote, Sources};
use crate::worker::Host;

const MODELS: &str = "models";
/// A smaller file is downloaded at once, whatever is in it.
const SPLIT_BYTES: u64 = 32 << 20;

/// A model that can be used.
pub(crate) struct Opened {
    pub(crate) files: Sources,
    pub(crate) table: Table,
    /// What is still to be downloaded.
    pub(crate) rest: Option<Rest>,
}

/// The files of a model, downloaded if need be: all of them, or in the light mode all but the token table. Without a request if what is wanted is there
/// and in order.
pub(crate) async fn open(id: &HubId, light: bool, host: &Host, report: &mut Report<'_>) -> Result<Opened, Failure> {
    let models = Folder::at_root(MODELS).await?;
    let is_enough = |model: &Model| model.is_complete() || (light && model.is_light());
    // As it is, and after a repair; once more if another tab deletes it meanwhile.
    for _ in 0..3 {
        if !Model::find(&models, id).await?.as_ref().is_some_and(is_enough) {
            let lock = Lock::wait(host, &lock_name(id), "exclusive", report).await?;
            // Another tab may have done it meanwhile.
            if !Model::find(&models, id).await?.as_ref().is_some_and(is_enough) {
                let model = fetch(&models, id, light, host, report).await?;
                if !light && !model.is_complete() {
                    return Rest::begin(model, id, lock).await;
                }
            }
        }
        let lock = Lock::wait(host, &lock_name(id), "shared", report).await?;
        // Nobody changes it from now on, but somebody may have deleted it.
        let Some(model) = Model::find(&models, id).await?.filter(is_enough) else { continue };
        let held = Rc::new(RefCell::new(Some(lock)));
        let damage = model.damage(report).await?;
        if damage.is_empty() && model.is_complete() {
            return Ok(Opened { files: model.sources(&held, None)?, table: Table::Here, rest: None });
        }
        if damage.is_empty() {
            let table = remote_table(&model.record, id, host);
            return Ok(Opened { files: model.sources(&held, table.as_ref())?, table: Table::Remote, rest: None });
        }
        drop(held);
        let in_use = || {
            Failure::new(FailureKind::Storage, format!("{id} is damaged, and in use by another tab; close it, and open the model again"))
        };
        let _lock = Lock::soon(host, &lock_name(id), "exclusive").await?.ok_or_else(in_use)?;
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
        let model = Model::find(&models, &id).await?;
        let bytes = model.iter().flat_map(|model| &model.files).map(|file| file.there).sum();
        let complete = model.as_ref().is_some_and(Model::is_complete);
        let light = complete || model.as_ref().is_some_and(|model| model.is_light() && !model.is_table_begun());
        stored.push(StoredModel { name: id.repository(), revision: id.revision().to_owned(), bytes, complete, light });
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
    let _lock = Lock::soon(host, &lock_name(id), "exclusive").await?.ok_or_else(in_use)?;
    Folder::at_root(MODELS).await?.remove(&folder_name(id)).await
}

/// The token table of a model that is downloaded while the rest of it is in use. Dropping it stops the download, which another opening resumes.
pub(crate) struct Rest {
    id: HubId,
    url: String,
    folder: Folder,
    place: Option<TablePlace>,
    listed: ListedFile,
    part: Part,
    /// Until all bytes are there.
    download: Option<Download>,
    /// Whether an earlier visit left some of them, which may be wrong.
    is_from_before: bool,
    hasher: Hasher,
    later: Arc<Later>,
    held: Rc<Held>,
}

impl Rest {
    /// Opens a model of which the token table is missing.
    async fn begin(model: Model, id: &HubId, lock: Lock) -> Result<Opened, Failure> {
        let split = model.files.iter().find_map(|file| Some((file.listed.clone(), file.table()?.0.clone())));
        let (listed, part) =
            split.ok_or_else(|| failed(format!("{id} is not complete, and nothing of it is missing; delete it in the list of models")))?;
        let (folder, place) = (model.folder.clone(), model.record.table.clone());
        let later = Arc::new(Later { name: listed.name.clone(), len: part.bytes(), source: RefCell::default() });
        let table: Arc<dyn ByteSource> = Arc::clone(&later) as _;
        let held = Rc::new(RefCell::new(Some(lock)));
        let url = model.record.url(id, &listed.name);
        let files = model.sources(&held, Some(&table))?;
        let (id, hasher) = (id.clone(), Hasher::default());
        let mut rest = Self { id, url, folder, place, listed, part, download: None, is_from_before: false, hasher, later, held };
        rest.start().await?;
        Ok(Opened { files, table: Table::Coming, rest: Some(rest) })
    }

    async fn start(&mut self) -> Result<(), Failure> {
        let size = self.listed.size.unwrap_or(0);
        let download = Download::begin(&self.folder, self.part.clone(), &self.listed.name, self.url.clone(), size).await?;
        self.is_from_before = download.at() > 0;
        self.download = Some(download);
        Ok(())
    }

    /// Downloads on, and compares the whole with what was published. If it is stopped, another call goes on.
    pub(crate) async fn go_on(&mut self, host: &Host, report: &mut Report<'_>) -> Result<(), Failure> {
        if let Some(download) = &mut self.download {
            download.finish(&mut Meter { report: &mut *report, finished: 0, total: self.part.bytes() }).await?;
            // Ends the writing.
            self.download = None;
        }
        let file = StoredFile::find(&self.folder, self.place.as_ref(), &self.listed).await?;
        if !file.check(&self.folder, &mut self.hasher, report).await? {
            self.hasher = Hasher::default();
            if !self.is_from_before {
                file.remove(&self.folder).await?;
                return Err(not_as_published(&self.listed.name));
            }
            // Once more, without what an earlier visit left.
            self.folder.remove(&self.part.name).await?;
            self.start().await?;
            return Box::pin(self.go_on(host, report)).await;
        }
        let name = self.listed.name.clone();
        let table = file
            .table()
            .and_then(|(_, file)| file.clone())
            .map(|file: File| -> Arc<dyn ByteSource> { Arc::new(BlobSource { name, blob: file.into(), _lock: None }) });
        self.later.source.replace(table);
        // From a writer to a reader, for other tabs that wait to read.
        self.held.replace(None);
        let lock = Lock::wait(host, &lock_name(&self.id), "shared", report).await?;
        self.held.replace(Some(lock));
        // Another tab may have been quicker, and have deleted it.
        let file = StoredFile::find(&self.folder, self.place.as_ref(), &self.listed).await?;
        let deleted = || Failure::new(FailureKind::Damaged, format!("{} was deleted by another tab; open it again", self.id));
        file.is_complete().then_some(()).ok_or_else(deleted)
    }
}

/// The token table as it is at the hub.
fn remote_table(record: &Record, id: &HubId, host: &Host) -> Option<Arc<dyn ByteSource>> {
    let TablePlace { file, range } = record.table.as_ref()?;
    Some(Arc::new(Remote::new(host, file, record.url(id, file), range.clone())))
}

/// Downloads what is missing of a model, except a token table that is apart.
async fn fetch(models: &Folder, id: &HubId, light: bool, host: &Host, report: &mut Report<'_>) -> Result<Model, Failure> {
    let mut meter = Meter { report, finished: 0, total: 0 };
    let model = match Model::find(models, id).await? {
        Some(model) => model,
        None => begin(models, id, light, host, &mut meter).await?,
    };
    let there: u64 = model.files.iter().map(|file| file.there).sum();
    check_room(model.record.bytes(light).saturating_sub(there)).await?;
    meter.total = model.record.bytes(true);
    for file in &model.files {
        let before = meter.finished;
        if !file.is_complete() {
            fetch_file(&model, file, id, &mut meter).await?;
        }
        meter.finished = before + file.towers().map(|(part, _)| part.bytes()).sum::<u64>();
    }
    Model::of(model.folder, model.record).await
}

/// Downloads a file, and compares it with what was published unless its token table is apart.
async fn fetch_file(model: &Model, file: &StoredFile, id: &HubId, meter: &mut Meter<'_, '_>) -> Result<(), Failure> {
    let (folder, name, size) = (&model.folder, &file.listed.name, file.listed.size.unwrap_or(0));
    let mut is_from_before = file.there > 0;
    loop {
        for (part, _) in file.towers() {
            let mut download = Download::begin(folder, part.clone(), name, model.record.url(id, name), size).await?;
            download.finish(meter).await?;
            meter.finished += part.bytes();
        }
        if file.table().is_some() {
            return Ok(());
        }
        let found = StoredFile::find(folder, model.record.table.as_ref(), &file.listed).await?;
        if found.check(folder, &mut Hasher::default(), meter.report).await? {
            return Ok(());
        }
        found.remove(folder).await?;
        meter.finished = meter.finished.saturating_sub(size);
        // What an earlier visit left may be what was wrong; what has just come in whole will not get better.
        if !std::mem::take(&mut is_from_before) {
            return Err(not_as_published(name));
        }
    }
}

/// Asks the hub what the revision means now, and records it in an empty folder.
async fn begin(models: &Folder, id: &HubId, light: bool, host: &Host, meter: &mut Meter<'_, '_>) -> Result<Model, Failure> {
    let url = format!("{}?blobs=true", id.listing_url(DEFAULT_ENDPOINT));
    let answer = read_small(&url, &id.to_string(), JSON_BYTES, meter).await?;
    let listing = Listing::parse(&answer).map_err(|reason| failed(format!("{id}: the hub's answer cannot be read: {reason}")))?;
    let names: Vec<String> = listing.files.iter().map(|file| file.name.clone()).collect();
    let no_weights =
        || failed(format!("{id} has no model.safetensors, no sharded safetensors and no single .npz; choose a SigLIP checkpoint"));
    let names = needed(&names, &CHECKPOINT_FILES).ok_or_else(no_weights)?;
    let files = names.iter().filter_map(|name| listing.files.iter().find(|file| file.name == *name).cloned()).collect();
    let mut record = Record { commit: listing.commit, files, table: None };
    if let Some(file) = record.files.iter().find(|file| file.size.is_none()) {
        return Err(failed(format!("{id}: the hub does not say how large {} is", file.name)));
    }
    record.table = match find_table(&record, id, host).await {
        // It can still be downloaded whole, where a network has no parts of files.
        Err(_) if !light && !host.is_cancelled() => None,
        found => found?,
    };
    check_room(record.bytes(light)).await?;
    models.remove(&folder_name(id)).await?;
    let folder = models.folder(&folder_name(id), true).await?.ok_or_else(full)?;
    record.write(&folder).await?;
    Model::of(folder, record).await
}

/// Where the token table is, by the headers of the files that are large enough to have one.
async fn find_table(record: &Record, id: &HubId, host: &Host) -> Result<Option<TablePlace>, Failure> {
    for file in &record.files {
        let size = file.size.unwrap_or(0);
        if size < SPLIT_BYTES || !file.name.ends_with(".safetensors") {
            continue;
        }
        let source = Arc::new(Remote::new(host, &file.name, record.url(id, &file.name), 0..size));
        if let Some(range) = token_table(&file.name, source).await.map_err(failed)? {
            return Ok(Some(TablePlace { file: file.name.clone(), range }));
        }
    }
    Ok(None)
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

/// A file is something else than the hub announced.
fn not_as_published(name: &str) -> Failure {
    let advice = "it was thrown away; open the model again, and if this comes again, something between here and the hub changes it";
    Failure::new(FailureKind::Damaged, format!("{name}: what arrived is not what the hub publishes; {advice}"))
}
