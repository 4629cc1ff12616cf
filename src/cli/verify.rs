//! `polyglance verify`: the golden logits of the NaFlex base checkpoint.
//!
//! The numbers are those of transformers' integration test (tests/models/siglip2/test_modeling_siglip2.py), and the pictures its
//! generated ones, redrawn by tests/oracle/golden.py. Whoever has the released weights can see whether this build gives what
//! transformers gives; no other checkpoint has such numbers.

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use polyglance::config::{ModelConfig, PRESETS, VisionConfig};
use polyglance::encoder::ImageOutputs;
use polyglance::image::{self, PatchBatch, Resampling};
use polyglance::limits::Limits;
use polyglance::platform::block_on;
use polyglance::tasks::Classifier;
use polyglance::text::{Lowercase, TextOptions};

use super::args::{DeviceArgs, HubArgs};
use super::console::print;
use super::exit::Outcome;
use super::model::Model;
use super::table::Table;

const PRESET: &str = "google/siglip2-base-patch16-naflex";
const MAX_NUM_PATCHES: usize = 256;

const PICTURES: [(&str, &[u8]); 3] = [
    ("224 × 224", include_bytes!("golden/disc_224x224.png")),
    ("1024 × 1024", include_bytes!("golden/disc_1024x1024.png")),
    ("224 × 1024", include_bytes!("golden/disc_224x1024.png")),
];

/// Texts, and the logit of each with each picture.
const GOLDEN: [(&str, [f32; 3]); 7] = [
    ("circle", [1.0195, -0.0280, -1.4468]),
    ("ellipsoid", [-4.5395, -6.2269, -1.5667]),
    ("blue circle on red background", [4.1757, 5.0358, 3.5159]),
    ("blue circle with green border on red background", [9.4264, 10.1879, 6.3353]),
    ("green circle on red background", [2.4409, 3.1058, 4.5491]),
    ("a dog", [-12.3230, -13.7355, -13.4632]),
    ("a blue dog with a green border on a red background", [1.1520, 1.1687, -1.9647]),
];

/// Largest difference of a logit that passes: rounding that differs between devices, and no more. A resampling filter other than
/// bilinear shifts these logits by 0.06 to 0.8.
const TOLERANCE: f32 = 1e-2;
/// The same with weights rounded to f16.
const TOLERANCE_F16: f32 = 1e-1;

const HELP: &str = "\
Encodes three generated pictures and seven texts, and compares the 21 logits with those of
transformers. A logit may differ by 0.01, or by 0.1 if weights are stored as f16. Exit code 0 means
that all 21 pass.

Example:
  polyglance verify google/siglip2-base-patch16-naflex --precision f32";

/// Check a copy of google/siglip2-base-patch16-naflex against transformers' own logits.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(crate) struct VerifyArgs {
    /// Model: a folder or a hub id with the weights of google/siglip2-base-patch16-naflex.
    #[arg(value_name = "MODEL")]
    model: String,

    #[command(flatten)]
    hub: HubArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Prints all 21 logits and fails if one is off.
pub(crate) fn run(args: &VerifyArgs) -> Result<Outcome> {
    let mut model = Model::load(Some(&args.model), &args.hub, &args.device)?;
    let vision = reference_vision(model.config()).with_context(|| format!("cannot verify {}", args.model))?;
    let got = logits(&mut model, &vision)?;
    let tolerance = if model.encoder.device().precision == "f16" { TOLERANCE_F16 } else { TOLERANCE };
    let (table, failed) = compare(&got, tolerance);
    print(&table)?;
    ensure!(failed == 0, "{failed} of 21 logits differ by more than {tolerance}: the weights are not {PRESET}, or this build is wrong");
    print(&format!("all 21 logits agree with transformers within {tolerance}\n"))?;
    Ok(Outcome::Done)
}

/// The released model's preprocessing, which the golden logits are for, whatever the folder's own says.
fn reference_vision(config: &ModelConfig) -> Result<VisionConfig> {
    let preset = PRESETS.iter().find(|preset| preset.id == PRESET).context("the preset is missing")?.config;
    let vision = VisionConfig { preprocessing: preset.vision.preprocessing, ..config.vision };
    if (ModelConfig { vision, ..*config }) != preset {
        bail!("golden logits exist for {PRESET} only, and this model has other dimensions");
    }
    Ok(vision)
}

/// This build's logits, `[pictures, texts]`. Texts are used as they are, without a template, as the reference does.
fn logits(model: &mut Model, vision: &VisionConfig) -> Result<Vec<Vec<f32>>> {
    let texts = GOLDEN.map(|(text, _)| text.to_owned());
    let options = TextOptions { lowercase: Lowercase::Unicode, canonicalize: false };
    let encoded = model.encode_texts(&texts, options, |index| format!("text {}", index + 1))?;
    let dim = model.config().embedding_dim();
    let classifier = Classifier::new(encoded.embeds, dim, model.encoder.logit_scale(), model.encoder.logit_bias())?;
    let prepare = |(name, png): (&str, &[u8])| -> Result<_> {
        let pixels = image::decode(png, &Limits::current()).with_context(|| format!("built-in picture {name}"))?.pixels;
        Ok(image::preprocess(&pixels, vision, Some(MAX_NUM_PATCHES), Resampling::Hf)?)
    };
    let patches = PICTURES.into_iter().map(prepare).collect::<Result<Vec<_>>>()?;
    let features = block_on(model.encoder.encode_images(&PatchBatch::pack(&patches), ImageOutputs::default()))?;
    let scores = features.embeds.chunks_exact(dim).map(|embed| classifier.scores(embed));
    scores.map(|scores| Ok(scores?.iter().map(|score| score.logit).collect())).collect()
}

/// A line per logit, and how many differ by more than `tolerance` (or are missing).
fn compare(got: &[Vec<f32>], tolerance: f32) -> (String, usize) {
    let mut table = Table::new(&["text", "picture", "expected", "got", "difference", ""]);
    let mut failed = 0;
    for (row, (text, expected)) in GOLDEN.iter().enumerate() {
        for (column, expected) in expected.iter().enumerate() {
            let picture = PICTURES.get(column).map_or("", |(name, _)| name).to_owned();
            let got = got.get(column).and_then(|logits| logits.get(row)).copied().unwrap_or(f32::NAN);
            let difference = got - expected;
            // Written so that NaN fails.
            let passed = difference.abs() <= tolerance;
            failed += usize::from(!passed);
            let verdict = if passed { "ok" } else { "FAIL" }.to_owned();
            table.row([(*text).to_owned(), picture, format!("{expected:.4}"), format!("{got:.4}"), format!("{difference:+.4}"), verdict]);
        }
    }
    (table.render(), failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparison_counts_what_is_off_or_missing() {
        let mut got: Vec<Vec<f32>> = (0..3).map(|picture| GOLDEN.iter().map(|(_, logits)| logits[picture]).collect()).collect();
        assert_eq!(compare(&got, TOLERANCE).1, 0);
        got[1][2] += 0.02;
        got[2][6] = f32::NAN;
        let (table, failed) = compare(&got, TOLERANCE);
        assert_eq!(failed, 2);
        assert_eq!(table.matches("FAIL").count(), 2);
        assert_eq!(compare(&got[..2], TOLERANCE).1, 8);
    }

    /// The pictures are what the script drew: red corner, blue centre, green border, whole pixels only.
    #[test]
    fn pictures_are_the_discs_of_the_reference() {
        for ((name, png), (height, width)) in PICTURES.iter().zip([(224u32, 224u32), (1024, 1024), (224, 1024)]) {
            let picture = image::decode(png, &Limits::current()).unwrap().pixels;
            assert_eq!((picture.height(), picture.width()), (height, width), "{name}");
            let radius = height.min(width) / 2 / 8 * 7;
            let [corner, centre, border] = [(0, 0), (width / 2, height / 2), (width / 2, height / 2 - radius + 2)];
            let pixel = |(x, y)| picture.get_pixel(x, y).0;
            assert_eq!([pixel(corner), pixel(centre), pixel(border)], [[255, 0, 0], [0, 0, 255], [0, 128, 0]], "{name}");
        }
    }
}
