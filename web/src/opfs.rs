//! The origin's private file system: folders and files that the browser keeps for this site, seen from a worker.

use std::future::Future;

use js_sys::{Promise, Reflect, Uint8Array};
use polyglance::engine::{Failure, FailureKind};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    DomException, File, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetDirectoryOptions, FileSystemGetFileOptions,
    FileSystemReadWriteOptions, FileSystemRemoveOptions, FileSystemSyncAccessHandle, StorageEstimate, StorageManager, WorkerGlobalScope,
};

/// A folder.
#[derive(Clone)]
pub(crate) struct Folder(FileSystemDirectoryHandle);

/// A file that is being written. Nobody else can open it meanwhile.
pub(crate) struct Writer(FileSystemSyncAccessHandle);

/// What the browser says of its room for this site.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) usage: u64,
    pub(crate) quota: Option<u64>,
}

impl Folder {
    /// The folder of this name at the root; made if it is not there.
    pub(crate) async fn at_root(name: &str) -> Result<Self, Failure> {
        let unavailable = |_| {
            let advice = "open it in a window that is not private; models can be opened from files all the same";
            Failure::new(FailureKind::Storage, format!("the browser keeps no files for this page; {advice}"))
        };
        let root = async { resolved::<FileSystemDirectoryHandle>(storage()?.get_directory()).await };
        let root = Self(root.await.map_err(unavailable)?);
        root.folder(name, true).await?.ok_or_else(|| unavailable(JsValue::NULL))
    }

    /// A folder inside.
    pub(crate) async fn folder(&self, name: &str, create: bool) -> Result<Option<Self>, Failure> {
        let options = FileSystemGetDirectoryOptions::new();
        options.set_create(create);
        Ok(unless_missing(resolved(self.0.get_directory_handle_with_options(name, &options))).await?.map(Self))
    }

    /// Names of what is inside.
    pub(crate) async fn names(&self) -> Result<Vec<String>, Failure> {
        let keys = self.0.keys();
        let mut names = Vec::new();
        loop {
            let next = async { JsFuture::from(keys.next()?).await };
            let next = next.await.map_err(|error| failure(&error))?;
            let member = |name: &str| Reflect::get(&next, &name.into()).unwrap_or_default();
            if member("done").is_truthy() {
                return Ok(names);
            }
            names.extend(member("value").as_string());
        }
    }

    /// Removes a file, or a folder with all that is in it, if it is there.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), Failure> {
        let options = FileSystemRemoveOptions::new();
        options.set_recursive(true);
        unless_missing(async { JsFuture::from(self.0.remove_entry_with_options(name, &options)).await }).await.map(drop)
    }

    /// A file as it is now, to be read by slice.
    pub(crate) async fn file(&self, name: &str) -> Result<Option<File>, Failure> {
        let file = async { resolved(resolved::<FileSystemFileHandle>(self.0.get_file_handle(name)).await?.get_file()).await };
        unless_missing(file).await
    }

    /// The bytes of a small file; nothing if there is none, or a larger one.
    pub(crate) async fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Failure> {
        let Some(file) = self.file(name).await?.filter(|file| file.size() <= limit as f64) else { return Ok(None) };
        let buffer = JsFuture::from(file.array_buffer()).await.map_err(|error| failure(&error))?;
        Ok(Some(Uint8Array::new(&buffer).to_vec()))
    }

    /// Writes a small file. After a crash it may be there in part: whoever reads it must be able to tell.
    pub(crate) async fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let writer = self.writer(name).await?;
        writer.truncate(0)?;
        writer.write(&Uint8Array::from(bytes), 0)?;
        writer.flush()
    }

    /// Opens a file for writing; makes it if it is not there.
    pub(crate) async fn writer(&self, name: &str) -> Result<Writer, Failure> {
        let options = FileSystemGetFileOptions::new();
        options.set_create(true);
        let handle = async {
            let file: FileSystemFileHandle = resolved(self.0.get_file_handle_with_options(name, &options)).await?;
            resolved(file.create_sync_access_handle()).await
        };
        handle.await.map(Writer).map_err(|error| failure(&error))
    }
}

impl Writer {
    pub(crate) fn len(&self) -> Result<u64, Failure> {
        self.0.get_size().map(|size| size as u64).map_err(|error| failure(&error))
    }

    pub(crate) fn truncate(&self, len: u64) -> Result<(), Failure> {
        self.0.truncate_with_f64(len as f64).map_err(|error| failure(&error))
    }

    /// Writes all of `bytes` at an offset.
    pub(crate) fn write(&self, bytes: &Uint8Array, offset: u64) -> Result<(), Failure> {
        let written = self.0.write_with_js_u8_array_and_options(bytes, &at(offset)).map_err(|error| failure(&error))?;
        // A disk without room takes less than it is given.
        if written < f64::from(bytes.length()) { Err(full()) } else { Ok(()) }
    }

    pub(crate) fn flush(&self) -> Result<(), Failure> {
        self.0.flush().map_err(|error| failure(&error))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Room {
    pub(crate) async fn now() -> Result<Self, Failure> {
        let estimate = async { JsFuture::from(storage()?.estimate()?).await };
        // A plain object, of no class that could be asked for.
        let estimate: StorageEstimate = estimate.await.map_err(|error| failure(&error))?.unchecked_into();
        Ok(Self { usage: estimate.get_usage().unwrap_or(0.0) as u64, quota: estimate.get_quota().map(|quota| quota as u64) })
    }

    /// Bytes that may still be written.
    pub(crate) fn free(self) -> Option<u64> {
        Some(self.quota?.saturating_sub(self.usage))
    }
}

/// The storage is full.
pub(crate) fn full() -> Failure {
    let advice = "free space by deleting a model, an index or something else on the disk, and try again: it goes on where it stopped";
    Failure::new(FailureKind::Storage, format!("the browser has no more room for this site's files; {advice}"))
}

fn at(offset: u64) -> FileSystemReadWriteOptions {
    let options = FileSystemReadWriteOptions::new();
    options.set_at(offset as f64);
    options
}

/// The browser's storage; an error where it has none: without a secure connection, or in a private window.
fn storage() -> Result<StorageManager, JsValue> {
    let scope: WorkerGlobalScope = js_sys::global().dyn_into()?;
    Reflect::get(&scope.navigator(), &"storage".into())?.dyn_into()
}

async fn resolved<T: JsCast>(promise: Promise) -> Result<T, JsValue> {
    JsFuture::from(promise).await?.dyn_into()
}

/// What is there; nothing if it is missing.
async fn unless_missing<T>(result: impl Future<Output = Result<T, JsValue>>) -> Result<Option<T>, Failure> {
    match result.await {
        Ok(value) => Ok(Some(value)),
        Err(error) if name_of(&error) == "NotFoundError" => Ok(None),
        Err(error) => Err(failure(&error)),
    }
}

fn name_of(error: &JsValue) -> String {
    error.dyn_ref::<DomException>().map(DomException::name).unwrap_or_default()
}

/// What the storage said, for people.
pub(crate) fn failure(error: &JsValue) -> Failure {
    match name_of(error).as_str() {
        "QuotaExceededError" => full(),
        "NoModificationAllowedError" => Failure::new(FailureKind::Storage, "another tab is writing this; close it, and try again"),
        _ => Failure::new(FailureKind::Storage, format!("the browser's storage fails: {}", crate::files::in_words(error))),
    }
}
