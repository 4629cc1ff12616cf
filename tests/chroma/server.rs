//! A real Chroma, and an index of random vectors to copy into it.

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use polyglance::index::{Entry, FileState, Results, Stamp, Writer};
use polyglance::platform::block_on;

/// A server that is killed at the end, or before.
pub(crate) struct Server<'a> {
    child: Child,
    folder: &'a Path,
    port: u16,
}

impl<'a> Server<'a> {
    /// Starts one on what `folder` keeps: `$POLYGLANCE_CHROMA`, or `chroma` as `pip install chromadb` puts it on the path.
    pub(crate) fn start(folder: &'a Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { child: run(folder, port), folder, port }
    }

    /// Address of a collection.
    pub(crate) fn address(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.port)
    }

    /// Ends it as a power failure would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, where it was.
    pub(crate) fn restart(&mut self) {
        self.child = run(self.folder, self.port);
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

fn run(folder: &Path, port: u16) -> Child {
    const PATIENCE: Duration = Duration::from_secs(60);
    let program = env::var_os("POLYGLANCE_CHROMA").unwrap_or_else(|| "chroma".into());
    let mut command = Command::new(&program);
    command.args(["run", "--host", "127.0.0.1", "--port", &port.to_string(), "--path"]).arg(folder);
    command.env("ANONYMIZED_TELEMETRY", "false").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child =
        command.spawn().unwrap_or_else(|error| panic!("cannot run {}: {error}; `pip install chromadb` brings it", program.display()));
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(start.elapsed() < PATIENCE, "the server does not start");
        thread::sleep(Duration::from_millis(50));
    }
    child
}

/// How the indexes here are made.
pub(crate) fn stamp(dim: usize) -> Stamp {
    Stamp {
        root: "/pictures".to_owned(),
        model: "random".to_owned(),
        dim,
        max_num_patches: None,
        resampling: "hf".to_owned(),
        calibration: [0, 0],
    }
}

/// Adds pictures of `bytes` with these embeddings, called by their numbers from `first`.
pub(crate) fn add(writer: &mut Writer, first: usize, bytes: u64, embeds: &[f32]) {
    let dim = writer.stamp().dim;
    let state = FileState { bytes, secs: 1_700_000_000, nanos: 123_456_789 };
    let entry = |number| Entry { path: format!("é/{number}.jpg"), state, size: [3, 4], thumbnail: Vec::new() };
    let entries: Vec<Entry> = (first..first + embeds.len() / dim).map(entry).collect();
    block_on(writer.add(&entries, embeds)).unwrap();
}

/// What was found, in no order.
pub(crate) fn paths(results: &Results) -> BTreeSet<&str> {
    results.found.iter().map(|found| found.path.as_str()).collect()
}

/// Vectors of unit length around a thousand centres, as those of pictures are: a search by graph finds uniform noise badly, which nobody searches.
pub(crate) struct Clusters {
    centres: Vec<f32>,
    dim: usize,
    state: u64,
}

impl Clusters {
    const COUNT: usize = 1_000;

    pub(crate) fn new(dim: usize) -> Self {
        let mut clusters = Self { centres: Vec::new(), dim, state: 1 };
        clusters.centres = (0..Self::COUNT * dim).map(|_| clusters.noise()).collect();
        clusters
    }

    /// `[count, dim]`.
    pub(crate) fn vectors(&mut self, count: usize) -> Vec<f32> {
        (0..count).flat_map(|_| self.vector()).collect()
    }

    fn vector(&mut self) -> Vec<f32> {
        let start = (self.next() as usize % Self::COUNT) * self.dim;
        let mut vector: Vec<f32> = (start..start + self.dim).map(|at| self.centres[at]).collect();
        vector.iter_mut().for_each(|value| *value += self.noise());
        let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|value| *value /= norm);
        vector
    }

    /// Xorshift.
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    /// Uniform in -0.5..0.5.
    fn noise(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32 - 0.5
    }
}
