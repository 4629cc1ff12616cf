//! Bad members and shards: left out and counted, until they are too many.

use std::time::{Duration, Instant};

use super::world::*;
use polyglance_trainer::data::{BatchSize, DataError, DataOptions, HttpOptions, Loader, Reason, examples};

/// Names of the good examples and reasons of the bad ones in a shard.
fn read(shard: &[u8]) -> (Vec<String>, Vec<Reason>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shard.tar");
    std::fs::write(&path, shard).unwrap();
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for example in examples(path.to_str().unwrap(), &HttpOptions::default()).unwrap() {
        match example.unwrap() {
            Ok(example) => good.push(example.name.rsplit(' ').next().unwrap().to_owned()),
            Err(error) => {
                assert!(error.name.contains("shard.tar"), "{error}");
                bad.push(error.reason);
            }
        }
    }
    (good, bad)
}

fn link(name: &str, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_entry_type(kind);
    header.set_link_name("/etc/passwd").unwrap();
    header.set_size(0);
    header.set_cksum();
    header
}

#[test]
fn only_regular_files_are_examples() {
    let mut builder = tar::Builder::new(Vec::new());
    let file = |builder: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, bytes).unwrap();
    };
    let mut folder = tar::Header::new_gnu();
    folder.set_entry_type(tar::EntryType::Directory);
    folder.set_size(0);
    builder.append_data(&mut folder, "folder/", &[][..]).unwrap();
    file(&mut builder, "./folder/a.JPG", b"x");
    file(&mut builder, "./folder/a.txt", b"x");
    file(&mut builder, "README", b"x");
    builder.append(&link("b.jpg", tar::EntryType::Symlink), &[][..]).unwrap();
    file(&mut builder, "b.txt", b"x");
    builder.append(&link("c.jpg", tar::EntryType::Char), &[][..]).unwrap();
    file(&mut builder, "only.txt", b"x");
    let long = "long/".repeat(60) + "d";
    file(&mut builder, &format!("{long}.png"), b"x");
    file(&mut builder, &format!("{long}.txt"), b"x");
    file(&mut builder, "e.tiff", b"x");
    let (good, bad) = read(&builder.into_inner().unwrap());
    assert_eq!(good, ["folder/a", long.as_str(), "e"]);
    assert_eq!(bad, [Reason::NotRegular, Reason::NotRegular, Reason::NoImage]);
}

#[test]
fn names_from_pax_records_are_read() {
    let mut builder = tar::Builder::new(Vec::new());
    let long = "é".repeat(90);
    builder.append_pax_extensions([("path", format!("{long}.png").as_bytes())]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_path("short").unwrap();
    header.set_size(1);
    header.set_cksum();
    builder.append(&header, &b"x"[..]).unwrap();
    assert_eq!(read(&builder.into_inner().unwrap()).0, [long]);
}

#[test]
fn a_name_above_the_limit_is_damage() {
    // A name is stored with a zero at its end.
    let named = |length: usize| read(&tar(&[("n".repeat(length - 5) + ".png", vec![1])]));
    let limit = 64 << 10;
    for length in [limit - 1, limit] {
        assert_eq!(named(length).1, []);
    }
    assert_eq!(named(limit + 1), (vec![], vec![Reason::DamagedShard]));
}

#[test]
fn a_member_above_the_limit_is_left_out() {
    let sizes = |size: usize| read(&tar(&[("a.png".to_owned(), vec![0; size]), ("b.png".to_owned(), vec![1])]));
    let limit = 64 << 20;
    for size in [limit - 1, limit] {
        assert_eq!(sizes(size), (vec!["a".to_owned(), "b".to_owned()], vec![]));
    }
    assert_eq!(sizes(limit + 1), (vec!["b".to_owned()], vec![Reason::MemberTooLarge]));
}

#[test]
fn a_shard_cut_anywhere_ends_in_damage_or_whole_examples() {
    let whole = shard(0..3);
    // The last 1,024 bytes are zeros, which a reader can do without.
    let content = whole.len() - 1024;
    for cut in (1..content).step_by(37) {
        let (good, bad) = read(&whole[..cut]);
        assert!(good.len() < 3 || cut + 512 > content, "{cut}");
        assert!(bad.len() == usize::from(!cut.is_multiple_of(512) || bad == [Reason::DamagedShard]), "{cut}: {bad:?}");
    }
    assert_eq!(read(&whole[..content]).1, []);
}

#[test]
fn what_is_no_archive_is_damaged() {
    let mut flipped = shard(0..2);
    flipped[5] ^= 1;
    for bytes in [flipped, vec![0x1f, 0x8b, 8, 0], vec![b'x'; 5000]] {
        assert_eq!(read(&bytes), (vec![], vec![Reason::DamagedShard]));
    }
    assert_eq!(read(&[]), (vec![], vec![]));
}

#[test]
fn a_shard_above_the_limit_is_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.tar");
    let file = std::fs::File::create(&path).unwrap();
    let first = |size: u64| {
        // A hole, not four gigabytes.
        file.set_len(size).unwrap();
        examples(path.to_str().unwrap(), &HttpOptions::default()).unwrap().next()
    };
    assert!(first((4 << 30) - 1).is_none());
    assert!(first(4 << 30).is_none());
    let error = first((4 << 30) + 1).unwrap().unwrap_err().to_string();
    assert!(error.contains("large.tar") && error.contains("split it"), "{error}");
}

#[test]
fn any_changed_byte_is_read_or_refused() {
    let mut shard = shard(0..2);
    let mut reasons = std::collections::BTreeSet::new();
    for at in (0..shard.len()).step_by(7) {
        for change in [1, 0x80, 0xff] {
            shard[at] ^= change;
            let (good, bad) = read(&shard);
            assert!(good.len() + bad.len() <= 4, "byte {at}");
            reasons.extend(bad);
            shard[at] ^= change;
        }
    }
    assert!(reasons.contains(&Reason::DamagedShard), "{reasons:?}");
}

/// A source of `good` and `bad` examples in one shard.
fn spoiled(good: usize, bad: usize) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let broken =
        (good..good + bad).flat_map(|number| [(format!("{number}.jpg"), vec![0xff, 0xd8]), (format!("{number}.txt"), b"x".to_vec())]);
    std::fs::write(folder.path().join("0.tar"), tar(&(0..good).flat_map(example).chain(broken).collect::<Vec<_>>())).unwrap();
    let pattern = folder.path().to_str().unwrap().to_owned();
    (folder, pattern)
}

#[test]
fn one_bad_example_in_a_hundred_is_tolerated_and_more_is_not() {
    let (_folder, pattern) = spoiled(99, 1);
    let mut loader = open(&options(&[&pattern]));
    take(&mut loader, 60);
    assert_eq!(loader.statistics().skipped.keys().collect::<Vec<_>>(), [&Reason::Image]);

    let (_folder, pattern) = spoiled(98, 1);
    let (batches, error) = until_error(&mut open(&options(&[&pattern])));
    assert!(batches.len() <= 25, "it stops when the epoch ends");
    let text = error.to_string();
    assert!(matches!(error, DataError::TooManyBad { bad: 1, seen: 99, .. }), "{text}");
    assert!(text.contains("1 × unreadable image") && text.contains("0.tar: 98"), "{text}");
}

#[test]
fn a_source_that_is_all_bad_stops_at_once() {
    let (_folder, pattern) = spoiled(0, 3000);
    let (batches, error) = until_error(&mut open(&options(&[&pattern])));
    assert!(batches.is_empty());
    assert!(matches!(error, DataError::TooManyBad { bad: 11, seen: 11, .. }), "{error}");
}

#[test]
fn a_damaged_shard_among_few_stops_the_run_and_names_it() {
    let folder = tempfile::tempdir().unwrap();
    write_shards(folder.path(), 0, 3, 30);
    let half = std::fs::read(folder.path().join("00001.tar")).unwrap();
    std::fs::write(folder.path().join("00001.tar"), &half[..half.len() / 2]).unwrap();
    let (_, error) = until_error(&mut open(&options(&[folder.path().to_str().unwrap()])));
    assert!(matches!(error, DataError::TooManyDamaged { damaged: 1, shards: 3, .. }), "{error}");
    assert!(error.to_string().contains("00001.tar"), "{error}");
}

#[test]
fn no_data_is_an_error_and_not_an_endless_loop() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("empty.tar"), tar(&[])).unwrap();
    let (_, error) = until_error(&mut open(&options(&[folder.path().to_str().unwrap()])));
    assert!(matches!(error, DataError::Empty { .. }), "{error}");
    let missing = examples("no/such/file.tar", &HttpOptions::default()).err().unwrap().to_string();
    assert!(missing.contains("no/such/file.tar"), "{missing}");
    assert!(matches!(examples("no/such/*.tar", &HttpOptions::default()).err().unwrap(), DataError::Pattern { .. }));
}

#[test]
fn options_that_make_no_sense_are_refused_before_anything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    write_shards(folder.path(), 0, 1, 4);
    let (config, tokenizer) = model("naflex");
    let refused = |change: &dyn Fn(&mut DataOptions)| {
        let mut options = options(&[folder.path().to_str().unwrap()]);
        change(&mut options);
        matches!(Loader::open(&options, &config.vision, tokenizer.clone(), None), Err(DataError::Options(_)))
    };
    assert!(!refused(&|_| ()));
    assert!(refused(&|options| options.sources.clear()));
    assert!(refused(&|options| options.sources[0].weight = 0.0));
    assert!(refused(&|options| options.sources[0].weight = f64::NAN));
    assert!(refused(&|options| options.languages = [("en".to_owned(), -1.0)].into()));
    assert!(refused(&|options| options.shuffle_examples = 0));
    assert!(refused(&|options| options.budgets.clear()));
    assert!(refused(&|options| options.budgets[0].max_num_patches = 4097));
    assert!(refused(&|options| options.batch_size = BatchSize::Images(0)));
}

#[test]
fn dropping_a_loader_stops_it_soon() {
    let folder = tempfile::tempdir().unwrap();
    write_shards(folder.path(), 0, 2, 200);
    let mut options = options(&[folder.path().to_str().unwrap()]);
    options.batch_size = BatchSize::Images(1_000_000);
    let loader = open(&options);
    std::thread::sleep(Duration::from_millis(50));
    let start = Instant::now();
    drop(loader);
    // A million images would take minutes.
    assert!(start.elapsed() < Duration::from_secs(10));
}
