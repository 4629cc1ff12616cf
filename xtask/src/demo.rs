//! The model that ships: rendered, trained, judged and exported by one command, each step of which goes on where it was interrupted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::emoji;
use crate::setup;
use crate::shell::{self, cargo, root, target_dir};

const DATA_RECIPE: &str = "trainer/recipes/synth/emoji-world.toml";
const RUN_RECIPE: &str = "trainer/recipes/demo.toml";

/// What the model is judged on: name of the report, and arguments of `evaluate`.
const REPORTS: [(&str, &[&str]); 6] = [
    ("zero-shot", &["--data", "world/zero-shot", "--retrieval", "0", "--pixels", "world/train", "--beside", "untrained"]),
    ("zero-shot-second-font", &["--data", "world/zero-shot-second-font", "--retrieval", "0"]),
    ("retrieval", &["--data", "world/retrieval"]),
    ("retrieval-second-font", &["--data", "world/retrieval-second-font"]),
    ("segmentation", &["--data", "world/retrieval", "--retrieval", "0", "--segmentation", "1000"]),
    ("fitting", &["--data", "world/test", "--fitting", "native,squash,letterbox", "--patches", "64,128,256"]),
];

/// Renders, trains, judges and exports in `target/demo`; `settings` go to `train` as `--set`.
///
/// # Errors
/// A step failed; what was finished before it stays.
pub(crate) fn run(settings: &[String]) -> Result<()> {
    let folder = target_dir().join("demo");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    shell::run(&mut cargo(["build", "--release", "--package", "polyglance-trainer"]))?;
    let trainer = |arguments: &[&str]| {
        let mut command = Command::new(target_dir().join("release/polyglance-trainer"));
        command.args(arguments).current_dir(&folder);
        command
    };
    render(&folder, &trainer)?;
    let mut train = trainer(&["train"]);
    train.arg(root().join(RUN_RECIPE)).args(["--output", "run", "--resume"]);
    shell::run(train.args(settings.iter().flat_map(|setting| ["--set", setting])))?;
    let model = trained(&folder)?;
    renewed(&folder.join("untrained"))?;
    shell::run(trainer(&["init", "--output", "untrained", "--config"]).arg(model.join("config.json")))?;
    fs::create_dir_all(folder.join("reports")).context("cannot create the folder of reports")?;
    for (name, arguments) in REPORTS {
        let report = trainer(&["evaluate", "--model"]).arg(&model).args(arguments).output().context("evaluate could not be started")?;
        anyhow::ensure!(report.status.success(), "evaluate {name}: {}", String::from_utf8_lossy(&report.stderr));
        fs::write(folder.join(format!("reports/{name}.md")), report.stdout).context("cannot write a report")?;
    }
    renewed(&folder.join("export"))?;
    shell::run(trainer(&["export", "--precision", "f16", "--output", "export"]).arg(&model))?;
    println!("reports and the model's files are in {}", folder.display());
    Ok(())
}

/// The shards and the tokenizer, unless they are there.
fn render(folder: &Path, trainer: &impl Fn(&[&str]) -> Command) -> Result<()> {
    setup::fonts()?;
    let [annotations, second_font] = emoji::sources()?;
    let recipe = root().join(DATA_RECIPE);
    // The report is written last.
    if !folder.join("world/report.json").is_file() {
        renewed(&folder.join("world"))?;
        let mut command = trainer(&["synth", "shards", "--output", "world", "--annotations"]);
        shell::run(command.arg(&annotations).arg("--second-font").arg(second_font).arg(&recipe))?;
    }
    if !folder.join("tokenizer/tokenizer_config.json").is_file() {
        renewed(&folder.join("tokenizer"))?;
        shell::run(trainer(&["synth", "tokenizer", "--output", "tokenizer", "--annotations"]).arg(annotations).arg(recipe))?;
    }
    Ok(())
}

/// Removes what an interrupted step left.
fn renewed(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

/// The average that the run ended with, or the weights themselves if it kept none.
fn trained(folder: &Path) -> Result<PathBuf> {
    let checkpoints = folder.join("run/checkpoints");
    let entries = fs::read_dir(&checkpoints).with_context(|| format!("cannot read {}", checkpoints.display()))?;
    let step = |path: &Path| path.file_name()?.to_str()?.strip_prefix("step-")?.parse::<u64>().ok();
    let last = entries.flatten().map(|entry| entry.path()).filter(|path| step(path).is_some()).max_by_key(|path| step(path));
    let last = last.with_context(|| format!("{} holds no checkpoint", checkpoints.display()))?;
    let average = last.join("ema");
    Ok(if average.is_dir() { average } else { last.join("model") })
}
