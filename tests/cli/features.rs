//! `polyglance features`: pictures of views, and their numbers.

use std::path::Path;

use super::formats::Tensors;
use super::run::{images, model, polyglance};
use crate::support::{fixture, worst_row_error};

const PICTURE: &str = "05_landscape_640x480.png";

/// Runs the command with a view and gives its standard output.
fn features(output: &Path, view: &[&str]) -> String {
    let mut command = polyglance(["features", "--device", "cpu", "--max-num-patches", "64"]);
    command.arg(images().join(PICTURE)).args(view).arg("--output").arg(output).arg("--model").arg(model("naflex"));
    command.succeeds().stdout
}

/// Shape and values of a `.npy` file of f32.
fn npy(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..end]).unwrap();
    let shape = header.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
    let shape = shape.split(", ").map(|length| length.parse().unwrap()).collect();
    (shape, bytemuck::pod_collect_to_vec(&bytes[end..]))
}

#[test]
fn every_view_is_a_picture_of_the_picture_and_an_array_of_the_patches() {
    let folder = tempfile::tempdir().unwrap();
    let views: [(&[&str], usize); 8] = [
        (&["--pca", "3"], 3),
        (&["--pca", "3", "--foreground"], 3),
        (&["--similar", "639,479"], 1),
        (&["--heatmap", "a red door", "--interpolation", "nearest"], 1),
        (&["--segment", "a cat,\"ripe, red\",空"], 3),
        (&["--kmeans", "5", "--mask-outliers"], 1),
        (&["--attention"], 2),
        (&["--pca", "3", "--layer", "0"], 3),
    ];
    let plain = image::open(images().join(PICTURE)).unwrap().to_rgb8();
    for (view, values) in views {
        let (png, array) = (folder.path().join("view.png"), folder.path().join("view.npy"));
        features(&png, view);
        features(&array, view);
        let painted = image::open(&png).unwrap().to_rgb8();
        assert_eq!(painted.dimensions(), plain.dimensions(), "{view:?}");
        assert_ne!(painted, plain, "{view:?}");
        let (shape, numbers) = npy(&array);
        assert_eq!((shape, numbers.len()), (vec![7, 9, values], 63 * values), "{view:?}");
    }
    // Without opacity it is the picture itself.
    features(&folder.path().join("none.png"), &["--attention", "--opacity", "0"]);
    assert_eq!(image::open(folder.path().join("none.png")).unwrap().to_rgb8(), plain);
}

#[test]
fn numbers_are_those_of_transformers() {
    let folder = tempfile::tempdir().unwrap();
    let expected = Tensors::read(&fixture("models/naflex/expected.safetensors"));
    let embedded = Tensors::read(&{
        let path = folder.path().join("embed.safetensors");
        let mut command = polyglance(["embed", "--device", "cpu", "--max-num-patches", "64", "--with", "hidden", "--text", "a cat"]);
        command.arg("--image").arg(images().join(PICTURE)).arg("--output").arg(&path).arg("--model").arg(model("naflex")).succeeds();
        path
    });
    let array = folder.path().join("features.npy");
    features(&array, &[]);
    let ((shape, hidden), width) = (npy(&array), expected.shape("last_hidden_state.0")[1]);
    assert_eq!(shape, [7, 9, width]);
    assert!(worst_row_error(&hidden, &embedded.f32("last_hidden_state.0"), width) < 1e-6);

    // Weights of a head sum to 1 over the picture.
    features(&array, &["--attention"]);
    let weights = npy(&array).1;
    for head in 0..2 {
        let sum: f32 = weights[head..].iter().step_by(2).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
    }
    // The pixel's own patch is like itself, and no other is more so.
    features(&array, &["--similar", "0,0"]);
    let cosines = npy(&array).1;
    assert!((cosines[0] - 1.0).abs() < 1e-6 && cosines.iter().all(|cosine| *cosine <= 1.0 + 1e-6));
}

#[test]
fn other_pictures_take_part() {
    let folder = tempfile::tempdir().unwrap();
    let array = folder.path().join("view.npy");
    let other = images().join("03_square_128x128.png");
    let other = other.to_str().unwrap();
    let values = |view: &[&str]| {
        features(&array, view);
        npy(&array).1
    };
    // This picture beside itself has its own components; beside another it has those of both.
    let own = values(&["--pca", "3"]);
    let itself = images().join(PICTURE);
    let twice = values(&["--pca", "3", "--with", itself.to_str().unwrap()]);
    assert!(worst_row_error(&twice, &own, own.len()) < 1e-4);
    assert!(worst_row_error(&values(&["--pca", "3", "--with", other, "--with", other]), &own, own.len()) > 1e-3);
    // The pixel is of the other picture, which is smaller.
    let cosines = values(&["--similar", "127,127", "--with", other]);
    assert!(cosines.len() == 63 && cosines.iter().all(|cosine| cosine.abs() <= 1.0 + 1e-6));
    assert_ne!(cosines, values(&["--similar", "127,127"]));
}

#[test]
fn things_are_numpys() {
    let folder = tempfile::tempdir().unwrap();
    let array = folder.path().join("view.npy");
    let mut command = polyglance(["features", "--device", "cpu", "--max-num-patches", "64", "--pca", "3", "--foreground"]);
    command.arg(images().join("00_tiny_9x5.png")).arg("--output").arg(&array).arg("--model").arg(model("naflex")).succeeds();
    let (got, want) = (npy(&array).1, Tensors::read(&fixture("dense.safetensors")).f32("things"));
    let largest = want.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(&want) {
        assert!(got.is_nan() == want.is_nan() && (got.is_nan() || (got - want).abs() <= 1e-4 * largest), "{got} is not {want}");
    }
    assert!(got.iter().any(|x| x.is_nan()));
}

#[test]
fn what_stands_for_what_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let printed = features(&folder.path().join("view.png"), &["--segment", "cat,dog"]);
    let shares: Vec<f64> = printed.lines().skip(1).map(|line| line.split_whitespace().rev().nth(1).unwrap().parse().unwrap()).collect();
    assert!(printed.contains("#") && shares.len() == 2 && (shares.iter().sum::<f64>() - 100.0).abs() < 0.2, "{printed}");
}

#[test]
fn requests_that_make_no_sense_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&str, &[&str], &str); 11] = [
        ("view.png", &[], "needs a view"),
        ("view.png", &["--pca", "2"], "--pca 3"),
        ("view.jpg", &["--pca", "3"], ".png or .npy"),
        ("view.png", &["--pca", "3", "--kmeans", "2"], "cannot be used with"),
        ("view.png", &["--heatmap", "x", "--layer", "0"], "cannot be used with"),
        ("view.png", &["--similar", "640,0"], "640 × 480"),
        ("view.png", &["--similar", "x"], "320,200"),
        ("view.png", &["--kmeans", "2", "--foreground"], "cannot be used with"),
        ("view.npy", &["--foreground"], "--pca"),
        ("view.npy", &["--with", "x.png"], "--with needs --pca"),
        ("view.png", &["--similar", "1,1", "--with", "x.png", "--with", "y.png"], "once"),
    ];
    for (name, view, message) in cases {
        let output = folder.path().join(name);
        let mut command = polyglance(["features", "--device", "cpu"]);
        let failed =
            command.arg(images().join(PICTURE)).args(view).arg("--output").arg(&output).arg("--model").arg(model("naflex")).fails(2);
        assert!(failed.stderr.contains(message), "{view:?}: {}", failed.stderr);
        assert!(!output.exists());
    }
    let mut command = polyglance(["features", "--device", "cpu", "--layer", "9"]);
    let output = folder.path().join("x.npy");
    let failed = command.arg(images().join(PICTURE)).arg("--output").arg(&output).arg("--model").arg(model("naflex")).fails(1);
    assert!(failed.stderr.contains("block 9 does not exist"), "{}", failed.stderr);
}
