//! A small HTTP/1.1 server that answers as a hub does, or as badly as a test wants.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What a client asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
}

impl Request {
    /// First byte of the range asked for.
    pub(crate) fn range_start(&self) -> Option<usize> {
        self.headers.get("range")?.strip_prefix("bytes=")?.split('-').next()?.parse().ok()
    }

    fn range_end(&self) -> Option<usize> {
        self.headers.get("range")?.split_once('-')?.1.parse().ok()
    }
}

/// What the server does.
pub(crate) enum Reply {
    /// Status, headers, body. Content-Length is that of the body unless a header says otherwise.
    Full(u16, Vec<(String, String)>, Vec<u8>),
    /// Announces `usize` bytes, sends these, then says nothing until the client goes away.
    Stall(usize, Vec<u8>),
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self::Full(status, vec![], vec![])
    }

    pub(crate) fn redirect(location: String) -> Self {
        Self::Full(302, vec![("Location".into(), location)], vec![])
    }

    pub(crate) fn with(mut self, name: &str, value: &impl ToString) -> Self {
        if let Self::Full(_, headers, _) = &mut self {
            headers.push((name.to_owned(), value.to_string()));
        }
        self
    }
}

pub(crate) struct Server {
    pub(crate) port: u16,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers every request with `handler`, which also learns how many requests for the same method and path came before.
    #[expect(clippy::disallowed_methods, reason = "the server lives as long as the test process")]
    pub(crate) fn start(handler: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (shared_log, handler) = (Arc::clone(&log), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, handler) = (Arc::clone(&shared_log), Arc::clone(&handler));
                std::thread::spawn(move || serve(stream, &log, &*handler));
            }
        });
        Self { port, log }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.log.lock().unwrap().clone()
    }

    /// Range starts of the GET requests for `path`, in order.
    pub(crate) fn downloads(&self, path: &str) -> Vec<Option<usize>> {
        let is_download = |request: &Request| request.method == "GET" && request.path == path;
        self.requests().iter().filter(|request| is_download(request)).map(Request::range_start).collect()
    }
}

fn serve(stream: TcpStream, log: &Mutex<Vec<Request>>, handler: &(dyn Fn(&Request, usize) -> Reply + Send + Sync)) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let mut words = first.split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return };
    let headers = lines.by_ref().take_while(|line| !line.is_empty());
    let headers = headers.filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()))).collect();
    let request = Request { method, path, headers };
    let earlier = {
        let mut log = log.lock().unwrap();
        let earlier = log.iter().filter(|other| (&other.method, &other.path) == (&request.method, &request.path)).count();
        log.push(request.clone());
        earlier
    };
    send(stream, &request, handler(&request, earlier));
}

/// Write errors are the client's business: it may have hung up on purpose.
fn send(mut stream: TcpStream, request: &Request, reply: Reply) {
    match reply {
        Reply::Full(status, headers, body) => {
            let mut head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n");
            if !headers.iter().any(|(name, _)| name == "Content-Length") {
                head += &format!("Content-Length: {}\r\n", body.len());
            }
            headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
            let _ = stream.write_all((head + "\r\n").as_bytes());
            if request.method != "HEAD" {
                let _ = stream.write_all(&body);
            }
        }
        Reply::Stall(announced, body) => {
            let head = format!("HTTP/1.1 200 X\r\nConnection: close\r\nContent-Length: {announced}\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
            let _ = stream.read(&mut [0; 64]);
        }
    }
}

/// A repository as the hub serves it: small files directly, `model.safetensors` and other weights through a redirect to storage.
#[derive(Clone)]
pub(crate) struct Repository {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Where large files redirect to, such as `http://127.0.0.1:1234`; the same server if `None`.
    pub(crate) storage: Option<String>,
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Repository {
    pub(crate) fn new(files: &[(&str, Vec<u8>)]) -> Self {
        Self { files: files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect(), storage: None }
    }

    /// The honest answer.
    pub(crate) fn answer(&self, request: &Request) -> Reply {
        if request.path.starts_with("/api/models/") {
            let siblings: Vec<_> = self.files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
            let body = serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string();
            return Reply::Full(200, vec![], body.into_bytes());
        }
        let path = request.path.split('?').next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        let Some(bytes) = self.files.get(name) else { return Reply::status(404) };
        if name.ends_with(".json") || request.path.starts_with("/storage/") {
            let git_hash = &sha256(bytes)[..40];
            return ranged(request, bytes).with("ETag", &format!("\"{git_hash}\"")).with("X-Repo-Commit", &COMMIT);
        }
        let location = format!("{}/storage/{name}?signature=secret", self.storage.clone().unwrap_or_default());
        let linked = format!("\"{}\"", sha256(bytes));
        Reply::redirect(location).with("X-Linked-Etag", &linked).with("X-Linked-Size", &bytes.len()).with("X-Repo-Commit", &COMMIT)
    }
}

/// The bytes, or the range of them that was asked for.
pub(crate) fn ranged(request: &Request, bytes: &[u8]) -> Reply {
    let Some(start) = request.range_start() else { return Reply::Full(200, vec![], bytes.to_vec()) };
    if start >= bytes.len() {
        return Reply::status(416).with("Content-Range", &format!("bytes */{}", bytes.len()));
    }
    let end = request.range_end().map_or(bytes.len(), |last| (last + 1).min(bytes.len()));
    let range = format!("bytes {start}-{}/{}", end - 1, bytes.len());
    Reply::Full(206, vec![("Content-Range".into(), range)], bytes[start..end].to_vec())
}
