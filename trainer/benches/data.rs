//! Images per second that the loader decodes, resizes and cuts into patches, captions tokenised beside them, from shards in the page cache.
//!
//! Run: cargo bench -p polyglance-trainer --bench data
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::io::Cursor;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use divan::{Bencher, counter::ItemsCount};
use image::{ImageFormat, Rgb, RgbImage};
use polyglance::image::Resampling;
use polyglance::platform::block_on;
use polyglance::text::{TextOptions, Tokenizer};
use polyglance::weights::Checkpoint;
use polyglance_trainer::data::{BatchSize, BatchSource, Budget, DataOptions, HttpOptions, Loader, SourceOptions};

fn main() {
    divan::main();
}

const SIDE: u32 = 256;
const EXAMPLES: usize = 512;
const BATCH: usize = 64;

/// A small tokenizer of the released one's kind.
static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracle/fixtures/models/naflex");
    let checkpoint = block_on(Checkpoint::open(&folder)).unwrap();
    let json = block_on(checkpoint.tokenizer_json()).unwrap();
    Arc::new(Tokenizer::from_json(&json, &checkpoint.config().text, TextOptions::default()).unwrap())
});

/// Smooth colours with fine grain, which compress about as photographs do.
fn picture(number: usize) -> RgbImage {
    let wave = |x: u32, y: u32, k: usize| {
        let (x, y, k) = (x as f32 / SIDE as f32, y as f32 / SIDE as f32, k as f32 + number as f32 % 7.0);
        let grain = (x * 9_431.0).sin() * (y * 7_919.0).sin() * 12.0;
        (127.0 + 100.0 * (k * x * 3.0 + y * 5.0).sin() * (y * 4.0 - k * x).cos() + grain) as u8
    };
    RgbImage::from_fn(SIDE, SIDE, |x, y| Rgb([wave(x, y, 0), wave(x, y, 1), wave(x, y, 2)]))
}

fn shards(format: ImageFormat) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut builder = tar::Builder::new(std::fs::File::create(folder.path().join("0.tar")).unwrap());
    let mut add = |name: String, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, bytes).unwrap();
    };
    for number in 0..EXAMPLES {
        let mut bytes = Cursor::new(Vec::new());
        picture(number).write_to(&mut bytes, format).unwrap();
        add(format!("{number}.{}", format.extensions_str()[0]), bytes.get_ref());
        add(format!("{number}.txt"), b"a photo of a small red house beside a river, with mountains behind it");
    }
    builder.finish().unwrap();
    folder
}

fn load(bencher: Bencher<'_, '_>, format: ImageFormat, threads: usize, max_num_patches: usize) {
    let folder = shards(format);
    let options = DataOptions {
        seed: 0,
        sources: vec![SourceOptions { pattern: folder.path().to_str().unwrap().to_owned(), weight: 1.0 }],
        languages: Default::default(),
        captions: 1,
        batch_size: BatchSize::Images(BATCH),
        budgets: vec![Budget::new(max_num_patches)],
        shuffle_examples: EXAMPLES,
        resampling: Resampling::Hf,
        threads,
        batches_ahead: 1,
        http: HttpOptions::default(),
    };
    let vision = polyglance::config::PRESETS.iter().find(|preset| preset.id.ends_with("base-patch16-naflex")).unwrap().config.vision;
    let mut loader = Loader::open(&options, &vision, TOKENIZER.clone(), None).unwrap();
    // What was made ahead does not count.
    (0..3).for_each(|_| drop(loader.next().unwrap()));
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| loader.next().unwrap());
}

#[divan::bench(args = [1, 2], sample_count = 40, sample_size = 1)]
fn png_256_patches(bencher: Bencher<'_, '_>, threads: usize) {
    load(bencher, ImageFormat::Png, threads, 256);
}

#[divan::bench(args = [1, 2], sample_count = 40, sample_size = 1)]
fn jpeg_256_patches(bencher: Bencher<'_, '_>, threads: usize) {
    load(bencher, ImageFormat::Jpeg, threads, 256);
}

#[divan::bench(args = [1, 2], sample_count = 40, sample_size = 1)]
fn jpeg_64_patches(bencher: Bencher<'_, '_>, threads: usize) {
    load(bencher, ImageFormat::Jpeg, threads, 64);
}
