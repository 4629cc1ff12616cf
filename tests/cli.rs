//! The command line, through the real program: what it computes, what it refuses, and what it leaves on disk.

mod bad_input;
mod features;
mod formats;
mod index;
mod pack;
mod run;

use std::fs;

use run::{images, model, polyglance};
use serde_json::Value;

use crate::support::{fixture, worst_row_error};

/// Where there is no display, people are told what else there is.
#[cfg(target_os = "linux")]
#[test]
fn without_a_display_the_commands_are_listed() {
    let mut run = polyglance::<&str>([]);
    for display in ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"] {
        run.command().env_remove(display);
    }
    let finished = run.succeeds();
    assert!(finished.stdout.contains("classify") && finished.stdout.contains("Usage:"), "{}", finished.stdout);
    assert!(finished.stderr.contains("no window could be opened"), "{}", finished.stderr);
}

/// The numbers of transformers for a model of `fixtures/models`.
fn expected(name: &str) -> formats::Tensors {
    formats::Tensors::read(&fixture(&format!("models/{name}/expected.safetensors")))
}

fn manifest() -> Value {
    serde_json::from_slice(&fs::read(fixture("models/manifest.json")).unwrap()).unwrap()
}

/// Cases of `name` with this budget, as rows of its expected tensors; in the order of the images' names.
fn rows_of(name: &str, budget: Option<u64>) -> Vec<usize> {
    let manifest = manifest();
    let models = manifest["models"].as_array().unwrap();
    let cases = models.iter().find(|model| model["name"] == name).unwrap()["cases"].as_array().unwrap();
    let mut rows: Vec<usize> = (0..cases.len()).filter(|&row| cases[row]["budget"].as_u64() == budget).collect();
    rows.sort_by_key(|&row| cases[row]["image"].as_u64());
    rows
}

/// A file with the manifest's texts, and their number.
fn texts_file(folder: &std::path::Path) -> (std::path::PathBuf, usize) {
    let texts = &manifest()["texts"];
    let path = folder.join("texts.json");
    fs::write(&path, texts.to_string()).unwrap();
    (path, texts.as_array().unwrap().len())
}

#[test]
fn embed_gives_the_numbers_of_transformers() {
    for (name, budget) in [("naflex", Some(256)), ("naflex", Some(64)), ("fixed14", None)] {
        let folder = tempfile::tempdir().unwrap();
        let (output, (texts, _)) = (folder.path().join("out.safetensors"), texts_file(folder.path()));
        let mut command = polyglance(["embed", "--device", "cpu", "--with", "hidden,pooled,patches"]);
        command.arg("--image").arg(images()).arg("--texts-from").arg(texts).arg("--output").arg(&output).arg("--model").arg(model(name));
        if let Some(budget) = budget {
            command.args(["--max-num-patches", &budget.to_string()]);
        }
        command.succeeds();
        let (got, want, rows) = (formats::Tensors::read(&output), expected(name), rows_of(name, budget));
        let dim = got.shape("image_embeds")[1];

        assert_eq!(got.i32("input_ids"), want.i32("input_ids"), "{name}");
        assert_eq!(got.i32("grid"), want.rows_i32("grid", &rows), "{name}");
        assert!(worst_row_error(&got.f32("image_embeds"), &want.rows("image_embeds", &rows), dim) < 1e-5, "{name}");
        assert!(worst_row_error(&got.f32("text_embeds"), &want.f32("text_embeds"), dim) < 1e-5, "{name}");
        for (picture, &case) in rows.iter().enumerate() {
            let kept: Vec<usize> = want.i32(&format!("rows.{case}")).iter().map(|&row| row as usize).collect();
            let hidden = got.rows(&format!("last_hidden_state.{picture}"), &kept);
            assert!(worst_row_error(&hidden, &want.f32(&format!("last_hidden_state.{case}")), dim) < 1e-4, "{name} {picture}");
            assert!(worst_row_error(&got.f32(&format!("pooled.{picture}")), &want.rows("pooled", &[case]), dim) < 1e-4);
            let tokens = got.shape(&format!("last_hidden_state.{picture}"))[0];
            assert_eq!(got.shape(&format!("patches.{picture}"))[0], tokens);
        }
    }
}

/// Ten pictures of about 1,000 patches make three batches; a broken one stands in the middle.
#[test]
fn rows_stay_with_their_names_across_batches() {
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos");
    fs::create_dir(&photos).unwrap();
    for entry in fs::read_dir(images()).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), photos.join(entry.file_name())).unwrap();
    }
    fs::write(photos.join("03_z_broken.png"), "no picture").unwrap();
    let embed = |path: &std::path::Path, code| {
        let output = folder.path().join("out.safetensors");
        let mut command = polyglance(["embed", "--device", "cpu", "--max-num-patches", "1024", "--with", "hidden"]);
        command.arg("--image").arg(path).arg("--output").arg(&output).arg("--model").arg(model("naflex")).fails(code);
        formats::Tensors::read(&output)
    };
    let all = embed(&photos, 3);
    let names: Vec<String> = serde_json::from_str(&all.metadata("images")).unwrap();
    assert_eq!(names.len(), 10);
    let dim = all.shape("image_embeds")[1];
    for row in [0, 3, 4, 9] {
        let one = embed(std::path::Path::new(&names[row]), 0);
        assert!(worst_row_error(&all.rows("image_embeds", &[row]), &one.f32("image_embeds"), dim) < 1e-5, "{}", names[row]);
        let hidden = all.f32(&format!("last_hidden_state.{row}"));
        assert!(worst_row_error(&hidden, &one.f32("last_hidden_state.0"), dim) < 1e-5, "{}", names[row]);
    }
}

#[test]
fn classify_gives_the_logits_of_transformers_and_three_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let (texts, count) = texts_file(folder.path());
    let mut command = polyglance(["classify", "--device", "cpu", "--template", "{}", "--json", "--labels-from"]);
    let run = command.arg(texts).arg(images()).arg("--model").arg(model("naflex")).succeeds();
    let scored: Vec<Value> = serde_json::from_str(&run.stdout).unwrap();
    let (want, rows) = (expected("naflex"), rows_of("naflex", Some(256)));
    let logits = want.rows("logits_per_image", &rows);
    assert_eq!(scored.len(), rows.len());
    for (picture, logits) in scored.iter().zip(logits.chunks_exact(count)) {
        let keys: Vec<&String> = picture.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["grid", "image", "labels"]);
        let labels = picture["labels"].as_array().unwrap();
        let number = |label: &Value, key: &str| label[key].as_f64().unwrap();
        let total: f64 = labels.iter().map(|label| number(label, "logit").exp()).sum();
        for (label, &logit) in labels.iter().zip(logits) {
            let got = number(label, "logit");
            assert!((got - f64::from(logit)).abs() < 1e-3, "{label} is not {logit}");
            assert!((number(label, "probability") - 1.0 / (1.0 + (-got).exp())).abs() < 1e-6);
            assert!((number(label, "share") - got.exp() / total).abs() < 1e-5);
        }
    }
}

#[test]
fn labels_keep_their_commas_and_the_default_template_is_the_pipelines() {
    let picture = images().join("04_disc_224x224.png");
    let classify = |labels: &str, template: &[&str]| -> Vec<(String, f64)> {
        let mut command = polyglance(["classify", "--device", "cpu", "--json", "--labels", labels]);
        let run = command.arg(&picture).args(template).arg("--model").arg(model("naflex")).succeeds();
        let scored: Value = serde_json::from_str(&run.stdout).unwrap();
        let label = |label: &Value| (label["label"].as_str().unwrap().to_owned(), label["logit"].as_f64().unwrap());
        scored[0]["labels"].as_array().unwrap().iter().map(label).collect()
    };
    let labels = classify(r#""red, round", blue ,"say ""x""""#, &[]);
    let names: Vec<&str> = labels.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["red, round", "blue", "say \"x\""]);
    assert_eq!(labels, classify(r#""red, round",blue,"say ""x""""#, &["--template", "This is a photo of {}."]));
    assert_ne!(labels, classify(r#""red, round",blue,"say ""x""""#, &["--template", "{}"]));
    // Two templates are averaged as vectors, so the result lies strictly within.
    let both = classify("blue", &["--template", "{}", "--template", "This is a photo of {}."]);
    assert_ne!(both, classify("blue", &["--template", "{}"]));
}

#[test]
fn the_table_is_for_people() {
    let mut command = polyglance(["classify", "--device", "cpu", "--labels", "a cat,一只猫"]);
    let run = command.arg(images().join("05_landscape_640x480.png")).arg("-m").arg(model("naflex")).succeeds();
    assert!(run.stdout.contains("05_landscape_640x480.png  (14 × 18 patches)"), "{}", run.stdout);
    for word in ["label", "logit", "probability", "share", "a cat", "一只猫"] {
        assert!(run.stdout.contains(word), "{word} is missing: {}", run.stdout);
    }
    assert!(run.stderr.contains("running on CPU"), "{}", run.stderr);
}

#[test]
fn help_teaches_every_command() {
    let help = polyglance(["--help"]).succeeds().stdout;
    for command in ["classify", "embed", "inspect", "doctor", "fetch", "verify"] {
        assert!(help.contains(command));
        let help = polyglance([command, "--help"]).succeeds().stdout;
        assert!(help.contains("Example") && help.contains(&format!("polyglance {command}")), "{command} has no example");
    }
    assert!(help.contains("Exit codes"));
}

#[test]
fn inspect_counts_parameters_and_costs_without_running() {
    let run = polyglance(["inspect", "--batch", "2"]).arg(model("naflex")).succeeds();
    for words in ["NaFlex, position table 16 × 16", "431 202", "2 × picture of 256 patches", "vision_model.encoder.layers.*.mlp.fc1.weight"]
    {
        assert!(run.stdout.contains(words), "{words:?} is missing: {}", run.stdout);
    }
}

#[test]
fn doctor_lists_devices() {
    let run = polyglance(["doctor", "--list"]).succeeds();
    assert!(run.stdout.contains("CPU"), "{}", run.stdout);
}

#[test]
fn verify_takes_only_the_model_that_has_golden_numbers() {
    let run = polyglance(["verify", "--device", "cpu"]).arg(model("naflex")).fails(1);
    assert!(run.stderr.contains("google/siglip2-base-patch16-naflex only"), "{}", run.stderr);
}

/// A whole model over HTTP, then used without a network, then rotten on disk and mended.
#[cfg(feature = "hub")]
#[test]
fn fetch_makes_a_model_usable_offline() {
    use crate::hub::server::{Repository, Server};

    let files = ["config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors"];
    let repository = Repository::new(&files.map(|name| (name, fs::read(model("naflex").join(name)).unwrap())));
    let server = Server::start(move |request, _| repository.answer(request));
    let cache = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let mut command = polyglance(args);
        command.command().env("HF_HUB_CACHE", cache.path()).env("HF_ENDPOINT", format!("http://127.0.0.1:{}", server.port));
        command.command().env_remove("HF_HUB_OFFLINE");
        command
    };
    let folder = run(&["fetch", "google/tiny"]).succeeds().stdout;
    let weights = std::path::Path::new(folder.trim_end()).join("model.safetensors");
    let published = fs::read(model("naflex").join("model.safetensors")).unwrap();
    assert!(fs::read(&weights).unwrap() == published);

    let output = cache.path().join("out.npy");
    run(&["embed", "--text", "a cat", "--offline", "--model", "google/tiny", "--output"]).arg(&output).succeeds();
    let mut rotten = published.clone();
    rotten[published.len() / 2] ^= 1;
    fs::write(&weights, rotten).unwrap();
    let mended = run(&["fetch", "google/tiny"]).succeeds();
    assert!(mended.stderr.contains("model.safetensors is damaged on disk"), "{}", mended.stderr);
    assert!(fs::read(&weights).unwrap() == published);
}

#[cfg(feature = "hub")]
#[test]
fn fetch_offline_says_what_is_missing() {
    let run = polyglance(["fetch", "google/siglip2-base-patch16-naflex", "--offline"]).fails(1);
    assert!(run.stderr.contains("offline"), "{}", run.stderr);
    let run = polyglance(["fetch", "not a model"]).fails(1);
    assert!(run.stderr.contains("neither"), "{}", run.stderr);
}
