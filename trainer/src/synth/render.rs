//! From a plan to a member of a shard: the image, its captions and its regions.

use std::collections::BTreeMap;

use image::{ImageEncoder, RgbImage, codecs::jpeg::JpegEncoder};
use serde::{Deserialize, Serialize};

use super::attributes::Attributes;
use super::canvas::Canvas;
use super::caption::captions;
use super::mask::Mask;
use super::plan::{Content, Plan};
use super::split::Split;
use super::words::Kind;
use super::world::Glyph;
use super::{SynthError, World, draw::Draw};

/// What a member's `.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The split whose backgrounds, wordings and combinations the scene uses.
    pub split: Split,
    /// "emoji", "sign" or "receipt".
    pub kind: String,
    /// In pixels.
    pub height: usize,
    /// In pixels.
    pub width: usize,
    /// Pattern and colour.
    pub background: String,
    /// Of the letters in signs and receipts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// By language. Absent where something has no name in the language.
    pub captions: BTreeMap<String, Vec<String>>,
    /// What there is, in the order it was drawn.
    pub regions: Vec<Region>,
}

/// An emoji, or a line of words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// y0, x0, y1, x1 of what can be seen, in pixels; the ends are outside.
    #[serde(rename = "box")]
    pub bounds: [usize; 4],
    /// Name in the first language; of words, the letters.
    pub label: String,
    /// Code points of the emoji that is shown or named: "1f431".
    pub glyph: String,
    /// Its name by language.
    pub caption: BTreeMap<String, String>,
    /// Gender, skin tone, profession, colour, shape, where they mean something.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
    /// Of the pixels inside the image, the share that nothing covers.
    pub visible: f32,
    /// Pixels that can be seen.
    pub mask: Mask,
}

/// A finished scene.
pub(super) struct Rendered {
    pub image: RgbImage,
    pub description: Description,
}

/// Draws a plan. Objects that ended up wholly covered or outside have no region.
pub(super) fn render(world: &World, plan: &Plan, caption_count: usize, seed: u64, name: &str) -> Rendered {
    let mut canvas = Canvas::new(plan.height, plan.width, plan.background.paint(plan.height, plan.width));
    let shown: Vec<(usize, Option<&str>)> = match &plan.content {
        Content::Emoji(placed) => {
            for (k, object) in placed.iter().enumerate() {
                if let Some(sprite) = world.glyphs.get(object.glyph).and_then(|glyph| glyph.sprite.as_ref()) {
                    sprite.draw(&object.pose, plan.height, plan.width, |y, x, colour| canvas.put(y, x, colour, Some(k)));
                }
            }
            placed.iter().map(|object| (object.glyph, None)).collect()
        }
        Content::Words(document) => {
            document.paint(world, &mut canvas);
            document.lines.iter().map(|line| (line.glyph, Some(line.text.as_str()))).collect()
        }
    };
    let regions = shown.iter().enumerate().filter_map(|(k, (glyph, text))| region(world, &canvas, k, world.glyphs.get(*glyph)?, *text));
    let regions = regions.collect();
    let by_language = world.languages.iter().enumerate().map(|(i, language)| {
        let mut draw = Draw::new(seed, &format!("{name}/captions/{}", language.code));
        (language.code.clone(), captions(world, plan, i, caption_count, &mut draw))
    });
    let (kind, language) = match &plan.content {
        Content::Emoji(_) => ("emoji", None),
        Content::Words(document) => (if document.kind == Kind::Sign { "sign" } else { "receipt" }, world.languages.get(document.language)),
    };
    let description = Description {
        split: plan.split,
        kind: kind.to_owned(),
        height: plan.height,
        width: plan.width,
        background: plan.background.id(),
        language: language.map(|language| language.code.clone()),
        captions: by_language.filter(|(_, captions)| !captions.is_empty()).collect(),
        regions,
    };
    Rendered { image: canvas.finish(&plan.effects, &mut Draw::new(seed, &format!("{name}/noise"))), description }
}

fn region(world: &World, canvas: &Canvas, object: usize, glyph: &Glyph, text: Option<&str>) -> Option<Region> {
    let visible = canvas.visible(object)?;
    let named =
        world.languages.iter().zip(&glyph.names).filter_map(|(language, name)| Some((language.code.clone(), name.as_ref()?.label.clone())));
    let caption: BTreeMap<String, String> = named.collect();
    let first = world.languages.first().and_then(|language| caption.get(&language.code));
    Some(Region {
        bounds: visible.bounds,
        label: text.or(first.map(String::as_str)).unwrap_or(&glyph.sequence).to_owned(),
        glyph: glyph.id.clone(),
        caption,
        // Words have the language's letters, not the thing's colours.
        attributes: if text.is_some() { Attributes::default() } else { glyph.attributes.clone() },
        visible: visible.share,
        mask: visible.mask,
    })
}

/// The image as JPEG: a tenth of PNG's size on noisy backgrounds, and quick to decode.
pub(super) fn jpeg(image: &RgbImage, quality: u8) -> Result<Vec<u8>, SynthError> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .write_image(image.as_raw(), image.width(), image.height(), image::ExtendedColorType::Rgb8)
        .map_err(|reason| SynthError::Picture { what: "a scene".to_owned(), reason })?;
    Ok(bytes)
}
