//! Lost devices, exhausted memory, missing adapters and weights that f16 cannot hold: each is a typed error or a note, never a hang.

use std::time::Duration;

use polyglance::encoder::{BatchData, BufferId, Plan, Role, Step, WeightId};
use polyglance::gpu::{AdapterChoice, Fault, GemmVariant, GpuBackend, GpuError, GpuWeight, WeightPrecision, adapters};
use polyglance::kernels::{Counts, Epilogue, Gemm, Rows};
use polyglance::platform::block_on;

use super::{any_backend, open};

const SIZE: usize = 64;

/// A chain of matrix products that keeps a software adapter busy for some milliseconds.
fn chain() -> Plan {
    let mut plan = Plan::new(Counts { tokens: SIZE, segments: 1 });
    let mut x = plan.buffer("x", Rows::Tokens, SIZE, Role::Input);
    let shape = Gemm { rows: Rows::Tokens, n: SIZE, k: SIZE, epilogue: Epilogue::Store };
    for _ in 0..20 {
        let y = plan.buffer("y", Rows::Tokens, SIZE, Role::Scratch);
        plan.steps.push(Step::Gemm { shape, x, weight: WeightId(0), bias: WeightId(1), y });
        x = y;
    }
    plan
}

fn weights(backend: &GpuBackend) -> Result<Vec<GpuWeight>, GpuError> {
    let matrix = block_on(backend.upload_matrix(&[0.01; SIZE * SIZE], SIZE, SIZE, WeightPrecision::F32))?;
    Ok(vec![matrix, block_on(backend.upload_vector(&[1.0; SIZE]))?])
}

fn run(backend: &GpuBackend, weights: &[GpuWeight]) -> Result<Vec<Vec<f32>>, GpuError> {
    let plan = chain();
    let outputs = [BufferId(plan.buffers.len() - 1)];
    let batch = BatchData { offsets: &[0, SIZE as u32], inputs: &[(BufferId(0), &[1.0; SIZE * SIZE])], outputs: &outputs };
    block_on(backend.run(weights, &plan, &batch))
}

#[test]
fn a_lost_device_is_an_error_and_a_new_backend_works() {
    let Some(backend) = open(GemmVariant::Tiled) else { return };
    let uploaded = weights(&backend).unwrap();
    let expected = run(&backend, &uploaded).unwrap();
    backend.inject(Fault::DeviceLost);
    assert!(matches!(run(&backend, &uploaded), Err(GpuError::DeviceLost(_))));
    assert!(matches!(weights(&backend), Err(GpuError::DeviceLost(_))));
    let Some(backend) = open(GemmVariant::Tiled) else { return };
    assert_eq!(run(&backend, &weights(&backend).unwrap()).unwrap(), expected);
}

#[test]
fn a_device_lost_at_any_moment_never_hangs_or_lies() {
    for delay_micros in [0, 100, 300, 1000, 3000, 10_000] {
        let Some(backend) = open(GemmVariant::Direct) else { return };
        let uploaded = weights(&backend).unwrap();
        let expected = run(&backend, &uploaded).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_micros(delay_micros));
                backend.inject(Fault::DeviceLost);
            });
            loop {
                match run(&backend, &uploaded) {
                    Ok(outputs) => assert_eq!(outputs, expected),
                    Err(error) => break assert!(matches!(error, GpuError::DeviceLost(_)), "{error}"),
                }
            }
        });
    }
}

#[test]
fn exhausted_memory_is_an_error_once() {
    let Some(backend) = open(GemmVariant::Tiled) else { return };
    backend.inject(Fault::OutOfMemory);
    assert!(matches!(weights(&backend), Err(GpuError::OutOfMemory { .. })));
    let uploaded = weights(&backend).unwrap();
    let expected = run(&backend, &uploaded).unwrap();
    backend.inject(Fault::OutOfMemory);
    assert!(matches!(run(&backend, &uploaded), Err(GpuError::OutOfMemory { .. })));
    assert_eq!(run(&backend, &uploaded).unwrap(), expected);
}

#[test]
fn an_unknown_adapter_is_an_error_that_lists_the_known_ones() {
    let choice = AdapterChoice::Named("no such adapter".to_owned());
    let error = block_on(GpuBackend::new(&choice)).err().expect("nothing has this name").to_string();
    assert!(error.contains("named \"no such adapter\""), "{error}");
    for adapter in block_on(adapters()) {
        assert!(error.contains(&adapter.name), "{error}");
    }
}

#[test]
fn a_software_adapter_is_taken_by_name_but_never_automatically() {
    let all = block_on(adapters());
    match block_on(GpuBackend::new(&AdapterChoice::Auto)) {
        Ok(backend) => assert!(!backend.info().is_software()),
        Err(GpuError::NoAdapter { .. }) => assert!(all.iter().all(|adapter| adapter.is_software())),
        Err(error) => panic!("{error}"),
    }
    let Some(software) = all.iter().find(|adapter| adapter.is_software()) else { return };
    let backend = block_on(GpuBackend::new(&AdapterChoice::Named(software.name.to_uppercase()))).unwrap();
    assert_eq!(backend.gemm_variant(), GemmVariant::Direct);
}

#[test]
fn a_matrix_that_f16_cannot_hold_stays_f32_and_says_so() {
    let Some(backend) = any_backend() else { return };
    let upload = |value: f32| block_on(backend.upload_matrix(&[0.5, value, 1.0, 2.0], 2, 2, WeightPrecision::F16)).unwrap();
    for value in [65_504.0, -65_504.0, 1e-9] {
        assert_eq!((upload(value).precision(), upload(value).overflow()), (WeightPrecision::F16, None));
    }
    for value in [65_505.0, -1e6, f32::INFINITY] {
        assert_eq!((upload(value).precision(), upload(value).overflow()), (WeightPrecision::F32, Some(value)));
    }
    assert_eq!(upload(f32::NAN).precision(), WeightPrecision::F32);
    assert!(upload(0.0).bytes() < upload(1e6).bytes());
}

#[test]
fn futures_cross_threads() {
    fn assert_send<T: Send>(_: T) {}
    let Some(backend) = any_backend() else { return };
    assert_send(GpuBackend::new(&AdapterChoice::Auto));
    assert_send(backend.upload_matrix(&[1.0], 1, 1, WeightPrecision::F32));
    let plan = chain();
    assert_send(backend.run(&[], &plan, &BatchData { offsets: &[0], inputs: &[], outputs: &[] }));
}
