//! A contact sheet: scenes with their boxes and captions, to be looked at.

use image::{Rgb, RgbImage};

use super::plan::{Plan, Wanted};
use super::render::{Rendered, render};
use super::split::Split;
use super::{SynthRecipe, World, draw::Draw};
use ab_glyph_rasterizer::point;

const CELL: [u32; 2] = [330, 270];
const PICTURE: u32 = 250;
const EM: f32 = 12.0;

/// Draws scenes `first..first + rows * columns` of a split.
pub fn contact_sheet(world: &World, recipe: &SynthRecipe, split: Split, first: usize, [rows, columns]: [u32; 2]) -> RgbImage {
    let mut sheet = RgbImage::from_pixel(columns * CELL[1], rows * CELL[0], Rgb([250, 250, 250]));
    for cell in 0..rows * columns {
        let name = format!("{split}/{}", first + cell as usize);
        let wanted = Wanted { split, at_least: 1, words: true };
        let plan = Plan::scene(world, recipe, wanted, &mut Draw::new(recipe.seed, &format!("{name}/0")));
        let rendered = render(world, &plan, recipe.captions, recipe.seed, &name);
        draw_cell(world, &mut sheet, [cell / columns * CELL[0] + 8, cell % columns * CELL[1] + 8], &rendered, cell as usize);
    }
    sheet
}

fn draw_cell(world: &World, sheet: &mut RgbImage, [top, left]: [u32; 2], rendered: &Rendered, turn: usize) {
    let (image, description) = (&rendered.image, &rendered.description);
    let scale = (PICTURE as f32 / image.width().max(image.height()) as f32).min(1.0);
    let length = |pixels: u32| ((pixels as f32 * scale) as u32).max(1);
    let small = image::imageops::thumbnail(image, length(image.width()), length(image.height()));
    image::imageops::replace(sheet, &small, left.into(), top.into());
    for region in &description.regions {
        let [y0, x0, y1, x1] = region.bounds.map(|bound| (bound as f32 * scale) as u32);
        frame(sheet, [top + y0, left + x0, top + y1, left + x1]);
    }
    // The first language, and two others in turn.
    let others = world.languages.len().saturating_sub(1).max(1);
    let shown = [0, 1 + 2 * turn % others, 1 + (2 * turn + 1) % others];
    for (line, language) in shown.into_iter().filter_map(|i| world.languages.get(i)).enumerate() {
        let caption = description.captions.get(&language.code).and_then(|captions| captions.first());
        write(world, sheet, [top + PICTURE + 10 + 20 * line as u32, left], &language.phrases.script, caption.map_or("", String::as_str));
    }
}

fn frame(sheet: &mut RgbImage, [y0, x0, y1, x1]: [u32; 4]) {
    let (right, bottom) = (x1.saturating_sub(1).max(x0), y1.saturating_sub(1).max(y0));
    let along = (x0..=right).flat_map(|x| [(x, y0), (x, bottom)]);
    for (x, y) in along.chain((y0..=bottom).flat_map(|y| [(x0, y), (right, y)])) {
        if let Some(pixel) = sheet.get_pixel_mut_checked(x, y) {
            *pixel = Rgb([255, 0, 120]);
        }
    }
}

/// Letters that the script's font lacks make the line empty, which the sheet shows as it is.
fn write(world: &World, sheet: &mut RgbImage, [top, left]: [u32; 2], script: &str, text: &str) {
    let Some(outline) = world.typefaces.as_ref().and_then(|typefaces| typefaces.outline(script, 0, text)) else { return };
    let em = EM.min((CELL[1] - 16) as f32 / outline.width.max(0.1));
    let place = |p: ab_glyph_rasterizer::Point| point(left as f32 + p.x * em, top as f32 + EM - p.y * em);
    outline.rasterize(place, |y, x, coverage| {
        let (Ok(y), Ok(x)) = (u32::try_from(y), u32::try_from(x)) else { return };
        if let Some(pixel) = sheet.get_pixel_mut_checked(x, y) {
            pixel.0 = pixel.0.map(|channel| (f32::from(channel) * (1.0 - coverage)) as u8);
        }
    });
}
