//! The command line: one file per command, and what they share.

mod args;
mod classify;
mod console;
mod demo;
mod doctor;
mod embed;
mod exit;
mod features;
mod fetch;
mod hub;
mod inputs;
mod inspect;
mod left_out;
mod model;
mod output;
mod pack;
mod pictures;
mod progress;
mod read_ahead;
mod signals;
mod table;
mod texts;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
/// Run `polyglance COMMAND --help` for the options of one command, with examples.
#[derive(Debug, Parser)]
#[command(name = "polyglance", version, max_term_width = 110, after_help = format!("{EXAMPLES}\n{}", exit::HELP))]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Classify(classify::ClassifyArgs),
    Embed(embed::EmbedArgs),
    Features(features::FeaturesArgs),
    Inspect(inspect::InspectArgs),
    Doctor(doctor::DoctorArgs),
    Fetch(fetch::FetchArgs),
    Pack(pack::PackArgs),
    Verify(verify::VerifyArgs),
}

/// Runs the command that the process was started with.
pub(crate) fn main() -> ExitCode {
    signals::ignore_file_size_signal();
    let result = match Cli::parse().command {
        Command::Classify(args) => classify::run(&args),
        Command::Embed(args) => embed::run(&args),
        Command::Features(args) => features::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Fetch(args) => fetch::run(&args),
        Command::Pack(args) => pack::run(&args),
        Command::Verify(args) => verify::run(&args),
    };
    exit::report(&result)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn definitions_are_consistent() {
        super::Cli::command().debug_assert();
    }
}
