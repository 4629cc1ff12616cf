//! Reports that survive crashes.

use polyglance_trainer::metrics::{EventFile, JsonLines, Metrics, StepRecord};

fn record(step: u64) -> StepRecord {
    StepRecord {
        step,
        loss: 1.0 / step as f64,
        learning_rate: 1e-3,
        gradient_norm: 2.0,
        temperature: 10.0,
        logit_bias: -10.0,
        max_num_patches: 256,
        tokens: 1000,
        examples: 8 * step,
        images_per_sec: 3.5,
    }
}

#[test]
fn lines_after_the_resumed_step_and_half_lines_are_dropped() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("metrics.jsonl");
    let mut lines = JsonLines::open(&path, 0).expect("it opens");
    (1..=5).for_each(|step| lines.write(&record(step)).expect("it is written"));
    let whole = std::fs::read_to_string(&path).expect("it is read");
    std::fs::write(&path, format!("{whole}{{\"step\": 6, \"lo")).expect("it is written");
    let mut lines = JsonLines::open(&path, 3).expect("it opens");
    lines.write(&record(4)).expect("it is written");
    let expected: String = whole.split_inclusive('\n').take(4).collect();
    assert_eq!(std::fs::read_to_string(&path).expect("it is read"), expected);
    lines.rewind(1).expect("it is cut");
    assert_eq!(std::fs::read_to_string(&path).expect("it is read").lines().count(), 1);
}

/// What tensorboard 2.21's EventAccumulator reads from this file was checked by hand; here the frame and the fields are.
#[test]
fn event_files_are_tfrecords_of_scalars() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut events = EventFile::create(folder.path(), 7).expect("it is created");
    events.scalars(8, &[("train/loss", 0.5)]).expect("it is written");
    let path = std::fs::read_dir(folder.path()).expect("it is listed").next().expect("a file").expect("an entry").path();
    let bytes = std::fs::read(path).expect("it is read");
    let (mut rest, mut records) = (bytes.as_slice(), Vec::new());
    while !rest.is_empty() {
        let len = u64::from_le_bytes(rest[..8].try_into().expect("eight bytes")) as usize;
        records.push(&rest[12..12 + len]);
        rest = &rest[16 + len..];
    }
    let contains = |record: &[u8], part: &[u8]| record.windows(part.len()).any(|window| window == part);
    assert_eq!(records.len(), 3);
    assert!(contains(records[0], b"brain.Event:2"));
    // Step 8 as a varint, then SessionLog { status: 1 }.
    assert!(records[1].ends_with(&[0x10, 8, 0x3a, 2, 0x08, 1]), "{:x?}", records[1]);
    // Value { tag: "train/loss", simple_value: 0.5 }.
    let value = [b"\x0a\x0atrain/loss\x15".as_slice(), &0.5f32.to_le_bytes()].concat();
    assert!(records[2].ends_with(&value), "{:x?}", records[2]);
}

#[test]
fn a_run_reports_steps_evaluations_and_notes_in_order() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut metrics = Metrics::open(folder.path(), 0, 10).expect("it opens");
    metrics.step(&record(1)).expect("it is written");
    metrics.evaluation(1, &[("retrieval/en/text_to_image_1".to_owned(), 0.25)]).expect("it is written");
    metrics.note(2, "step 2 is skipped").expect("it is written");
    let text = std::fs::read_to_string(folder.path().join("metrics.jsonl")).expect("it is read");
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[0]["loss"], 1.0);
    assert_eq!(lines[1]["evaluation"]["retrieval/en/text_to_image_1"], 0.25);
    assert_eq!(lines[2], serde_json::json!({ "step": 2, "note": "step 2 is skipped" }));
}
