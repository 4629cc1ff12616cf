//! A shard from a web server as a stream of bytes that survives broken connections.

use std::io::{self, Read};
use std::time::Duration;

use ureq::http::header::{ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderName, RANGE};
use ureq::{Agent, BodyReader};

use super::{Cancel, limits};

/// How patient downloads are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpOptions {
    /// Silence after which a connection counts as broken.
    pub stall_timeout: Duration,
    /// Failures in a row after which a shard is given up.
    pub attempts: u32,
    /// Pause after the first failure; it doubles with each further one, up to a minute.
    pub backoff: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self { stall_timeout: Duration::from_secs(30), attempts: 6, backoff: Duration::from_secs(1) }
    }
}

/// Progress that makes earlier failures forgotten, in bytes.
const PROGRESS: u64 = 1 << 20;

/// Reads one address from `position` on. After a failure it asks for the rest by range; a file that changed in between is an error.
pub(super) struct HttpReader {
    agent: Agent,
    url: String,
    options: HttpOptions,
    cancel: Cancel,
    position: u64,
    /// Size of the file and its ETag, as far as the server told.
    total: Option<u64>,
    etag: Option<String>,
    body: Option<BodyReader<'static>>,
    failures: u32,
    /// Where the latest failure happened.
    failed_at: u64,
}

/// What went wrong with one request.
enum Failure {
    /// It may work the next time.
    Transient(String),
    /// It will not.
    Final(String),
}

impl HttpReader {
    pub(super) fn new(url: &str, position: u64, options: &HttpOptions, cancel: Cancel) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_resolve(Some(options.stall_timeout))
            .timeout_connect(Some(options.stall_timeout))
            .timeout_per_read(Some(options.stall_timeout))
            .timeout_per_write(Some(options.stall_timeout))
            .user_agent(concat!("polyglance-trainer/", env!("CARGO_PKG_VERSION")))
            .build();
        Self {
            agent: config.new_agent(),
            url: url.to_owned(),
            options: options.clone(),
            cancel,
            position,
            total: None,
            etag: None,
            body: None,
            failures: 0,
            failed_at: position,
        }
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        if self.body.is_none() {
            // Nothing is left: a request for no bytes would be refused.
            if self.total == Some(self.position) {
                return Ok(0);
            }
            self.body = Some(self.connect()?);
        }
        let Some(body) = &mut self.body else { return Ok(0) };
        match body.read(buffer) {
            Ok(0) if self.total.is_some_and(|total| self.position < total) => {
                Err(Failure::Transient(format!("the connection ended at byte {}", self.position)))
            }
            Ok(count) => {
                self.position += count as u64;
                Ok(count)
            }
            Err(error) => Err(Failure::Transient(error.to_string())),
        }
    }

    /// Asks for the bytes from `position` on.
    fn connect(&mut self) -> Result<BodyReader<'static>, Failure> {
        // Compression in transit would make lengths and ranges mean something else.
        let mut request = self.agent.get(&self.url).header(ACCEPT_ENCODING, "identity");
        if self.position > 0 {
            request = request.header(RANGE, format!("bytes={}-", self.position));
        }
        let response = request.call().map_err(|error| match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::TooManyRedirects => Failure::Final(error.to_string()),
            error => Failure::Transient(error.to_string()),
        })?;
        // A proxy may answer 206 with another range than asked for, so what is there decides, not the status.
        let header = |name: HeaderName| response.headers().get(name)?.to_str().ok();
        let (status, etag) = (response.status().as_u16(), header(ETAG).map(str::to_owned));
        let (start, total) = match status {
            200 => (0, response.body().content_length()),
            206 => header(CONTENT_RANGE)
                .and_then(parse_range)
                .ok_or_else(|| Failure::Final("it answers with a range it does not name".to_owned()))?,
            408 | 429 | 500..=599 => return Err(Failure::Transient(format!("status {status}"))),
            _ => return Err(Failure::Final(format!("status {status}"))),
        };
        self.check_same_file(total, etag)?;
        if start > self.position {
            return Err(Failure::Final(format!("it answers with byte {start} when asked for {}", self.position)));
        }
        let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
        // A server without ranges sends the file from its start again.
        let again = self.position - start;
        match io::copy(&mut body.by_ref().take(again), &mut io::sink()) {
            Ok(passed) if passed == again => Ok(body),
            Ok(_) => Err(Failure::Transient("the connection ended early".to_owned())),
            Err(error) => Err(Failure::Transient(error.to_string())),
        }
    }

    fn check_same_file(&mut self, total: Option<u64>, etag: Option<String>) -> Result<(), Failure> {
        // Before a byte of it is read; a shard of unknown length is measured by the tar reader.
        if let Some(total) = total.filter(|&total| total > limits::SHARD_BYTES) {
            return Err(Failure::Final(format!("it has {total} bytes, more than the {} allowed; split it", limits::SHARD_BYTES)));
        }
        let differ = |old: bool, new: bool, equal: bool| old && new && !equal;
        if differ(self.total.is_some(), total.is_some(), self.total == total)
            || differ(self.etag.is_some(), etag.is_some(), self.etag == etag)
        {
            return Err(Failure::Final("it changed while it was read".to_owned()));
        }
        self.total = self.total.or(total);
        self.etag = self.etag.take().or(etag);
        Ok(())
    }
}

impl Read for HttpReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.cancel.is_set() {
                return Err(io::Error::other("cancelled"));
            }
            let reason = match self.try_read(buffer) {
                Ok(count) => return Ok(count),
                Err(Failure::Final(reason)) => return Err(io::Error::other(reason)),
                Err(Failure::Transient(reason)) => reason,
            };
            self.body = None;
            let progressed = self.position >= self.failed_at + PROGRESS;
            self.failures = if progressed { 1 } else { self.failures + 1 };
            self.failed_at = self.position;
            if self.failures >= self.options.attempts {
                return Err(io::Error::other(format!("{reason}; {} attempts failed", self.failures)));
            }
            tracing::warn!("{}: {reason}; trying again", public(&self.url));
            let pause = self.options.backoff.saturating_mul(1 << (self.failures - 1).min(6)).min(Duration::from_secs(60));
            self.cancel.sleep(pause);
        }
    }
}

/// An address without its query.
pub(super) fn public(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

/// First byte and whole size of `bytes 100-199/1000`.
fn parse_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((range.split_once('-')?.0.parse().ok()?, total))
}
