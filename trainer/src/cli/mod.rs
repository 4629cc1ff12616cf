//! The command line: one file per command.

mod balance;
mod evaluate;
mod export;
mod init;
mod synth;
mod train;

use std::path::Path;

use anyhow::Context;
use clap::{Parser, Subcommand};
use polyglance_trainer::evaluate::ClassList;

/// Trains SigLIP 2 models.
#[derive(Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Balance(balance::Arguments),
    Evaluate(evaluate::Arguments),
    Export(export::Arguments),
    Init(init::Arguments),
    /// Makes emoji world: training data that is rendered here, its tokenizer and sample scenes.
    Synth(synth::Arguments),
    Train(train::Arguments),
}

/// Runs the command that the process was started with.
pub(crate) fn run() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Balance(arguments) => balance::run(&arguments),
        Command::Evaluate(arguments) => evaluate::run(&arguments),
        Command::Export(arguments) => export::run(arguments),
        Command::Init(arguments) => init::run(arguments),
        Command::Synth(arguments) => synth::run(arguments),
        Command::Train(arguments) => train::run(&arguments),
    }
}

/// Classes and, if there are any, prompts for them.
fn read_classes(classes: &Path, templates: Option<&Path>) -> anyhow::Result<ClassList> {
    let read = |file: &Path| std::fs::read(file).with_context(|| format!("cannot read {}", file.display()));
    let templates = templates.map(read).transpose()?;
    ClassList::from_json(&read(classes)?, templates.as_deref()).with_context(|| classes.display().to_string())
}
