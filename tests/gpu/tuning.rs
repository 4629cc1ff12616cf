//! The choice of gemm: measured, remembered in a file, taken from there again, and never trusted blindly.

use std::path::Path;

use polyglance::encoder::{BufferId, Plan, Role, Step, WeightId};
use polyglance::gpu::{AdapterChoice, GemmVariant, GpuBackend, GpuWeight, WeightPrecision, adapters};
use polyglance::kernels::{Counts, Epilogue, Gemm, Rows};
use polyglance::platform::block_on;

use super::{Weight, open, upload};

const SIZE: usize = 32;
const CANDIDATES: [GemmVariant; 2] = [GemmVariant::Tiled, GemmVariant::Direct];

/// One product, and its weights in `precision`.
fn product(backend: &GpuBackend, precision: WeightPrecision, epilogue: Epilogue) -> (Plan, Vec<GpuWeight>) {
    let mut plan = Plan::new(Counts { tokens: SIZE, segments: 1 });
    let (x, y) = (plan.buffer("x", Rows::Tokens, SIZE, Role::Input), plan.buffer("y", Rows::Tokens, SIZE, Role::Output));
    let shape = Gemm { rows: Rows::Tokens, n: SIZE, k: SIZE, epilogue };
    plan.steps.push(Step::Gemm { shape, x, weight: WeightId(0), bias: WeightId(1), y });
    assert_eq!((x, y), (BufferId(0), BufferId(1)));
    let weights = [Weight::Matrix(&[0.5; SIZE * SIZE], (SIZE, SIZE), precision), Weight::Vector(&[0.0; SIZE])];
    (plan, upload(backend, &weights))
}

/// What is chosen on a new device with this file, and what the file then holds.
fn tune(file: &Path, epilogue: Epilogue) -> Option<(GemmVariant, String)> {
    // A variant that is no candidate: whatever stands there afterwards has been chosen.
    let mut backend = open(GemmVariant::Tiled)?;
    backend.set_gemm_variant(GemmVariant::Cooperative16);
    let (plan, weights) = product(&backend, WeightPrecision::F16, epilogue);
    block_on(backend.tune_gemm(&weights, &plan, &CANDIDATES, Some(file))).unwrap();
    assert!(CANDIDATES.contains(&backend.gemm_variant()), "nothing was chosen");
    Some((backend.gemm_variant(), std::fs::read_to_string(file).unwrap_or_default()))
}

fn other(variant: GemmVariant) -> GemmVariant {
    if variant == CANDIDATES[0] { CANDIDATES[1] } else { CANDIDATES[0] }
}

#[test]
fn a_choice_is_made_once_and_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gemm.json");
    let Some((chosen, text)) = tune(&file, Epilogue::Store) else { return };
    assert!(text.contains(chosen.name()), "{text}");
    // The slower one, put in its place, is taken without measuring.
    std::fs::write(&file, text.replace(chosen.name(), other(chosen).name())).unwrap();
    assert_eq!(tune(&file, Epilogue::Store).unwrap().0, other(chosen));
    // Another plan has a choice of its own.
    let text = tune(&file, Epilogue::Gelu).unwrap().1;
    let remembered: std::collections::BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
    assert_eq!(remembered.len(), 2, "{text}");
}

#[test]
fn a_broken_file_is_ignored_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gemm.json");
    let Some((chosen, good)) = tune(&file, Epilogue::Store) else { return };
    let unknown = good.replace(chosen.name(), "a variant of the future");
    let huge = format!("{{{}{}", " ".repeat(1 << 17), good.trim_start_matches('{'));
    let crowded: String = (0..64).map(|i| format!("\"adapter {i}\": \"tiled\",")).collect();
    for broken in ["", "{", "[1, 2]", "{\"a\": 1}", "\u{0}\u{0}", &unknown, &huge, &format!("{{{crowded} \"x\": \"\"}}")] {
        std::fs::write(&file, broken).unwrap();
        let (chosen, text) = tune(&file, Epilogue::Store).unwrap();
        assert!(text.len() < 1000 && text.contains(chosen.name()), "{text}");
    }
    // Nowhere to write: the choice is made all the same.
    tune(&folder.path().join("missing/gemm.json"), Epilogue::Store).unwrap();
    tune(folder.path(), Epilogue::Store).unwrap();
}

#[test]
fn nothing_is_measured_where_there_is_nothing_to_choose() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gemm.json");
    let Some(mut backend) = open(GemmVariant::Tiled) else { return };
    let (plan, exact) = product(&backend, WeightPrecision::F32, Epilogue::Store);
    block_on(backend.tune_gemm(&exact, &plan, &CANDIDATES, Some(&file))).unwrap();
    let (plan, weights) = product(&backend, WeightPrecision::F16, Epilogue::Store);
    block_on(backend.tune_gemm(&weights, &plan, &CANDIDATES[1..], Some(&file))).unwrap();
    assert_eq!((backend.gemm_variant(), file.exists()), (GemmVariant::Tiled, false));
}

#[test]
fn a_candidate_that_the_driver_rejects_is_not_chosen() {
    let Some(mut backend) = open(GemmVariant::Direct) else { return };
    let cooperative = [GemmVariant::Cooperative8, GemmVariant::Cooperative16];
    if cooperative.iter().any(|gemm| gemm.runs_on(backend.info())) {
        return println!("SKIPPED: {} has matrix units, so it rejects no gemm", backend.info());
    }
    let unsupported = cooperative[0];
    let (plan, weights) = product(&backend, WeightPrecision::F16, Epilogue::Store);
    block_on(backend.tune_gemm(&weights, &plan, &[unsupported, GemmVariant::Tiled], None)).unwrap();
    assert_eq!(backend.gemm_variant(), GemmVariant::Tiled);
}

#[test]
fn software_adapters_have_one_candidate_and_others_begin_plain() {
    for adapter in block_on(adapters()) {
        let candidates = GemmVariant::candidates(&adapter);
        assert_eq!(candidates.last(), Some(&GemmVariant::plain(&adapter)), "{adapter}");
        assert!(candidates.iter().all(|variant| variant.runs_on(&adapter)), "{adapter}");
        assert!(!adapter.is_software() || candidates == [GemmVariant::Direct], "{adapter}");
    }
    let Ok(backend) = block_on(GpuBackend::new(&AdapterChoice::Any)) else { return };
    assert_eq!(backend.gemm_variant(), GemmVariant::plain(backend.info()));
    assert!(backend.info().matrix_sides.is_empty(), "matrix units are opened only when asked for");
}
