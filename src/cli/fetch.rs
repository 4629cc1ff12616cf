//! `polyglance fetch`: download a checkpoint once, so that later runs need no network.

use anyhow::Result;
use clap::Args;

use super::console::{note, print};
use super::exit::Outcome;
use super::hub;

const HELP: &str = "\
Files go to the cache that the Python tools share: what they have downloaded is found, and the
reverse. An interrupted download resumes. Every file is checked against the hub's length and
SHA-256; a later fetch checks the copy on disk again and mends what has rotted. The environment
variables HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE are respected.

Prints the folder, which other tools can load as well.

Examples:
  polyglance fetch google/siglip2-base-patch16-naflex
  polyglance fetch google/siglip2-so400m-patch14-384@main";

/// Download a model from the Hugging Face hub.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(crate) struct FetchArgs {
    /// Hub id, with @REVISION if it is not to be `main`.
    #[arg(value_name = "ID")]
    id: String,

    /// Only check what is in the cache, without the network.
    #[arg(long)]
    offline: bool,
}

pub(crate) fn run(args: &FetchArgs) -> Result<Outcome> {
    let folder = hub::fetch(&args.id, args.offline)?;
    note("complete and checked");
    print(&format!("{}\n", folder.display()))?;
    Ok(Outcome::Done)
}
