//! An image while it is drawn: colours, and which object owns each pixel.

use image::RgbImage;

use super::{draw::Draw, mask::Mask, plan::Effects};

/// Pixels row by row.
pub(super) struct Canvas {
    pub height: usize,
    pub width: usize,
    colours: Vec<[f32; 3]>,
    /// 0 is the background, k the object k − 1.
    owners: Vec<u8>,
    /// How many pixels each object was drawn to, covered ones included.
    drawn: Vec<usize>,
}

/// The part of an object that can be seen.
pub(super) struct Visible {
    /// y0, x0, y1, x1 in pixels; the ends are outside.
    pub bounds: [usize; 4],
    /// Of its pixels inside the image, the share that nothing covers.
    pub share: f32,
    pub mask: Mask,
}

impl Canvas {
    pub(super) fn new(height: usize, width: usize, colours: Vec<[f32; 3]>) -> Self {
        Self { height, width, colours, owners: vec![0; height * width], drawn: Vec::new() }
    }

    /// Lays a premultiplied colour over a pixel. An object owns the pixels of which it covers at least half.
    pub(super) fn put(&mut self, y: usize, x: usize, [r, g, b, alpha]: [f32; 4], object: Option<usize>) {
        let at = y * self.width + x;
        let (Some(colour), Some(owner)) = (self.colours.get_mut(at), self.owners.get_mut(at)) else { return };
        for (below, above) in colour.iter_mut().zip([r, g, b]) {
            *below = above + (1.0 - alpha) * *below;
        }
        if let Some(object) = object.filter(|_| alpha >= 0.5) {
            *owner = object as u8 + 1;
            self.drawn.resize(self.drawn.len().max(object + 1), 0);
            self.drawn[object] += 1;
        }
    }

    /// What can be seen of an object, if anything.
    pub(super) fn visible(&self, object: usize) -> Option<Visible> {
        let owner = object as u8 + 1;
        let (mut bounds, mut pixels) = ([usize::MAX, usize::MAX, 0, 0], 0usize);
        for (i, _) in self.owners.iter().enumerate().filter(|(_, found)| **found == owner) {
            let (y, x) = (i / self.width, i % self.width);
            bounds = [bounds[0].min(y), bounds[1].min(x), bounds[2].max(y + 1), bounds[3].max(x + 1)];
            pixels += 1;
        }
        let drawn = *self.drawn.get(object)?;
        let mask = || Mask::encode(self.height, self.width, |y, x| self.owners.get(y * self.width + x) == Some(&owner));
        (pixels > 0).then(|| Visible { bounds, share: pixels as f32 / drawn as f32, mask: mask() })
    }

    /// The image after blur, brightness, contrast and noise.
    pub(super) fn finish(self, effects: &Effects, draw: &mut Draw) -> RgbImage {
        let mut image = RgbImage::new(self.width as u32, self.height as u32);
        for (pixel, colour) in image.pixels_mut().zip(&self.colours) {
            // Two uniform numbers make noise that is normal enough.
            let noise = if effects.noise > 0.0 { effects.noise * 2.45 * (draw.uniform() + draw.uniform() - 1.0) } else { 0.0 };
            let value = |v: f32| ((v - 0.5) * effects.contrast + 0.5 + effects.brightness + noise) * 255.0 + 0.5;
            pixel.0 = colour.map(|v| value(v).clamp(0.0, 255.0) as u8);
        }
        if effects.blur > 0.0 { image::imageops::fast_blur(&image, effects.blur) } else { image }
    }
}
