//! Embeddings, loss and every gradient against torch in float64 (`tests/oracle/gradients.py`), on every kind of device.

use burn::tensor::Device;
use polyglance::weights::expected_tensors;
use polyglance_trainer::losses::{StepOptions, loss_and_gradients};
use polyglance_trainer::model::{ModelGradients, Siglip, TOKEN_TABLE};

use crate::support::{Numbers, flex, model, norms};

/// A parameter's gradient on the host in the order of the model; zeros for rows of the token table that no text used.
fn gradient(gradients: &ModelGradients, name: &str, len: usize) -> Vec<f32> {
    if name != TOKEN_TABLE {
        let gradient = gradients.dense.get(name).unwrap_or_else(|| panic!("{name} has no gradient"));
        return gradient.to_data().try_to_vec::<f32>().unwrap();
    }
    let mut table = vec![0.0; len];
    let width = gradients.tokens.values.len() / gradients.tokens.ids.len();
    for (&id, row) in gradients.tokens.ids.iter().zip(gradients.tokens.values.chunks_exact(width)) {
        table[id as usize * width..][..width].copy_from_slice(row);
    }
    table
}

/// Reorders a convolution's `[width, 3, patch, patch]` to `[width, patch, patch, 3]`, the order that the model computes in.
fn packed(values: &[f32], patch: usize) -> Vec<f32> {
    let area = patch * patch;
    let reorder = |patch: &[f32]| (0..3 * area).map(|i| patch[i % 3 * area + i / 3]).collect::<Vec<_>>();
    values.chunks_exact(3 * area).flat_map(reorder).collect()
}

/// Fails unless ‖g − g_ref‖ ≤ 1e-4 · max(‖g_ref‖, 1e-3 · global norm) for every parameter: what f32 gives, with room for a device's own
/// order of summation; gradients far below the others' (a key's bias has none in theory) are held to the scale of the whole.
fn check(name: &str, device: &Device, options: StepOptions) {
    let (model, numbers) = (model(name, device), Numbers::open(&format!("{name}/batch.safetensors")));
    let (images, texts) = numbers.batch("");
    check_embeddings(&model, &numbers);
    let result = loss_and_gradients(&model, &images, &texts, options).unwrap();
    let loss = numbers.f32s("loss")[0];
    assert!((result.loss - loss).abs() <= 1e-5 * loss, "{name}: loss {} instead of {loss}", result.loss);

    let specs = expected_tensors(model.config());
    let wanted: Vec<_> = specs.iter().map(|spec| numbers.f32s(&format!("gradient.{}", spec.name))).collect();
    let global = wanted.iter().flatten().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>().sqrt();
    for (spec, want) in specs.iter().zip(wanted) {
        let is_convolution = spec.shape.len() == 4;
        let want = if is_convolution { packed(&want, spec.shape[3]) } else { want };
        let (difference, norm) = norms(&gradient(&result.gradients, &spec.name, want.len()), &want);
        let bar = 1e-4 * norm.max(1e-3 * global);
        assert!(difference <= bar, "{name}: the gradient of {} differs by {difference:.2e}, more than {bar:.2e}", spec.name);
    }
}

fn check_embeddings(model: &Siglip, numbers: &Numbers) {
    let (images, texts) = numbers.batch("");
    let embeddings = [("image_embeds", model.embed_images(&images)), ("text_embeds", model.embed_texts(&texts))];
    for (name, got) in embeddings {
        let (difference, norm) = norms(&got.unwrap().into_data().try_to_vec::<f32>().unwrap(), &numbers.f32s(name));
        assert!(difference <= 1e-5 * norm, "{name} differ by {difference:.2e}");
    }
}

#[test]
fn naflex_gradients_agree_with_torch_on_flex() {
    check("naflex", &flex(), StepOptions::default());
}

#[test]
fn fixed_resolution_gradients_agree_with_torch_on_flex() {
    check("fixed", &flex(), StepOptions::default());
}

#[test]
fn gradients_agree_with_torch_in_little_memory() {
    let options = StepOptions { loss_chunk: Some(3), micro_batch: Some(2), recompute_blocks: true };
    check("naflex", &flex(), options);
    check("fixed", &flex(), options);
}

#[cfg(feature = "wgpu")]
#[test]
fn gradients_agree_with_torch_on_wgpu() {
    let Some(device) = crate::support::wgpu() else { return };
    check("naflex", &device, StepOptions::default());
    check("fixed", &device, StepOptions::default());
    check("naflex", &device, StepOptions { loss_chunk: Some(3), micro_batch: Some(2), recompute_blocks: true });
}
