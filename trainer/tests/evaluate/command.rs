//! `polyglance-trainer evaluate`.

use std::path::Path;
use std::process::{Command, Output};

use super::exam::{CLASSES, TEMPLATES, shard};

fn evaluate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_polyglance-trainer")).arg("evaluate").args(arguments).output().unwrap()
}

fn model(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracle/fixtures/models").join(name).display().to_string()
}

#[test]
fn the_command_judges_a_model_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("0.tar"), shard()).unwrap();
    std::fs::write(folder.path().join("classes.json"), CLASSES).unwrap();
    let templates = folder.path().join("templates.json");
    std::fs::write(&templates, TEMPLATES).unwrap();
    let (model, data) = (model("naflex"), folder.path().to_str().unwrap());
    let common = [
        "--model",
        &model,
        "--data",
        data,
        "--templates",
        templates.to_str().unwrap(),
        "--fitting",
        "native,squash,letterbox",
        "--patches",
        "9,16",
        "--pixels",
        data,
    ];
    let output = evaluate(&[&common[..], &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((json["images"].as_u64(), json["rows"].as_array().unwrap().len()), (Some(8), 7));
    let zero_shot = &json["rows"][0]["marks"]["parts"][1]["zero_shot"];
    assert!(zero_shot["classes"] == 4 && zero_shot["top_1"]["low"].as_f64() < zero_shot["top_1"]["high"].as_f64(), "{zero_shot}");
    assert_eq!(json["rows"][6]["name"], "raw pixels");
    assert!(json["comparisons"].as_array().unwrap().len() >= 2 * 2 * 3);
    let tables = evaluate(&[&common[..], &["--languages", "en", "--altered", "6"]].concat());
    let text = String::from_utf8(tables.stdout).unwrap();
    assert!(text.contains("| whole, flipped | 6 |") && text.contains("| 60 % of each side, flipped | 6 |"), "{text}");
    assert!(text.contains("| naflex, letterbox ≤ 16 | en | 4 | 8 |") && !text.contains("| de |"), "{text}");
}

#[test]
fn what_cannot_be_judged_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("0.tar"), shard()).unwrap();
    let data = folder.path().to_str().unwrap();
    let error = |arguments: &[&str]| {
        let output = evaluate(arguments);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(error(&["--model", "no/such/model", "--data", data]).contains("no/such/model"));
    assert!(error(&["--model", &model("naflex"), "--data", "no/such/data"]).contains("no/such/data"));
    assert!(error(&["--model", &model("fixed32"), "--data", data, "--fitting", "squash"]).contains("0.tar"));
    assert!(error(&["--model", &model("naflex"), "--data", data, "--fitting", "round"]).contains("letterbox"));
}
