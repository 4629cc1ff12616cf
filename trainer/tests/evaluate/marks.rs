//! Ranks, shares and intervals.

use polyglance_trainer::evaluate::{ClassList, Embeddings, Estimate, Exam, HeldOut, HeldOutImage, PartEmbeddings, mcnemar, ranks};
use polyglance_trainer::random::Stream;
use serde::Deserialize;

/// See tests/oracle/evaluation.py.
#[derive(Deserialize)]
struct Fixture {
    dim: usize,
    images: Vec<f32>,
    classes: Vec<f32>,
    labels: Vec<usize>,
    zero_shot: [f64; 3],
    captions: Vec<f32>,
    owners: Vec<usize>,
    text_to_image: [[f64; 3]; 3],
    image_to_text: [[f64; 3]; 3],
    image_to_text_chance: [f64; 3],
    paired: Paired,
    mcnemar: Vec<(usize, usize, f64)>,
}

#[derive(Deserialize)]
struct Paired {
    a: Vec<f64>,
    b: Vec<f64>,
    low: f64,
    high: f64,
}

fn fixture() -> Fixture {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracle/fixtures/evaluation.json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// `interval` is how far the ends may be off.
fn assert_close(got: Estimate, expected: [f64; 3], interval: f64) {
    let differences = [got.value - expected[0], got.low - expected[1], got.high - expected[2]].map(f64::abs);
    assert!(differences[0] < 1e-12 && differences[1] < interval && differences[2] < interval, "{got:?} is not {expected:?}");
}

/// Formulas agree to rounding.
const EXACT: f64 = 1e-12;
/// Ends of a bootstrap interval from 2,000 resamples against one from 50,000, where shares move in steps of 1/90: two steps.
const BOOTSTRAP: f64 = 0.023;

#[test]
fn marks_agree_with_numpy_scipy_and_scikit_learn() {
    let fixture = fixture();
    let image = |index: usize| HeldOutImage {
        name: index.to_string(),
        bytes: Vec::new(),
        aspect: 1.0,
        captions: [("en".to_owned(), fixture.owners.iter().filter(|&&owner| owner == index).map(|_| "x".to_owned()).collect())].into(),
        class: Some(fixture.labels[index].to_string()),
    };
    let held_out = HeldOut { images: (0..fixture.labels.len()).map(image).collect(), bad: Vec::new() };
    let classes: Vec<_> =
        (0..fixture.classes.len() / fixture.dim).map(|class| format!(r#"{{"id": "{class}", "names": {{"en": "{class}"}}}}"#)).collect();
    let classes = ClassList::from_json(format!("[{}]", classes.join(",")).as_bytes(), None).unwrap();
    let exam = Exam::new(&held_out, Some(&classes), &[], usize::MAX).unwrap();
    let texts = PartEmbeddings { classes: fixture.classes.clone(), captions: fixture.captions.clone() };
    let marks = exam.mark(&fixture.images, fixture.dim, &[texts], 7).unwrap();

    let zero_shot = marks.parts[0].zero_shot.clone().unwrap();
    assert_close(zero_shot.top_1, fixture.zero_shot, EXACT);
    assert_eq!((zero_shot.classes, zero_shot.images, zero_shot.chance), (12, 60, 1.0 / 12.0));
    let retrieval = marks.parts[0].retrieval.clone().unwrap();
    assert_eq!((retrieval.images, retrieval.captions), (60, 90));
    let (by_text, by_image) = (retrieval.text_to_image, retrieval.image_to_text);
    for (got, expected) in [by_text.at_1, by_text.at_5, by_text.at_10].into_iter().zip(fixture.text_to_image) {
        assert_close(got, expected, BOOTSTRAP);
    }
    for (got, expected) in [by_image.at_1, by_image.at_5, by_image.at_10].into_iter().zip(fixture.image_to_text) {
        assert_close(got, expected, EXACT);
    }
    let near = |(got, expected): (f64, f64)| (got - expected).abs() < EXACT;
    assert!(by_image.chance.into_iter().zip(fixture.image_to_text_chance).all(near));
    assert!(by_text.chance.into_iter().zip([1.0 / 60.0, 5.0 / 60.0, 10.0 / 60.0]).all(near));
    // The marks of single images add up to the whole.
    let of_images = marks.per_image.zero_shot.iter().flatten().sum::<f64>() / 60.0;
    assert!(near((of_images, fixture.zero_shot[0])));
}

#[test]
fn paired_tests_agree_with_scipy() {
    let Fixture { paired, mcnemar: cases, .. } = fixture();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let got = Estimate::paired_difference(&paired.a, &paired.b, Stream::new(1, "test")).unwrap();
    // Differences move in steps of 1/60: two steps.
    assert_close(got, [mean(&paired.a) - mean(&paired.b), paired.low, paired.high], 0.034);
    for (first, second, expected) in cases {
        let got = mcnemar(first, second);
        assert!((got - expected).abs() <= 1e-9 * expected.max(1e-3), "{first} against {second}: {got} is not {expected}");
    }
    assert!(Estimate::paired_difference(&[1.0], &[], Stream::new(1, "test")).is_err());
}

#[test]
fn intervals_of_nothing_and_of_everything_stay_within_bounds() {
    for (successes, trials) in [(0, 10), (10, 10), (1, 1), (0, 1)] {
        let got = Estimate::wilson(successes, trials);
        assert!(0.0 <= got.low && got.low <= got.value && got.value <= got.high && got.high <= 1.0, "{got:?}");
        assert!(got.high - got.low > 0.1, "ten of ten is no certainty: {got:?}");
    }
    assert!(Estimate::wilson(0, 0).value.is_nan());
}

#[test]
fn ties_count_against_the_query() {
    let rows = |values: &'static [f32]| Embeddings::new(values, 2).unwrap();
    let queries = rows(&[1.0, 0.0, 0.0, 1.0]);
    // By hand: query 0 has similarities 1, 0.6, 1 and query 1 has 0, 0.8, 0.
    let candidates = rows(&[1.0, 0.0, 0.6, 0.8, 1.0, 0.0]);
    assert_eq!(ranks(queries, candidates, &[vec![0], vec![1]]).unwrap(), [1, 0]);
    assert_eq!(ranks(queries, candidates, &[vec![1], vec![0]]).unwrap(), [2, 2]);
    assert_eq!(ranks(queries, candidates, &[vec![0, 2], vec![0, 1]]).unwrap(), [0, 0]);
    // All alike: the last place, whatever the order of the candidates.
    let alike = rows(&[0.5, 0.5, 0.5, 0.5, 0.5, 0.5]);
    assert_eq!(ranks(queries, alike, &[vec![0], vec![2]]).unwrap(), [2, 2]);
}

#[test]
fn what_cannot_be_marked_is_an_error() {
    assert!(Embeddings::new(&[1.0; 3], 2).is_err());
    assert!(Embeddings::new(&[1.0, f32::NAN], 2).unwrap_err().to_string().contains("NaN"));
    let (a, b) = (Embeddings::new(&[1.0; 4], 2).unwrap(), Embeddings::new(&[1.0; 3], 3).unwrap());
    assert!(ranks(a, b, &[vec![0], vec![0]]).is_err());
    assert!(ranks(a, a, &[vec![0]]).is_err());
    assert!(ranks(a, a, &[vec![0], vec![]]).is_err());
    assert!(ranks(a, a, &[vec![0], vec![2]]).is_err());
    assert!(ClassList::from_json(b"{}", None).is_err() && ClassList::from_json(b"[]", None).is_err());
}
