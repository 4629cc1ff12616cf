//! What the encoder promises beyond the numbers: batches, order, plans, recovery.

use std::path::Path;
use std::sync::Arc;

use image::{Rgb, RgbImage};
use polyglance::config::PRESETS;
use polyglance::encoder::{
    DeviceChoice, Encoder, EncoderError, EncoderOptions, HiddenLayer, ImageOutputs, Plan, Role, TextTower, VisionTower,
};
use polyglance::image::{PatchBatch, Patches, Resampling, preprocess};
use polyglance::kernels::Counts;
use polyglance::platform::block_on;
use polyglance::text::Tokens;
use polyglance::weights::{Checkpoint, OutputTensor, OutputValues, write_safetensors};

use crate::reference::noise;
use crate::support::{checkpoint, fixture, on_cpu, worst_row_error};

/// Pictures of very different shapes under very different budgets, among them a single patch.
fn mixed_patches(encoder: &Encoder) -> Vec<Patches> {
    const SIZES: [(u32, u32, usize); 6] = [(640, 480, 256), (9, 5, 1), (40, 4000, 576), (300, 300, 64), (1, 1, 128), (17, 200, 1024)];
    let one = |(index, &(width, height, budget)): (usize, &(u32, u32, usize))| {
        let values = noise(index as u64, 3 * 61, 80.0);
        let channel = |x: u32, y: u32, c: u32| (128.0 + values[((x * 7 + y * 13 + c * 29) % 183) as usize]) as u8;
        let picture = RgbImage::from_fn(width, height, |x, y| Rgb([channel(x, y, 0), channel(x, y, 1), channel(x, y, 2)]));
        preprocess(&picture, &encoder.config().vision, Some(budget), Resampling::Hf).unwrap()
    };
    SIZES.iter().enumerate().map(one).collect()
}

const EVERYTHING: ImageOutputs = ImageOutputs { hidden: Some(HiddenLayer::Last), attention: true };

fn check_batches(encoder: &mut Encoder) {
    let patches = mixed_patches(encoder);
    let (dim, width) = (encoder.config().embedding_dim(), encoder.config().vision.tower.width);
    let singles: Vec<_> = patches
        .iter()
        .map(|one| block_on(encoder.encode_images(&PatchBatch::pack(std::slice::from_ref(one)), EVERYTHING)).unwrap())
        .collect();
    for order in [[0, 1, 2, 3, 4, 5], [5, 3, 1, 4, 0, 2]] {
        let reordered: Vec<_> = order.iter().map(|&i| patches[i].clone()).collect();
        let batch = block_on(encoder.encode_images(&PatchBatch::pack(&reordered), EVERYTHING)).unwrap();
        for (row, &i) in order.iter().enumerate() {
            let error = worst_row_error(&batch.embeds[row * dim..][..dim], &singles[i].embeds, dim);
            assert!(error <= 1e-5, "image {i} differs by {error:.1e} in a batch on {}", encoder.device());
            let tokens = batch.offsets[row] as usize * width..batch.offsets[row + 1] as usize * width;
            let error = worst_row_error(&batch.hidden.as_ref().unwrap()[tokens], singles[i].hidden.as_ref().unwrap(), width);
            assert!(error <= 1e-5, "patch features of image {i} differ by {error:.1e} in a batch");
        }
    }
    let lengths = singles[0].embeds.iter().map(|v| v * v).sum::<f32>();
    assert!((lengths - 1.0).abs() < 1e-5, "embeddings have unit length");
}

#[test]
fn a_batch_gives_each_image_what_it_would_get_alone() {
    check_batches(&mut on_cpu(&checkpoint("naflex72")));
}

#[test]
fn an_empty_batch_gives_an_empty_result() {
    let mut encoder = on_cpu(&checkpoint("naflex"));
    let features = block_on(encoder.encode_images(&PatchBatch::pack(&[]), EVERYTHING)).unwrap();
    assert!(features.embeds.is_empty() && features.hidden.unwrap().is_empty());
    assert!(block_on(encoder.encode_texts(&[])).unwrap().embeds.is_empty());
}

#[test]
fn inputs_of_another_model_are_refused() {
    let mut encoder = on_cpu(&checkpoint("naflex"));
    let fixed = on_cpu(&checkpoint("fixed14"));
    let patches = preprocess(&RgbImage::new(20, 20), &fixed.config().vision, None, Resampling::Hf).unwrap();
    let result = block_on(encoder.encode_images(&PatchBatch::pack(&[patches]), ImageOutputs::default()));
    assert!(matches!(result, Err(EncoderError::PatchSize { expected: 768 })), "{result:?}");
    let result = block_on(encoder.encode_texts(&[Tokens { ids: vec![1; 3], truncated: false }]));
    assert!(matches!(result, Err(EncoderError::TokenCount { expected: 64, got: 3 })), "{result:?}");
    let want = ImageOutputs { hidden: Some(HiddenLayer::Block(2)), attention: false };
    let result = block_on(encoder.encode_images(&PatchBatch::pack(&[]), want));
    assert!(matches!(result, Err(EncoderError::NoSuchBlock { block: 2, depth: 2 })), "{result:?}");
}

/// A copy of a fixture in which one weight is not a number.
fn poisoned(folder: &Path) -> Arc<Checkpoint> {
    let clean = checkpoint("naflex");
    let mut tensors: Vec<_> =
        clean.tensors().map(|t| (t.name.clone(), t.shape.clone(), block_on(clean.read(&t.name)).unwrap().into_owned())).collect();
    let head = tensors.iter_mut().find(|(name, ..)| name == "vision_model.head.mlp.fc2.bias").unwrap();
    head.2[3] = f32::NAN;
    let outputs: Vec<_> = tensors
        .iter()
        .map(|(name, shape, values)| OutputTensor { name: name.clone(), shape: shape.clone(), values: OutputValues::F32(values) })
        .collect();
    write_safetensors(&folder.join("model.safetensors"), &outputs, &Default::default()).unwrap();
    std::fs::copy(fixture("models/naflex/config.json"), folder.join("config.json")).unwrap();
    Arc::new(block_on(Checkpoint::open(folder)).unwrap())
}

#[test]
fn a_result_that_is_not_finite_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut encoder = on_cpu(&poisoned(folder.path()));
    let batch = PatchBatch::pack(&mixed_patches(&encoder));
    let result = block_on(encoder.encode_images(&batch, ImageOutputs::default()));
    assert!(matches!(result, Err(EncoderError::NonFinite { .. })), "{result:?}");
}

/// Buffers that live at the same time never share a slot, and every slot is large enough.
fn check_slots(plan: &Plan) {
    let slots = plan.slots();
    let (mut first, mut last) = (vec![usize::MAX; plan.buffers.len()], vec![0; plan.buffers.len()]);
    for (index, step) in plan.steps.iter().enumerate() {
        for id in step.buffers() {
            first[id.0] = first[id.0].min(index);
            last[id.0] = last[id.0].max(index);
        }
    }
    for (a, buffer) in plan.buffers.iter().enumerate() {
        assert!(slots.bytes[slots.of_buffer[a]] >= plan.bytes(polyglance::encoder::BufferId(a)), "{} does not fit its slot", buffer.name);
        let range = |i: usize| {
            let (input, output) = (plan.buffers[i].role == Role::Input, plan.buffers[i].role == Role::Output);
            (if input { 0 } else { first[i] }, if output { plan.steps.len() } else { last[i] })
        };
        for b in 0..a {
            let ((a_first, a_last), (b_first, b_last)) = (range(a), range(b));
            let apart = a_last < b_first || b_last < a_first;
            assert!(apart || slots.of_buffer[a] != slots.of_buffer[b], "{} and {} share memory", buffer.name, plan.buffers[b].name);
        }
    }
}

#[test]
fn plans_share_memory_only_between_buffers_that_never_meet() {
    let capacity = Counts { tokens: 1024, segments: 4 };
    for preset in PRESETS {
        let vision = VisionTower::new(&preset.config.vision);
        for hidden in [None, Some(HiddenLayer::Last), Some(HiddenLayer::Block(3))] {
            let plan = vision.plan(capacity, hidden);
            check_slots(&plan);
            // The stream, what is normed, and the widest pair that a block needs at once; not a buffer per block.
            assert!(plan.slots().bytes.len() <= 8, "{}: {} slots", preset.id, plan.slots().bytes.len());
        }
        check_slots(&TextTower::new(&preset.config.text).plan(capacity));
    }
}

/// Figures of the reference's cost model: blocks and patch embedding, without the MAP head's percent.
#[test]
fn plans_cost_what_the_formula_says() {
    for (preset, tokens, gflop) in [(15, 256, 46.2), (15, 1024, 213.8), (16, 576, 515.9), (13, 256, 596.5), (5, 256, 161.5)] {
        let plan = VisionTower::new(&PRESETS[preset].config.vision).plan(Counts { tokens, segments: 1 }, None);
        let got = plan.flops(&[tokens]) as f64 / 1e9;
        assert!(got >= gflop && got < gflop * 1.03, "{}: {got:.1} GFLOP instead of {gflop}", PRESETS[preset].id);
    }
}

#[test]
fn an_unknown_device_is_an_error_that_names_what_there_is() {
    let options = EncoderOptions { device: DeviceChoice::Named("no such adapter".to_owned()), ..EncoderOptions::default() };
    let error = block_on(Encoder::new(checkpoint("naflex"), options)).err().expect("it does not exist").to_string();
    if cfg!(feature = "gpu") {
        assert!(error.contains("no such adapter") && error.contains("found"), "{error}");
    } else {
        assert!(error.contains("no GPU backend"), "{error}");
    }
}

#[cfg(feature = "gpu")]
mod on_gpu {
    use polyglance::encoder::{DeviceDescription, Precision};
    use polyglance::gpu::{AdapterChoice, AdapterSummary, Fault, GemmVariant, GpuBackend};

    use super::*;
    use crate::support::on_gpu;

    #[test]
    fn a_batch_gives_each_image_what_it_would_get_alone() {
        let Some(mut encoder) = on_gpu(&checkpoint("naflex72"), Precision::F32) else { return };
        check_batches(&mut encoder);
    }

    /// Runs before and after a fault; both must give the same.
    fn check_recovery(fault: Fault, images: usize, expected_backend: &str) {
        let Some(mut encoder) = on_gpu(&checkpoint("naflex"), Precision::F32) else { return };
        let batch = PatchBatch::pack(&mixed_patches(&encoder)[..images]);
        let before = block_on(encoder.encode_images(&batch, ImageOutputs::default())).unwrap();
        encoder.inject(fault);
        let after = block_on(encoder.encode_images(&batch, ImageOutputs::default())).unwrap();
        let error = worst_row_error(&after.embeds, &before.embeds, encoder.config().embedding_dim());
        assert!(error <= 1e-5, "after {fault:?} the result differs by {error:.1e}");
        assert_eq!(encoder.device().backend, expected_backend, "{}", encoder.device());
        assert_eq!(encoder.device().reason.is_some(), expected_backend == "CPU", "a fallback says why");
    }

    #[test]
    fn a_lost_device_is_reopened_and_the_job_replayed() {
        check_recovery(Fault::DeviceLost, 3, "GPU");
    }

    #[test]
    fn exhausted_memory_halves_the_batch() {
        check_recovery(Fault::OutOfMemory, 3, "GPU");
    }

    #[test]
    fn exhausted_memory_for_one_image_falls_back_to_the_cpu() {
        check_recovery(Fault::OutOfMemory, 1, "CPU");
    }

    /// What the check makes of a gemm, chosen for the adapter, and its faults.
    fn check_faulty(choose: impl Fn(&AdapterSummary) -> (GemmVariant, Vec<Fault>)) -> Option<DeviceDescription> {
        let Ok(backend) = block_on(GpuBackend::with_matrix_units(&AdapterChoice::Any)) else {
            println!("SKIPPED: no GPU adapter here, not even a software one");
            return None;
        };
        let (gemm, faults) = choose(backend.info());
        Some(block_on(Encoder::faulty(checkpoint("naflex"), gemm, &faults)).unwrap().device().clone())
    }

    /// A gemm that the adapter can run but would not begin with.
    fn special(adapter: &AdapterSummary) -> GemmVariant {
        if GemmVariant::plain(adapter) == GemmVariant::Tiled { GemmVariant::Direct } else { GemmVariant::Tiled }
    }

    fn assert_still_f16(device: &DeviceDescription, because: &str) {
        assert_eq!((device.backend, device.precision), ("GPU", "f16"), "{device}");
        assert!(device.reason.as_ref().is_some_and(|reason| reason.contains(because)), "{device}");
    }

    #[test]
    fn a_gemm_that_computes_wrongly_gives_way_to_the_plain_one() {
        let miscompiled = |adapter: &AdapterSummary| (special(adapter), vec![Fault::Miscompiled(special(adapter))]);
        let Some(device) = check_faulty(miscompiled) else { return };
        assert_still_f16(&device, "computes wrongly in f16 with gemm");
    }

    #[test]
    fn a_gemm_that_kills_the_device_gives_way_to_the_plain_one() {
        let Some(device) = check_faulty(|adapter| (special(adapter), vec![Fault::DeviceLost])) else { return };
        assert_still_f16(&device, "the GPU device was lost");
    }

    #[test]
    fn a_gemm_that_the_driver_rejects_gives_way_to_the_plain_one() {
        let cooperative = [GemmVariant::Cooperative8, GemmVariant::Cooperative16];
        let Ok(backend) = block_on(GpuBackend::with_matrix_units(&AdapterChoice::Any)) else { return };
        if cooperative.iter().any(|gemm| gemm.runs_on(backend.info())) {
            return println!("SKIPPED: {} has matrix units, so it rejects no gemm", backend.info());
        }
        for gemm in cooperative {
            let Some(device) = check_faulty(|_| (gemm, Vec::new())) else { return };
            assert_still_f16(&device, "the GPU driver rejected compiling gemm_cooperative");
        }
    }

    #[test]
    fn a_gpu_whose_every_gemm_computes_wrongly_leaves_the_cpu() {
        let faults = || [GemmVariant::Tiled, GemmVariant::Direct].map(Fault::Miscompiled).to_vec();
        let Some(device) = check_faulty(|adapter| (special(adapter), faults())) else { return };
        assert_eq!(device.backend, "CPU", "{device}");
        assert!(device.reason.as_ref().is_some_and(|reason| reason.contains("computes wrongly in f32")), "{device}");
    }

    #[test]
    fn damaged_weights_are_an_error_on_a_gpu_too() {
        let folder = tempfile::tempdir().unwrap();
        let Some(mut encoder) = on_gpu(&poisoned(folder.path()), Precision::F32) else { return };
        let batch = PatchBatch::pack(&mixed_patches(&encoder)[..2]);
        let result = block_on(encoder.encode_images(&batch, ImageOutputs::default()));
        assert!(matches!(result, Err(EncoderError::NonFinite { .. })), "{result:?}");
    }
}
