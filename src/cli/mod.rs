//! The command line: one file per command, and what they share.

mod args;
mod classify;
mod collection;
mod console;
mod demo;
mod doctor;
mod duplicates;
mod embed;
mod exit;
mod export;
mod features;
mod fetch;
mod hub;
mod index;
mod inputs;
mod inspect;
mod model;
mod output;
mod pack;
mod pictures;
mod progress;
mod search;
mod signals;
mod table;
mod texts;
mod vectors;
mod verify;
#[cfg(feature = "app")]
mod window;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// The command line is wrong in a way that clap cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

const EXAMPLES: &str = "\
Examples:
  polyglance classify photo.jpg --labels \"a cat,a dog\" --model google/siglip2-base-patch16-naflex
  polyglance embed --image photos/ --output photos.safetensors --model ./my-model
  polyglance doctor
";

/// SigLIP 2 on any CPU or GPU: pictures and texts in, scores and embeddings out.
///
/// A model is a folder in Hugging Face format, or an id on the Hugging Face hub such as google/siglip2-base-patch16-naflex.
/// Without a command, the app opens in a window. Run `polyglance COMMAND --help` for the options of one command, with examples.
#[derive(Debug, Parser)]
#[command(name = "polyglance", version, max_term_width = 110, after_help = format!("{EXAMPLES}\n{}", exit::HELP))]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Classify(classify::ClassifyArgs),
    Embed(embed::EmbedArgs),
    Features(features::FeaturesArgs),
    Inspect(inspect::InspectArgs),
    Index(index::IndexArgs),
    Search(search::SearchArgs),
    Export(export::ExportArgs),
    Duplicates(duplicates::DuplicatesArgs),
    Doctor(doctor::DoctorArgs),
    Fetch(fetch::FetchArgs),
    Pack(pack::PackArgs),
    Verify(verify::VerifyArgs),
}

/// Runs the command that the process was started with.
pub(crate) fn main() -> ExitCode {
    signals::ignore_file_size_signal();
    let result = match Cli::parse().command {
        Some(Command::Classify(args)) => classify::run(&args),
        Some(Command::Embed(args)) => embed::run(&args),
        Some(Command::Features(args)) => features::run(&args),
        Some(Command::Inspect(args)) => inspect::run(&args),
        Some(Command::Index(args)) => index::run(&args),
        Some(Command::Search(args)) => search::run(&args),
        Some(Command::Export(args)) => export::run(&args),
        Some(Command::Duplicates(args)) => duplicates::run(&args),
        Some(Command::Doctor(args)) => doctor::run(&args),
        Some(Command::Fetch(args)) => fetch::run(&args),
        Some(Command::Pack(args)) => pack::run(&args),
        Some(Command::Verify(args)) => verify::run(&args),
        None => return open_window(),
    };
    exit::report(&result)
}

/// The app, or what else there is to do where no window can be opened.
fn open_window() -> ExitCode {
    #[cfg(feature = "app")]
    match window::run() {
        Ok(outcome) => return exit::report(&Ok(outcome)),
        Err(error) => console::note(&format!("{error:#}; the command line works without one:\n")),
    }
    match Cli::command().print_help() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&Err(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn definitions_are_consistent() {
        super::Cli::command().debug_assert();
    }
}
