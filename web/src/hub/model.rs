//! A model in the browser's storage: what it consists of, what of it is there, and whether that is what was published.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use js_sys::{Array, Object, Uint8Array};
use polyglance::engine::{Failure, FailureKind, Report, Stage};
use polyglance::weights::ByteSource;
use polyglance::weights::hub::{DEFAULT_ENDPOINT, Digest, Hasher, HubId, ListedFile, Manifest};
use serde::{Deserialize, Serialize};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, File};

use super::part::{Part, split, whole};
use super::request::{Meter, digest, failed, read_range};
use crate::files::in_words;
use crate::lock::Held;
use crate::opfs::Folder;
use crate::source::{BlobSource, Joined, Sources};

const RECORD: &str = "record.json";
/// Longest listing, record or manifest.
pub(super) const JSON_BYTES: usize = 8 << 20;
/// Hashed at once.
const PIECE: u64 = 4 << 20;

/// What a model's folder will hold.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) commit: String,
    pub(super) files: Vec<ListedFile>,
    /// The token table, if it is downloaded apart from the rest.
    #[serde(default)]
    pub(super) table: Option<TablePlace>,
}

/// Which file the token table is in, and where.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct TablePlace {
    pub(super) file: String,
    pub(super) range: Range<u64>,
}

impl Record {
    pub(super) async fn write(&self, folder: &Folder) -> Result<(), Failure> {
        folder.write(RECORD, &json(self)?).await
    }

    /// Bytes of all files, or of all but the token table.
    pub(super) fn bytes(&self, light: bool) -> u64 {
        let table = self.table.as_ref().filter(|_| light).map_or(0, |table| table.range.end - table.range.start);
        self.files.iter().filter_map(|file| file.size).fold(0, u64::saturating_add).saturating_sub(table)
    }

    pub(super) fn url(&self, id: &HubId, file: &str) -> String {
        id.file_url(DEFAULT_ENDPOINT, &self.commit, file)
    }
}

/// A model of which a record is there, and perhaps more.
pub(super) struct Model {
    pub(super) folder: Folder,
    pub(super) record: Record,
    pub(super) files: Vec<StoredFile>,
}

/// A file of a model, as far as it is there.
pub(super) struct StoredFile {
    pub(super) listed: ListedFile,
    /// Before the token table, the table, after it; or the whole. With the files of those that are complete.
    pub(super) parts: Vec<(Part, Option<File>)>,
    /// Bytes that are there.
    pub(super) there: u64,
    /// Whether the token table's part was begun: only who wants all of a model does that.
    is_table_begun: bool,
    /// Written when the whole was compared with what was published.
    manifest: Option<Manifest>,
}

/// What is wrong in a file of a model.
pub(super) struct Damage {
    /// Which of the model's files.
    file: usize,
    ranges: Vec<Range<u64>>,
}

impl StoredFile {
    pub(super) async fn find(folder: &Folder, table: Option<&TablePlace>, listed: &ListedFile) -> Result<Self, Failure> {
        let size = listed.size.unwrap_or(0);
        let table = table.filter(|table| table.file == listed.name);
        let wanted = table.map_or_else(|| vec![whole(&listed.name, size)], |table| split(&listed.name, size, &table.range).into());
        let (mut parts, mut there, mut is_table_begun) = (Vec::with_capacity(wanted.len()), 0, false);
        for part in wanted {
            let file = folder.file(&part.name).await?;
            there += file.as_ref().map_or(0, |file| file.size() as u64);
            is_table_begun |= parts.len() == 1 && file.is_some();
            let file = file.filter(|file| file.size() as u64 == part.bytes());
            parts.push((part, file));
        }
        let manifest = folder.read(&manifest_name(&listed.name), JSON_BYTES as u64).await?;
        let manifest = manifest.and_then(|bytes| Manifest::from_json(&bytes)).filter(|manifest| manifest.bytes() == size);
        Ok(Self { listed: listed.clone(), parts, there, is_table_begun, manifest })
    }

    pub(super) fn is_complete(&self) -> bool {
        self.manifest.is_some() && self.parts.iter().all(|(_, file)| file.is_some())
    }

    /// The token table's part, if this file is in parts.
    pub(super) fn table(&self) -> Option<&(Part, Option<File>)> {
        self.parts.get(1)
    }

    /// All parts but the token table's.
    pub(super) fn towers(&self) -> impl Iterator<Item = &(Part, Option<File>)> {
        self.parts.iter().enumerate().filter(|(index, _)| *index != 1).map(|(_, part)| part)
    }

    /// All of it as one blob.
    fn blob(&self) -> Result<Blob, Failure> {
        let files: Array = self.parts.iter().filter_map(|(_, file)| file.as_ref()).collect();
        Blob::new_with_blob_sequence(&files).map_err(|error| failed(in_words(&error)))
    }

    /// Compares a file that is all there with what was published, and marks it as complete. `hasher` has what was read so far, for the case that
    /// this is stopped.
    ///
    /// # Errors
    /// It was stopped, the browser cannot read it, or the hub publishes no digest. `Ok(false)` if it is something else.
    pub(super) async fn check(&self, folder: &Folder, hasher: &mut Hasher, report: &mut Report<'_>) -> Result<bool, Failure> {
        let (blob, size) = (self.blob()?, self.listed.size.unwrap_or(0));
        while hasher.bytes() < size {
            report.step(Stage::Check, hasher.bytes(), size)?;
            let end = size.min(hasher.bytes() + PIECE);
            let bytes = buffer(&blob, &(hasher.bytes()..end)).await.ok_or_else(|| unreadable(&self.listed.name))?;
            hasher.update(&Uint8Array::new(&bytes).to_vec());
        }
        let (sha256, manifest) = hasher.clone().finish();
        let is_right = match &self.listed.digest {
            Some(Digest::Sha256(published)) => published.eq_ignore_ascii_case(&sha256),
            Some(Digest::GitSha1(published)) => published.eq_ignore_ascii_case(&git_sha1(&self.listed.name, &blob).await?),
            None => return Err(failed(format!("the hub publishes no checksum of {}; it cannot be trusted", self.listed.name))),
        };
        if is_right {
            folder.write(&manifest_name(&self.listed.name), &json(&manifest)?).await?;
        }
        Ok(is_right)
    }

    /// Throws away all that is there.
    pub(super) async fn remove(&self, folder: &Folder) -> Result<(), Failure> {
        for (part, _) in &self.parts {
            folder.remove(&part.name).await?;
        }
        Ok(())
    }

    /// The file as a source of bytes, with `table` in place of the part that may not be there.
    fn source(self, held: &Rc<Held>, table: Option<&Arc<dyn ByteSource>>) -> Result<Arc<dyn ByteSource>, Failure> {
        let name = self.listed.name.clone();
        let source =
            |blob: Blob| -> Arc<dyn ByteSource> { Arc::new(BlobSource { name: name.clone(), blob, _lock: Some(Rc::clone(held)) }) };
        let Some(table) = table.filter(|_| self.table().is_some()) else { return self.blob().map(source) };
        let [(_, Some(before)), _, (_, Some(after))] = self.parts.as_slice() else { return Err(unreadable(&name)) };
        Ok(Arc::new(Joined(vec![source(before.clone().into()), Arc::clone(table), source(after.clone().into())])))
    }
}

impl Model {
    /// What there is of a model, if a download was begun: of the commit of that time.
    pub(super) async fn find(models: &Folder, id: &HubId) -> Result<Option<Self>, Failure> {
        let Some(folder) = models.folder(&folder_name(id), false).await? else { return Ok(None) };
        let Some(bytes) = folder.read(RECORD, JSON_BYTES as u64).await? else { return Ok(None) };
        let Ok(record) = serde_json::from_slice(&bytes) else { return Ok(None) };
        Self::of(folder, record).await.map(Some)
    }

    /// What there is in a folder.
    pub(super) async fn of(folder: Folder, record: Record) -> Result<Self, Failure> {
        let mut files = Vec::with_capacity(record.files.len());
        for listed in &record.files {
            files.push(StoredFile::find(&folder, record.table.as_ref(), listed).await?);
        }
        Ok(Self { folder, record, files })
    }

    pub(super) fn is_complete(&self) -> bool {
        self.files.iter().all(StoredFile::is_complete)
    }

    /// Whether all but the token table is there.
    pub(super) fn is_light(&self) -> bool {
        let has_towers = |file: &StoredFile| file.table().is_some() && file.towers().all(|(_, file)| file.is_some());
        self.record.table.is_some() && self.files.iter().all(|file| file.is_complete() || has_towers(file))
    }

    /// Whether somebody has begun to download the token table.
    pub(super) fn is_table_begun(&self) -> bool {
        self.files.iter().any(|file| file.is_table_begun)
    }

    /// Compares every chunk of what is complete with its digest.
    pub(super) async fn damage(&self, report: &mut Report<'_>) -> Result<Vec<Damage>, Failure> {
        let (total, mut done, mut damage) = (self.record.bytes(false), 0, Vec::new());
        for (index, file) in self.files.iter().enumerate() {
            let (blob, mut ranges) = (file.blob()?, Vec::new());
            for (range, expected) in file.manifest.iter().flat_map(Manifest::chunks) {
                report.step(Stage::Check, done, total)?;
                if !is_digest(&blob, &range, expected).await? {
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
    pub(super) async fn repair(&self, id: &HubId, damage: &[Damage], report: &mut Report<'_>) -> Result<(), Failure> {
        let bytes = |damage: &Damage| damage.ranges.iter().map(|range| range.end - range.start).sum::<u64>();
        let mut meter = Meter { report, finished: 0, total: damage.iter().map(bytes).sum() };
        for Damage { file, ranges } in damage {
            let Some(file) = self.files.get(*file) else { continue };
            let name = &file.listed.name;
            for range in ranges {
                let (chunk, _) = read_range(&self.record.url(id, name), name, range.clone(), &mut || meter.at(0)).await?;
                if !file.manifest.as_ref().is_some_and(|manifest| manifest.is_chunk(range.start, &chunk)) {
                    let advice = "delete the model in the list of models and open it again";
                    return Err(failed(format!("{name} is damaged and cannot be mended; {advice}")));
                }
                for (part, _) in &file.parts {
                    self.write(part, range.start, &chunk).await?;
                }
                meter.finished += range.end - range.start;
            }
        }
        Ok(())
    }

    /// Writes what a part has of the bytes from `start` of its file.
    async fn write(&self, part: &Part, start: u64, bytes: &[u8]) -> Result<(), Failure> {
        let (from, to) = (start.max(part.range.start), part.range.end.min(start + bytes.len() as u64));
        let own = (from < to).then(|| bytes.get((from - start) as usize..(to - start) as usize)).flatten();
        let Some(own) = own else { return Ok(()) };
        let writer = self.folder.writer(&part.name).await?;
        writer.write(&Uint8Array::from(own), from - part.range.start)?;
        writer.flush()
    }

    /// The files as sources that keep the lock, with `table` in place of the token table if that is not there.
    pub(super) fn sources(self, held: &Rc<Held>, table: Option<&Arc<dyn ByteSource>>) -> Result<Sources, Failure> {
        self.files.into_iter().map(|file| Ok((file.listed.name.clone(), file.source(held, table)?))).collect()
    }
}

/// A range of a blob, outside of this module's memory; nothing if the browser cannot read it.
async fn buffer(blob: &Blob, range: &Range<u64>) -> Option<Object> {
    let slice = blob.slice_with_f64_and_f64(range.start as f64, range.end as f64).ok()?;
    JsFuture::from(slice.array_buffer()).await.ok()?.dyn_into().ok()
}

/// Whether a range of a blob has a SHA-256, which the browser computes.
async fn is_digest(blob: &Blob, range: &Range<u64>, expected: &str) -> Result<bool, Failure> {
    match buffer(blob, range).await {
        Some(bytes) => Ok(digest("SHA-256", &bytes).await? == expected),
        None => Ok(false),
    }
}

/// git's name for the content. Such files are small, or they would have a SHA-256.
async fn git_sha1(name: &str, blob: &Blob) -> Result<String, Failure> {
    const LIMIT: f64 = (64 << 20) as f64;
    if blob.size() > LIMIT {
        return Err(failed(format!("{name} has {} bytes and no SHA-256; it cannot be checked", blob.size())));
    }
    let head = JsValue::from(format!("blob {}\0", blob.size()));
    let object = Blob::new_with_blob_sequence(&Array::of2(&head, blob)).map_err(|error| failed(in_words(&error)))?;
    let bytes = buffer(&object, &(0..object.size() as u64)).await.ok_or_else(|| unreadable(name))?;
    digest("SHA-1", &bytes).await
}

fn unreadable(name: &str) -> Failure {
    Failure::new(FailureKind::Storage, format!("the browser cannot read {name} back from its storage; open the model again"))
}

/// A model's folder: no name has a plus sign.
pub(super) fn folder_name(id: &HubId) -> String {
    format!("{}@{}", id.repository(), id.revision()).replace('/', "+")
}

/// Whoever uses a model holds this Web Lock.
pub(super) fn lock_name(id: &HubId) -> String {
    format!("polyglance model {}", folder_name(id))
}

fn manifest_name(file: &str) -> String {
    format!("{file}.sha256.json")
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(failed)
}
