//! What several test modules need: fixtures, and the encoders that every numeric test runs on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use polyglance::encoder::{DeviceChoice, Encoder, EncoderOptions, Precision};
use polyglance::platform::block_on;
use polyglance::weights::Checkpoint;

/// `tests/oracle/fixtures/…`.
pub(crate) fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/fixtures").join(path)
}

/// Opens a model of `fixtures/models`.
pub(crate) fn checkpoint(name: &str) -> Arc<Checkpoint> {
    Arc::new(block_on(Checkpoint::open(&fixture(&format!("models/{name}")))).expect("the fixture opens"))
}

/// A model on the CPU.
pub(crate) fn on_cpu(checkpoint: &Arc<Checkpoint>) -> Encoder {
    let options = EncoderOptions { device: DeviceChoice::Cpu, precision: Precision::F32 };
    block_on(Encoder::new(Arc::clone(checkpoint), options)).expect("the CPU is always there")
}

/// A model on any GPU, a software one if need be. Without one, prints so and returns `None`: such a test is skipped, visibly.
#[cfg(feature = "gpu")]
pub(crate) fn on_gpu(checkpoint: &Arc<Checkpoint>, precision: Precision) -> Option<Encoder> {
    let options = EncoderOptions { device: DeviceChoice::Gpu, precision };
    match block_on(Encoder::new(Arc::clone(checkpoint), options)) {
        Ok(encoder) => Some(encoder),
        Err(polyglance::encoder::EncoderError::Gpu(polyglance::gpu::GpuError::NoAdapter { .. })) => {
            println!("SKIPPED: no GPU adapter here, not even a software one");
            None
        }
        Err(error) => panic!("the GPU cannot be opened: {error}"),
    }
}

/// How many cases a sweep runs: 400 times as many under `cargo xtask test --full`.
pub(crate) fn cases(few: u32) -> u32 {
    if std::env::var_os("POLYGLANCE_FULL").is_some() { 400 * few } else { few }
}

/// ‖a − b‖₂ / ‖b‖₂ of the worst row.
pub(crate) fn worst_row_error(got: &[f32], want: &[f32], cols: usize) -> f64 {
    assert_eq!(got.len(), want.len(), "row counts differ");
    let norm = |row: &mut dyn Iterator<Item = f64>| row.map(|v| v * v).sum::<f64>().sqrt();
    let error = |(got, want): (&[f32], &[f32])| {
        let difference = norm(&mut got.iter().zip(want).map(|(&a, &b)| f64::from(a) - f64::from(b)));
        difference / norm(&mut want.iter().map(|&v| f64::from(v)))
    };
    let errors = got.chunks_exact(cols).zip(want.chunks_exact(cols)).map(error);
    errors.fold(0.0, |worst, error| if error > worst || error.is_nan() { error } else { worst })
}
