//! `balance`: labels of examples in, weights out under which they are balanced.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use polyglance::weights::replace_file;
use polyglance_trainer::balance::{Bounds, Labels, Report, solve};
use serde_json::json;

const EXAMPLES: &str = "\
LABELS has a JSON object in each line, as in {\"key\": \"00017\", \"woman\": true, \"doctor\": 0.9}. Attributes, such as who is seen, get the share that is asked
for; and none of them goes together with a concept, such as an occupation. Values are true, false or a probability; what is null or absent is not known.
Weights that are at most 1 are probabilities to keep an example.

Example:
  polyglance-trainer balance labels.jsonl --attribute woman=0.5 --concept doctor --concept nurse --output weights.jsonl";

/// Finds weights of examples under which attributes are balanced, as "CLIP the bias" does.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Labels of all examples.
    #[arg(value_name = "LABELS")]
    labels: PathBuf,
    /// An attribute, and how frequent it shall be.
    #[arg(long = "attribute", value_name = "NAME=SHARE", required = true, value_parser = attribute)]
    attributes: Vec<(String, f32)>,
    /// A concept.
    #[arg(long = "concept", value_name = "NAME")]
    concepts: Vec<String>,
    /// What names the examples.
    #[arg(long, value_name = "NAME", default_value = "key")]
    key: String,
    /// How far from balance is near enough, as a share.
    #[arg(long, value_name = "SHARE", default_value_t = Bounds::default().tolerance)]
    tolerance: f64,
    /// The largest weight.
    #[arg(long, value_name = "WEIGHT", default_value_t = Bounds::default().most)]
    most: f64,
    /// What it costs to be further from balance, against changing the weights.
    #[arg(long, value_name = "PRICE", default_value_t = Bounds::default().price)]
    price: f64,
    /// File to write: keys with their weights, line by line.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Print the report as JSON instead of tables.
    #[arg(long)]
    json: bool,
}

/// Reads `--attribute`.
fn attribute(text: &str) -> Result<(String, f32), String> {
    let split = text.rsplit_once('=').and_then(|(name, share)| Some((name.to_owned(), share.parse().ok()?)));
    split.filter(|(_, share)| (0.0..=1.0).contains(share)).ok_or_else(|| "write it as NAME=SHARE, with a share between 0 and 1".to_owned())
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { attributes, concepts, tolerance, most, price, .. } = arguments;
    let is_sound = *tolerance >= 0.0 && *most > 0.0 && *price > 0.0 && [tolerance, most, price].iter().all(|bound| bound.is_finite());
    if !is_sound {
        bail!("--tolerance must not be negative, and --most and --price must be above 0");
    }
    let name = arguments.labels.display();
    let file = File::open(&arguments.labels).with_context(|| format!("cannot read {name}"))?;
    let labels = Labels::read(BufReader::new(file), &arguments.key, attributes, concepts).with_context(|| name.to_string())?;
    let progress = ProgressBar::new_spinner();
    progress.enable_steady_tick(Duration::from_millis(100));
    let bounds = Bounds { tolerance: *tolerance, most: *most, price: *price };
    let balance = solve(&labels, &bounds, &mut |objective, gap| progress.set_message(format!("objective {objective:.6}, gap {gap:.1e}")));
    progress.finish_and_clear();
    replace_file(&arguments.output, |writer| {
        for (key, weight) in labels.keys.iter().zip(&balance.weights) {
            writeln!(writer, "{}", json!({ "key": key, "weight": weight }))?;
        }
        Ok(())
    })?;
    let names: Vec<String> = attributes.iter().map(|(name, _)| name.clone()).collect();
    let report = Report::new(&labels, &names, concepts, &balance);
    println!("{}", if arguments.json { serde_json::to_string_pretty(&report)? } else { report.to_markdown() });
    Ok(())
}
