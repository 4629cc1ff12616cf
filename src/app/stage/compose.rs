//! A scene as the pixels that the model sees.

use std::f32::consts::TAU;

use image::{Rgb, RgbImage, RgbaImage};

use super::scene::{Item, Scene};

/// Emoji in a row of the sheet, and rows of it.
pub(super) const SHEET_SIDE: usize = 8;
/// Side of a square with as many pixels as the scene: twice what the model looks at with 100 patches.
const SIDE: f32 = 320.0;

/// Upper left and lower right colours.
pub(super) const BACKGROUNDS: [[[u8; 3]; 2]; 6] = [
    [[0xfd, 0xf4, 0xe3], [0xf6, 0xd8, 0xae]],
    [[0xd9, 0xee, 0xff], [0x8c, 0xbf, 0xf0]],
    [[0xe3, 0xf6, 0xe0], [0x93, 0xcf, 0x97]],
    [[0xf3, 0xe5, 0xff], [0xbd, 0x9b, 0xe6]],
    [[0x3a, 0x44, 0x5c], [0x14, 0x19, 0x26]],
    [[0xff, 0xff, 0xff], [0xff, 0xff, 0xff]],
];

/// The colour of a background at a place, given as shares of the frame's sides.
pub(super) fn background(number: usize, [x, y]: [f32; 2]) -> [u8; 3] {
    let [from, to] = BACKGROUNDS[number % BACKGROUNDS.len()];
    let share = ((x + y) / 2.0).clamp(0.0, 1.0);
    std::array::from_fn(|channel| (f32::from(from[channel]) * (1.0 - share) + f32::from(to[channel]) * share).round() as u8)
}

/// Draws the scene from a sheet of [`SHEET_SIDE`]² emoji.
pub(super) fn compose(scene: &Scene, sheet: &RgbaImage) -> RgbImage {
    let [width, height] = scene.sides().map(|side| (side * SIDE).round().max(1.0) as u32);
    let share = |x: u32, y: u32| [(x as f32 + 0.5) / width as f32, (y as f32 + 0.5) / height as f32];
    let mut picture = RgbImage::from_fn(width, height, |x, y| Rgb(background(scene.background, share(x, y))));
    for item in &scene.items {
        draw(&mut picture, item, sheet);
    }
    picture
}

/// Each pixel that the item covers is the mean of the texels under it, so that small emoji do not flicker as they move.
fn draw(picture: &mut RgbImage, item: &Item, sheet: &RgbaImage) {
    let cell = sheet.width() as f32 / SHEET_SIDE as f32;
    let origin = [item.emoji % SHEET_SIDE, item.emoji / SHEET_SIDE].map(|place| place as f32 * cell);
    let size = item.size * SIDE;
    let (sin, cos) = (item.angle % TAU).sin_cos();
    let center = [item.center[0] * picture.width() as f32, item.center[1] * picture.height() as f32];
    let reach = size / 2.0 * (sin.abs() + cos.abs()) + 1.0;
    let span = |center: f32, limit: u32| (center - reach).max(0.0) as u32..((center + reach).ceil().max(0.0) as u32).min(limit);
    let texels = cell / size;
    // Samples along each side of a pixel: as many as it covers texels.
    let samples = texels.ceil().clamp(1.0, 4.0) as usize;
    for y in span(center[1], picture.height()) {
        for x in span(center[0], picture.width()) {
            let mut sum = [0.0f32; 4];
            for sample in 0..samples * samples {
                let offset = |index: usize| (index as f32 + 0.5) / samples as f32;
                let (dx, dy) = (x as f32 + offset(sample % samples) - center[0], y as f32 + offset(sample / samples) - center[1]);
                let place = [(dx * cos + dy * sin) * texels + cell / 2.0, (dy * cos - dx * sin) * texels + cell / 2.0];
                let texel = bilinear(sheet, origin, cell, place);
                sum.iter_mut().zip(texel).for_each(|(sum, channel)| *sum += channel);
            }
            let [r, g, b, alpha] = sum.map(|sum| sum / (samples * samples) as f32);
            let pixel = picture.get_pixel_mut(x, y);
            for (under, over) in pixel.0.iter_mut().zip([r, g, b]) {
                *under = (f32::from(*under) * (1.0 - alpha) + over).round().clamp(0.0, 255.0) as u8;
            }
        }
    }
}

/// Premultiplied colour, 0 to 255, and alpha, 0 to 1, at a place of a cell; transparent outside it.
fn bilinear(sheet: &RgbaImage, origin: [f32; 2], cell: f32, [x, y]: [f32; 2]) -> [f32; 4] {
    let [left, top] = [x - 0.5, y - 0.5].map(f32::floor);
    let (u, v) = (x - 0.5 - left, y - 0.5 - top);
    let mut sum = [0.0; 4];
    for (dx, dy, weight) in [(0.0, 0.0, (1.0 - u) * (1.0 - v)), (1.0, 0.0, u * (1.0 - v)), (0.0, 1.0, (1.0 - u) * v), (1.0, 1.0, u * v)] {
        let [x, y] = [left + dx, top + dy];
        if x < 0.0 || y < 0.0 || x >= cell || y >= cell {
            continue;
        }
        let Some(texel) = sheet.get_pixel_checked((origin[0] + x) as u32, (origin[1] + y) as u32) else { continue };
        let alpha = f32::from(texel[3]) / 255.0;
        for (sum, channel) in sum.iter_mut().zip([texel[0], texel[1], texel[2]]) {
            *sum += weight * alpha * f32::from(channel);
        }
        sum[3] += weight * alpha;
    }
    sum
}

#[cfg(test)]
mod tests {
    use image::Rgba;

    use super::*;

    /// The first cell is red but for a margin, as emoji have one; the others are transparent.
    fn sheet() -> RgbaImage {
        let is_red = |place: u32| (4..60).contains(&place);
        RgbaImage::from_fn(512, 512, |x, y| if is_red(x) && is_red(y) { Rgba([255, 0, 0, 255]) } else { Rgba([0; 4]) })
    }

    #[test]
    fn an_item_is_drawn_where_it_is_and_nowhere_else() {
        let mut scene = Scene { aspect: 2.0, background: 5, items: Vec::new() };
        let plain = compose(&scene, &sheet());
        assert_eq!((plain.width(), plain.height()), (453, 226));
        assert!(plain.pixels().all(|pixel| pixel.0 == [255; 3]));
        scene.add(0, [0.25, 0.5]);
        let red = compose(&scene, &sheet());
        let count = red.pixels().filter(|pixel| pixel.0 == [255, 0, 0]).count() as f32;
        // A square of 0.36 · 320 pixels without its margin. Pixels on its edge are neither red nor white.
        let side = 0.36 * SIDE * 56.0 / 64.0;
        assert!(count <= side.powi(2) && count >= (side - 4.0).powi(2), "{count}");
        assert_eq!((red.get_pixel(113, 113).0, red.get_pixel(340, 113).0), ([255, 0, 0], [255; 3]));
    }

    #[test]
    fn a_turned_square_covers_as_much() {
        let mut scene = Scene { aspect: 1.0, background: 5, items: Vec::new() };
        scene.add(0, [0.5, 0.5]);
        let ink = |scene: &Scene| compose(scene, &sheet()).pixels().map(|pixel| f32::from(255 - pixel[1])).sum::<f32>();
        let straight = ink(&scene);
        scene.items[0].angle = 0.7;
        assert!((ink(&scene) / straight - 1.0).abs() < 0.02);
    }
}
