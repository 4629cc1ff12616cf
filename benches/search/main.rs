//! The index at its sizes: searching, adding, typing, and a million vectors beside FAISS and numpy.
//!
//! ```text
//! cargo bench --bench search -- [model=FOLDER] [python=PYTHON] [rows=1000000]
//! ```
//!
//! FOLDER is a model of the shape of B/16 with a tokenizer, whose text tower reads what is typed into the app, which is drawn on the first GPU that is
//! found, a software one if need be. PYTHON is an interpreter with the packages of
//! `benches/peers/search.py`; without one only our own figures are printed. All take turns, round by round. The index lies in the system's temporary
//! folder: 1.5 GB for a million rows, and twice that for the peers.

mod app;
#[path = "../peers/mod.rs"]
mod peers;
mod screen;

use std::fs::File;
use std::io::{BufWriter, Cursor, Write};
use std::path::Path;
use std::sync::Arc;

use half::f16;
use image::ImageFormat;
use polyglance::cpu::CpuBackend;
use polyglance::encoder::{DeviceChoice, Encoder, EncoderOptions, Precision};
use polyglance::image::{Resampling, decode, preview};
use polyglance::index::{Entry, FileState, Reader, Stamp, Writer};
use polyglance::kernels::{self, ScoresTopK};
use polyglance::limits::Limits;
use polyglance::platform::{Stopwatch, block_on, for_each_chunk};
use polyglance::weights::Checkpoint;

use self::peers::{Failure, Peers, median, percentile};

const DIM: usize = 768;
/// Rows that are added at once, as an update does with small pictures.
const BATCH: usize = 1_000;
const SEARCHES: usize = 200;
const ROUNDS: usize = 9;

fn main() -> Result<(), Failure> {
    // `cargo bench` adds the flag --bench.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let given = |name: &str| arguments.iter().find_map(|argument| argument.strip_prefix(name)?.strip_prefix('='));
    println!("{}", CpuBackend::description());
    small(given("model"))?;
    large(given("rows").map_or(Ok(1_000_000), str::parse)?, given("python"))
}

/// 100,000 pictures: 1,000 pictures more, the search, and a query that is typed.
fn small(model: Option<&str>) -> Result<(), Failure> {
    const ROWS: usize = 100_000;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("pictures.index");
    let mut random = Random(1);
    let thumbnail = thumbnail()?;
    let mut writer = Writer::open(&path, &model.map_or_else(|| Ok(stamp()), |model| stamp_of(folder.path(), model))?)?;
    let mut first = Vec::new();
    for start in (0..ROWS).step_by(BATCH) {
        let embeds = random.vectors(BATCH);
        let watch = Stopwatch::start();
        block_on(writer.add(&entries(start, &thumbnail), &embeds))?;
        first.push(watch.elapsed_secs());
    }
    let mut more = Vec::new();
    for start in (ROWS..ROWS + 10 * BATCH).step_by(BATCH) {
        let embeds = random.vectors(BATCH);
        let watch = Stopwatch::start();
        block_on(writer.add(&entries(start, &thumbnail), &embeds))?;
        more.push(1e3 * watch.elapsed_secs());
    }
    let mut empty: Vec<f64> = first.iter().take(10).map(|secs| 1e3 * secs).collect();
    println!(
        "adding 1,000 pictures: {:.1} ms to an index of 100,000, {:.1} ms to one of less than 10,000 (medians of 10)",
        median(&mut more),
        median(&mut empty)
    );
    let reader = Reader::open(&path)?;
    let mut millis = searches(&reader, &mut random, SEARCHES)?;
    println!("search of 100,000: {:.1} ms, p95 {:.1} ms", percentile(&mut millis, 0.5), percentile(&mut millis, 0.95));
    drop(writer);
    model.map_or(Ok(()), |model| app::typing(folder.path(), model))
}

/// A million vectors, in turns with the peers.
fn large(rows: usize, python: Option<&str>) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("pictures.index");
    let raw = folder.path().join("vectors.f32");
    let mut random = Random(2);
    let mut writer = Writer::open(&path, &stamp())?;
    let mut file = python.map(|_| File::create(&raw)).transpose()?.map(BufWriter::new);
    let mut halves: Vec<f16> = Vec::with_capacity(rows * DIM);
    for start in (0..rows).step_by(10 * BATCH) {
        for start in (start..rows.min(start + 10 * BATCH)).step_by(BATCH) {
            let embeds = random.vectors(BATCH);
            block_on(writer.add(&entries(start, &[]), &embeds))?;
            halves.extend(embeds.iter().map(|value| f16::from_f32(*value)));
            if let Some(file) = &mut file {
                file.write_all(bytemuck::cast_slice(&embeds))?;
            }
        }
    }
    drop(writer);
    if let Some(mut file) = file {
        file.flush()?;
    }
    let mut peers = python.map(|python| Peers::start(python, "search.py", raw.as_os_str())).transpose()?;
    let reader = Reader::open(&path)?;
    searches(&reader, &mut random, 2)?;
    let (mut ours, mut kernel, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    let (mut theirs, mut ratios) = ([const { Vec::new() }; PEERS.len()], [const { Vec::new() }; PEERS.len()]);
    for _ in 0..ROUNDS {
        let secs = searches(&reader, &mut random, 1)?[0] / 1e3;
        ours.push(1e3 * secs);
        let query = random.vectors(1);
        let watch = Stopwatch::start();
        std::hint::black_box(ScoresTopK { dim: DIM, k: 10 }.run(&query, kernels::Table::F16(&halves)));
        let kernel_secs = watch.elapsed_secs();
        kernel.push(1e3 * kernel_secs);
        shares.push(read_secs(&mut halves) / kernel_secs);
        if let Some(peers) = &mut peers {
            for (index, peer) in PEERS.iter().enumerate() {
                let peer_secs = peers.run_secs(peer)?;
                theirs[index].push(1e3 * peer_secs);
                ratios[index].push(peer_secs / secs);
            }
        }
    }
    println!(
        "search of {rows}: {:.0} ms from the file, {:.0} ms the kernel alone, {:.0} % of the rate at which these bytes are only read",
        median(&mut ours),
        median(&mut kernel),
        100.0 * median(&mut shares)
    );
    if peers.is_some() {
        for ((peer, theirs), ratios) in PEERS.iter().zip(&mut theirs).zip(&mut ratios) {
            println!("{peer}: {:.0} ms; polyglance is {:.2}× as fast", median(theirs), median(ratios));
        }
    }
    Ok(())
}

/// What the script can run.
const PEERS: [&str; 3] = ["faiss", "numpy", "faiss-f16"];

/// Seconds that it takes to read all values and do next to nothing.
fn read_secs(values: &mut [f16]) -> f64 {
    let words: &mut [u64] = bytemuck::cast_slice_mut(values);
    let watch = Stopwatch::start();
    for_each_chunk(words, 1 << 18, |_, chunk| {
        std::hint::black_box(chunk.iter().fold(0, |bits, value| bits | value));
    });
    watch.elapsed_secs()
}

/// Milliseconds of searches for the ten best.
fn searches(reader: &Reader, random: &mut Random, count: usize) -> Result<Vec<f64>, Failure> {
    let mut millis = Vec::with_capacity(count);
    for _ in 0..count {
        let query = random.vectors(1);
        let watch = Stopwatch::start();
        let results = reader.search(&query, 10)?;
        millis.push(1e3 * watch.elapsed_secs());
        assert_eq!(results.found.len(), 10);
    }
    Ok(millis)
}

/// Of random vectors.
fn stamp() -> Stamp {
    let (root, model, resampling) = ("/pictures".to_owned(), "random".to_owned(), "hf".to_owned());
    Stamp { root, model, dim: DIM, max_num_patches: Some(256), resampling, calibration: [0, 0] }
}

/// As if a model had made them.
fn stamp_of(root: &Path, model: &str) -> Result<Stamp, Failure> {
    let checkpoint = block_on(Checkpoint::open(model.as_ref()))?;
    let options = EncoderOptions { device: DeviceChoice::Cpu, precision: Precision::F32 };
    let encoder = block_on(Encoder::new(Arc::new(checkpoint), options))?;
    Ok(Stamp::new(&root.to_string_lossy(), model, &encoder, None, Resampling::default()))
}

/// A batch of pictures with this thumbnail.
fn entries(start: usize, thumbnail: &[u8]) -> Vec<Entry> {
    let entry = |number: usize| Entry {
        path: format!("{:03}/picture-{number:07}.jpg", number / 1_000),
        state: FileState { bytes: number as u64, secs: 1_700_000_000, nanos: 0 },
        size: [480, 640],
        thumbnail: thumbnail.to_owned(),
    };
    (start..start + BATCH).map(entry).collect()
}

/// A small picture as an index has them, of one of the samples.
fn thumbnail() -> Result<Vec<u8>, Failure> {
    let sample = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo/samples/castle.jpg"))?;
    let mut jpeg = Cursor::new(Vec::new());
    preview(&decode(&sample, &Limits::current())?.pixels, 256).write_to(&mut jpeg, ImageFormat::Jpeg)?;
    Ok(jpeg.into_inner())
}

/// Marsaglia's xorshift: quick, and good enough for vectors.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // Half of 24 random bits either side of zero.
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Vectors of unit length, `[count, DIM]`.
    fn vectors(&mut self, count: usize) -> Vec<f32> {
        let mut values: Vec<f32> = (0..count * DIM).map(|_| self.next()).collect();
        for vector in values.chunks_exact_mut(DIM) {
            let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
            vector.iter_mut().for_each(|value| *value /= norm);
        }
        values
    }
}
