//! One file from the hub into the cache: resumed where it stopped, checked, then renamed into place.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use super::cache::{Repository, create_parent, save_manifest};
use super::http::{Answer, Client, RemoteFile};
use super::manifest::{Hasher, Manifest};
use super::{HubError, HubOptions, Progress};

const BUFFER: usize = 256 << 10;
/// Progress that makes earlier failures forgotten.
const PROGRESS: u64 = 1 << 20;

/// Bytes of all files together, reported to the caller, who may stop the download.
pub(super) struct Meter<'a> {
    report: &'a mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    /// Bytes of the files before this one.
    finished: u64,
    /// Bytes of this one.
    current: u64,
    total: u64,
}

impl<'a> Meter<'a> {
    pub(super) fn new(report: &'a mut dyn FnMut(Progress<'_>) -> ControlFlow<()>) -> Self {
        Self { report, finished: 0, current: 0, total: 0 }
    }

    pub(super) fn expect(&mut self, total: u64) {
        self.total = total;
    }

    /// `bytes` of `file` are there.
    fn at(&mut self, file: &str, bytes: u64) -> Result<(), HubError> {
        self.current = bytes;
        self.ask(file)
    }

    /// All of `file` is there.
    pub(super) fn finish(&mut self, file: &RemoteFile) -> Result<(), HubError> {
        self.finished += file.size.unwrap_or(self.current);
        self.at(&file.name, 0)
    }

    /// Reports again, so that the caller can stop a wait.
    fn ask(&mut self, file: &str) -> Result<(), HubError> {
        let done = self.finished + self.current;
        match (self.report)(Progress { file, done, total: self.total.max(done) }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(HubError::Cancelled),
        }
    }
}

/// Runs `request` again after transient failures, with growing pauses, until `attempts` failures in a row.
pub(super) fn retry<T>(
    options: &HubOptions,
    meter: &mut Meter<'_>,
    what: &str,
    mut request: impl FnMut(&mut Meter<'_>, &mut u32) -> Result<T, HubError>,
) -> Result<T, HubError> {
    let mut failures = 0;
    loop {
        match request(meter, &mut failures) {
            Err(error) if error.is_transient() && failures + 1 < options.attempts => {
                tracing::warn!("{what}: {error}; trying again");
                pause(options.backoff.saturating_mul(1 << failures.min(6)), || meter.ask(what))?;
                failures += 1;
            }
            result => return result,
        }
    }
}

/// Sleeps in short steps, so that a stop is noticed.
fn pause(duration: Duration, mut ask: impl FnMut() -> Result<(), HubError>) -> Result<(), HubError> {
    const STEP: Duration = Duration::from_millis(100);
    let mut left = duration;
    while !left.is_zero() {
        ask()?;
        std::thread::sleep(left.min(STEP));
        left = left.saturating_sub(STEP);
    }
    Ok(())
}

/// Brings a file's blob into the cache unless it is there.
pub(super) fn download(
    client: &Client,
    options: &HubOptions,
    repository: &Repository,
    file: &RemoteFile,
    meter: &mut Meter<'_>,
) -> Result<(), HubError> {
    let blob = repository.blob(&file.etag);
    let is_there = || fs::metadata(&blob).is_ok_and(|metadata| file.size.is_none_or(|size| size == metadata.len()));
    if is_there() {
        return Ok(());
    }
    create_parent(&blob)?;
    let lock = repository.lock(&file.etag, || meter.ask(&file.name))?;
    if is_there() {
        return Ok(());
    }
    let incomplete = repository.incomplete(&file.etag);
    let manifest = retry(options, meter, &file.name, |meter, failures| {
        let mut partial = Partial::open(&incomplete)?;
        let before = partial.hasher.bytes();
        let result = partial.fill(client, file, meter);
        if partial.hasher.bytes().saturating_sub(before) >= PROGRESS {
            *failures = 0;
        }
        match result.and_then(|()| partial.check(file)) {
            // What an earlier run left may be what is wrong: a file system may keep a length but lose bytes in a crash.
            Err(HubError::Corrupt { .. }) if before > 0 => {
                partial.start_over()?;
                partial.fill(client, file, meter)?;
                partial.check(file)
            }
            result => result,
        }
    })?;
    save_manifest(&manifest, &repository.manifest(&file.etag))?;
    fs::rename(&incomplete, &blob).map_err(|source| HubError::Io { path: blob, source })?;
    drop(lock);
    Ok(())
}

/// A file that is still growing, and the hash of what it holds.
struct Partial<'a> {
    path: &'a Path,
    file: File,
    hasher: Hasher,
}

impl<'a> Partial<'a> {
    /// Opens what an earlier run left, if anything, and hashes it.
    fn open(path: &'a Path) -> Result<Self, HubError> {
        let failed = |source| HubError::Io { path: path.to_owned(), source };
        let file = File::options().create(true).truncate(false).read(true).write(true).open(path).map_err(failed)?;
        let mut hasher = Hasher::default();
        hasher.update_from(&file).map_err(failed)?;
        Ok(Self { path, file, hasher })
    }

    fn failed(&self, source: io::Error) -> HubError {
        HubError::Io { path: self.path.to_owned(), source }
    }

    fn start_over(&mut self) -> Result<(), HubError> {
        self.hasher = Hasher::default();
        self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0))).map_err(|source| self.failed(source))?;
        Ok(())
    }

    /// Fetches what is missing.
    fn fill(&mut self, client: &Client, file: &RemoteFile, meter: &mut Meter<'_>) -> Result<(), HubError> {
        if file.size.is_some_and(|size| self.hasher.bytes() > size) {
            self.start_over()?;
        }
        meter.at(&file.name, self.hasher.bytes())?;
        if file.size != Some(self.hasher.bytes()) {
            let mut answer = client.read(file, self.hasher.bytes())?;
            if let Answer::StartOver = answer {
                self.start_over()?;
                answer = client.read(file, 0)?;
            }
            match answer {
                Answer::Rest(body) => self.copy(body.into_reader(), file, meter)?,
                Answer::Whole(body) => {
                    self.start_over()?;
                    self.copy(body.into_reader(), file, meter)?;
                }
                Answer::StartOver => return Err(HubError::NotAHub { url: file.url.clone(), reason: "no range was asked for".to_owned() }),
            }
        }
        self.file.sync_all().map_err(|source| self.failed(source))
    }

    fn copy(&mut self, mut body: impl Read, file: &RemoteFile, meter: &mut Meter<'_>) -> Result<(), HubError> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(HubError::Network { url: file.url.clone(), reason: error.to_string() }),
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            let got = self.hasher.bytes() + count as u64;
            let expected = file.size.unwrap_or(got);
            if got > expected {
                self.start_over()?;
            }
            if got > expected || (bytes.is_empty() && got < expected) {
                return Err(HubError::Length { file: file.name.clone(), got, expected });
            }
            if bytes.is_empty() {
                return Ok(());
            }
            self.file.write_all(bytes).map_err(|source| self.failed(source))?;
            self.hasher.update(bytes);
            meter.at(&file.name, got)?;
        }
    }

    /// Compares the hash with the published one. A file that fails is emptied, so that nothing resumes from it.
    fn check(&mut self, file: &RemoteFile) -> Result<Manifest, HubError> {
        let (actual, manifest) = std::mem::take(&mut self.hasher).finish();
        match file.sha256() {
            Some(expected) if !expected.eq_ignore_ascii_case(&actual) => {
                self.start_over()?;
                Err(HubError::Corrupt { file: file.name.clone(), expected: expected.to_owned(), actual })
            }
            _ => Ok(manifest),
        }
    }
}
