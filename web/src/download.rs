//! One file of the hub into the browser's storage: resumed where it stopped, checked, and only then marked as complete.
//!
//! Requests carry no credentials, and no header but a simple `Range`: for any other, `If-Range` too, the browser would first ask the storage behind the
//! hub, which does not answer such questions. Whether parts fit together is told by the digest of the whole.

use std::ops::Range;

use js_sys::{Array, Object, Promise, Reflect, Uint8Array};
use polyglance::engine::{Failure, FailureKind, Report, Stage};
use polyglance::weights::hub::{Digest, Hasher, ListedFile, Manifest, is_content_range};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortController, Headers, ReadableStreamDefaultReader, ReferrerPolicy, RequestCache, RequestCredentials, RequestInit, RequestMode,
    Response, WorkerGlobalScope,
};

use crate::files::in_words;
use crate::opfs::{Folder, Writer};

/// Between two looks at whether the page wants no more.
const TICK_MILLIS: u32 = 200;
/// A connection that yields nothing for this long has failed: 30 s.
const STALL_TICKS: u32 = 150;
/// Failures in a row, without progress between them, after which a download is given up.
const ATTEMPTS: u32 = 5;
/// Progress that makes earlier failures forgotten.
const PROGRESS: u64 = 1 << 20;
/// Read at once when what an earlier visit left is hashed.
const BUFFER: usize = 1 << 20;

/// Why something did not work, and whether it may work a moment later.
pub(crate) enum Trouble {
    Passing(Failure),
    Lasting(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Lasting(failure)
    }
}

/// Bytes of all files together, told to the page, which may stop the download.
pub(crate) struct Meter<'a, 'r> {
    pub(crate) report: &'a mut Report<'r>,
    /// Bytes of the files before this one.
    pub(crate) finished: u64,
    pub(crate) total: u64,
}

impl Meter<'_, '_> {
    fn at(&mut self, bytes: u64) -> Result<(), Failure> {
        self.report.step(Stage::Download, self.finished + bytes, self.total)
    }
}

/// An answer under way; dropping it ends the connection.
struct Answer {
    response: Response,
    connection: AbortController,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// The bytes of an address, no more than `limit`, with retries.
pub(crate) async fn read_small(url: &str, what: &str, limit: usize, meter: &mut Meter<'_, '_>) -> Result<Vec<u8>, Failure> {
    let mut failures = 0;
    loop {
        match try_small(url, what, limit, meter).await {
            Ok(bytes) => return Ok(bytes),
            Err(trouble) => again_after(trouble, &mut failures, meter, 0).await?,
        }
    }
}

async fn try_small(url: &str, what: &str, limit: usize, meter: &mut Meter<'_, '_>) -> Result<Vec<u8>, Trouble> {
    let answer = request(url, None, what, &mut || meter.at(0)).await?;
    check_status(&answer.response, what)?;
    let reader = reader(&answer.response)?;
    let mut bytes = Vec::new();
    while let Some(piece) = next(&reader, what, &mut || meter.at(0)).await? {
        bytes.extend(piece.to_vec());
        if bytes.len() > limit {
            return Err(model(format!("{what}: more than the {limit} bytes allowed")).into());
        }
    }
    Ok(bytes)
}

/// Brings a file into a folder, and gives the checksums of its chunks. `size` is what was published.
pub(crate) async fn download(
    folder: &Folder,
    file: &ListedFile,
    size: u64,
    url: &str,
    meter: &mut Meter<'_, '_>,
) -> Result<Manifest, Failure> {
    let mut partial = Partial::open(folder, file, size, url).await?;
    let left_from_before = partial.at();
    let (mut failures, mut best) = (0, partial.at());
    let mut is_second = false;
    loop {
        let filled = partial.fill(meter).await;
        if partial.at() >= best + PROGRESS {
            (failures, best) = (0, partial.at());
        }
        if let Err(trouble) = filled {
            let at = partial.at();
            again_after(trouble, &mut failures, meter, at).await?;
            continue;
        }
        if let Some(manifest) = partial.check().await? {
            return Ok(manifest);
        }
        // What an earlier visit left may be what is wrong; what has just come in whole will not get better.
        if left_from_before == 0 || is_second {
            drop(partial);
            folder.remove(&file.name).await?;
            let advice = "it was thrown away; open the model again, and if this comes again, something between here and the hub changes it";
            return Err(model(format!("{}: what arrived is not what the hub publishes; {advice}", file.name)));
        }
        is_second = true;
        partial.start_over()?;
    }
}

/// The bytes of a range of a file, which must be exactly those that the manifest knows.
pub(crate) async fn read_chunk(
    url: &str,
    name: &str,
    range: Range<u64>,
    manifest: &Manifest,
    meter: &mut Meter<'_, '_>,
) -> Result<Uint8Array, Failure> {
    let once = async {
        let header = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let answer = request(url, Some(&header), name, &mut || meter.at(0)).await?;
        check_status(&answer.response, name)?;
        let reader = reader(&answer.response)?;
        let mut bytes = Vec::new();
        while bytes.len() as u64 <= range.end - range.start {
            let Some(piece) = next(&reader, name, &mut || meter.at(0)).await? else { break };
            bytes.extend(piece.to_vec());
        }
        Ok::<_, Trouble>(bytes)
    };
    let bytes = once.await.map_err(|trouble| match trouble {
        Trouble::Passing(failure) | Trouble::Lasting(failure) => failure,
    })?;
    let advice = "delete the model in the list of models and open it again";
    let is_right = manifest.is_chunk(range.start, &bytes);
    is_right.then(|| Uint8Array::from(bytes.as_slice())).ok_or_else(|| model(format!("{name} is damaged and cannot be mended; {advice}")))
}

/// Waits before another try, or gives up.
async fn again_after(trouble: Trouble, failures: &mut u32, meter: &mut Meter<'_, '_>, at: u64) -> Result<(), Failure> {
    let failure = match trouble {
        Trouble::Passing(failure) if *failures + 1 < ATTEMPTS => failure,
        Trouble::Passing(failure) | Trouble::Lasting(failure) => return Err(failure),
    };
    web_sys::console::warn_1(&format!("{failure}; trying again").into());
    // 0.6 s, and twice that after each further failure.
    for _ in 0..3_u32 << *failures {
        meter.at(at)?;
        tick().await;
    }
    *failures += 1;
    Ok(())
}

/// A file that is still growing, and the hash of what it holds.
struct Partial<'a> {
    file: &'a ListedFile,
    size: u64,
    url: &'a str,
    writer: Writer,
    hasher: Hasher,
}

impl<'a> Partial<'a> {
    /// Opens what an earlier visit left, if anything, and hashes it.
    async fn open(folder: &Folder, file: &'a ListedFile, size: u64, url: &'a str) -> Result<Self, Failure> {
        let writer = folder.writer(&file.name).await?;
        let mut hasher = Hasher::default();
        let len = writer.len()?;
        let mut buffer = vec![0; BUFFER];
        while hasher.bytes() < len {
            let count = writer.read(&mut buffer, hasher.bytes())?;
            match buffer.get(..count) {
                Some(bytes) if count > 0 => hasher.update(bytes),
                _ => break,
            }
        }
        Ok(Self { file, size, url, writer, hasher })
    }

    fn at(&self) -> u64 {
        self.hasher.bytes()
    }

    fn start_over(&mut self) -> Result<(), Failure> {
        self.hasher = Hasher::default();
        self.writer.truncate(0)
    }

    /// Fetches what is missing.
    async fn fill(&mut self, meter: &mut Meter<'_, '_>) -> Result<(), Trouble> {
        if self.at() > self.size {
            self.start_over()?;
        }
        meter.at(self.at())?;
        if self.at() == self.size {
            return Ok(());
        }
        let mut answer = self.request(meter).await?;
        if !self.is_rest(&answer.response) {
            self.start_over()?;
            // The whole file, if the server ignored the range; else another answer is needed.
            if answer.response.status() != 200 {
                drop(answer);
                answer = self.request(meter).await?;
            }
        }
        check_status(&answer.response, &self.file.name)?;
        self.copy(&answer, meter).await?;
        Ok(self.writer.flush()?)
    }

    async fn request(&self, meter: &mut Meter<'_, '_>) -> Result<Answer, Trouble> {
        let at = self.at();
        let range = (at > 0).then(|| format!("bytes={at}-"));
        request(self.url, range.as_deref(), &self.file.name, &mut || meter.at(at)).await
    }

    /// Whether an answer can be put behind what is there. An error says nothing about that.
    fn is_rest(&self, response: &Response) -> bool {
        match response.status() {
            200 | 416 => self.at() == 0,
            206 => {
                let range = response.headers().get("content-range").ok().flatten();
                self.at() > 0 && range.is_some_and(|range| is_content_range(&range, self.at(), Some(self.size), Some(self.size)))
            }
            _ => true,
        }
    }

    async fn copy(&mut self, answer: &Answer, meter: &mut Meter<'_, '_>) -> Result<(), Trouble> {
        let reader = reader(&answer.response)?;
        loop {
            let at = self.at();
            let piece = next(&reader, &self.file.name, &mut || meter.at(at)).await?;
            let length = piece.as_ref().map_or(0, Uint8Array::length);
            if at + u64::from(length) > self.size || (piece.is_none() && at < self.size) {
                let message = format!("{}: {} of {} bytes arrived", self.file.name, at + u64::from(length), self.size);
                if length > 0 {
                    self.start_over()?;
                }
                return Err(Trouble::Passing(network(&message)));
            }
            let Some(piece) = piece else { return Ok(()) };
            self.writer.write(&piece, at)?;
            self.hasher.update(&piece.to_vec());
            meter.at(self.at())?;
        }
    }

    /// The checksums of the chunks, if the whole is what was published.
    async fn check(&self) -> Result<Option<Manifest>, Failure> {
        let (sha256, manifest) = self.hasher.clone().finish();
        let is_right = match &self.file.digest {
            Some(Digest::Sha256(published)) => published.eq_ignore_ascii_case(&sha256),
            Some(Digest::GitSha1(published)) => published.eq_ignore_ascii_case(&self.git_sha1().await?),
            None => return Err(model(format!("the hub publishes no checksum of {}; it cannot be trusted", self.file.name))),
        };
        Ok(is_right.then_some(manifest))
    }

    /// git's name for the content. Such files are small, or they would have a SHA-256.
    async fn git_sha1(&self) -> Result<String, Failure> {
        const LIMIT: u64 = 64 << 20;
        if self.size > LIMIT {
            return Err(model(format!("{} has {} bytes and no SHA-256; it cannot be checked", self.file.name, self.size)));
        }
        let mut blob = format!("blob {}\0", self.size).into_bytes();
        let start = blob.len();
        blob.resize(start + self.size as usize, 0);
        if let Some(content) = blob.get_mut(start..) {
            self.writer.read(content, 0)?;
        }
        digest("SHA-1", &Uint8Array::from(blob.as_slice())).await
    }
}

/// A digest by the browser, in hexadecimal.
pub(crate) async fn digest(algorithm: &str, bytes: &Object) -> Result<String, Failure> {
    let computed = async {
        let scope: WorkerGlobalScope = js_sys::global().dyn_into()?;
        JsFuture::from(scope.crypto()?.subtle().digest_with_str_and_buffer_source(algorithm, bytes)?).await
    };
    let digest = computed.await.map_err(|error| model(format!("the browser computes no {algorithm}: {}", in_words(&error))))?;
    Ok(Uint8Array::new(&digest).to_vec().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Sends a request and waits for the head of its answer.
async fn request(url: &str, range: Option<&str>, what: &str, ask: &mut dyn FnMut() -> Result<(), Failure>) -> Result<Answer, Trouble> {
    let failed = |error: JsValue| Trouble::Passing(network(&format!("{what}: {}", in_words(&error))));
    let connection = AbortController::new().map_err(failed)?;
    let options = RequestInit::new();
    options.set_mode(RequestMode::Cors);
    options.set_credentials(RequestCredentials::Omit);
    options.set_referrer_policy(ReferrerPolicy::NoReferrer);
    // It would keep gigabytes a second time.
    options.set_cache(RequestCache::NoStore);
    options.set_signal(Some(&connection.signal()));
    if let Some(range) = range {
        let headers = Headers::new().map_err(failed)?;
        headers.set("range", range).map_err(failed)?;
        options.set_headers_headers(&headers);
    }
    let scope: WorkerGlobalScope = js_sys::global().dyn_into().map_err(|global| failed(global.into()))?;
    let response = patient(&scope.fetch_with_str_and_init(url, &options), what, ask).await;
    if response.is_err() {
        connection.abort();
    }
    let response: Response = response?.dyn_into().map_err(failed)?;
    Ok(Answer { response, connection })
}

fn reader(response: &Response) -> Result<ReadableStreamDefaultReader, Failure> {
    let body = response.body().ok_or_else(|| network("the answer has no body"))?;
    body.get_reader().dyn_into().map_err(|_| network("the answer cannot be read"))
}

/// The next piece of a body; nothing at its end.
async fn next(
    reader: &ReadableStreamDefaultReader,
    what: &str,
    ask: &mut dyn FnMut() -> Result<(), Failure>,
) -> Result<Option<Uint8Array>, Trouble> {
    let read = patient(&reader.read(), what, ask).await?;
    Ok(Reflect::get(&read, &"value".into()).ok().and_then(|piece| piece.dyn_into().ok()))
}

/// What a promise of an object comes to, unless the page wants no more or nothing happens for too long.
async fn patient(promise: &Promise, what: &str, ask: &mut dyn FnMut() -> Result<(), Failure>) -> Result<JsValue, Trouble> {
    for _ in 0..STALL_TICKS {
        let first = Promise::race(&Array::of2(promise, &timer()));
        let first = JsFuture::from(first).await.map_err(|error| Trouble::Passing(network(&format!("{what}: {}", in_words(&error)))))?;
        if first.is_object() {
            return Ok(first);
        }
        ask()?;
    }
    Err(Trouble::Passing(network(&format!("{what}: nothing arrives"))))
}

/// Some time.
pub(crate) async fn tick() {
    let _ = JsFuture::from(timer()).await;
}

/// A promise of nothing, after a tick.
fn timer() -> Promise {
    Promise::new(&mut |resolve, _| {
        let scope: Option<WorkerGlobalScope> = js_sys::global().dyn_into().ok();
        let set = scope.map(|scope| scope.set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, TICK_MILLIS as i32));
        if !matches!(set, Some(Ok(_))) {
            let _ = resolve.call0(&JsValue::NULL);
        }
    })
}

fn check_status(response: &Response, what: &str) -> Result<(), Trouble> {
    match response.status() {
        200..=299 => Ok(()),
        401 | 403 | 404 => {
            let advice = "check the spelling and the revision; a model that asks for an account can be downloaded by other means and its files chosen here";
            Err(model(format!("the hub has no {what}, or does not give it to everybody; {advice}")).into())
        }
        status @ (408 | 425 | 429 | 500..) => Err(Trouble::Passing(network(&format!("{what}: the hub answers with status {status}")))),
        status => Err(model(format!("{what}: the hub answers with status {status}; try again later")).into()),
    }
}

fn network(reason: &str) -> Failure {
    model(format!("{reason}; check the network and open the model again, the download resumes"))
}

pub(crate) fn model(message: impl ToString) -> Failure {
    Failure::new(FailureKind::Model, message)
}
