//! Running other programs.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// The repository root. Asked at run time, because one target folder may serve several checkouts.
pub(crate) fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map_or_else(|| manifest.clone(), Path::to_owned)
}

/// Where cargo puts its outputs.
pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// The cargo that runs this task, in the repository root.
pub(crate) fn cargo<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(arguments: I) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    // What cargo says about this task's own package. Some build scripts run again when it changes, and all that depends on them with it.
    let about_this_package =
        |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
    for (name, _) in env::vars_os().filter(|(name, _)| about_this_package(name)) {
        command.env_remove(name);
    }
    // Nothing is built a second time there, and what incremental compilation keeps is as large as everything else.
    if env::var_os("CI").is_some() {
        command.env("CARGO_INCREMENTAL", "0");
    }
    command
}

/// Runs a program with inherited output.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = display(command);
    println!("+ {name}");
    let status = command.status().with_context(|| format!("`{name}` could not be started"))?;
    if !status.success() {
        bail!("`{name}` failed ({status})");
    }
    Ok(())
}

/// Runs a program, hands each line of its standard output to `each_line`, and says whether it succeeded.
pub(crate) fn run_lines(command: &mut Command, mut each_line: impl FnMut(&str)) -> Result<bool> {
    let name = display(command);
    println!("+ {name}");
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("`{name}` could not be started"))?;
    if let Some(stdout) = child.stdout.take() {
        // Split by bytes: one line that is not UTF-8 must not end the reading and so block the child on a full pipe.
        for line in BufReader::new(stdout).split(b'\n') {
            each_line(&String::from_utf8_lossy(&line?));
        }
    }
    Ok(child.wait()?.success())
}

/// Standard output of a program, trimmed; `None` when it cannot be started or fails.
pub(crate) fn capture(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The first of `names` that is on the PATH.
pub(crate) fn which(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    names.iter().find_map(|name| env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file()))
}

fn display(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
