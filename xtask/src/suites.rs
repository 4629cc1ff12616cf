//! `cargo xtask test`: every check of the project, each a named suite.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    report::{self, Counts, Entry, Outcome},
    serve,
    setup::{self, Missing},
    shell::{self, capture, cargo, root, run_lines},
    tidy,
    web::{self, Toolchain},
};

/// State that the suites share.
struct Context {
    full: bool,
    /// Whether the page was built by this run. One from an earlier run would prove nothing.
    has_page: bool,
    counts: Counts,
    /// Output of the tests, kept for the log of `--full`.
    log: String,
}

impl Context {
    fn record(&mut self, line: &str) {
        if let Some(counts) = Counts::parse(line) {
            self.counts += counts;
        }
        if self.full {
            self.log.push_str(line);
            self.log.push('\n');
        }
    }
}

struct Suite {
    name: &'static str,
    run: fn(&mut Context) -> Result<()>,
    /// Whether CI fails when this suite is skipped. Not so for tools that Debian does not package.
    required: bool,
    /// Whether it runs with `--full`, or when it is named, only.
    is_long: bool,
}

const fn suite(name: &'static str, run: fn(&mut Context) -> Result<()>) -> Suite {
    Suite { name, run, required: true, is_long: false }
}

const fn optional(name: &'static str, run: fn(&mut Context) -> Result<()>) -> Suite {
    Suite { name, run, required: false, is_long: false }
}

const fn long(name: &'static str, run: fn(&mut Context) -> Result<()>) -> Suite {
    Suite { name, run, required: true, is_long: true }
}

/// In the order they run: cheap ones first, the tests last. Suites that compile the same units stand side by side.
const SUITES: [Suite; 14] = [
    suite("tidy", |_| tidy::run()),
    suite("fmt", |_| shell::run(&mut cargo(["fmt", "--all", "--check"]))),
    optional("typos", typos),
    optional("deny", deny),
    suite("clippy", clippy),
    suite("features", features),
    suite("doc", |_| shell::run(cargo(["doc", "--workspace", "--exclude", "xtask", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))),
    suite("wasm-clippy", wasm_clippy),
    suite("wasm", page),
    // Without a driver the tests of the GPU backend skip themselves.
    suite("vulkan", |_| setup::vulkan()),
    suite("browser", browser),
    // Not steady enough yet on a loaded machine to hold up everything else.
    long("window", window),
    suite("test", tests),
    // Its client asks for other features of crates that everything else depends on, all of which are compiled again: six minutes.
    long("chroma", chroma),
];

/// Runs the named suites, or all; the exit code says whether any failed.
///
/// # Errors
/// A name that is no suite, or a log that cannot be written. A failing suite is no error here: the others still run.
pub(crate) fn run(names: &[&str], full: bool) -> Result<ExitCode> {
    if let Some(unknown) = names.iter().find(|name| SUITES.iter().all(|suite| suite.name != **name)) {
        bail!("there is no suite {unknown:?}; there are {}", SUITES.map(|suite| suite.name).join(", "));
    }
    let mut context = Context { full, has_page: false, counts: Counts::default(), log: String::new() };
    let is_chosen = |suite: &&Suite| if names.is_empty() { full || !suite.is_long } else { names.contains(&suite.name) };
    let chosen = SUITES.iter().filter(is_chosen);
    let entries: Vec<Entry> = chosen.map(|suite| run_suite(suite, &mut context)).collect();
    let summary = report::summary(&entries, context.counts);
    if !context.log.is_empty() {
        write_log(&context.log, &summary)?;
    }
    println!("{summary}");
    let failed = entries.iter().any(|entry| matches!(entry.outcome, Outcome::Failed(_)));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn run_suite(suite: &Suite, context: &mut Context) -> Entry {
    println!("\n=== {}", suite.name);
    let start = Instant::now();
    let strict = suite.required && env::var_os("CI").is_some();
    let outcome = match (suite.run)(context) {
        Ok(()) => Outcome::Passed,
        Err(error) if error.is::<Missing>() && !strict => Outcome::Skipped(error.to_string()),
        Err(error) => Outcome::Failed(format!("{error:#}")),
    };
    Entry { suite: suite.name, outcome, duration: start.elapsed() }
}

fn typos(_: &mut Context) -> Result<()> {
    shell::run(Command::new(setup::typos()?).current_dir(root()))
}

fn deny(_: &mut Context) -> Result<()> {
    setup::cargo_deny()?;
    shell::run(&mut cargo(["deny", "--all-features", "check", "bans", "licenses", "sources"]))
}

/// This task was built alone, with fewer features of the shared crates than the whole workspace asks of them: checked and tested
/// together with the rest, it and what it depends on would be compiled a second time.
const PACKAGE_SETS: [&[&str]; 2] = [&["--package", "xtask"], &["--workspace", "--exclude", "xtask"]];

fn clippy(_: &mut Context) -> Result<()> {
    PACKAGE_SETS.iter().try_for_each(|packages| {
        let mut command = cargo(["clippy", "--all-targets"]);
        shell::run(command.args(*packages).args(["--", "-D", "warnings"]))
    })
}

/// Each feature set alone: a workspace build unifies features and hides what one of them lacks.
fn features(_: &mut Context) -> Result<()> {
    let clippy = |package: &str, targets: &[&str], features: &str| {
        let mut command = cargo(["clippy", "--package", package, "--no-default-features", "--features", features]);
        shell::run(command.args(targets).args(["--", "-D", "warnings"]))
    };
    for features in ["", "gpu", "hub", "index"] {
        clippy("polyglance", &["--lib"], features)?;
    }
    clippy("polyglance", &["--lib", "--bins"], "cli")?;
    clippy("polyglance-trainer", &["--bins"], "")
}

/// The library without and with WebGPU, as the browser compiles it, under the bans of `web/clippy.toml`.
fn wasm_clippy(_: &mut Context) -> Result<()> {
    let toolchain = Toolchain::find()?;
    let clippy = |arguments: &[&str]| {
        let mut command = toolchain.cargo("clippy");
        command.env("CLIPPY_CONF_DIR", root().join("web"));
        // What threads share natively stands in an Arc on every target; in a browser nothing is Send.
        shell::run(command.args(arguments).args(["--", "-D", "warnings", "-A", "clippy::arc_with_non_send_sync"]))
    };
    clippy(&["--package", "polyglance", "--lib", "--no-default-features"])?;
    clippy(&["--package", "polyglance-web", "--package", "polyglance-page", "--features", "polyglance-web/probe,polyglance-page/probe"])
}

/// Builds the page as people will get it, within its budgets.
fn page(context: &mut Context) -> Result<()> {
    web::build(web::Purpose::Test)?;
    context.has_page = true;
    Ok(())
}

/// Drives what was built in a headless Chromium.
fn browser(context: &mut Context) -> Result<()> {
    let (node, chromium) = (setup::node()?, setup::chromium()?);
    if !context.has_page {
        page(context)?;
    }
    let url = serve::in_background(web::dist_dir())?;
    let mut command = Command::new(node);
    command.args(["--test", "--test-reporter=tap"]).args(browser_tests()?).current_dir(root());
    command.env("POLYGLANCE_URL", url).env("CHROME", chromium).env("POLYGLANCE_CLI", native_program()?);
    if context.full {
        command.env("POLYGLANCE_FULL", "1");
    }
    run_tap(&mut command, context)
}

/// Drives the app in a real window, on a display and a session bus of its own.
fn window(context: &mut Context) -> Result<()> {
    let python = setup::desktop()?;
    // The bus that screen readers listen on lies there: two runs on a machine must not share it. Its path is short, as a socket's must be.
    let runtime = tempfile::tempdir()?;
    let mut command = Command::new("dbus-run-session");
    command.args(["--", python, "tests/window/test_window.py"]).current_dir(root());
    command.env("POLYGLANCE", native_program()?).env("XDG_RUNTIME_DIR", runtime.path());
    run_tap(&mut command, context)
}

/// Runs tests that end with TAP's counts; none at all is a failure, too.
fn run_tap(command: &mut Command, context: &mut Context) -> Result<()> {
    let mut counts = Counts::default();
    let passed = run_lines(command, |line| {
        println!("{line}");
        counts += Counts::parse_tap(line);
    })?;
    context.counts += counts;
    if !passed || counts.passed == 0 {
        bail!("{} of {} tests failed", counts.failed, counts.passed + counts.failed);
    }
    Ok(())
}

/// The native program, whose numbers the page's must be: built as the suite `test` builds it, so that nothing is compiled twice.
fn native_program() -> Result<PathBuf> {
    shell::run(cargo(["test", "--no-run", "--test", "integration"]).args(PACKAGE_SETS[1]))?;
    Ok(shell::target_dir().join("debug").join(format!("polyglance{}", env::consts::EXE_SUFFIX)))
}

fn browser_tests() -> Result<Vec<PathBuf>> {
    let folder = root().join("tests/browser");
    let files = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let mut tests: Vec<_> = files.into_iter().filter(|file| file.to_string_lossy().ends_with(".test.mjs")).collect();
    tests.sort_unstable();
    Ok(tests)
}

fn tests(context: &mut Context) -> Result<()> {
    let commands = PACKAGE_SETS.map(|packages| {
        let mut command = cargo(["test", "--no-fail-fast"]);
        command.args(packages);
        command
    });
    run_tests(commands, context)
}

/// Copies of an index in a real server.
fn chroma(context: &mut Context) -> Result<()> {
    setup::protoc()?;
    let server = setup::chroma()?;
    let arguments = ["--package", "polyglance", "--no-default-features", "--features", "chroma,cli,demo-model", "--test", "chroma"];
    shell::run(cargo(["clippy"]).args(arguments).args(["--lib", "--bins", "--bench", "chroma", "--", "-D", "warnings"]))?;
    let mut command = cargo(["test", "--no-fail-fast"]);
    command.args(arguments).env("POLYGLANCE_CHROMA", server);
    run_tests([command], context)
}

/// Runs all of them, whatever the first ones give.
fn run_tests<const N: usize>(commands: [Command; N], context: &mut Context) -> Result<()> {
    let before = context.counts;
    let mut passed = true;
    for mut command in commands {
        if context.full {
            // Sweeps print what they measured; the log keeps it.
            command.args(["--", "--show-output"]).env("POLYGLANCE_FULL", "1");
        }
        passed &= run_lines(&mut command, |line| {
            println!("{line}");
            context.record(line);
        })?;
    }
    if !passed {
        bail!("{} tests failed", context.counts.failed - before.failed);
    }
    Ok(())
}

fn write_log(log: &str, summary: &str) -> Result<()> {
    let line = |program: &str, arguments: &[&str]| capture(Command::new(program).args(arguments)).unwrap_or_else(|| "unknown".into());
    let commit = line("git", &["-C", &root().to_string_lossy(), "describe", "--always", "--dirty"]);
    let cpu = line("sh", &["-c", "grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs; nproc"]).replace('\n', ", threads: ");
    let date = line("date", &["-u", "+%Y-%m-%d %H:%M UTC"]);
    let text = format!(
        "# Log of the full tests\n\nWritten by `cargo xtask test --full` on {date}, commit {commit}, CPU: {cpu}.\n\n```text\n{}\n\n{}\n```\n",
        summary.trim(),
        log.trim()
    );
    let file = root().join("docs/full-test-log.md");
    fs::create_dir_all(root().join("docs"))?;
    fs::write(&file, text).with_context(|| format!("{} could not be written", file.display()))
}
