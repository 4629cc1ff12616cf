//! A dozen scenes to try a model on.

use std::collections::BTreeMap;
use std::path::Path;

use polyglance::weights::replace_file;
use serde::Serialize;

use super::plan::Plan;
use super::render::{jpeg, render};
use super::{SynthError, SynthRecipe, World, draw::Draw, notices, world::plain};

/// What the samples show: things that differ in every way.
const SHOWN: [&str; 12] = ["🐱", "🍕", "🚲", "🌵", "🎸", "🚀", "🦋", "☂", "🍓", "🐙", "🏰", "🔑"];

/// One line of `samples.json`.
#[derive(Serialize)]
struct Sample {
    file: String,
    /// In the first language.
    label: String,
    labels: BTreeMap<String, String>,
}

/// Writes the samples, `samples.json` and the licence into a folder, which may exist.
///
/// # Errors
/// The font or the names lack one of the things, or a file cannot be written.
pub fn write_samples(world: &World, recipe: &SynthRecipe, folder: &Path) -> Result<(), SynthError> {
    std::fs::create_dir_all(folder).map_err(|error| SynthError::write(folder, error))?;
    let mut samples = Vec::new();
    for (index, emoji) in SHOWN.iter().enumerate() {
        let glyph = world.glyphs.iter().position(|glyph| plain(&glyph.sequence) == *emoji);
        let glyph = glyph.ok_or_else(|| SynthError::Recipe(format!("the samples need {emoji}, which the font or list of emoji lacks")))?;
        let name = format!("samples/{index}");
        let plan = Plan::portrait(recipe, glyph, &mut Draw::new(recipe.seed, &name));
        let rendered = render(world, &plan, 1, recipe.seed, &name);
        let Some(region) = rendered.description.regions.into_iter().next() else { continue };
        let file = format!("{}.jpg", region.label.replace(' ', "-"));
        let bytes = jpeg(&rendered.image, 90)?;
        replace_file(&folder.join(&file), |writer| writer.write_all(&bytes))?;
        samples.push(Sample { file, label: region.label, labels: region.caption });
    }
    let json = serde_json::to_vec_pretty(&samples)?;
    replace_file(&folder.join("samples.json"), |writer| writer.write_all(&json))?;
    Ok(replace_file(&folder.join("LICENSE.md"), |writer| writer.write_all(notices::SAMPLES.as_bytes()))?)
}
