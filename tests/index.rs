//! The index: exact results, and always its old or its new state.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use half::f16;
use polyglance::index::{FileState, Found, IndexError, Reader, Stamp, Writer};

const DIM: usize = 24;

fn stamp() -> Stamp {
    Stamp { root: "/pictures".to_owned(), model: "demo".to_owned(), dim: DIM, max_num_patches: Some(256), resampling: "hf".to_owned() }
}

fn state(bytes: u64) -> FileState {
    FileState { bytes, secs: 1_700_000_000, nanos: 5 }
}

/// Unit vectors whose values are few, so that scores are equal now and then; exact in f16.
fn vectors(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed;
    // Knuth's MMIX generator; its upper bits are the better ones.
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut vector = || {
        let mut values = [0.0_f32; DIM];
        // Sixteen values of ±¼ have unit length.
        let mut left = 16;
        while left > 0 {
            let place = random(DIM);
            if values[place] == 0.0 {
                values[place] = if random(2) == 0 { 0.25 } else { -0.25 };
                left -= 1;
            }
        }
        values
    };
    (0..count).flat_map(|_| vector()).collect()
}

fn names(range: std::ops::Range<usize>) -> Vec<(String, FileState)> {
    range.map(|number| (format!("folder/{number:05}.jpg"), state(number as u64))).collect()
}

/// All rows by their scores in f64, the lower row first among equals.
fn naive(rows: &[(String, &[f32])], query: &[f32], count: usize) -> Vec<(String, f64)> {
    let score = |row: &[f32]| row.iter().zip(query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let mut all: Vec<(String, f64)> = rows.iter().map(|(path, row)| (path.clone(), score(row))).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all.truncate(count);
    all
}

fn same(found: &[Found], expected: &[(String, f64)]) -> bool {
    let close = |(found, (path, score)): (&Found, &(String, f64))| found.path == *path && (f64::from(found.score) - score).abs() < 1e-6;
    found.len() == expected.len() && found.iter().zip(expected).all(close)
}

#[test]
fn results_are_those_of_a_naive_search_ties_included() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pictures.index");
    let mut writer = Writer::open(&path, &stamp()).unwrap();
    let (files, rows) = (names(0..3_000), vectors(1, 3_000));
    for (files, rows) in files.chunks(700).zip(rows.chunks(700 * DIM)) {
        writer.add(files, rows).unwrap();
    }
    let reader = Reader::open(&path).unwrap();
    // Every seventh is gone, which is more than a tenth: the search asks for more than it is asked for.
    writer.remove(files.iter().step_by(7).map(|(path, _)| path.as_str())).unwrap();
    let queries = vectors(2, 1_000);
    let check = |reader: &Reader| {
        let live: Vec<(String, &[f32])> = files
            .iter()
            .zip(rows.chunks(DIM))
            .enumerate()
            .filter(|(index, _)| index % 7 != 0)
            .map(|(_, ((path, _), row))| (path.clone(), row))
            .collect();
        assert_eq!(reader.count().unwrap(), live.len() as u64);
        for (query, count) in queries.chunks(DIM).zip([1, 5, 20].into_iter().cycle()) {
            let found = reader.search(query, count).unwrap();
            let expected = naive(&live, query, count);
            assert!(same(&found, &expected), "{found:?}\n{expected:?}");
        }
        assert_eq!(reader.search(&queries[..DIM], 10_000).unwrap().len(), live.len());
    };
    check(&reader);
    let before = size(folder.path());
    writer.tidy().unwrap();
    assert!(size(folder.path()) < before, "space is given back");
    check(&reader);
    assert_eq!(reader.embedding("folder/00001.jpg").unwrap().as_deref(), rows.get(DIM..2 * DIM));
    assert_eq!(reader.embedding("folder/00000.jpg").unwrap(), None);
}

/// Bytes of vectors.
fn size(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap);
    files.filter(|file| file.file_name().to_string_lossy().contains("vectors")).map(|file| file.metadata().unwrap().len()).sum()
}

#[test]
fn what_changed_takes_the_place_of_what_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pictures.index");
    let rows = vectors(3, 4);
    {
        let mut writer = Writer::open(&path, &stamp()).unwrap();
        writer.add(&names(0..3), &rows[..3 * DIM]).unwrap();
    }
    let mut writer = Writer::open(&path, &stamp()).unwrap();
    writer.add(&[("folder/00001.jpg".to_owned(), state(77))], &rows[3 * DIM..]).unwrap();
    let known = writer.known().unwrap();
    assert_eq!((known.len(), known["folder/00001.jpg"], known["folder/00002.jpg"]), (3, state(77), state(2)));
    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.embedding("folder/00001.jpg").unwrap().as_deref(), Some(&rows[3 * DIM..]));
    assert_eq!(reader.search(&rows[3 * DIM..], 1).unwrap(), [Found { path: "folder/00001.jpg".to_owned(), score: 1.0 }]);
}

#[test]
fn a_half_written_batch_is_as_if_it_had_never_begun() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pictures.index");
    let rows = vectors(4, 4);
    {
        let mut writer = Writer::open(&path, &stamp()).unwrap();
        writer.add(&names(0..2), &rows[..2 * DIM]).unwrap();
    }
    // A crash between the vectors and the transaction leaves bytes behind the last row; one while vectors are written anew, another file.
    let mut vectors = OpenOptions::new().append(true).open(folder.path().join("pictures.index.vectors-0")).unwrap();
    vectors.write_all(&[0x3c; 37]).unwrap();
    fs::write(folder.path().join("pictures.index.vectors-1"), [1, 2, 3]).unwrap();
    let mut writer = Writer::open(&path, &stamp()).unwrap();
    assert!(!folder.path().join("pictures.index.vectors-1").exists());
    writer.add(&names(2..4), &rows[2 * DIM..]).unwrap();
    let reader = Reader::open(&path).unwrap();
    for (number, row) in rows.chunks(DIM).enumerate() {
        let path = format!("folder/{number:05}.jpg");
        assert_eq!(reader.embedding(&path).unwrap().as_deref(), Some(row));
    }
    assert_eq!(f16::from_f32(0.25).to_f32(), 0.25);
}

#[test]
fn one_writes_and_what_was_made_otherwise_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pictures.index");
    let writer = Writer::open(&path, &stamp()).unwrap();
    let Err(IndexError::Database { reason, .. }) = Writer::open(&path, &stamp()) else { panic!("two write") };
    assert!(reason.contains("another process"), "{reason}");
    drop(writer);
    let other = Stamp { model: "another".to_owned(), ..stamp() };
    let error = Writer::open(&path, &other).err().unwrap().to_string();
    assert!(error.contains("with demo") && error.contains("with another"), "{error}");
    assert!(Reader::open(&folder.path().join("none")).is_err());
    #[cfg(unix)]
    for file in ["pictures.index", "pictures.index.vectors-0"] {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(folder.path().join(file)).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pictures.index");
    fs::write(&path, "this is no index, but a text about one").unwrap();
    assert!(Reader::open(&path).is_err() && Writer::open(&path, &stamp()).is_err());
    fs::remove_file(&path).unwrap();
    {
        let mut writer = Writer::open(&path, &stamp()).unwrap();
        writer.add(&names(0..50), &vectors(5, 50)).unwrap();
    }
    let vectors = folder.path().join("pictures.index.vectors-0");
    OpenOptions::new().write(true).open(&vectors).unwrap().set_len(100).unwrap();
    let error = Reader::open(&path).unwrap().search(&[0.25; DIM], 3).unwrap_err().to_string();
    assert!(error.contains("index the folder again"), "{error}");
}
