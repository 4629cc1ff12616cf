//! Requests to the hub. Redirects are followed by hand, because the token must not follow them to another host.

use ureq::http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, LOCATION, RANGE};
use ureq::http::{HeaderMap, Method, Request, Response, Uri};
use ureq::{Agent, Body};

use super::reference::is_name;
use super::{HubError, HubId, HubOptions, Listing, Token, is_content_range};

const REDIRECTS: usize = 10;
/// Longest listing of a repository that is read.
const LISTING_BYTES: u64 = 8 << 20;

pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<Token>,
}

/// A file of a repository, before it is downloaded.
pub(super) struct RemoteFile {
    pub(super) name: String,
    pub(super) url: String,
    /// Name of its blob; the SHA-256 of its bytes if they are stored as a large file.
    pub(super) etag: String,
    pub(super) size: Option<u64>,
}

impl RemoteFile {
    /// The published SHA-256. Small files have a git hash instead.
    pub(super) fn sha256(&self) -> Option<&str> {
        (self.etag.len() == 64 && self.etag.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(self.etag.as_str())
    }
}

/// What arrives in answer to a request for the bytes from `start`.
pub(super) enum Answer {
    /// The bytes from `start` on.
    Rest(Body),
    /// The whole file, because the server ignored the range.
    Whole(Body),
    /// The range cannot be had: begin again without one.
    StartOver,
}

impl Client {
    pub(super) fn new(options: &HubOptions) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(options.stall_timeout))
            .timeout_connect(Some(options.stall_timeout))
            .timeout_per_read(Some(options.stall_timeout))
            .timeout_per_write(Some(options.stall_timeout))
            .user_agent(concat!("polyglance/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.new_agent(), endpoint: options.endpoint.clone(), token: options.token.clone() }
    }

    /// Commit and file names of a repository.
    pub(super) fn list(&self, id: &HubId) -> Result<Listing, HubError> {
        let url = id.listing_url(&self.endpoint);
        let response = self.follow(&Method::GET, &url, None, |_| false)?;
        self.check_status(&url, &response, &id.to_string())?;
        let mut body = response.into_body();
        let text = body.with_config().limit(LISTING_BYTES).read_to_vec().map_err(|error| network(&url, &error))?;
        Listing::parse(&text).map_err(|reason| HubError::NotAHub { url: public(&url), reason })
    }

    /// Size and hash of a file at a commit, without its bytes.
    pub(super) fn describe(&self, id: &HubId, commit: &str, name: &str) -> Result<RemoteFile, HubError> {
        let url = id.file_url(&self.endpoint, commit, name);
        // The hub itself describes a large file in the headers of its redirect; the storage behind it would not.
        let described = |headers: &HeaderMap| text(headers, "x-linked-etag").is_some();
        let response = self.follow(&Method::HEAD, &url, None, described)?;
        let headers = response.headers();
        if !described(headers) {
            self.check_status(&url, &response, &format!("{name} in {id}"))?;
        }
        let not_hub = |reason: &str| HubError::NotAHub { url: public(&url), reason: reason.to_owned() };
        let etag = text(headers, "x-linked-etag").or_else(|| text(headers, ETAG.as_str()));
        let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned()).filter(|etag| is_name(etag));
        let length = if described(headers) { "x-linked-size" } else { CONTENT_LENGTH.as_str() };
        let size = text(headers, length).and_then(|size| size.parse().ok());
        let etag = etag.ok_or_else(|| not_hub("the answer has no usable ETag"))?;
        Ok(RemoteFile { name: name.to_owned(), url, etag, size })
    }

    /// The bytes of a file from `start` on.
    pub(super) fn read(&self, file: &RemoteFile, start: u64) -> Result<Answer, HubError> {
        self.read_range(file, start, None)
    }

    /// The bytes of a file from `start` to `end` (to its own end if `None`).
    pub(super) fn read_range(&self, file: &RemoteFile, start: u64, end: Option<u64>) -> Result<Answer, HubError> {
        let range = match end {
            Some(end) => Some(format!("bytes={start}-{}", end.saturating_sub(1))),
            None if start > 0 => Some(format!("bytes={start}-")),
            None => None,
        };
        let response = self.follow(&Method::GET, &file.url, range.as_deref(), |_| false)?;
        match response.status().as_u16() {
            206 if range.is_some() => {
                let end = end.or(file.size);
                let right =
                    text(response.headers(), CONTENT_RANGE.as_str()).is_some_and(|value| is_content_range(value, start, end, file.size));
                Ok(if right { Answer::Rest(response.into_body()) } else { Answer::StartOver })
            }
            416 if range.is_some() => Ok(Answer::StartOver),
            200 => Ok(Answer::Whole(response.into_body())),
            _ => {
                self.check_status(&file.url, &response, &file.name)?;
                Err(HubError::NotAHub { url: public(&file.url), reason: format!("unexpected status {}", response.status()) })
            }
        }
    }

    /// Sends a request and follows redirects until `stop` accepts the headers of one. The token goes to the endpoint's own origin only,
    /// and once a redirect has left that origin, nowhere.
    fn follow(
        &self,
        method: &Method,
        url: &str,
        range: Option<&str>,
        stop: impl Fn(&HeaderMap) -> bool,
    ) -> Result<Response<Body>, HubError> {
        let home = self.endpoint.parse::<Uri>().ok().and_then(|uri| origin(&uri));
        let mut url = url.to_owned();
        let mut at_home = true;
        for _ in 0..=REDIRECTS {
            let uri: Uri = url.parse().map_err(|_| HubError::NotAHub { url: public(&url), reason: "not an address".to_owned() })?;
            at_home = at_home && origin(&uri) == home;
            let response = self.send(method, &url, range, at_home)?;
            if !response.status().is_redirection() || stop(response.headers()) {
                return Ok(response);
            }
            let location = text(response.headers(), LOCATION.as_str()).and_then(|location| join(&uri, location));
            url = location.ok_or_else(|| HubError::NotAHub { url: public(&url), reason: "a redirect that leads nowhere".to_owned() })?;
        }
        Err(HubError::NotAHub { url: public(&url), reason: format!("more than {REDIRECTS} redirects") })
    }

    fn send(&self, method: &Method, url: &str, range: Option<&str>, with_token: bool) -> Result<Response<Body>, HubError> {
        let mut request = Request::builder().method(method).uri(url).header(ACCEPT_ENCODING, "identity");
        if let (Some(token), true) = (&self.token, with_token) {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.0));
        }
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        let request = request.body(()).map_err(|error| HubError::NotAHub { url: public(url), reason: error.to_string() })?;
        self.agent.run(request).map_err(|error| network(url, &error))
    }

    fn check_status(&self, url: &str, response: &Response<Body>, what: &str) -> Result<(), HubError> {
        let gated = text(response.headers(), "x-error-code") == Some("GatedRepo");
        match response.status().as_u16() {
            200..=299 => Ok(()),
            401 if !gated && self.token.is_none() => Err(HubError::NotFound { what: what.to_owned() }),
            401 | 403 => Err(HubError::Refused { what: what.to_owned(), endpoint: self.endpoint.clone() }),
            404 => Err(HubError::NotFound { what: what.to_owned() }),
            status => Err(HubError::Status { url: public(url), status }),
        }
    }
}

fn network(url: &str, error: &ureq::Error) -> HubError {
    HubError::Network { url: public(url), reason: error.to_string() }
}

/// An address without its query, which may be a signature that grants access.
fn public(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Scheme, host and port: what a token belongs to.
fn origin(uri: &Uri) -> Option<(String, String, u16)> {
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let port = uri.port_u16().or(match scheme.as_str() {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    })?;
    Some((scheme, uri.host()?.to_ascii_lowercase(), port))
}

/// Where `location` leads from `base` (RFC 3986, section 5.2, for the forms that servers send).
fn join(base: &Uri, location: &str) -> Option<String> {
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    if location.starts_with("http://") || location.starts_with("https://") {
        return Some(location.to_owned());
    }
    if location.starts_with("//") {
        return Some(format!("{scheme}:{location}"));
    }
    if location.starts_with('/') {
        return Some(format!("{scheme}://{authority}{location}"));
    }
    let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    let is_relative = !location.is_empty() && !location.contains(':');
    is_relative.then(|| format!("{scheme}://{authority}{folder}/{location}"))
}
