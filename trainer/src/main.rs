//! `polyglance-trainer`: the SigLIP 2 recipe as commands.

mod cli;

fn main() -> anyhow::Result<()> {
    cli::run()
}
