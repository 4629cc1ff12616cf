//! Tiny shards, and loaders over them.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use image::{ImageFormat, Rgb, RgbImage};
use polyglance::config::ModelConfig;
use polyglance::image::{PatchBatch, Resampling};
use polyglance::platform::block_on;
use polyglance::text::{TextOptions, Tokenizer};
use polyglance::weights::Checkpoint;
use polyglance_trainer::data::{Batch, BatchSize, BatchSource, Budget, DataError, DataOptions, HttpOptions, Loader, SourceOptions};

/// Configuration and tokenizer of a model among the library's fixtures.
pub(crate) fn model(name: &str) -> (ModelConfig, Arc<Tokenizer>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracle/fixtures/models").join(name);
    let checkpoint = block_on(Checkpoint::open(&folder)).unwrap();
    let json = block_on(checkpoint.tokenizer_json()).unwrap();
    let tokenizer = Tokenizer::from_json(&json, &checkpoint.config().text, TextOptions::default()).unwrap();
    (*checkpoint.config(), Arc::new(tokenizer))
}

/// A picture in one colour, which tells its number.
pub(crate) fn picture(number: usize, height: u32, width: u32) -> Vec<u8> {
    let colour = Rgb([(number % 256) as u8, (number / 256) as u8, 77]);
    let mut png = Cursor::new(Vec::new());
    RgbImage::from_pixel(width, height, colour).write_to(&mut png, ImageFormat::Png).unwrap();
    png.into_inner()
}

/// The numbers of a batch's pictures.
pub(crate) fn numbers(batch: &Batch) -> Vec<usize> {
    numbers_of(&batch.images)
}

/// By the value in the middle of the middle patch: a letterbox has bars elsewhere.
pub(crate) fn numbers_of(images: &PatchBatch) -> Vec<usize> {
    let patch = images.values().len() / images.tokens();
    let value = |index: usize| (images.values()[index] * 127.5 + 127.5).round() as usize;
    let number = |pair: &[u32]| {
        let middle = (pair[0] + pair[1]) as usize / 2 * patch;
        value(middle) + 256 * value(middle + 1)
    };
    images.offsets().windows(2).map(number).collect()
}

/// A shard of files.
pub(crate) fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// The two files of example `number`, whose caption is its number in words of one letter.
pub(crate) fn example(number: usize) -> [(String, Vec<u8>); 2] {
    let caption = format!("number {number}");
    [(format!("{number:06}.png"), picture(number, 20 + number as u32 % 40, 30)), (format!("{number:06}.txt"), caption.into_bytes())]
}

pub(crate) fn shard(range: std::ops::Range<usize>) -> Vec<u8> {
    tar(&range.flat_map(example).collect::<Vec<_>>())
}

/// `shards` files of `each` examples in a folder, numbered on from `first`.
pub(crate) fn write_shards(folder: &Path, first: usize, shards: usize, each: usize) {
    for index in 0..shards {
        let start = first + index * each;
        std::fs::write(folder.join(format!("{index:05}.tar")), shard(start..start + each)).unwrap();
    }
}

pub(crate) fn options(patterns: &[&str]) -> DataOptions {
    DataOptions {
        seed: 5,
        sources: patterns.iter().map(|pattern| SourceOptions { pattern: (*pattern).to_owned(), weight: 1.0 }).collect(),
        languages: BTreeMap::new(),
        captions: 1,
        batch_size: BatchSize::Images(4),
        budgets: vec![Budget::new(6), Budget::new(12)],
        shuffle_examples: 16,
        resampling: Resampling::Hf,
        threads: 2,
        batches_ahead: 1,
        http: HttpOptions { stall_timeout: Duration::from_secs(20), attempts: 4, backoff: Duration::from_millis(1) },
    }
}

pub(crate) fn open(options: &DataOptions) -> Loader {
    let (config, tokenizer) = model("naflex");
    Loader::open(options, &config.vision, tokenizer, None).unwrap()
}

/// The first batches.
pub(crate) fn take(loader: &mut Loader, count: usize) -> Vec<Batch> {
    (0..count).map(|_| loader.next().unwrap()).collect()
}

/// Batches until the loader gives up, and why.
pub(crate) fn until_error(loader: &mut Loader) -> (Vec<Batch>, DataError) {
    let mut batches = Vec::new();
    for _ in 0..1_000 {
        match loader.next() {
            Ok(batch) => batches.push(batch),
            Err(error) => return (batches, error),
        }
    }
    panic!("no error after {} batches", batches.len());
}

pub(crate) fn assert_same(a: &[Batch], b: &[Batch]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert_eq!((&a.images, &a.texts, a.max_num_patches, &a.position), (&b.images, &b.texts, b.max_num_patches, &b.position));
    }
}
