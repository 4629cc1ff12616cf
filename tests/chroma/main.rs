//! Copies of an index in a real Chroma server: `cargo test --test chroma --features chroma`, with `chroma` on the path or in `$POLYGLANCE_CHROMA`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, helpers included")]
#![allow(clippy::disallowed_methods, reason = "tests run natively")]

mod server;

use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use polyglance::index::chroma::{Collection, CollectionError, Copied};
use polyglance::index::{Reader, Writer};
use polyglance::platform::block_on;

use server::{Clusters, Server, add, paths, stamp};

const DIM: usize = 64;

/// Copies to the end.
fn copy(collection: &Collection, reader: &Reader) -> Copied {
    collection.copy(reader, &mut |_, _| ControlFlow::Continue(())).unwrap().unwrap()
}

/// Every vector of the index, and nothing else.
fn assert_equal(collection: &Collection, reader: &Reader) {
    assert_eq!(collection.count().unwrap(), reader.count().unwrap());
    let pictures = reader.first(usize::MAX).unwrap();
    for found in &pictures.found {
        assert_eq!(collection.embedding(&found.path).unwrap(), reader.embedding(&found.path).unwrap(), "{}", found.path);
    }
}

#[test]
fn a_copy_finds_what_the_index_finds_and_follows_its_changes() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("pictures.index");
    let mut clusters = Clusters::new(DIM);
    let mut writer = Writer::open(&index, &stamp(DIM)).unwrap();
    add(&mut writer, 0, 5_000_000_000, &clusters.vectors(3_000));
    let reader = Reader::open(&index).unwrap();
    let home = folder.path().join("chroma");
    let server = Server::start(&home);
    let address = server.address("pictures");
    let collection = Collection::make(&address, reader.stamp()).unwrap();
    assert_eq!(copy(&collection, &reader), Copied { written: 3_000, unchanged: 0, gone: 0 });

    let opened = Collection::open(&address).unwrap();
    assert_eq!(opened.stamp(), reader.stamp());
    let mut common = 0;
    for query in clusters.vectors(100).chunks_exact(DIM) {
        let (exact, found) = (reader.search(query, 10).unwrap(), opened.search(query, 10).unwrap());
        assert_eq!((found.found.len(), found.compared), (10, 3_000));
        common += paths(&exact).intersection(&paths(&found)).count();
        // Where both found it, everything about it is the same.
        for theirs in &found.found {
            if let Some(ours) = exact.found.iter().find(|ours| ours.path == theirs.path) {
                assert!((ours.score - theirs.score).abs() < 1e-4 && ours.size == theirs.size, "{ours:?} {theirs:?}");
            }
        }
        assert!((exact.ordinary - found.ordinary).abs() < 0.05, "{} {}", exact.ordinary, found.ordinary);
    }
    assert!(common >= 900, "{common} of 1,000");

    // Changed, gone and new.
    add(&mut writer, 0, 5_000_000_001, &clusters.vectors(7));
    block_on(writer.remove((10..30).map(|number| format!("é/{number}.jpg")))).unwrap();
    add(&mut writer, 3_000, 1, &clusters.vectors(5));
    assert_eq!(copy(&collection, &reader), Copied { written: 12, unchanged: 2_973, gone: 20 });
    assert_eq!(copy(&collection, &reader), Copied { written: 0, unchanged: 2_985, gone: 0 });
    assert_equal(&collection, &reader);
    assert_eq!(collection.embedding("é/10.jpg").unwrap(), None);
}

#[test]
fn a_server_that_is_killed_while_it_is_written_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("pictures.index");
    let mut writer = Writer::open(&index, &stamp(DIM)).unwrap();
    add(&mut writer, 0, 1, &Clusters::new(DIM).vectors(3_000));
    let reader = Reader::open(&index).unwrap();
    let home = folder.path().join("chroma");
    let mut server = Server::start(&home);
    let collection = Collection::make(&server.address("pictures"), reader.stamp()).unwrap();
    // It comes back while we wait, twice.
    let copied = collection.copy(&reader, &mut |done, _| {
        if [900, 1_800].contains(&done) {
            server.kill();
            server.restart();
        }
        ControlFlow::Continue(())
    });
    assert_eq!(copied.unwrap(), Some(Copied { written: 3_000, unchanged: 0, gone: 0 }));
    assert_equal(&collection, &reader);

    // We are stopped, and go on there.
    let second = Collection::make(&server.address("second"), reader.stamp()).unwrap();
    let stopped = second.copy(&reader, &mut |done, _| if done < 1_000 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) });
    assert_eq!(stopped.unwrap(), None);
    server.kill();
    server.restart();
    assert_eq!(copy(&second, &reader), Copied { written: 2_000, unchanged: 1_000, gone: 0 });
    assert_equal(&second, &reader);
}

#[test]
fn other_collections_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("chroma");
    let server = Server::start(&home);
    let address = server.address("pictures");
    assert!(matches!(Collection::open(&address), Err(CollectionError::Missing { .. })));
    Collection::make(&address, &stamp(DIM)).unwrap();
    let other = Collection::make(&address, &stamp(DIM + 1)).err().unwrap();
    assert!(matches!(other, CollectionError::OtherStamp { .. }), "{other}");
    for wrong in ["pictures", "http://", "http://localhost:8000/a/b"] {
        let error = Collection::open(wrong).err().unwrap();
        assert!(matches!(error, CollectionError::Address { .. }), "{wrong}: {error}");
    }
}

/// The command line with the small model, and the environment as it is.
fn polyglance(arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_polyglance")).args(arguments).args(["--device", "cpu"]).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.success(), stdout, stderr)
}

#[test]
fn the_command_line_copies_and_searches() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("chroma");
    let index = folder.path().join("samples.index").display().to_string();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/samples").display().to_string();
    let mut server = Server::start(&home);
    let address = server.address("");
    let copy = ["index", "--model", "demo", "--output", &index, "--to", &address, &samples];
    let (is_done, _, stderr) = polyglance(&copy);
    assert!(is_done && stderr.contains("12 pictures written, 0 unchanged, 0 gone"), "{stderr}");
    let key = format!("{samples}/key.jpg");
    for query in ["cat face", "2: 자전거 - замок", &key] {
        let [ours, theirs] = [&index, &address].map(|index| polyglance(&["search", index, query, "--top", "5", "--json"]).1);
        let [ours, theirs] = [&ours, &theirs].map(|json| serde_json::from_str::<Vec<serde_json::Value>>(json).unwrap());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours["path"], theirs["path"], "{query}");
            assert!((ours["score"].as_f64().unwrap() - theirs["score"].as_f64().unwrap()).abs() < 1e-3, "{query}: {ours} {theirs}");
        }
        assert_eq!((ours.len(), theirs.len()), (5, 5));
    }
    let (_, within, _) = polyglance(&["search", &address, "cat face", "--within", "0.9"]);
    assert!(within.contains("cat-face.jpg") && !within.contains("pizza.jpg"), "{within}");
    server.kill();
    let (is_done, _, stderr) = polyglance(&["search", &address, "cat"]);
    assert!(!is_done && stderr.contains("is `chroma run` up there?"), "{stderr}");
    server.restart();
}
