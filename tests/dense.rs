//! Views of patch features against numpy and torch (`tests/oracle/dense.py`).

use polyglance::encoder::{Encoder, EncoderError};
use polyglance::image::Grid;
use polyglance::kernels::Size;
use polyglance::platform::block_on;
use polyglance::tasks::Classifier;
use polyglance::tasks::dense::{Interpolation, Pca, kmeans, outlier_channels, similarity, token_logits, upsample};
use safetensors::SafeTensors;

use crate::support::{checkpoint, fixture, on_cpu, worst_row_error};

const GRID: Grid = Grid { rows: 7, cols: 9 };
const WIDTH: usize = 40;

/// The numbers of the script.
struct Expected(Vec<u8>);

impl Expected {
    fn read(file: &str) -> Self {
        Self(std::fs::read(fixture(file)).unwrap())
    }

    fn f32s(&self, key: &str) -> Vec<f32> {
        bytemuck::pod_collect_to_vec(SafeTensors::deserialize(&self.0).unwrap().tensor(key).unwrap().data())
    }

    fn i32s(&self, key: &str) -> Vec<i32> {
        bytemuck::pod_collect_to_vec(SafeTensors::deserialize(&self.0).unwrap().tensor(key).unwrap().data())
    }
}

fn close(what: &str, got: &[f32], want: &[f32]) {
    let largest = want.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let error = got.iter().zip(want).fold(0.0f32, |worst, (got, want)| worst.max((got - want).abs()));
    assert!(got.len() == want.len() && error <= 1e-4 * largest.max(1.0), "{what} differ by {error:.1e}");
}

#[test]
fn principal_components_are_numpys() {
    let expected = Expected::read("dense.safetensors");
    let features = expected.f32s("features");
    let pca = Pca::fit(&features, WIDTH, 3).unwrap();
    let variances: Vec<f32> = pca.variances().iter().map(|&variance| variance as f32).collect();
    let (got, want) = (pca.project(&features).unwrap(), expected.f32s("pca"));
    for component in 0..3 {
        // The first one is a hundred times as long as the others.
        let of = |values: &[f32]| values[component..].iter().step_by(3).copied().collect::<Vec<_>>();
        close("coordinates", &of(&got), &of(&want));
    }
    for (got, want) in variances.iter().zip(expected.f32s("variances")) {
        assert!((got / want - 1.0).abs() < 1e-5, "{got} is not {want}");
    }
    // More patches than channels, and fewer: the two ways to the same components.
    let few = &features[..20 * WIDTH];
    let again = Pca::fit(few, WIDTH, 3).unwrap().project(few).unwrap();
    let twice: Vec<f32> = [few, few, few].concat();
    close("coordinates of repeated patches", &Pca::fit(&twice, WIDTH, 3).unwrap().project(few).unwrap(), &again);
}

#[test]
fn similarity_groups_and_sizes_are_numpys_and_torchs() {
    let expected = Expected::read("dense.safetensors");
    let features = expected.f32s("features");
    close("cosines", &similarity(&features, &features[20 * WIDTH..][..WIDTH]).unwrap(), &expected.f32s("similar"));
    assert_eq!(outlier_channels(&features, WIDTH, 10.0).unwrap(), [17]);
    let unit: Vec<f32> = features
        .chunks_exact(WIDTH)
        .flat_map(|row| {
            let norm = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
            row.iter().map(move |&v| (f64::from(v) / norm) as f32)
        })
        .collect();
    let groups: Vec<i32> = kmeans(&unit, WIDTH, 4).unwrap().of_row.iter().map(|&group| group as i32).collect();
    assert_eq!(groups, expected.i32s("kmeans"));
    let three: Vec<f32> = features.chunks_exact(WIDTH).flat_map(|row| row[..3].to_vec()).collect();
    let large = Size { height: 30, width: 50 };
    close("bilinear values", &upsample(&three, GRID, 3, large, Interpolation::Bilinear), &expected.f32s("bilinear"));
    close("nearest values", &upsample(&three, GRID, 3, large, Interpolation::Nearest), &expected.f32s("nearest"));
    close("fewer values", &upsample(&three, GRID, 3, Size { height: 3, width: 4 }, Interpolation::Bilinear), &expected.f32s("small"));
}

/// Every kept token of a checkpoint's fixture, alone through its pooling head.
fn check_tokens(name: &str, encoder: &mut Encoder) {
    let expected = Expected::read("dense.safetensors");
    let case = expected.i32s(&format!("case.{name}"))[0];
    let hidden = Expected::read(&format!("models/{name}/expected.safetensors")).f32s(&format!("last_hidden_state.{case}"));
    let (got, want) = (block_on(encoder.embed_tokens(&hidden)).unwrap(), expected.f32s(&format!("tokens.{name}")));
    let error = worst_row_error(&got, &want, encoder.config().embedding_dim());
    assert!(error <= 1e-5, "{name}: token embeddings differ by {error:.1e} on {}", encoder.device());
}

#[test]
fn tokens_alone_are_torchs_on_the_cpu() {
    for name in ["naflex", "fixed14", "outlier"] {
        check_tokens(name, &mut on_cpu(&checkpoint(name)));
    }
}

#[cfg(feature = "gpu")]
#[test]
fn tokens_alone_are_torchs_on_a_gpu() {
    for name in ["naflex", "fixed14", "outlier"] {
        let Some(mut encoder) = crate::support::on_gpu(&checkpoint(name), polyglance::encoder::Precision::F32) else { return };
        check_tokens(name, &mut encoder);
    }
}

#[test]
fn logits_of_tokens_are_those_of_pictures_and_other_widths_are_refused() {
    let mut encoder = on_cpu(&checkpoint("naflex"));
    let dim = encoder.config().embedding_dim();
    let hidden = vec![0.5; 3 * encoder.config().vision.tower.width];
    let tokens = block_on(encoder.embed_tokens(&hidden)).unwrap();
    let classifier = Classifier::new(tokens[..2 * dim].to_vec(), dim, 1.0, -2.0).unwrap();
    let logits = token_logits(&classifier, &tokens, dim).unwrap();
    // Equal tokens have the cosine 1 with themselves.
    assert!(logits.len() == 6 && logits.iter().all(|logit| (logit - (1f32.exp() - 2.0)).abs() < 1e-5), "{logits:?}");
    let refused = block_on(encoder.embed_tokens(&hidden[1..]));
    assert!(matches!(refused, Err(EncoderError::HiddenSize { expected }) if expected == encoder.config().vision.tower.width));
}
