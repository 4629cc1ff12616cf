//! `polyglance fetch`: download a checkpoint once, so that later runs need no network.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::exit::Outcome;

#[derive(Args, Debug)]
pub(crate) struct FetchArgs {
    id: String,
}
pub(crate) fn run(_args: &FetchArgs) -> Result<Outcome> {
    anyhow::bail!("x")
}
pub(crate) fn download(_id: &str, _offline: bool) -> Result<PathBuf> {
    anyhow::bail!("x")
}
