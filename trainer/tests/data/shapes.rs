//! Sizes of batches, grids, and the choice of captions.

use std::collections::{BTreeMap, BTreeSet};

use super::world::*;
use polyglance::text::Tokens;
use polyglance_trainer::data::{BatchSize, Budget, Loader};

#[test]
fn every_image_keeps_to_its_batch_budget() {
    let folder = tempfile::tempdir().unwrap();
    write_shards(folder.path(), 0, 2, 40);
    let mut options = options(&[folder.path().to_str().unwrap()]);
    options.budgets = vec![Budget::new(4), Budget::new(9), Budget { weight: 2.0, images: Some(2), ..Budget::new(25) }];
    options.batch_size = BatchSize::Tokens(40);
    let batches = take(&mut open(&options), 60);
    let mut counts = BTreeMap::new();
    for batch in &batches {
        let images = match batch.max_num_patches {
            4 => 10,
            9 => 4,
            25 => 2,
            other => panic!("no such budget: {other}"),
        };
        *counts.entry(batch.max_num_patches).or_insert(0) += 1;
        assert_eq!((batch.images.len(), batch.texts.len()), (images, images));
        for grid in batch.images.grids() {
            assert!(grid.patches() <= batch.max_num_patches && grid.patches() * 2 > batch.max_num_patches, "{grid:?}");
        }
    }
    assert!(counts.len() == 3 && counts[&25] > counts[&4], "{counts:?}");
    // Budgets follow from the batch's number, not from the examples.
    options.shuffle_examples = 1;
    let others = take(&mut open(&options), 60);
    assert_eq!(
        others.iter().map(|batch| batch.max_num_patches).collect::<Vec<_>>(),
        batches.iter().map(|batch| batch.max_num_patches).collect::<Vec<_>>()
    );
}

#[test]
fn a_fixed_model_has_one_grid() {
    let folder = tempfile::tempdir().unwrap();
    write_shards(folder.path(), 0, 1, 8);
    let (config, tokenizer) = model("fixed32");
    let mut options = options(&[folder.path().to_str().unwrap()]);
    assert!(Loader::open(&options, &config.vision, tokenizer.clone(), None).is_err(), "budgets make no sense here");
    options.budgets.clear();
    let batch = take(&mut Loader::open(&options, &config.vision, tokenizer, None).unwrap(), 1).remove(0);
    let side = config.vision.table_side();
    assert!(batch.images.grids().iter().all(|grid| (grid.rows, grid.cols) == (side, side)));
    assert_eq!(batch.max_num_patches, side * side);
}

/// Captions that 200 draws of one example give, with their counts.
fn captions(files: &[(&str, &str)], languages: &[(&str, f64)]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    draws(files, languages, 1).into_iter().flatten().for_each(|caption| *counts.entry(caption).or_insert(0) += 1);
    counts
}

/// 200 draws of one example, each with `each` captions.
fn draws(files: &[(&str, &str)], languages: &[(&str, f64)], each: usize) -> Vec<Vec<&'static str>> {
    let mut members = vec![("a.png".to_owned(), picture(1, 32, 32))];
    members.extend(files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("one.tar"), tar(&members)).unwrap();
    let mut options = options(&[folder.path().to_str().unwrap()]);
    options.languages = languages.iter().map(|(language, weight)| ((*language).to_owned(), *weight)).collect();
    options.captions = each;
    let (_, tokenizer) = model("naflex");
    let known = ["the default", "cat one", "cat two", "Katze", "chat"];
    let caption = |text: &Tokens| known.into_iter().find(|known| tokenizer.encode(known).unwrap() == *text).expect("a known caption");
    let batches = take(&mut open(&options), 50);
    batches.iter().flat_map(|batch| batch.texts.chunks(each)).map(|texts| texts.iter().map(caption).collect()).collect()
}

#[test]
fn several_captions_of_an_image_are_in_different_languages() {
    let json = r#"{"captions": {"en": ["cat one", "cat two"], "de": "Katze", "fr": "chat"}}"#;
    let files = [("a.txt", "the default"), ("a.json", json)];
    let languages = [("en", 8.0), ("de", 1.0), ("fr", 1.0)];
    let language = |caption: &&'static str| if caption.starts_with("cat") { "en" } else { *caption };
    let two = draws(&files, &languages, 2);
    assert!(two.len() == 200 && two.iter().all(|captions| language(&captions[0]) != language(&captions[1])), "{two:?}");
    // English comes first in 8 of 10 draws: binomial, standard deviation 5.7; five of them.
    let first = two.iter().filter(|captions| language(&captions[0]) == "en").count();
    assert!(first.abs_diff(160) < 29, "{first}");
    // The fourth caption begins another round of the three languages.
    let four = draws(&files, &languages, 4);
    assert!(four.iter().all(|captions| captions[..3].iter().map(language).collect::<BTreeSet<_>>().len() == 3), "{four:?}");
    // Where none of the languages is there, the default is.
    assert_eq!(draws(&files, &[("ja", 1.0)], 2)[0], ["the default"; 2]);
}

#[test]
fn captions_are_drawn_by_language_and_then_evenly() {
    let json = r#"{"captions": {"en": ["cat one", " ", "cat two"], "de": "Katze", "fr": [""]}, "url": "x", "regions": null}"#;
    let json = json.replace(r#", "regions": null"#, "");
    let files = [("a.txt", "the default\n"), ("a.json", json.as_str())];
    assert_eq!(captions(&files, &[]).into_keys().collect::<Vec<_>>(), ["the default"]);
    // Japanese and French are not there, so their weights do not count: 3 to 1, and English has two captions.
    let counts = captions(&files, &[("en", 3.0), ("de", 1.0), ("ja", 9.0), ("fr", 9.0)]);
    assert_eq!(counts.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from(["Katze", "cat one", "cat two"]));
    // Binomial with n = 200: 50 expected, standard deviation 6; five of them.
    assert!(counts["Katze"].abs_diff(50) < 31 && counts["cat one"].abs_diff(75) < 35, "{counts:?}");
    // None of the languages is there: the default stands in.
    assert_eq!(captions(&files, &[("ja", 1.0)]).into_keys().collect::<Vec<_>>(), ["the default"]);
    // No default: any caption will do.
    let counts = captions(&files[1..], &[]);
    assert_eq!(counts.len(), 3, "{counts:?}");
}
