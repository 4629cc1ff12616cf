//! `kill -9` on the real program at any moment, a third of the times inside of a save.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use polyglance_trainer::checkpoint::Store;
use polyglance_trainer::random::Stream;
use polyglance_trainer::train::checkpoint_folder;

use super::{shards, start_folder};

/// Kills of the quick test; `POLYGLANCE_FULL=1` asks for 100.
fn kills() -> u64 {
    if std::env::var_os("POLYGLANCE_FULL").is_some() { 100 } else { 10 }
}

struct Run {
    recipe: PathBuf,
    output: PathBuf,
}

impl Run {
    fn new(folder: &Path, name: &str, shards: &Path, steps: u64) -> Self {
        let recipe = folder.join("recipe.toml");
        let text = format!(
            "[model]\ninit = {:?}\n[data]\nsources = [{{ pattern = {shards:?} }}]\nshuffle = 8\nworkers = 1\n[batch]\nimages = 4\n\
             budgets = [{{ max_num_patches = 6 }}]\n[optimizer]\nema_decay = 0.9\n[schedule]\nsteps = {steps}\nwarmup = 2\n\
             [checkpoint]\nevery = 2\n",
            start_folder()
        );
        std::fs::write(&recipe, text).expect("it is written");
        Self { recipe, output: folder.join(name) }
    }

    fn start(&self, pause_in_save_ms: u64) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_polyglance-trainer"));
        command.arg("train").arg(&self.recipe).arg("--output").arg(&self.output).arg("--resume");
        command.args(["--pause-in-save-ms", &pause_in_save_ms.to_string()]).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().expect("the program starts")
    }

    fn finish(&self) {
        let output = self.start(0).wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn saved(&self, steps: u64, file: &str) -> Vec<u8> {
        std::fs::read(self.output.join(format!("checkpoints/step-{steps}")).join(file)).expect("the last checkpoint is there")
    }

    fn is_saving(&self) -> bool {
        let entries = std::fs::read_dir(self.output.join("checkpoints")).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.path().extension().is_some_and(|kind| kind == "tmp"))
    }
}

#[test]
fn a_run_killed_at_any_moment_ends_with_the_bits_of_a_whole_one() {
    let (folder, shards, steps) = (tempfile::tempdir().expect("a temporary folder"), shards(), 12);
    let whole = Run::new(folder.path(), "whole", shards.path(), steps);
    whole.finish();
    let killed = Run::new(folder.path(), "killed", shards.path(), steps);
    let moments = Stream::new(11, "tests/kills");
    let mut inside_saves = 0;
    for kill in 0..kills() {
        let in_save = kill % 3 == 2;
        let mut child = killed.start(if in_save { 100 } else { 5 });
        let patience = if in_save { 10_000 } else { (400.0 * moments.uniform(kill)) as u64 };
        let mut waited = 0;
        while waited < patience && child.try_wait().expect("it is watched").is_none() && !(in_save && killed.is_saving()) {
            std::thread::sleep(Duration::from_millis(2));
            waited += 2;
        }
        // Anywhere in the save, which pauses four times.
        std::thread::sleep(Duration::from_millis(if in_save { (400.0 * moments.uniform(1000 + kill)) as u64 } else { 0 }));
        inside_saves += u64::from(in_save && killed.is_saving());
        child.kill().expect("it is killed");
        child.wait().expect("it is gone");
    }
    killed.finish();
    assert!(inside_saves > 0, "no kill fell into a save");
    for file in ["model/model.safetensors", "ema/model.safetensors", "optimizer.safetensors"] {
        assert!(whole.saved(steps, file) == killed.saved(steps, file), "{file} differs");
    }
}

/// SIGTERM is what schedulers send; Ctrl-C takes the same way.
#[cfg(unix)]
#[test]
fn a_terminated_run_saves_and_says_how_to_go_on() {
    let (folder, shards) = (tempfile::tempdir().expect("a temporary folder"), shards());
    let run = Run::new(folder.path(), "run", shards.path(), 1_000_000);
    let child = run.start(0);
    let has_stepped = || std::fs::metadata(run.output.join("metrics.jsonl")).is_ok_and(|file| file.len() > 0);
    (0..5_000).take_while(|_| !has_stepped()).for_each(|_| std::thread::sleep(Duration::from_millis(2)));
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("--resume goes on from it"), "{text}");
    let (found, warnings) = Store::new(&checkpoint_folder(&run.output)).newest().expect("it is listed");
    assert!(warnings.is_empty() && found.is_some_and(|found| found.step > 0));
}

#[test]
fn the_command_refuses_what_would_destroy_or_change_a_run() {
    let (folder, shards) = (tempfile::tempdir().expect("a temporary folder"), shards());
    let run = Run::new(folder.path(), "run", shards.path(), 2);
    run.finish();
    let refused = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_polyglance-trainer"));
        let output = command.arg("train").arg(&run.recipe).arg("--output").arg(&run.output).args(arguments).output().expect("it runs");
        assert!(!output.status.success());
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    assert!(refused(&[]).contains("go on with --resume"));
    let changed = refused(&["--resume", "--set", "optimizer.learning_rate=0.5", "--set", "seed=3"]);
    assert!(changed.contains("optimizer.learning_rate: 0.001 → 0.5") && changed.contains("seed: 0 → 3"), "{changed}");
    assert!(refused(&["--set", "optimizer.learning=1"]).contains("did you mean \"optimizer.learning_rate\""));
}

#[test]
fn a_dry_run_prints_the_plan_and_writes_nothing() {
    let (folder, shards) = (tempfile::tempdir().expect("a temporary folder"), shards());
    let run = Run::new(folder.path(), "run", shards.path(), 2);
    for speed in [&["--speed", "100"][..], &[]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_polyglance-trainer"));
        let output = command.arg("train").arg(&run.recipe).arg("--dry-run").args(speed).output().expect("it runs");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(output.status.success() && text.contains("token table") && text.contains("GFLOP/s"), "{text}");
    }
    assert!(!run.output.exists());
}
