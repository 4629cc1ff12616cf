//! Balancing, judged by scipy's solver (`oracle/balance.py`).

use std::process::Command;

use polyglance_trainer::balance::{Bounds, Labels, LabelsError, Report, solve};
use serde::Deserialize;

#[derive(Deserialize)]
struct Problem {
    attributes: Vec<Vec<Option<f32>>>,
    concepts: Vec<Vec<f32>>,
    targets: Vec<f32>,
    tolerance: f64,
    most: f64,
    price: f64,
    objective: f64,
    weights: Vec<f64>,
}

impl Problem {
    fn labels(&self) -> Labels {
        Labels {
            keys: (0..self.attributes.len()).map(|row| row.to_string()).collect(),
            targets: self.targets.clone(),
            attributes: self.attributes.iter().flatten().map(|value| value.unwrap_or(f32::NAN)).collect(),
            concepts: self.concepts.concat(),
        }
    }
}

#[test]
fn weights_are_those_of_scipy() {
    let problems: Vec<Problem> = serde_json::from_str(include_str!("oracle/fixtures/balance.json")).unwrap();
    assert_eq!(problems.len(), 20);
    for (number, problem) in problems.iter().enumerate() {
        let Problem { tolerance, most, price, .. } = *problem;
        let balance = solve(&problem.labels(), &Bounds { tolerance, most, price }, &mut |_, _| ());
        let off = (balance.objective - problem.objective).abs() / problem.objective;
        println!("{number}: {:.6} against {:.6}, {} passes", balance.objective, problem.objective, balance.passes);
        assert!(off < 1e-4, "{number}: {} against {}", balance.objective, problem.objective);
        for (own, other) in balance.weights.iter().zip(&problem.weights) {
            assert!((f64::from(*own) - other).abs() < 0.02, "{number}: {own} against {other}");
        }
    }
}

/// Labels in which women are seldom doctors: `rows` of them, a tenth of which do not say.
fn lopsided(rows: usize) -> Labels {
    let attribute = |row: usize| match (row % 10, row % 7) {
        (0, _) => f32::NAN,
        // Of doctors, one in seven.
        (1..=3, rest) => f32::from(u8::from(rest == 0)),
        (_, rest) => f32::from(u8::from(rest < 3)),
    };
    let concept = |row: usize| f32::from(u8::from((1..=3).contains(&(row % 10))));
    Labels {
        keys: (0..rows).map(|row| row.to_string()).collect(),
        targets: vec![0.5],
        attributes: (0..rows).map(attribute).collect(),
        concepts: (0..rows).map(concept).collect(),
    }
}

#[test]
fn what_is_lopsided_is_balanced() {
    let labels = lopsided(7_000);
    let balance = solve(&labels, &Bounds { tolerance: 0.001, ..Bounds::default() }, &mut |_, _| ());
    assert!(balance.weights.iter().all(|weight| (0.0..=1.0).contains(weight)));
    let report = Report::new(&labels, &["woman".to_owned()], &["doctor".to_owned()], &balance);
    let [before, after] = report.shares[0].share;
    assert!(before < 0.4 && (after - 0.5).abs() < 0.005, "{before} {after}");
    let [before, after] = report.associations[0].share;
    assert!(before < 0.2 && (after - 0.5).abs() < 0.01, "{before} {after}");
    assert!(report.mean_weight < 1.0 && report.effective > 3_000.0, "{report:?}");
}

#[test]
fn an_attribute_that_nobody_lacks_cannot_be_balanced_and_the_price_says_so() {
    let mut labels = lopsided(100);
    labels.attributes.fill(1.0);
    let balance = solve(&labels, &Bounds { price: 0.5, ..Bounds::default() }, &mut |_, _| ());
    let report = Report::new(&labels, &["woman".to_owned()], &["doctor".to_owned()], &balance);
    assert!((report.shares[0].share[1] - 1.0).abs() < 1e-6 && balance.gap < 1e-4, "{report:?}");
}

#[test]
fn the_command_writes_weights_and_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let row = |row: usize| format!("{{\"key\": \"a {row}\", \"woman\": {}, \"doctor\": {}}}\n", row % 7 < 2, row.is_multiple_of(3));
    let rows: String = (0..70).map(row).collect();
    std::fs::write(path("labels.jsonl"), rows + "\n{\"key\": \"last\", \"woman\": null, \"doctor\": 0.5}\n").unwrap();
    let balance = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_polyglance-trainer"));
        command
            .args(["balance", &path("labels.jsonl"), "--output", &path("weights.jsonl"), "--concept", "doctor"])
            .args(more)
            .output()
            .unwrap()
    };
    let output = balance(&["--attribute", "woman=0.5", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!((report["shares"][0]["share"][1].as_f64().unwrap() - 0.5).abs() < 0.011, "{report}");
    let weights = std::fs::read_to_string(path("weights.jsonl")).unwrap();
    assert_eq!(weights.lines().count(), 71);
    let last: serde_json::Value = serde_json::from_str(weights.lines().last().unwrap()).unwrap();
    assert!(last["key"] == "last" && last["weight"].as_f64().is_some_and(|weight| weight > 0.0), "{last}");
    let tables = balance(&["--attribute", "woman=0.5"]);
    assert!(String::from_utf8(tables.stdout).unwrap().contains("| woman | doctor | "));
    for (arguments, message) in
        [(["--attribute", "man=0.5"], "no line has \"man\""), (["--attribute", "woman=5"], "with a share between 0 and 1")]
    {
        let output = balance(&arguments);
        assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains(message), "{output:?}");
    }
}

#[test]
fn labels_that_are_none_are_refused_by_line() {
    let error = |text: &str| Labels::read(text.as_bytes(), "key", &[("woman".to_owned(), 0.5)], &[]).unwrap_err().to_string();
    assert_eq!(error(""), LabelsError::Empty.to_string());
    let message = error("{\"key\": \"a\", \"woman\": 1}\n{\"key\": \"b\", \"woman\": \"yes\"}\n");
    assert!(message.starts_with("line 2: \"woman\" is \"yes\", which is no number from 0 to 1"), "{message}");
    assert!(error("{\"key\": \"a\", \"woman\": 2}").starts_with("line 1: \"woman\" is 2"));
    assert!(error("{\"key\": \"a\"}").starts_with("no line has \"woman\""));
    assert!(error("{\"woman\": 1}").starts_with("line 1 has no text called \"key\""));
    assert!(error("[1]").starts_with("line 1 is no JSON object"));
}

#[test]
fn many_examples_are_balanced() {
    let rows = if std::env::var_os("POLYGLANCE_FULL").is_some() { 1_000_000 } else { 50_000 };
    let labels = lopsided(rows);
    let start = std::time::Instant::now();
    let balance = solve(&labels, &Bounds::default(), &mut |_, _| ());
    println!("{rows} examples: {:.1} s, {} passes, gap {:.1e}", start.elapsed().as_secs_f64(), balance.passes, balance.gap);
    assert!(balance.gap < 1e-3 * balance.objective);
}
