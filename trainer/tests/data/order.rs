//! Which examples come when: shuffled, mixed, the same on any number of threads, the same after a stop.

use std::collections::BTreeSet;

use super::world::*;
use polyglance_trainer::data::{DataPosition, Loader};

#[test]
fn an_epoch_is_every_example_once_in_an_order_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    write_shards(folder.path(), 0, 4, 12);
    let options = options(&[folder.path().to_str().unwrap()]);
    let batches = take(&mut open(&options), 36);
    let all: Vec<usize> = batches.iter().flat_map(numbers).collect();
    let epochs: Vec<&[usize]> = all.chunks(48).collect();
    for epoch in &epochs {
        assert_eq!(epoch.iter().copied().collect::<BTreeSet<_>>(), (0..48).collect());
    }
    assert_ne!(epochs[0], epochs[1]);
    assert_ne!(epochs[0], (0..48).collect::<Vec<_>>());
    // A block of 16 spans shards of 12: the first sixteen come from two shards, and not one after the other.
    let shards: Vec<usize> = epochs[0][..16].iter().map(|number| number / 12).collect();
    assert_eq!(shards.iter().collect::<BTreeSet<_>>().len(), 2);
    assert!(shards.windows(2).filter(|pair| pair[0] != pair[1]).count() > 1, "{shards:?}");
    assert_eq!(batches[35].position.epochs(), [3]);
    // Texts stay with their images.
    let (_, tokenizer) = model("naflex");
    for batch in &batches {
        for (number, tokens) in numbers(batch).into_iter().zip(&batch.texts) {
            assert_eq!(*tokens, tokenizer.encode(&format!("number {number}")).unwrap());
        }
    }
}

#[test]
fn the_seed_decides_the_order_and_threads_do_not() {
    let folder = tempfile::tempdir().unwrap();
    write_shards(folder.path(), 0, 3, 20);
    let mut options = options(&[folder.path().to_str().unwrap()]);
    let batches = take(&mut open(&options), 20);
    for (threads, batches_ahead) in [(1, 1), (7, 3)] {
        (options.threads, options.batches_ahead) = (threads, batches_ahead);
        assert_same(&take(&mut open(&options), 20), &batches);
    }
    options.seed += 1;
    let others = take(&mut open(&options), 20);
    assert_ne!(others.iter().flat_map(numbers).collect::<Vec<_>>(), batches.iter().flat_map(numbers).collect::<Vec<_>>());
}

#[test]
fn a_resumed_run_sees_the_same_batches() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    for (path, first) in [(&a, 0), (&b, 500)] {
        std::fs::create_dir(path).unwrap();
        write_shards(path, first, 3, 110);
    }
    // Three bad examples, so that guesses about batches go wrong.
    let mut broken: Vec<_> = (1000..1110).flat_map(example).collect();
    for (name, bytes) in &mut broken {
        if ["001017.png", "001057.png", "001097.png"].contains(&name.as_str()) {
            bytes.truncate(20);
        }
    }
    std::fs::write(a.join("00003.tar"), tar(&broken)).unwrap();
    let mut options = options(&[a.to_str().unwrap(), b.to_str().unwrap()]);
    options.sources[1].weight = 2.5;
    let whole = take(&mut open(&options), 200);
    let statistics = {
        let mut loader = open(&options);
        take(&mut loader, 200);
        loader.statistics()
    };
    assert!(statistics.skipped.values().sum::<u64>() >= 1, "{statistics:?}");
    let (config, tokenizer) = model("naflex");
    for stop in [1, 2, 7, 50, 51, 120, 199] {
        // Through JSON, as a checkpoint keeps it.
        let json = serde_json::to_string(&whole[stop - 1].position).unwrap();
        assert!(json.len() < 400, "{json}");
        let position: DataPosition = serde_json::from_str(&json).unwrap();
        options.threads = 1 + stop % 3;
        let mut resumed = Loader::open(&options, &config.vision, tokenizer.clone(), Some(&position)).unwrap();
        assert_same(&take(&mut resumed, 200 - stop), &whole[stop..]);
    }
    // 800 examples, one in 3.5 from the first source: 229 expected, standard deviation 13; five of them.
    let first = whole.iter().flat_map(numbers).filter(|number| !(500..1000).contains(number)).count();
    assert!((first as i32 - 229).abs() < 64, "{first}");
}

#[test]
fn a_position_of_other_data_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_shards(folder.path(), 0, 2, 8);
    let options = options(&[folder.path().to_str().unwrap()]);
    let position = take(&mut open(&options), 1)[0].position.clone();
    std::fs::write(folder.path().join("new.tar"), shard(0..4)).unwrap();
    let (config, tokenizer) = model("naflex");
    let error = Loader::open(&options, &config.vision, tokenizer, Some(&position)).err().unwrap().to_string();
    assert!(error.contains("not what it was"), "{error}");
}

#[test]
fn shards_come_from_patterns_and_pairs_from_folders() {
    let folder = tempfile::tempdir().unwrap();
    write_shards(folder.path(), 0, 3, 4);
    let path = folder.path().to_str().unwrap();
    let sorted = |pattern: &str, batches: usize| {
        let mut numbers: Vec<_> = take(&mut open(&options(&[pattern])), batches).iter().flat_map(numbers).collect();
        numbers.sort_unstable();
        numbers
    };
    assert_eq!(sorted(&format!("{path}/0000{{0,2}}.tar"), 2), [0, 1, 2, 3, 8, 9, 10, 11]);
    assert_eq!(sorted(&format!("{path}/{{00001..00002}}.tar"), 2), (4..12).collect::<Vec<_>>());
    assert_eq!(sorted(&format!("{path}/*1.tar"), 1), [4, 5, 6, 7]);
    let pairs = tempfile::tempdir().unwrap();
    std::fs::create_dir(pairs.path().join("inside")).unwrap();
    for (name, bytes) in (0..4).flat_map(example) {
        std::fs::write(pairs.path().join("inside").join(name), bytes).unwrap();
    }
    assert_eq!(sorted(pairs.path().to_str().unwrap(), 1), [0, 1, 2, 3]);
}
