//! Development tasks: `cargo xtask <command>`. Run without arguments for the list.

use std::process::ExitCode;

use anyhow::{Result, bail};

mod demo;
mod emoji;
mod policy;
mod report;
mod serve;
mod setup;
mod shell;
mod suites;
mod tidy;
mod web;

const USAGE: &str = "\
Usage: cargo xtask <command>

  test [--full] [SUITE]...     run every check, or only the named suites; installs what is missing on Debian as root
                               --full runs the long sweeps too and writes docs/full-test-log.md
  demo [KEY=VALUE]...          render emoji world, train the model that ships, judge and export it, in target/demo; goes on
                               where it was interrupted; KEY=VALUE changes a value of trainer/recipes/demo.toml
  emoji-sources                download emoji world's names and second set of pictures, and print where they are
  tidy                         check the invariants of ARCHITECTURE.md
  web [--release] [--serve]    build the npm package and its example page into dist/; --serve then serves it on 127.0.0.1:8080
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<ExitCode> {
    let Some((command, rest)) = arguments.split_first() else {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    };
    let (flags, names): (Vec<&str>, Vec<&str>) = rest.iter().map(String::as_str).partition(|argument| argument.starts_with("--"));
    match command.as_str() {
        "test" => {
            only(&flags, &["--full"])?;
            suites::run(&names, flags.contains(&"--full"))
        }
        "demo" => {
            only(&flags, &[])?;
            demo::run(rest)?;
            Ok(ExitCode::SUCCESS)
        }
        "emoji-sources" => {
            only(rest, &[])?;
            let [annotations, second_font] = emoji::sources()?;
            println!("--annotations {} --second-font {}", annotations.display(), second_font.display());
            Ok(ExitCode::SUCCESS)
        }
        "tidy" => {
            only(rest, &[])?;
            tidy::run()?;
            Ok(ExitCode::SUCCESS)
        }
        "web" => {
            only(rest, &["--release", "--serve"])?;
            web::build(if flags.contains(&"--release") { web::Purpose::Release } else { web::Purpose::Development })?;
            if flags.contains(&"--serve") {
                serve::forever(&web::dist_dir(), 8080)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        other => bail!("there is no command {other:?}\n\n{USAGE}"),
    }
}

/// Refuses an argument that the command does not know: a mistyped flag must not silently test less.
fn only<S: AsRef<str>>(given: &[S], known: &[&str]) -> Result<()> {
    match given.iter().find(|argument| !known.contains(&argument.as_ref())) {
        Some(unknown) => bail!("unknown argument {:?}\n\n{USAGE}", unknown.as_ref()),
        None => Ok(()),
    }
}
