//! The index: exact results, and always its old or its new state.

mod memory;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use half::f16;
use polyglance::index::disk::delete;
use polyglance::index::{Arrangement, Entry, FileState, Found, IndexError, Placed, Reader, Stamp, Unreadable, Writer};
use polyglance::platform::block_on;

use self::memory::Memory;

const DIM: usize = 24;

fn stamp() -> Stamp {
    Stamp {
        root: "/pictures".to_owned(),
        model: "demo".to_owned(),
        dim: DIM,
        max_num_patches: Some(256),
        resampling: "hf".to_owned(),
        calibration: [1, 2],
    }
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

fn name(number: usize) -> String {
    format!("folder/{number:05}.jpg")
}

/// What stands for a thumbnail: of many lengths, none of them among others.
fn thumbnail(number: usize) -> Vec<u8> {
    vec![number as u8; number % 7]
}

fn entry(number: usize) -> Entry {
    Entry { path: name(number), state: state(number as u64), size: [number as u32, 2], thumbnail: thumbnail(number) }
}

fn entries(range: std::ops::Range<usize>) -> Vec<Entry> {
    range.map(entry).collect()
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
    let writer = Writer::open(&path, &stamp()).unwrap();
    compare_with_naive_search(writer, || Reader::open(&path).unwrap(), || size(folder.path()));
}

/// As a browser keeps an index.
#[test]
fn a_store_of_records_that_is_read_in_pieces_gives_the_same() {
    let store = Memory::new(&stamp());
    let open = || Reader::new(Box::new(store.clone()));
    compare_with_naive_search(Writer::new(Box::new(store.clone())).unwrap(), open, || open().bytes().unwrap());
}

fn compare_with_naive_search(mut writer: Writer, open: impl Fn() -> Reader, size: impl Fn() -> u64) {
    let (files, rows) = (entries(0..3_000), vectors(1, 3_000));
    for (files, rows) in files.chunks(700).zip(rows.chunks(700 * DIM)) {
        block_on(writer.add(files, rows)).unwrap();
    }
    let reader = open();
    // Every seventh is gone, which is more than a tenth: the search asks for more than it is asked for.
    block_on(writer.remove(files.iter().step_by(7).map(|entry| entry.path.clone()))).unwrap();
    let queries = vectors(2, 1_000);
    let check = |reader: &Reader| {
        let live: Vec<(String, &[f32])> = files
            .iter()
            .zip(rows.chunks(DIM))
            .enumerate()
            .filter(|(index, _)| index % 7 != 0)
            .map(|(_, (entry, row))| (entry.path.clone(), row))
            .collect();
        assert_eq!(reader.count().unwrap(), live.len() as u64);
        for (query, count) in queries.chunks(DIM).zip([1, 5, 20].into_iter().cycle()) {
            let found = reader.search(query, count).unwrap().found;
            let expected = naive(&live, query, count);
            assert!(same(&found, &expected), "{found:?}\n{expected:?}");
        }
        let all = reader.search(&queries[..DIM], 10_000).unwrap();
        assert_eq!((all.found.len(), all.compared), (live.len(), live.len()));
        let wanted = [1, 2, 2_999, 0].map(name);
        let thumbnails = reader.thumbnails(&wanted).unwrap();
        assert_eq!(thumbnails, [thumbnail(1), thumbnail(2), thumbnail(2_999), Vec::new()]);
    };
    check(&reader);
    let broken = Unreadable { path: "broken.jpg".to_owned(), state: state(9), reason: "torn".to_owned() };
    block_on(writer.refuse(std::slice::from_ref(&broken))).unwrap();
    let before = size();
    block_on(writer.tidy()).unwrap();
    assert_eq!(open().unreadable().unwrap().into_values().collect::<Vec<_>>(), [broken]);
    assert!(size() < before, "space is given back");
    check(&reader);
    assert_eq!(reader.embedding(&name(1)).unwrap().as_deref(), rows.get(DIM..2 * DIM));
    assert_eq!(reader.embedding(&name(0)).unwrap(), None);
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
        block_on(writer.add(&entries(0..3), &rows[..3 * DIM])).unwrap();
    }
    let mut writer = Writer::open(&path, &stamp()).unwrap();
    block_on(writer.add(&[Entry { state: state(77), ..entry(1) }], &rows[3 * DIM..])).unwrap();
    let known = writer.known().unwrap();
    assert_eq!((known.len(), known[&name(1)], known[&name(2)]), (3, state(77), state(2)));
    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.embedding(&name(1)).unwrap().as_deref(), Some(&rows[3 * DIM..]));
    assert_eq!(reader.search(&rows[3 * DIM..], 1).unwrap().found, [Found { path: name(1), score: 1.0, size: [1, 2] }]);
    // It cannot be read any more; and then it can.
    let broken = Unreadable { path: name(1), state: state(78), reason: "torn".to_owned() };
    block_on(writer.refuse(std::slice::from_ref(&broken))).unwrap();
    assert_eq!((writer.known().unwrap().len(), reader.count().unwrap()), (2, 2));
    assert_eq!(reader.unreadable().unwrap().into_values().collect::<Vec<_>>(), [broken]);
    block_on(writer.add(&[entry(1)], &rows[..DIM])).unwrap();
    assert_eq!((reader.count().unwrap(), reader.unreadable().unwrap().len()), (3, 0));
}

#[test]
fn what_does_not_stand_out_is_left_out_whatever_the_scores_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pictures.index");
    let mut writer = Writer::open(&path, &stamp()).unwrap();
    // One picture like the query, one half way to it, and many that are not.
    let score = |score: f32| (0..DIM).map(move |place| if place == 0 { score } else { 0.0 });
    let rows: Vec<f32> = [0.3, 0.2].into_iter().chain([0.1; 48]).flat_map(score).collect();
    block_on(writer.add(&entries(0..50), &rows)).unwrap();
    let query: Vec<f32> = score(1.0).collect();
    let results = Reader::open(&path).unwrap().search(&query, 50).unwrap();
    assert!((results.ordinary - 0.1).abs() < 1e-3, "{results:?}");
    let left = |share: f32| results.clone().within(share).found.len();
    assert_eq!([left(0.0), left(0.4), left(0.6), left(1.0)], [50, 2, 1, 1]);
}

#[test]
fn a_deleted_index_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pictures.index");
    let mut writer = Writer::open(&path, &stamp()).unwrap();
    block_on(writer.add(&entries(0..50), &vectors(6, 50))).unwrap();
    assert!(delete(&path).unwrap_err().to_string().contains("is writing it"));
    block_on(writer.remove(entries(0..25).iter().map(|entry| entry.path.clone()))).unwrap();
    block_on(writer.tidy()).unwrap();
    drop(writer);
    delete(&path).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_half_written_batch_is_as_if_it_had_never_begun() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pictures.index");
    let rows = vectors(4, 4);
    {
        let mut writer = Writer::open(&path, &stamp()).unwrap();
        block_on(writer.add(&entries(0..2), &rows[..2 * DIM])).unwrap();
    }
    // A crash between the vectors and the transaction leaves bytes behind the last row; one while vectors are written anew, another file.
    let mut vectors = OpenOptions::new().append(true).open(folder.path().join("pictures.index.vectors-0")).unwrap();
    vectors.write_all(&[0x3c; 37]).unwrap();
    fs::write(folder.path().join("pictures.index.vectors-1"), [1, 2, 3]).unwrap();
    let mut writer = Writer::open(&path, &stamp()).unwrap();
    assert!(!folder.path().join("pictures.index.vectors-1").exists());
    block_on(writer.add(&entries(2..4), &rows[2 * DIM..])).unwrap();
    let reader = Reader::open(&path).unwrap();
    for (number, row) in rows.chunks(DIM).enumerate() {
        assert_eq!(reader.embedding(&name(number)).unwrap().as_deref(), Some(row));
    }
    assert_eq!(f16::from_f32(0.25).to_f32(), 0.25);
}

#[test]
fn one_writes_and_what_was_made_otherwise_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pictures.index");
    let writer = Writer::open(&path, &stamp()).unwrap();
    let Err(IndexError::Database { reason, .. }) = Writer::open(&path, &stamp()) else { panic!("two write") };
    assert!(reason.contains("is writing it"), "{reason}");
    drop(writer);
    let other = Stamp { model: "another".to_owned(), ..stamp() };
    let error = Writer::open(&path, &other).err().unwrap().to_string();
    assert!(error.contains("with demo") && error.contains("with another"), "{error}");
    assert!(Reader::open(&folder.path().join("none")).is_err());
    #[cfg(unix)]
    for file in ["pictures.index", "pictures.index.vectors-0", "pictures.index.thumbnails-0"] {
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
        block_on(writer.add(&entries(0..50), &vectors(5, 50))).unwrap();
    }
    let vectors = folder.path().join("pictures.index.vectors-0");
    OpenOptions::new().write(true).open(&vectors).unwrap().set_len(100).unwrap();
    let error = Reader::open(&path).unwrap().search(&[0.25; DIM], 3).unwrap_err().to_string();
    assert!(error.contains("index the folder again"), "{error}");
}

#[test]
fn near_duplicates_are_grouped_however_many_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pictures.index");
    let mut writer = Writer::open(&path, &stamp()).unwrap();
    let mut rows = vectors(8, 200);
    // Thirty copies of the first, more than are looked at for each, and a pair; of a third pair one is gone.
    for copy in 100..130 {
        rows.copy_within(..DIM, copy * DIM);
    }
    rows.copy_within(50 * DIM..51 * DIM, 150 * DIM);
    rows.copy_within(60 * DIM..61 * DIM, 160 * DIM);
    block_on(writer.add(&entries(0..200), &rows)).unwrap();
    block_on(writer.remove([name(60)])).unwrap();
    let reader = Reader::open(&path).unwrap();
    let mut compared = Vec::new();
    let mut say = |done, total| {
        compared.push((done, total));
        ControlFlow::Continue(())
    };
    let groups = block_on(reader.alike(0.999, &mut say)).unwrap().unwrap();
    let paths: Vec<Vec<String>> = groups.iter().map(|group| group.iter().map(|found| found.path.clone()).collect()).collect();
    let first: Vec<String> = std::iter::once(0).chain(100..130).map(name).collect();
    assert_eq!(paths, [first, vec![name(50), name(150)]]);
    assert!(groups.iter().flatten().all(|found| (found.score - 1.0).abs() < 1e-3));
    assert_eq!((compared[0], compared.len()), ((0, 199), 4));
    assert_eq!(block_on(reader.alike(0.999, &mut |_, _| ControlFlow::Break(()))).unwrap(), None);
}

/// Vectors around sixty others in turn.
fn groups(first: usize, count: usize) -> Vec<f32> {
    let (centres, noise) = (vectors(7, 60), vectors(first as u64 + 8, count));
    let near = |(number, noise): (usize, &[f32])| {
        let centre = &centres[(number % 60) * DIM..][..DIM];
        let sum: Vec<f32> = centre.iter().zip(noise).map(|(centre, noise)| centre + 0.5 * noise).collect();
        let norm = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
        sum.into_iter().map(move |value| value / norm)
    };
    (first..).zip(noise.chunks_exact(DIM)).flat_map(near).collect()
}

/// The lesser of a plane's sides as a share of the greater, by standard deviations.
fn spread(places: &[Placed]) -> f32 {
    let deviation = |axis: usize| {
        let mean = places.iter().map(|picture| picture.place[axis]).sum::<f32>() / places.len() as f32;
        places.iter().map(|picture| (picture.place[axis] - mean).powi(2)).sum::<f32>().sqrt()
    };
    let (width, height) = (deviation(0), deviation(1));
    assert!(width > 0.1 && height > 0.1, "{width} {height}");
    width.min(height) / width.max(height)
}

/// Of the ten nearest of a picture, the share that is among the thirty nearest on a plane.
fn kept_neighbours(reader: &Reader, places: &[Placed]) -> f64 {
    let mut kept = 0;
    let some = places.iter().step_by(places.len() / 50);
    for own in some.clone() {
        let embed = reader.embedding(&own.path).unwrap().unwrap();
        let nearest = reader.search(&embed, 11).unwrap().found;
        let distance = |other: &Placed| (0..2).map(|axis| (own.place[axis] - other.place[axis]).powi(2)).sum::<f32>();
        let mut others: Vec<_> = places.iter().filter(|other| other.path != own.path).collect();
        others.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
        kept += nearest.iter().filter(|found| others[..30].iter().any(|other| other.path == found.path)).count();
    }
    kept as f64 / (10 * some.count()) as f64
}

#[test]
fn an_arrangement_keeps_neighbours_and_goes_on_where_it_was_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pictures.index");
    let mut writer = Writer::open(&path, &stamp()).unwrap();
    let mut add = |first: usize, count: usize| {
        let entries: Vec<Entry> = (first..first + count).map(entry).collect();
        block_on(writer.add(&entries, &groups(first, count))).unwrap();
    };
    let reader = Reader::open(&path).unwrap();
    add(0, 4);
    assert!(Arrangement::begin(&reader).unwrap().is_none(), "too few to be neighbours");
    // However few they are, they lie apart.
    add(4, 8);
    let mut few = Arrangement::begin(&reader).unwrap().unwrap();
    assert!(few.run(&mut |_, _| ControlFlow::Continue(())).unwrap());
    assert!(spread(&few.placed()) > 0.3);
    add(12, 1_488);

    let mut whole = Arrangement::begin(&reader).unwrap().unwrap();
    let mut steps = Vec::new();
    let finished = whole.run(&mut |done, total| {
        steps.push((done, total));
        ControlFlow::Continue(())
    });
    assert!(finished.unwrap());
    assert!(steps.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 == pair[1].1), "{steps:?}");
    assert_eq!(steps.last().map(|(done, total)| done == total), Some(true));
    let whole = whole.placed();
    assert!(spread(&whole) > 0.3);
    let (quick, whole) = (kept_neighbours(&reader, &block_on(reader.plane()).unwrap()), kept_neighbours(&reader, &whole));
    println!("neighbours kept: {quick:.2} by principal components, {whole:.2} by neighbours");
    assert!(quick < 0.8 && whole > 0.95, "{quick} {whole}");

    let mut halting = Arrangement::begin(&reader).unwrap().unwrap();
    let mut turns = 1;
    while !halting.run(&mut |_, _| ControlFlow::Break(())).unwrap() {
        turns += 1;
    }
    assert!(turns >= steps.len(), "{turns}");
    assert!(halting.is_of(&reader).unwrap());
    let halting = kept_neighbours(&reader, &halting.placed());
    assert!((halting - whole).abs() < 0.1, "{halting} {whole}");

    // More than it is made for: the others lie between those that they are like.
    add(1_500, 9_500);
    let mut large = Arrangement::begin(&reader).unwrap().unwrap();
    assert!(large.run(&mut |_, _| ControlFlow::Continue(())).unwrap());
    let placed = large.placed();
    assert_eq!(placed.len(), 11_000);
    assert!(placed.iter().all(|picture| picture.place.iter().all(|place| place.is_finite())));
}
