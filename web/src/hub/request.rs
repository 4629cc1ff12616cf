//! Questions to the hub, patient with its network and impatient with people who want no more.
//!
//! Requests carry no credentials, and no header but a simple `Range`: for any other, `If-Range` too, the browser would first ask the storage behind the
//! hub, which does not answer such questions. Whether what came fits together is told by the digest of the whole.

use std::ops::Range;

use js_sys::{Array, Object, Promise, Reflect, Uint8Array};
use polyglance::engine::{Failure, FailureKind, Report, Stage};
use polyglance::weights::hub::is_content_range;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortController, Headers, ReadableStreamDefaultReader, ReferrerPolicy, RequestCache, RequestCredentials, RequestInit, RequestMode,
    Response, WorkerGlobalScope,
};

use crate::files::in_words;

/// Between two looks at whether the page wants no more.
const TICK_MILLIS: u32 = 200;
/// A connection that yields nothing for this long has failed: 30 s.
const STALL_TICKS: u32 = 150;
/// Failures in a row, without progress between them, after which a download is given up.
const ATTEMPTS: u32 = 5;

/// Whether the answer is still wanted.
pub(crate) type Ask<'a> = dyn FnMut() -> Result<(), Failure> + 'a;

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
    pub(crate) fn at(&mut self, bytes: u64) -> Result<(), Failure> {
        self.report.step(Stage::Download, self.finished + bytes, self.total)
    }
}

impl Trouble {
    /// Whether nothing is wrong but that somebody wants no more.
    pub(crate) fn is_stop(&self) -> bool {
        matches!(self, Self::Lasting(failure) if failure.kind == FailureKind::Cancelled)
    }
}

/// Dropping it ends the connection.
struct Connection(AbortController);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A request that was sent.
pub(crate) struct Question {
    response: Promise,
    connection: Connection,
}

/// An answer under way.
pub(crate) struct Answer {
    pub(crate) response: Response,
    _connection: Connection,
    reader: Option<ReadableStreamDefaultReader>,
    /// The next piece, if somebody has begun to wait for it.
    next: Option<Promise>,
}

impl Answer {
    /// Whether it holds exactly these bytes, of a file of `size` bytes if that is known.
    pub(crate) fn is_range(&self, range: &Range<u64>, size: Option<u64>) -> bool {
        let named = self.response.headers().get("content-range").ok().flatten();
        self.response.status() == 206 && named.is_some_and(|named| is_content_range(&named, range.start, Some(range.end), size))
    }

    /// The next piece of the body; nothing at its end. Whoever stopped waiting for it can ask again.
    pub(crate) async fn next(&mut self, what: &str, ask: &mut Ask<'_>) -> Result<Option<Uint8Array>, Trouble> {
        let reader = match &self.reader {
            Some(reader) => reader,
            None => self.reader.insert(reader(&self.response)?),
        };
        let piece = self.next.get_or_insert_with(|| reader.read());
        let read = patient(piece, what, ask).await?;
        self.next = None;
        Ok(Reflect::get(&read, &"value".into()).ok().and_then(|piece| piece.dyn_into().ok()))
    }
}

/// The bytes of an address, no more than `limit`, with retries.
pub(crate) async fn read_small(url: &str, what: &str, limit: usize, meter: &mut Meter<'_, '_>) -> Result<Vec<u8>, Failure> {
    let mut failures = 0;
    loop {
        match try_small(url, what, limit, meter).await {
            Ok(bytes) => return Ok(bytes),
            Err(trouble) => again_after(trouble, &mut failures, &mut || meter.at(0)).await?,
        }
    }
}

async fn try_small(url: &str, what: &str, limit: usize, meter: &mut Meter<'_, '_>) -> Result<Vec<u8>, Trouble> {
    let mut answer = request(url, None, what, &mut || meter.at(0)).await?;
    check_status(&answer.response, what)?;
    let mut bytes = Vec::new();
    while let Some(piece) = answer.next(what, &mut || meter.at(0)).await? {
        bytes.extend(piece.to_vec());
        if bytes.len() > limit {
            return Err(failed(format!("{what}: more than the {limit} bytes allowed")).into());
        }
    }
    Ok(bytes)
}

/// Exactly the bytes of a range of a file, and the address that they came from in the end; with retries.
pub(crate) async fn read_range(url: &str, name: &str, range: Range<u64>, ask: &mut Ask<'_>) -> Result<(Vec<u8>, String), Failure> {
    let mut failures = 0;
    loop {
        match try_range(url, name, &range, ask).await {
            Ok(read) => return Ok(read),
            Err(trouble) => again_after(trouble, &mut failures, ask).await?,
        }
    }
}

async fn try_range(url: &str, name: &str, range: &Range<u64>, ask: &mut Ask<'_>) -> Result<(Vec<u8>, String), Trouble> {
    let mut answer = request(url, Some(range), name, ask).await?;
    check_status(&answer.response, name)?;
    if !answer.is_range(range, None) {
        return Err(failed(format!("{name}: the hub sends another part than was asked for; try again later")).into());
    }
    let (mut bytes, length) = (Vec::new(), range.end - range.start);
    while let Some(piece) = answer.next(name, ask).await? {
        bytes.extend(piece.to_vec());
        if bytes.len() as u64 > length {
            return Err(failed(format!("{name}: the hub sends more than the {length} bytes it was asked for; try again later")).into());
        }
    }
    if bytes.len() as u64 != length {
        return Err(Trouble::Passing(network(&format!("{name}: {} of {length} bytes arrived", bytes.len()))));
    }
    Ok((bytes, answer.response.url()))
}

/// Waits before another try, or gives up.
pub(crate) async fn again_after(trouble: Trouble, failures: &mut u32, ask: &mut Ask<'_>) -> Result<(), Failure> {
    let failure = match trouble {
        Trouble::Passing(failure) if *failures + 1 < ATTEMPTS => failure,
        Trouble::Passing(failure) | Trouble::Lasting(failure) => return Err(failure),
    };
    web_sys::console::warn_1(&format!("{failure}; trying again").into());
    // 0.6 s, and twice that after each further failure.
    for _ in 0..3_u32 << *failures {
        ask()?;
        tick().await;
    }
    *failures += 1;
    Ok(())
}

/// A digest by the browser, in hexadecimal.
pub(crate) async fn digest(algorithm: &str, bytes: &Object) -> Result<String, Failure> {
    let computed = async {
        let scope: WorkerGlobalScope = js_sys::global().dyn_into()?;
        JsFuture::from(scope.crypto()?.subtle().digest_with_str_and_buffer_source(algorithm, bytes)?).await
    };
    let digest = computed.await.map_err(|error| failed(format!("the browser computes no {algorithm}: {}", in_words(&error))))?;
    Ok(Uint8Array::new(&digest).to_vec().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Sends a request and waits for the head of its answer.
async fn request(url: &str, range: Option<&Range<u64>>, what: &str, ask: &mut Ask<'_>) -> Result<Answer, Trouble> {
    let question = Question::send(url, range, what)?;
    let response = question.head(what, ask).await?;
    Ok(question.answered(response))
}

impl Question {
    pub(crate) fn send(url: &str, range: Option<&Range<u64>>, what: &str) -> Result<Self, Trouble> {
        let broken = |error: JsValue| Trouble::Passing(network(&format!("{what}: {}", in_words(&error))));
        let connection = AbortController::new().map_err(broken)?;
        let options = RequestInit::new();
        options.set_mode(RequestMode::Cors);
        options.set_credentials(RequestCredentials::Omit);
        options.set_referrer_policy(ReferrerPolicy::NoReferrer);
        // It would keep gigabytes a second time.
        options.set_cache(RequestCache::NoStore);
        options.set_signal(Some(&connection.signal()));
        if let Some(range) = range {
            let headers = Headers::new().map_err(broken)?;
            headers.set("range", &format!("bytes={}-{}", range.start, range.end.saturating_sub(1))).map_err(broken)?;
            options.set_headers_headers(&headers);
        }
        let scope: WorkerGlobalScope = js_sys::global().dyn_into().map_err(|global| broken(global.into()))?;
        Ok(Self { response: scope.fetch_with_str_and_init(url, &options), connection: Connection(connection) })
    }

    /// The head of the answer. Whoever stopped waiting for it can wait again.
    pub(crate) async fn head(&self, what: &str, ask: &mut Ask<'_>) -> Result<Response, Trouble> {
        let no_answer = |error: JsValue| Trouble::Passing(network(&format!("{what}: {}", in_words(&error))));
        patient(&self.response, what, ask).await?.dyn_into().map_err(no_answer)
    }

    /// The answer with this head.
    pub(crate) fn answered(self, response: Response) -> Answer {
        Answer { response, _connection: self.connection, reader: None, next: None }
    }
}

fn reader(response: &Response) -> Result<ReadableStreamDefaultReader, Failure> {
    let body = response.body().ok_or_else(|| network("the answer has no body"))?;
    body.get_reader().dyn_into().map_err(|_| network("the answer cannot be read"))
}

/// What a promise of an object comes to, unless the page wants no more or nothing happens for too long.
async fn patient(promise: &Promise, what: &str, ask: &mut Ask<'_>) -> Result<JsValue, Trouble> {
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

pub(crate) fn check_status(response: &Response, what: &str) -> Result<(), Trouble> {
    match response.status() {
        200..=299 => Ok(()),
        401 | 403 | 404 => {
            let advice = "check the spelling and the revision; a model that asks for an account can be downloaded by other means and its files chosen here";
            Err(failed(format!("the hub has no {what}, or does not give it to everybody; {advice}")).into())
        }
        status @ (408 | 425 | 429 | 500..) => Err(Trouble::Passing(network(&format!("{what}: the hub answers with status {status}")))),
        status => Err(failed(format!("{what}: the hub answers with status {status}; try again later")).into()),
    }
}

pub(crate) fn network(reason: &str) -> Failure {
    failed(format!("{reason}; check the network and try again, a download resumes"))
}

pub(crate) fn failed(message: impl ToString) -> Failure {
    Failure::new(FailureKind::Model, message)
}
