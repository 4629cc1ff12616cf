//! `polyglance index` and `search`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use polyglance::index::disk::delete;
use polyglance::tasks::write_npy;
use serde_json::Value;

use super::run::{model, polyglance};
use crate::support::cases;

fn samples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/samples")
}

/// Paths below `root` with their scores, the best first.
fn search(index: &Path, query: &str, root: &Path) -> Vec<(String, f64)> {
    let finished = polyglance(["search", "--json", "--top", "100000", "--device", "cpu"]).arg(index).arg(query).succeeds();
    let found: Vec<Value> = serde_json::from_str(&finished.stdout).unwrap();
    let root = fs::canonicalize(root).unwrap();
    let below = |path: &str| Path::new(path).strip_prefix(&root).unwrap().display().to_string();
    found.iter().map(|found| (below(found["path"].as_str().unwrap()), found["score"].as_f64().unwrap())).collect()
}

#[cfg(feature = "demo-model")]
#[test]
fn pictures_are_found_by_words_by_pictures_and_by_both() {
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("samples.index");
    let finished = polyglance(["index", "--model", "demo", "--device", "cpu", "--output"]).arg(&index).arg(samples()).succeeds();
    assert!(finished.stderr.contains("12 pictures added or changed, 0 unchanged, 0 gone"), "{}", finished.stderr);
    for (query, best) in [("cat face", "cat-face.jpg"), ("자전거", "bicycle.jpg"), ("замок", "castle.jpg")] {
        let found = search(&index, query, &samples());
        assert_eq!((found.len(), found[0].0.as_str()), (12, best), "{query}");
    }
    let picture = samples().join("key.jpg").display().to_string();
    let found = search(&index, &picture, &samples());
    assert!(found[0].0 == "key.jpg" && (found[0].1 - 1.0).abs() < 1e-3, "{found:?}");
    // What is taken away falls behind.
    let of_key = |found: &[(String, f64)]| found.iter().find(|(path, _)| path == "key.jpg").unwrap().1;
    let [sum, less] =
        ["pizza + cactus".to_owned(), format!("pizza + cactus - 0.5: {picture}")].map(|query| search(&index, &query, &samples()));
    for found in [&sum, &less] {
        assert!(found[..2].iter().all(|(path, _)| ["pizza.jpg", "cactus.jpg"].contains(&path.as_str())), "{found:?}");
    }
    assert!(of_key(&less) < of_key(&sum) - 0.1, "{sum:?}\n{less:?}");
    // Their vectors leave as they are.
    for name in ["vectors.npy", "vectors.parquet", "vectors.jsonl", "vectors.safetensors"] {
        let output = folder.path().join(name);
        let exported = polyglance(["export"]).arg(&index).arg("--output").arg(&output).succeeds();
        assert!(exported.stderr.contains("12 vectors of "), "{}", exported.stderr);
    }
    // And come back: nothing is encoded then.
    for name in ["vectors.npy", "vectors.parquet"] {
        let again = folder.path().join("again.index");
        let mut command = polyglance(["index", "--model", "demo", "--device", "cpu", "--output"]);
        let stderr = command.arg(&again).arg(samples()).arg("--vectors").arg(folder.path().join(name)).succeeds().stderr;
        assert!(stderr.contains("12 pictures added or changed (12 by the vectors that were given), 0 unchanged"), "{stderr}");
        assert_eq!(search(&again, "замок", &samples()), search(&index, "замок", &samples()));
        delete(&again).unwrap();
    }
    let lines = fs::read_to_string(folder.path().join("vectors.npy.txt")).unwrap();
    assert!(lines.lines().count() == 12 && lines.starts_with("bicycle.jpg\nbutterfly.jpg\n"), "{lines}");
    let json = fs::read_to_string(folder.path().join("vectors.jsonl")).unwrap();
    let key: Value = json.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).find(|row| row["name"] == "key.jpg").unwrap();
    let norm: f64 = key["embedding"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap().powi(2)).sum();
    assert!((norm - 1.0).abs() < 1e-2, "{norm}");
    let table = polyglance(["search", "--top", "1", "--device", "cpu"]).arg(&index).arg("rocket").succeeds().stdout;
    assert!(table.lines().count() == 2 && table.contains("rocket.jpg"), "{table}");
}

#[cfg(feature = "demo-model")]
#[test]
fn only_what_has_changed_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let (pictures, index) = (folder.path().join("pictures"), folder.path().join("pictures.index"));
    fs::create_dir_all(pictures.join("below")).unwrap();
    let copy = |from: &str, to: &str| {
        fs::copy(samples().join(format!("{from}.jpg")), pictures.join(to)).unwrap();
    };
    copy("pizza", "a.jpg");
    copy("rocket", "b.jpg");
    copy("key", "below/c.jpg");
    fs::write(pictures.join("broken.jpg"), "no picture").unwrap();
    let run = |code| polyglance(["index", "--model", "demo", "--device", "cpu", "--output"]).arg(&index).arg(&pictures).fails(code).stderr;
    let first = run(3);
    assert!(first.contains("3 pictures added or changed, 0 unchanged, 0 gone") && first.contains("broken.jpg"), "{first}");
    // It is named again, but not tried again.
    let again = run(3);
    assert!(again.contains("3 unchanged") && again.contains("skipped broken.jpg, as before: "), "{again}");
    fs::remove_file(pictures.join("broken.jpg")).unwrap();
    assert!(run(0).contains("0 pictures added or changed, 3 unchanged, 0 gone"));
    copy("castle", "b.jpg");
    copy("octopus", "d.jpg");
    fs::remove_file(pictures.join("a.jpg")).unwrap();
    let second = run(0);
    assert!(second.contains("2 pictures added or changed, 1 unchanged, 1 gone"), "{second}");
    let found = search(&index, "castle", &pictures);
    assert_eq!((found.len(), found[0].0.as_str()), (3, "b.jpg"), "{found:?}");
    // Another model is another index.
    let refused =
        polyglance(["index", "--device", "cpu", "--model"]).arg(model("naflex")).arg("--output").arg(&index).arg(&pictures).fails(1);
    assert!(refused.stderr.contains("name another file"), "{}", refused.stderr);
}

#[test]
fn kills_lose_nothing_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    let (count, kills) = if cases(1) > 1 { (20_000_u32, 50) } else { (1_000, 5) };
    for number in 0..count {
        let pixel = |x: u32, y: u32| image::Rgb([(x * number) as u8, (y * 3 + number) as u8, (x ^ y) as u8]);
        image::RgbImage::from_fn(64, 48, pixel).save(pictures.join(format!("{number:05}.png"))).unwrap();
    }
    let index = |name: &str| {
        let mut run = polyglance(["index", "--device", "cpu", "--max-num-patches", "16", "--model"]);
        run.arg(model("naflex")).arg("--output").arg(folder.path().join(name)).arg(&pictures);
        run
    };
    let picture = pictures.join("00007.png").display().to_string();
    let vectors = folder.path().join("killed.index.vectors-0");
    let length = || fs::metadata(&vectors).map_or(0, |metadata| metadata.len());
    for kill in 0..kills {
        let before = length();
        let mut child = index("killed.index").command().stderr(Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        // While the first new batch is written, while it becomes known, or some time after.
        while length() == before && child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_secs(120), "nothing is written");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(3 * (kill % 10)));
        child.kill().unwrap();
        child.wait().unwrap();
        // What was done so far can be searched as it is.
        let found: BTreeMap<_, _> = search(&folder.path().join("killed.index"), &picture, &pictures).into_iter().collect();
        assert!(found.len() <= count as usize);
    }
    index("killed.index").succeeds();
    index("undisturbed.index").succeeds();
    let [killed, undisturbed] = ["killed.index", "undisturbed.index"].map(|name| {
        let found = search(&folder.path().join(name), &picture, &pictures);
        assert_eq!(found.len(), count as usize);
        found.into_iter().collect::<BTreeMap<_, _>>()
    });
    assert_eq!(killed.len(), count as usize, "none is there twice");
    for (path, score) in &undisturbed {
        assert!((killed[path] - score).abs() < 1e-3, "{path}");
    }
}

#[cfg(feature = "demo-model")]
#[test]
fn vectors_that_do_not_fit_are_refused_and_duplicates_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let (pictures, index) = (folder.path().join("pictures"), folder.path().join("pictures.index"));
    fs::create_dir(&pictures).unwrap();
    for (from, to) in [("key", "a.jpg"), ("pizza", "b.jpg"), ("key", "c.jpg"), ("castle", "d.jpg")] {
        fs::copy(samples().join(format!("{from}.jpg")), pictures.join(to)).unwrap();
    }
    let vectors = folder.path().join("vectors.npy");
    let run = || {
        let mut command = polyglance(["index", "--model", "demo", "--device", "cpu", "--output"]);
        command.arg(&index).arg(&pictures).arg("--vectors").arg(&vectors).fails(1).stderr
    };
    fs::write(&vectors, "no array").unwrap();
    assert!(run().contains("it is not an .npy array"));
    write_npy(fs::File::create(&vectors).unwrap(), &[1, 3], &[&[1.0, 0.0, 0.0]]).unwrap();
    assert!(run().contains("vectors.npy.txt"));
    fs::write(folder.path().join("vectors.npy.txt"), "a.jpg\n").unwrap();
    assert!(run().contains("a.jpg has 3 values"));
    assert!(!index.exists());
    polyglance(["index", "--model", "demo", "--device", "cpu", "--output"]).arg(&index).arg(&pictures).succeeds();
    let groups: Vec<Vec<Value>> = serde_json::from_str(&polyglance(["duplicates", "--json"]).arg(&index).succeeds().stdout).unwrap();
    let names: Vec<Vec<&str>> = groups.iter().map(|group| group.iter().map(|found| found["path"].as_str().unwrap()).collect()).collect();
    assert!(names.len() == 1 && names[0].len() == 2 && names[0][0].ends_with("a.jpg") && names[0][1].ends_with("c.jpg"), "{names:?}");
}
