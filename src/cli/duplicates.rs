//! `polyglance duplicates`: pictures of an index that are nearly the same.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use polyglance::index::{Found, Reader, plural};
use polyglance::platform::block_on;
use serde_json::json;

use super::console::note;
use super::exit::Outcome;
use super::progress::Progress;
use super::table::{Table, fraction};

const EXAMPLES: &str = "\
A group holds whoever is as near as that to anybody in it; scores are those of its first picture with the others.
Nothing is deleted.

Examples:
  polyglance duplicates pictures.index
  polyglance duplicates pictures.index --least 0.99 --json | jq -r '.[][1:][].path'    # all but one of each group";

/// List pictures of an index that are nearly the same, group by group.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DuplicatesArgs {
    /// The index.
    index: PathBuf,

    /// Cosine from which two pictures are nearly the same.
    #[arg(long, value_name = "COSINE", default_value_t = 0.97)]
    least: f32,

    /// Print [[{"path", "score"}]] instead of a table.
    #[arg(long)]
    json: bool,
}

/// Compares every picture with every other.
pub(crate) fn run(args: &DuplicatesArgs) -> Result<Outcome> {
    let reader = Reader::open(&args.index)?;
    let progress = Progress::new(0, "pictures");
    let groups = block_on(reader.alike(args.least, &mut |done, total| {
        progress.show(done, total);
        ControlFlow::Continue(())
    }))?;
    drop(progress);
    let groups = groups.unwrap_or_default();
    let root = Path::new(&reader.stamp().root);
    let path = |found: &Found| root.join(&found.path).display().to_string();
    if args.json {
        let all: Vec<Vec<_>> =
            groups.iter().map(|group| group.iter().map(|found| json!({ "path": path(found), "score": found.score })).collect()).collect();
        println!("{}", json!(all));
    } else {
        for group in &groups {
            let mut table = Table::new(&["picture", "score"]);
            group.iter().for_each(|found| table.row([path(found), fraction(found.score)]));
            println!("{}", table.render());
        }
    }
    note(&format!("{} of pictures that are nearly the same", plural(groups.len(), "group")));
    Ok(Outcome::Done)
}
