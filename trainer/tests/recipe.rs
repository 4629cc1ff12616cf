//! Recipes: what they mean, and what is said about wrong ones.

use std::path::Path;

use polyglance::weights::expected_tensors;
use polyglance_trainer::optim::Groups;
use polyglance_trainer::recipe::{Plan, Recipe, SpeedSource};

const MINIMAL: &str = r#"
[model]
preset = "google/siglip2-base-patch16-naflex"
[data]
sources = [{ pattern = "pairs" }]
tokenizer = "tokenizer.json"
[batch]
images = 8
budgets = [{ max_num_patches = 256 }]
[optimizer]
learning_rate = 1e-3
[schedule]
steps = 10
"#;

fn parse(text: &str, overrides: &[&str]) -> Result<Recipe, String> {
    let overrides: Vec<_> = overrides.iter().map(|text| (*text).to_owned()).collect();
    Recipe::parse("r.toml", text, &overrides, None).map_err(|error| error.to_string())
}

fn refused(text: &str, overrides: &[&str]) -> String {
    parse(text, overrides).expect_err("it is refused")
}

#[test]
fn unknown_keys_are_named_and_the_right_one_suggested() {
    let typed = |from: &str, to: &str| refused(&MINIMAL.replace(from, to), &[]);
    assert_eq!(
        typed("learning_rate", "learning_rat"),
        r#"r.toml: there is no key "optimizer.learning_rat"; did you mean "optimizer.learning_rate"?"#
    );
    assert_eq!(
        typed("[schedule]\nsteps", "[schedule]\nstep"),
        r#"r.toml: there is no key "schedule.step"; did you mean "schedule.steps"?"#
    );
    assert_eq!(typed("[optimizer]", "[optimiser]"), r#"r.toml: there is no key "optimiser"; did you mean "optimizer"?"#);
    assert!(
        typed("max_num_patches", "max_patches")
            .contains(r#""batch.budgets[0].max_patches"; did you mean "batch.budgets[0].max_num_patches""#)
    );
    let known = typed("steps = 10", "steps = 10\nxyz = 1");
    assert!(known.contains(r#"no key "schedule.xyz"; known here: schedule.steps, schedule.warmup"#), "{known}");
}

#[test]
fn overrides_have_the_same_errors_as_the_file() {
    assert!(refused(MINIMAL, &["optimizer.weight_decai=0"]).contains(r#"did you mean "optimizer.weight_decay"?"#));
    assert!(refused(MINIMAL, &["optimizer.weight_decay=much"]).contains("optimizer.weight_decay: invalid type: string \"much\""));
    assert!(refused(MINIMAL, &["schedule.steps"]).contains("--set schedule.steps"));
    assert!(refused(MINIMAL, &["seed.a=1", "seed=2", "seed.b=3"]).contains("\"seed\" is a value"));
}

#[test]
fn overrides_win_and_need_no_quotes() {
    let recipe = parse(
        MINIMAL,
        &["schedule.steps = 20", "schedule.decay=rsqrt", "data.languages.en=2.0", "optimizer.multipliers=[[\"vision_model.*\", 0.0]]"],
    );
    let recipe = recipe.expect("it is valid");
    assert_eq!(recipe.schedule.steps, 20);
    assert_eq!(recipe.schedule.decay, polyglance_trainer::optim::Decay::Rsqrt);
    assert_eq!(recipe.data.languages["en"], 2.0);
    assert_eq!(recipe.optimizer.multipliers, [("vision_model.*".to_owned(), 0.0)]);
}

#[test]
fn values_outside_their_range_are_refused_by_name() {
    for (overrides, expected) in [
        ("optimizer.beta2=1.0", "optimizer: beta2 is 1, outside 0 ≤ x < 1"),
        ("optimizer.clip_norm=0", "optimizer: clip_norm"),
        ("schedule.steps=0", "schedule: steps is 0"),
        ("schedule.warmup=11", "schedule: warmup 11"),
        ("batch.tokens=100", "batch: give exactly one of images"),
        ("batch.micro_batch=0", "at least 1"),
        ("data.sources=[]", "data: sources is empty"),
        ("checkpoint.every=0", "checkpoint: every is 0"),
        ("model.preset=google/siglip3", "no preset is called \"google/siglip3\""),
        ("model.init=folder", "model: give exactly one of preset, init"),
    ] {
        let error = refused(MINIMAL, &[overrides]);
        assert!(error.contains(expected), "{overrides}: {error}");
    }
    assert!(refused(&MINIMAL.replace("[schedule]\nsteps = 10", ""), &[]).contains("missing field `schedule`"));
    let odd = MINIMAL.replace("preset = \"google/siglip2-base-patch16-naflex\"", "")
        + "[model.vision]\nwidth=100\ndepth=1\nheads=3\npatch_size=16\ntable_side=16\n[model.text]\nwidth=64\ndepth=1\nheads=1\nvocab_size=100\n";
    assert!(refused(&odd, &[]).contains("not divisible"), "{}", refused(&odd, &[]));
}

#[test]
fn a_recipe_survives_its_own_toml_and_differences_are_listed() {
    let recipe = parse(MINIMAL, &[]).expect("it is valid");
    let again = parse(&recipe.to_toml(), &[]).expect("what it writes is valid");
    assert_eq!(recipe, again);
    assert!(recipe.differences(&again).is_empty());
    let other = parse(MINIMAL, &["optimizer.learning_rate=0.5", "checkpoint.allow_changes=true"]).expect("it is valid");
    assert_eq!(recipe.differences(&other), ["optimizer.learning_rate: 0.001 → 0.5"]);
}

#[test]
fn a_start_folder_replaces_every_other_origin() {
    let recipe = Recipe::parse("r.toml", MINIMAL, &[], Some(Path::new("run/model"))).expect("it is valid");
    assert_eq!((recipe.model.preset, recipe.model.init.as_deref()), (None, Some(Path::new("run/model"))));
}

#[test]
fn every_recipe_in_the_repository_is_valid_and_says_what_it_is() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        // Its folders hold recipes of other kinds.
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("it is read");
        Recipe::load(&path, &[], None).unwrap_or_else(|error| panic!("{error}"));
        let header: String = text.lines().take_while(|line| line.starts_with('#')).collect();
        for part in ["Paper", "Command", "Time", "Numbers"] {
            assert!(header.contains(part), "{}: its header lacks {part}", path.display());
        }
        count += 1;
    }
    assert!(count >= 1);
}

/// The counts of the reference's tables 1.2 and 8.1 for the base model: 92.93 M, 282.30 M − 196.61 M in the table, and 46.2 + 11.0 GFLOP
/// forward for 256 patches and 64 tokens.
#[test]
fn the_plan_counts_parameters_operations_and_memory() {
    let recipe = parse(MINIMAL, &["optimizer.multipliers=[[\"vision_model.*\", 0.0]]", "optimizer.ema_decay=0.99"]).expect("it is valid");
    let config = recipe.model.config().expect("a preset");
    let names: Vec<_> = expected_tensors(&config).into_iter().map(|spec| spec.name).collect();
    let groups = Groups::new(&recipe.optimizer, names.iter().map(String::as_str)).expect("the pattern matches");
    let plan = Plan::new(&recipe, &config, &groups, 1e12, SpeedSource::Stated);
    let counts: Vec<_> = plan.parts.iter().map(|part| (part.parameters, part.trained)).collect();
    assert_eq!(counts, [(92_930_304, 0), (85_695_744, 85_695_744), (196_608_000, 196_608_000), (2, 2)]);
    assert_eq!(plan.images_per_step, 8.0);
    assert_eq!(plan.tokens_per_step, 8.0 * 320.0);
    assert!((plan.flops_per_step / (8.0 * 3.0 * 57.2e9) - 1.0).abs() < 2e-3, "{:e}", plan.flops_per_step);
    assert!((plan.secs() - 10.0 * plan.flops_per_step / 1e12).abs() < 1e-9);
    assert_eq!(plan.state_bytes.weights, 4 * 375_234_050);
    assert_eq!(plan.state_bytes.moments, 8 * (282_303_744 + 2));
    assert!(plan.activation_bytes.recomputed * 5 < plan.activation_bytes.kept);
    let text = plan.to_string();
    assert!(text.contains("token table") && text.contains("92.93 M parameters  (92.93 M frozen)"), "{text}");
}
