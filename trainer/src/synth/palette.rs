//! Single emoji for people to make scenes of: the palette of the app's stage.

use std::collections::BTreeMap;
use std::path::Path;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{Rgba, RgbaImage};
use polyglance::weights::replace_file;
use serde::Serialize;

use super::sprite::Pose;
use super::{SynthError, World, notices, world::plain};

/// Things that differ in every way, eight rows of eight.
const SHOWN: [&str; 64] = [
    "🐱", "🐶", "🦊", "🦁", "🐼", "🐸", "🐧", "🦉", //
    "🦋", "🐝", "🐞", "🐙", "🐳", "🐢", "🦀", "🦩", //
    "🌵", "🌻", "🌹", "🌴", "🍄", "🍁", "🍓", "🍌", //
    "🍍", "🍉", "🥑", "🥕", "🌽", "🍕", "🍔", "🍩", //
    "🎂", "🍦", "🍣", "☕", "🍺", "🥐", "🧀", "🍿", //
    "🚲", "🚗", "🚂", "🚀", "⛵", "✈", "🚁", "🏰", //
    "🌋", "🌈", "⭐", "🌙", "☂", "🔥", "⚡", "⛄", //
    "⚽", "🏀", "🎸", "🎈", "🎁", "🔑", "🎲", "⏰", //
];
/// Side of a sheet of [`SHOWN`] in emoji.
const SIDE: usize = 8;
/// Pixels of an emoji: what the font has.
const CELL: usize = 128;
/// Without these, neighbours on the sheet would shine through when they are scaled.
const MARGIN: usize = 2;

/// One emoji of `palette.json`, in the order of the sheet.
#[derive(Serialize)]
struct Entry<'a> {
    emoji: &'a str,
    names: BTreeMap<&'a str, &'a str>,
}

/// Writes `palette.png`, eight rows of eight emoji, `palette.json` with their names in every language, and the licence into a folder, which may exist.
///
/// # Errors
/// The font or the names lack one of the emoji, or a file cannot be written.
pub fn write_palette(world: &World, folder: &Path) -> Result<(), SynthError> {
    std::fs::create_dir_all(folder).map_err(|error| SynthError::write(folder, error))?;
    let side = (SIDE * CELL) as u32;
    let mut sheet = RgbaImage::new(side, side);
    let mut entries = Vec::with_capacity(SHOWN.len());
    for (index, emoji) in SHOWN.into_iter().enumerate() {
        let lacks = || SynthError::Recipe(format!("the palette needs {emoji}, which the font or list of emoji lacks"));
        let glyph = world.glyphs.iter().find(|glyph| plain(&glyph.sequence) == emoji).ok_or_else(lacks)?;
        let sprite = glyph.sprite.as_ref().ok_or_else(lacks)?;
        let center = [index / SIDE, index % SIDE].map(|place| (place * CELL) as f32 + CELL as f32 / 2.0);
        let unchanged = std::array::from_fn(|row| std::array::from_fn(|column| f32::from(u8::from(row == column))));
        let pose = Pose { center, size: (CELL - 2 * MARGIN) as f32, angle: 0.0, colours: unchanged };
        sprite.draw(&pose, SIDE * CELL, SIDE * CELL, |y, x, texel| sheet.put_pixel(x as u32, y as u32, straight(texel)));
        let named = world.languages.iter().zip(&glyph.names).filter_map(|(language, name)| Some((language, name.as_ref()?)));
        let names = named.map(|(language, name)| (language.code.as_str(), name.label.as_str())).collect();
        entries.push(Entry { emoji: &glyph.sequence, names });
    }
    let mut png = std::io::Cursor::new(Vec::new());
    // Without filters: these pictures are smaller so, and a page that starts has nothing to undo.
    let encoder = PngEncoder::new_with_quality(&mut png, CompressionType::Best, FilterType::NoFilter);
    let written = sheet.write_with_encoder(encoder);
    written.map_err(|reason| SynthError::Picture { what: "the palette".to_owned(), reason })?;
    replace_file(&folder.join("palette.png"), |writer| writer.write_all(png.get_ref()))?;
    let json = serde_json::to_vec(&entries)?;
    replace_file(&folder.join("palette.json"), |writer| writer.write_all(&json))?;
    Ok(replace_file(&folder.join("LICENSE.md"), |writer| writer.write_all(notices::PALETTE.as_bytes()))?)
}

/// From premultiplied to straight alpha, as PNG has it.
fn straight([r, g, b, alpha]: [f32; 4]) -> Rgba<u8> {
    let byte = |value: f32| (value * 255.0).round() as u8;
    let [r, g, b] = [r, g, b].map(|channel| byte((channel / alpha.max(1.0 / 255.0)).min(1.0)));
    Rgba([r, g, b, byte(alpha)])
}
