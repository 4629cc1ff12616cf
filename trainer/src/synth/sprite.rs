//! One emoji's picture, ready to be drawn at any size and angle.

use image::{DynamicImage, GenericImageView, ImageError, RgbaImage};

/// Side of the square canvas every picture is centred on, so that glyphs of different fonts have the same scale.
const SIDE: usize = 128;

/// Premultiplied RGBA at 128, 64, 32 and 16 pixels: drawing picks the level that is at most halved, so that bilinear sampling is enough.
#[derive(Clone)]
pub struct Sprite {
    levels: Vec<Level>,
}

#[derive(Clone)]
struct Level {
    side: usize,
    pixels: Vec<[f32; 4]>,
}

/// Where and how a sprite is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pose {
    /// Centre in pixels, (y, x).
    pub center: [f32; 2],
    /// Side of the sprite's canvas in pixels.
    pub size: f32,
    /// Clockwise, in radians.
    pub angle: f32,
    /// Colours are multiplied by this matrix.
    pub colours: [[f32; 3]; 3],
}

impl Sprite {
    pub(super) fn decode(png: &[u8]) -> Result<Self, ImageError> {
        let decoded = image::ImageReader::with_format(std::io::Cursor::new(png), image::ImageFormat::Png).decode()?;
        Ok(Self::from_image(&decoded))
    }

    fn from_image(picture: &DynamicImage) -> Self {
        let picture = trim(&picture.to_rgba8());
        let largest = picture.width().max(picture.height()).max(1);
        // A margin of one pixel keeps edges smooth when they are sampled.
        let scale = (SIDE - 2) as f32 / largest as f32;
        let mut first = Level { side: SIDE, pixels: vec![[0.0; 4]; SIDE * SIDE] };
        let (height, width) = (picture.height() as f32 * scale, picture.width() as f32 * scale);
        let (top, left) = ((SIDE as f32 - height) / 2.0, (SIDE as f32 - width) / 2.0);
        for y in 0..SIDE {
            for x in 0..SIDE {
                let source = [(y as f32 + 0.5 - top) / scale - 0.5, (x as f32 + 0.5 - left) / scale - 0.5];
                first.pixels[y * SIDE + x] = bilinear(source, |y, x| {
                    let inside = y >= 0 && x >= 0 && (x as u32) < picture.width() && (y as u32) < picture.height();
                    if inside { premultiply(picture.get_pixel(x as u32, y as u32).0) } else { [0.0; 4] }
                });
            }
        }
        let mut levels = vec![first];
        while let Some(last) = levels.last().filter(|level| level.side > 16) {
            levels.push(last.halved());
        }
        Self { levels }
    }

    /// Calls `put(y, x, premultiplied RGBA)` for the image's pixels that the sprite touches.
    pub(super) fn draw(&self, pose: &Pose, height: usize, width: usize, mut put: impl FnMut(usize, usize, [f32; 4])) {
        let level = self.levels.iter().rev().find(|level| level.side as f32 >= pose.size).or(self.levels.first());
        let Some(level) = level else { return };
        let (sin, cos) = pose.angle.sin_cos();
        let reach = pose.size / 2.0 * (sin.abs() + cos.abs()) + 1.0;
        let span = |center: f32, limit: usize| (center - reach).max(0.0) as usize..((center + reach).max(0.0).ceil() as usize).min(limit);
        let texels = level.side as f32 / pose.size;
        for y in span(pose.center[0], height) {
            for x in span(pose.center[1], width) {
                let (dy, dx) = (y as f32 + 0.5 - pose.center[0], x as f32 + 0.5 - pose.center[1]);
                let middle = level.side as f32 / 2.0 - 0.5;
                let source = [(dy * cos - dx * sin) * texels + middle, (dx * cos + dy * sin) * texels + middle];
                let texel = bilinear(source, |y, x| level.get(y, x));
                if texel[3] > 1.0 / 255.0 {
                    put(y, x, tint(texel, &pose.colours));
                }
            }
        }
    }
}

impl Level {
    fn get(&self, y: i32, x: i32) -> [f32; 4] {
        let inside = |v: i32| v >= 0 && (v as usize) < self.side;
        if inside(y) && inside(x) { self.pixels[y as usize * self.side + x as usize] } else { [0.0; 4] }
    }

    fn halved(&self) -> Self {
        let side = self.side / 2;
        let pixels = (0..side * side).map(|i| {
            let (y, x) = ((i / side * 2) as i32, (i % side * 2) as i32);
            let four = [self.get(y, x), self.get(y, x + 1), self.get(y + 1, x), self.get(y + 1, x + 1)];
            std::array::from_fn(|c| four.iter().map(|pixel| pixel[c]).sum::<f32>() / 4.0)
        });
        Self { side, pixels: pixels.collect() }
    }
}

/// Without transparent borders: fonts differ in how much air they leave around a glyph.
fn trim(picture: &RgbaImage) -> RgbaImage {
    let opaque = picture.enumerate_pixels().filter(|(_, _, pixel)| pixel.0[3] > 8);
    let bounds = opaque.fold(None, |bounds: Option<[u32; 4]>, (x, y, _)| {
        let [left, top, right, bottom] = bounds.unwrap_or([x, y, x, y]);
        Some([left.min(x), top.min(y), right.max(x), bottom.max(y)])
    });
    let [left, top, right, bottom] = bounds.unwrap_or([0, 0, 0, 0]);
    picture.view(left, top, right - left + 1, bottom - top + 1).to_image()
}

fn premultiply([r, g, b, a]: [u8; 4]) -> [f32; 4] {
    let alpha = f32::from(a) / 255.0;
    [r, g, b, 255].map(|channel| f32::from(channel) / 255.0 * alpha)
}

fn bilinear([y, x]: [f32; 2], get: impl Fn(i32, i32) -> [f32; 4]) -> [f32; 4] {
    let (top, left) = (y.floor(), x.floor());
    let (v, u) = (y - top, x - left);
    let (top, left) = (top as i32, left as i32);
    let corners = [(get(top, left), (1.0 - v) * (1.0 - u)), (get(top, left + 1), (1.0 - v) * u)];
    let lower = [(get(top + 1, left), v * (1.0 - u)), (get(top + 1, left + 1), v * u)];
    let mut sum = [0.0; 4];
    for (pixel, weight) in corners.into_iter().chain(lower) {
        for (total, channel) in sum.iter_mut().zip(pixel) {
            *total += weight * channel;
        }
    }
    sum
}

/// Premultiplied colours stay at or below their alpha.
fn tint([r, g, b, a]: [f32; 4], colours: &[[f32; 3]; 3]) -> [f32; 4] {
    let [r, g, b] = colours.map(|row| (row[0] * r + row[1] * g + row[2] * b).clamp(0.0, a));
    [r, g, b, a]
}
