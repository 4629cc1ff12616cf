//! A whole exam, taken by models whose answers are known.

use std::collections::HashMap;

use image::{Rgb, RgbImage};
use polyglance::image::{PatchBatch, Resampling};
use polyglance::text::{Tokenizer, Tokens};
use polyglance_trainer::data::HttpOptions;
use polyglance_trainer::evaluate::{
    ClassList, Embedder, EvaluationError, EvaluationOptions, Exam, Fitting, HeldOut, PIXEL_DIM, Report, Segmentation, compare, pixel_floor,
    take,
};

use crate::data::world::{model, numbers_of, picture, tar};

pub(super) const CLASSES: &str = r#"[
    {"id": "0", "names": {"en": "number 0", "de": "Null"}},
    {"id": "1", "names": {"en": "number 1", "de": "Eins"}, "group": "ignored"},
    {"id": "2", "names": {"en": "number 2", "de": "Null"}},
    {"id": "3", "names": {"en": "number 3"}}]"#;
pub(super) const TEMPLATES: &str = r#"{"en": ["{}", "a picture of {}"]}"#;

fn classes() -> ClassList {
    ClassList::from_json(CLASSES.as_bytes(), Some(TEMPLATES.as_bytes())).unwrap()
}

/// Eight images: number i has class i % 4, English captions "number i" and "picture i" and, for even ones, German "Bild i".
pub(super) fn shard() -> Vec<u8> {
    let files = (0..8).flat_map(|i| {
        let german = if i % 2 == 0 { format!(r#", "de": "Bild {i}""#) } else { String::new() };
        let kind = if i < 4 { "glyph" } else { "label" };
        let json = format!(
            r#"{{"captions": {{"en": ["number {i}", "picture {i}"]{german}}}, "regions": [{{"{kind}": "{}", "box": [0, 0, 9, 9]}}]}}"#,
            i % 4
        );
        // Every other one is three times as wide as high.
        [(format!("{i}.png"), picture(i, 40, if i % 2 == 0 { 40 } else { 120 })), (format!("{i}.json"), json.into_bytes())]
    });
    tar(&files.collect::<Vec<_>>())
}

fn held_out() -> HeldOut {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("0.tar"), shard()).unwrap();
    HeldOut::read(folder.path().to_str().unwrap(), None, &HttpOptions::default()).unwrap()
}

/// Knows the number of a picture by its colour, and that of a text by heart; in square grids it takes each for the next but one.
struct KnowsNumbers {
    texts: HashMap<Vec<u32>, usize>,
    fooled_by_squares: bool,
}

impl KnowsNumbers {
    fn new(tokenizer: &Tokenizer, fooled_by_squares: bool) -> Self {
        let forms = |i: usize| [format!("number {i}"), format!("picture {i}"), format!("Bild {i}"), format!("a picture of number {i}")];
        let text = |i: usize| forms(i).map(|text| (tokenizer.encode(&text).unwrap().ids, i));
        let mut texts: HashMap<_, _> = (0..8).flat_map(text).collect();
        for (name, i) in [("Null", 0), ("Eins", 1)] {
            texts.insert(tokenizer.encode(name).unwrap().ids, i);
        }
        Self { texts, fooled_by_squares }
    }
}

/// Number i and i + 4 share three quarters, since they share a class.
fn one_hot(number: usize) -> [f32; 8] {
    let mut row = [0.0; 8];
    row[number % 8] = 1.0;
    row[(number + 4) % 8] = 0.75;
    row
}

impl Embedder for KnowsNumbers {
    fn dim(&self) -> usize {
        8
    }

    fn embed_images(&mut self, batch: &PatchBatch) -> Result<Vec<f32>, EvaluationError> {
        let fooled = |rows: usize, cols: usize| self.fooled_by_squares && rows == cols;
        let grids = numbers_of(batch).into_iter().zip(batch.grids());
        Ok(grids.flat_map(|(number, grid)| one_hot(number + 2 * usize::from(fooled(grid.rows, grid.cols)))).collect())
    }

    fn embed_texts(&mut self, tokens: &[Tokens]) -> Result<Vec<f32>, EvaluationError> {
        let number = |text: &Tokens| self.texts.get(&text.ids).copied().ok_or_else(|| EvaluationError::Model("unknown text".to_owned()));
        Ok(tokens.iter().map(number).collect::<Result<Vec<_>, _>>()?.into_iter().flat_map(one_hot).collect())
    }
}

fn options(fittings: &[Fitting], budgets: &[usize]) -> EvaluationOptions {
    EvaluationOptions { fittings: fittings.to_vec(), budgets: budgets.to_vec(), resampling: Resampling::Hf, seed: 1 }
}

#[test]
fn who_knows_everything_gets_full_marks() {
    let (config, tokenizer) = model("naflex");
    let held_out = held_out();
    let exam = Exam::new(&held_out, Some(&classes()), &[], 6).unwrap();
    let mut model = KnowsNumbers::new(&tokenizer, false);
    let rows = take(&mut model, "knows", &config.vision, &tokenizer, &exam, &held_out, &options(&[Fitting::Native], &[])).unwrap();
    let marks = &rows[0].marks;
    let counts: Vec<_> = marks.zero_shot().map(|(language, marks)| (language, marks.classes, marks.images)).collect();
    // In German, classes 0 and 2 have the same name and count as one, and class 3 has none.
    assert_eq!(counts, [("de", 2, 6), ("en", 4, 8)]);
    let top_1: Vec<_> = marks.zero_shot().map(|(_, marks)| marks.top_1.value).collect();
    // This model takes "Null" for number 0 alone, so images 2 and 6 are as far from it as from "Eins", and a tie is wrong.
    assert_eq!(top_1, [4.0 / 6.0, 1.0]);
    let counts: Vec<_> = marks.retrieval().map(|(language, marks)| (language, marks.images, marks.captions)).collect();
    // Of the first six images with captions, three have a German one.
    assert_eq!(counts, [("de", 3, 3), ("en", 6, 12)]);
    for (_, retrieval) in marks.retrieval() {
        assert_eq!((retrieval.text_to_image.at_1.value, retrieval.image_to_text.at_1.value), (1.0, 1.0));
    }
    assert!(Exam::new(&held_out, None, &["xx".to_owned()], 6).unwrap_err().to_string().contains("de, en"));
}

#[test]
fn fittings_are_compared_image_by_image() {
    let (config, tokenizer) = model("naflex");
    let held_out = held_out();
    let exam = Exam::new(&held_out, None, &["en".to_owned()], 100).unwrap();
    let mut model = KnowsNumbers::new(&tokenizer, true);
    let fittings = [Fitting::Native, Fitting::Squash];
    let rows = take(&mut model, "fooled", &config.vision, &tokenizer, &exam, &held_out, &options(&fittings, &[5, 12])).unwrap();
    assert_eq!(rows.iter().map(|row| row.mean_patches).collect::<Vec<_>>(), [(4.0 + 3.0) / 2.0, 4.0, (9.0 + 12.0) / 2.0, 9.0]);
    let comparisons = compare(&rows, &held_out, 1).unwrap();
    let of = |measure: &str, subset: &str| comparisons.iter().find(|one| one.measure == measure && one.subset == subset).unwrap();
    // Half of the images are wide, and only those are known; squashed, none is.
    let all = of("text_to_image", "all");
    assert_eq!((all.images, all.native, all.other, all.difference.value), (8, 0.5, 0.0, 0.5));
    assert!(all.difference.is_positive() && all.difference.low < 0.3);
    let wide = of("text_to_image", "elongated");
    assert_eq!((wide.images, wide.difference.value, wide.difference.low), (4, 1.0, 1.0));
    let segmentation = Segmentation { language: "en".to_owned(), scenes: 3, classes: 5, model: 0.5, chance: 0.25, largest: 0.375 };
    let segmentation = vec![segmentation];
    let report = Report {
        model: "fooled".to_owned(),
        data: "here".to_owned(),
        images: 8,
        skipped: 0,
        rows,
        comparisons,
        segmentation,
        altered: Vec::new(),
    };
    let text = report.to_markdown();
    assert!(text.contains("| 12 | squash | text_to_image | elongated (4) | 100.0 | 0.0 | +100.0 (+100.0 to +100.0) |"), "{text}");
    assert!(text.contains("| en | 3 | 5 | 50.0 | 25.0 | 37.5 |"), "{text}");
}

#[test]
fn raw_pixels_tell_plain_colours_apart() {
    let held_out = held_out();
    let exam = Exam::new(&held_out, Some(&classes()), &[], 6).unwrap();
    let (images, texts) = pixel_floor(&exam, &held_out, &held_out).unwrap();
    let marks = exam.mark(&images, PIXEL_DIM, &texts, 1).unwrap();
    assert_eq!(marks.retrieval().count(), 0);
    // Colours 0 to 7 around the mean 3.5: i and i + 4 have mean i + 2, so the lower two classes are confused, and so are the upper two.
    let (_, english) = marks.zero_shot().last().unwrap();
    assert!(english.top_1.value >= 0.25, "{english:?}");
    let empty = HeldOut::default();
    assert!(pixel_floor(&exam, &held_out, &empty).is_err());
}

#[test]
fn fittings_keep_to_the_budget_and_bars_are_grey() {
    let (config, _) = model("naflex");
    let size = config.vision.patch_size;
    let white = RgbImage::from_pixel(90, 30, Rgb([255; 3]));
    let patches = |fitting: Fitting, budget| fitting.patches(&white, &config.vision, Some(budget), Resampling::Hf).unwrap();
    let native = patches(Fitting::Native, 30);
    assert!(native.grid.cols > 2 * native.grid.rows && native.grid.patches() <= 30);
    let squashed = patches(Fitting::Squash, 30);
    assert_eq!((squashed.grid.rows, squashed.grid.cols), (5, 5));
    assert!(squashed.values.iter().all(|&value| value == 1.0));
    let boxed = patches(Fitting::Letterbox, 9);
    assert_eq!((boxed.grid.rows, boxed.grid.cols), (3, 3));
    let mean = |row: usize| boxed.values[row * 3 * size * size * 3..][..3 * size * size * 3].iter().sum::<f32>() / (9 * size * size) as f32;
    // The middle third is the picture, but for the filter's reach across its edges.
    assert!(mean(0).abs() < 0.1 && mean(1) > 0.9 && mean(2).abs() < 0.1, "{} {} {}", mean(0), mean(1), mean(2));
    let (fixed, _) = model("fixed32");
    assert!(Fitting::Squash.patches(&white, &fixed.vision, None, Resampling::Hf).is_err());
    // A square around this one would pass the pixel limit.
    let long = RgbImage::new(20_000, 2);
    assert!(Fitting::Letterbox.patches(&long, &config.vision, Some(9), Resampling::Hf).is_err());
}
