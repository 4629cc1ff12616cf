//! The loss in its several forms, and steps in less memory.

use burn::tensor::{Distribution, Tensor};
use polyglance::image::PatchBatch;
use polyglance::text::Tokens;
use polyglance_trainer::losses::{Products, StepOptions, loss_and_gradients, sigmoid_loss, sigmoid_loss_gradients};
use polyglance_trainer::model::Siglip;

use crate::support::{Numbers, flex, model, norms};

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap()
}

fn close(what: &str, got: &[f32], want: &[f32], bar: f64) {
    let (difference, norm) = norms(got, want);
    assert!(difference <= bar * norm.max(1e-6), "{what} differs by {difference:.2e} of {norm:.2e}");
}

/// Closed-form gradients, in any chunks, against the graph's. 1e-5 is what reordering sums of f32 may cost.
#[test]
fn chunked_losses_are_the_full_loss_on_ragged_sizes() {
    let device = flex();
    for (images, captions) in [(1, 1), (2, 1), (7, 1), (10, 1), (1, 3), (7, 2)] {
        let random = |seed: u64, rows: usize| {
            device.seed(seed);
            let x = Tensor::<2>::random([rows, 12], Distribution::Normal(0.0, 1.0), &device);
            let norms = x.clone().powf_scalar(2.0).sum_dim(1).sqrt();
            (x / norms).detach().require_grad()
        };
        let (images, texts) = (random(1, images), random(2, images * captions));
        let scalar = |value: f32| Tensor::<1>::from_floats([value], &device).require_grad();
        let (scale, bias) = (scalar(2.5), scalar(-3.0));
        let full = sigmoid_loss(images.clone(), texts.clone(), scale.clone(), bias.clone());
        let gradients = full.backward();
        for chunk in [1, 3, 4, 100] {
            let got = sigmoid_loss_gradients(images.clone(), texts.clone(), scale.clone(), bias.clone(), chunk);
            close("the loss", &host(got.loss), &host(full.clone()), 1e-6);
            close("dX", &host(got.images), &host(images.grad(&gradients).unwrap()), 1e-5);
            close("dY", &host(got.texts), &host(texts.grad(&gradients).unwrap()), 1e-5);
            close("dt′", &host(got.logit_scale), &host(scale.grad(&gradients).unwrap()), 1e-5);
            close("db", &host(got.logit_bias), &host(bias.grad(&gradients).unwrap()), 1e-5);
        }
    }
}

/// With several captions an image is right for each of its own and wrong for all others. With k equal captions the loss is that of one,
/// whatever k.
#[test]
fn every_caption_of_an_image_is_a_positive() {
    let device = flex();
    let (images, texts) = ([[1.0f32, 0.0], [0.0, 1.0]], [[1.0f32, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, -1.0]]);
    let scalar = |value| Tensor::<1>::from_floats([value], &device);
    let mut want = 0.0;
    for (i, x) in images.iter().enumerate() {
        for (j, y) in texts.iter().enumerate() {
            let logit = 2.0 * f64::from(x[0] * y[0] + x[1] * y[1]) - 1.0;
            want += if j / 2 == i { (-logit).exp().ln_1p() } else { logit.exp().ln_1p() };
        }
    }
    want /= 4.0;
    let images = Tensor::<2>::from_floats(images, &device);
    let loss = |texts: Tensor<2>| host(sigmoid_loss(images.clone(), texts, scalar(2.0f32.ln()), scalar(-1.0)))[0];
    let got = loss(Tensor::from_floats(texts, &device));
    assert!((f64::from(got) - want).abs() <= 1e-6 * want, "{got} instead of {want}");
    let one = loss(images.clone());
    let three = loss(images.clone().repeat_dim(1, 3).reshape([6, 2]));
    assert!((one - three).abs() <= 1e-6 * one, "{one} and {three}");
}

/// SigLIP's Algorithm 1 written as it stands, in f64.
#[test]
fn the_loss_is_the_papers_even_where_exp_overflows() {
    let device = flex();
    let rows = [[1.0f32, 0.0], [0.6, 0.8], [0.0, -1.0]];
    for (scale, bias) in [(2.3f32, -10.0f32), (6.0, 50.0), (6.0, -400.0)] {
        let mut want = 0.0;
        for (i, x) in rows.iter().enumerate() {
            for (j, y) in rows.iter().enumerate() {
                let cosine: f64 = x.iter().zip(y).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                let logit = f64::from(scale).exp() * cosine + f64::from(bias);
                let against = if i == j { -logit } else { logit };
                want += against.max(0.0) + (-against.abs()).exp().ln_1p();
            }
        }
        want /= 3.0;
        let embeddings = || Tensor::<2>::from_floats(rows, &device);
        let scalar = |value| Tensor::<1>::from_floats([value], &device);
        let got = host(sigmoid_loss(embeddings(), embeddings(), scalar(scale), scalar(bias)))[0];
        assert!((f64::from(got) - want).abs() <= 1e-5 * want, "{got} instead of {want}");
    }
}

/// Gradient caching, chunks and recomputed blocks change memory, not the result: 1e-5 is for reordered sums.
#[test]
fn memory_options_do_not_change_the_result() {
    let (model, numbers) = (model("naflex", &flex()), Numbers::open("naflex/batch.safetensors"));
    let (images, texts) = numbers.batch("");
    for captions in [1, 2] {
        let texts: Vec<_> = (0..captions * texts.len()).map(|i| texts[i * 5 % texts.len()].clone()).collect();
        memory_options_keep(&model, &images, &texts);
    }
}

fn memory_options_keep(model: &Siglip, images: &PatchBatch, texts: &[Tokens]) {
    let whole = loss_and_gradients(model, images, texts, StepOptions::default()).unwrap();
    for micro_batch in [None, Some(1), Some(3), Some(100)] {
        for recompute_blocks in [false, true] {
            let options = StepOptions { loss_chunk: Some(2), micro_batch, recompute_blocks, ..Default::default() };
            let got = loss_and_gradients(model, images, texts, options).unwrap();
            assert!((got.loss - whole.loss).abs() <= 1e-5 * whole.loss, "{options:?}");
            assert_eq!(got.gradients.tokens.ids, whole.gradients.tokens.ids);
            assert_eq!(got.gradients.dense.len(), whole.gradients.dense.len());
            close("the token rows", &got.gradients.tokens.values, &whole.gradients.tokens.values, 1e-5);
            for (name, gradient) in &got.gradients.dense {
                // In theory this gradient is zero, so that nothing but rounding is left of it.
                if !name.ends_with("k_proj.bias") {
                    close(name, &host(gradient.clone()), &host(whole.gradients.dense[name].clone()), 1e-4);
                }
            }
        }
    }
}

#[test]
fn unequal_numbers_of_images_and_texts_are_an_error() {
    let (model, numbers) = (model("naflex", &flex()), Numbers::open("naflex/batch.safetensors"));
    let (images, texts) = numbers.batch("");
    let error = loss_and_gradients(&model, &images, &texts[1..], StepOptions::default()).unwrap_err();
    assert!(error.to_string().contains("7 images and 6 texts"), "{error}");
}

/// bf16 keeps 8 bits and f16 11, so that operands are wrong by up to 2⁻⁹ and 2⁻¹² of themselves; blocks multiply that some ten times. Without
/// its scale, f16 would lose small gradients altogether.
#[test]
fn reduced_products_round_and_no_more() {
    let (model, numbers) = (model("naflex", &flex()), Numbers::open("naflex/batch.safetensors"));
    let (images, texts) = numbers.batch("");
    let with = |products| loss_and_gradients(&model, &images, &texts, StepOptions { products, ..StepOptions::default() }).unwrap();
    let exact = with(Products::F32);
    let squares = |values: Vec<f32>| values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
    let global = exact.gradients.dense.values().map(|gradient| squares(host(gradient.clone()))).sum::<f64>().sqrt();
    for (products, bar) in [(Products::Bf16, 0.05), (Products::F16, 0.007)] {
        let rounded = with(products);
        assert!(rounded.loss != exact.loss && (rounded.loss - exact.loss).abs() < bar as f32 * exact.loss, "{products:?}");
        for (name, gradient) in &exact.gradients.dense {
            let (difference, norm) = norms(&host(rounded.gradients.dense[name].clone()), &host(gradient.clone()));
            assert!(difference <= bar * norm.max(1e-3 * global), "{products:?}, {name}: {difference:.2e} of {norm:.2e}");
        }
    }
    assert_eq!(with(Products::F32).loss, exact.loss, "the scope ends");
}
