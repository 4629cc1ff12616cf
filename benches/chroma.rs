//! A copy of an index in Chroma: how fast it is made, what its approximate search finds, and how long that takes, beside the index itself.
//!
//! ```text
//! cargo bench --bench chroma --features chroma -- [rows=100000]
//! ```
//!
//! The server is `$POLYGLANCE_CHROMA`, or `chroma` on the path; it is killed in the middle of writing, and started again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a server that does not start ends the measurement")]
#![allow(clippy::disallowed_methods, reason = "it runs natively")]

#[allow(dead_code, reason = "this bench has no peer but our own index")]
mod peers;
#[path = "../tests/chroma/server.rs"]
mod server;

use std::ops::ControlFlow;

use polyglance::cpu::CpuBackend;
use polyglance::index::chroma::Collection;
use polyglance::index::{Reader, Writer};
use polyglance::platform::Stopwatch;

use self::peers::{Failure, percentile};
use self::server::{Clusters, Server, add, paths, stamp};

const DIM: usize = 768;
const QUERIES: usize = 200;
const TOP: usize = 10;

fn main() -> Result<(), Failure> {
    let rows = std::env::args().find_map(|argument| Some(argument.strip_prefix("rows=")?.parse())).unwrap_or(Ok(100_000))?;
    println!("{}", CpuBackend::description());
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("pictures.index");
    let mut clusters = Clusters::new(DIM);
    let mut writer = Writer::open(&path, &stamp(DIM))?;
    for start in (0..rows).step_by(1_000) {
        add(&mut writer, start, 1, &clusters.vectors(1_000.min(rows - start)));
    }
    let reader = Reader::open(&path)?;
    let home = folder.path().join("chroma");
    let mut server = Server::start(&home);
    let address = server.address("pictures");
    let collection = Collection::make(&address, reader.stamp())?;

    let (watch, mut away) = (Stopwatch::start(), 0.0);
    let copied = collection.copy(&reader, &mut |done, total| {
        if done == total * 2 / 5 {
            let watch = Stopwatch::start();
            server.kill();
            server.restart();
            away = watch.elapsed_secs();
        }
        ControlFlow::Continue(())
    })?;
    let secs = watch.elapsed_secs();
    println!("copying {rows}: {secs:.0} s, with a kill and a start of the server ({away:.1} s) in between; {copied:?}");
    let watch = Stopwatch::start();
    let copied = collection.copy(&reader, &mut |_, _| ControlFlow::Continue(()))?;
    println!("again: {:.1} s; {copied:?}", watch.elapsed_secs());

    let collection = Collection::open(&address)?;
    let (mut ours, mut theirs, mut common) = (Vec::new(), Vec::new(), 0);
    for query in clusters.vectors(QUERIES).chunks_exact(DIM) {
        let watch = Stopwatch::start();
        let exact = reader.search(query, TOP)?;
        ours.push(1e3 * watch.elapsed_secs());
        let watch = Stopwatch::start();
        let found = collection.search(query, TOP)?;
        theirs.push(1e3 * watch.elapsed_secs());
        common += paths(&exact).intersection(&paths(&found)).count();
    }
    let recall = common as f64 / (QUERIES * TOP) as f64;
    println!("recall@{TOP} against the exact search: {recall:.3}");
    for (what, millis) in [("search of the index", &mut ours), ("search of the collection", &mut theirs)] {
        println!("{what}: {:.1} ms, p95 {:.1} ms", percentile(millis, 0.5), percentile(millis, 0.95));
    }
    Ok(())
}
