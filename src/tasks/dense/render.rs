//! Maps as pictures.

use std::str::FromStr;

use image::RgbImage;

use super::{Map, largest_channel};
use crate::image::Grid;
use crate::kernels::Size;

/// What lies between the middles of two patches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interpolation {
    /// The nearer patch: the map as the model made it.
    Nearest,
    /// A straight line between both, as `torch.nn.functional.interpolate` has it (`bilinear`, `align_corners=False`).
    #[default]
    Bilinear,
}

impl FromStr for Interpolation {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "nearest" => Ok(Self::Nearest),
            "bilinear" => Ok(Self::Bilinear),
            _ => Err(format!("there is no interpolation {name:?}; use nearest or bilinear")),
        }
    }
}

/// How a map's values become colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// Three channels, each over its range, are red, green and blue; black where there is no value.
    Rgb,
    /// The mean over channels, from dark to bright.
    Heat,
    /// The largest channel's own colour, [`hue`].
    Largest,
    /// The only channel is the number of a group, and that the number of its colour.
    Number,
}

/// A map in colours.
#[derive(Clone, Debug, PartialEq)]
pub struct Painted {
    /// RGB of every pixel.
    pub colours: Vec<u8>,
    /// What the darkest and the brightest colour stand for, where colours mean one value.
    pub range: Option<[f32; 2]>,
    /// The share of the picture of each channel or group, where colours mean those.
    pub shares: Vec<f64>,
}

impl Map {
    /// Colours the map at the size of a picture.
    pub fn paint(&self, size: Size, interpolation: Interpolation, palette: Palette) -> Painted {
        let large = |values: &[f32], channels| upsample(values, self.grid, channels, size, interpolation);
        let painted = |colours, range| Painted { colours, range, shares: Vec::new() };
        match palette {
            Palette::Rgb => {
                let pixels = large(&scaled(&self.values, self.channels, &self.ranges), self.channels);
                painted(pixels.iter().map(|value| (value * 255.0).round() as u8).collect(), None)
            }
            Palette::Heat => {
                let mean = |row: &[f32]| row.iter().sum::<f32>() / row.len() as f32;
                let means: Vec<f32> = self.values.chunks_exact(self.channels.max(1)).map(mean).collect();
                painted(large(&scaled(&means, 1, &[]), 1).into_iter().flat_map(heat).collect(), Some(range(means.into_iter())))
            }
            Palette::Largest => by_number(&largest_channel(&large(&self.values, self.channels), self.channels), self.channels),
            Palette::Number => {
                // Each group as a channel, so that borders between groups are as smooth as those between labels.
                let groups = self.values.iter().fold(0, |groups, &number| groups.max(number as usize + 1));
                let of_patch = |&number: &f32| (0..groups).map(move |group| f32::from(u8::from(number == group as f32)));
                let channels: Vec<f32> = self.values.iter().flat_map(of_patch).collect();
                by_number(&largest_channel(&large(&channels, groups), groups), groups)
            }
        }
    }
}

fn by_number(numbers: &[usize], count: usize) -> Painted {
    let pixels = |number| numbers.iter().filter(|own| **own == number).count() as f64;
    Painted {
        colours: numbers.iter().flat_map(|&number| hue(number)).collect(),
        range: None,
        shares: (0..count).map(|number| pixels(number) / numbers.len().max(1) as f64).collect(),
    }
}

/// Every channel from 0 to 1 over its range, or over its own values without one. What is the same everywhere is in the middle, and no value is 0.
fn scaled(values: &[f32], channels: usize, ranges: &[[f32; 2]]) -> Vec<f32> {
    let own = |channel: usize| range(values[channel..].iter().step_by(channels).copied());
    let ranges: Vec<[f32; 2]> = (0..channels).map(|channel| ranges.get(channel).copied().unwrap_or_else(|| own(channel))).collect();
    let scale = |(value, [low, high]): (&f32, &[f32; 2])| match value {
        value if value.is_nan() => 0.0,
        value if high > low => ((value - low) / (high - low)).clamp(0.0, 1.0),
        _ => 0.5,
    };
    values.iter().zip(ranges.iter().cycle()).map(scale).collect()
}

/// The least and the greatest value.
pub(super) fn range(values: impl Iterator<Item = f32>) -> [f32; 2] {
    values.fold([f32::INFINITY, f32::NEG_INFINITY], |[low, high], value| [low.min(value), high.max(value)])
}

/// A map `[rows, cols, channels]` at the size of a picture, `[height, width, channels]`. Missing values are 0.
pub fn upsample(map: &[f32], grid: Grid, channels: usize, size: Size, interpolation: Interpolation) -> Vec<f32> {
    let (down, across) = (axis(grid.rows, size.height, interpolation), axis(grid.cols, size.width, interpolation));
    let at = |row: usize, col: usize, channel: usize| map.get((row * grid.cols + col) * channels + channel).copied().unwrap_or(0.0);
    let mut pixels = Vec::with_capacity(size.height * size.width * channels);
    for &([above, below], v) in &down {
        for &([left, right], u) in &across {
            for channel in 0..channels {
                let upper = at(above, left, channel) * (1.0 - u) + at(above, right, channel) * u;
                let lower = at(below, left, channel) * (1.0 - u) + at(below, right, channel) * u;
                pixels.push(upper * (1.0 - v) + lower * v);
            }
        }
    }
    pixels
}

/// For each of `pixels` positions the two of `cells` that it lies between, and how near it is to the second.
fn axis(cells: usize, pixels: usize, interpolation: Interpolation) -> Vec<([usize; 2], f32)> {
    let last = cells.saturating_sub(1);
    let position = |pixel: usize| {
        let middle = (pixel as f64 + 0.5) * cells as f64 / pixels as f64;
        match interpolation {
            Interpolation::Nearest => ([(middle as usize).min(last); 2], 0.0),
            Interpolation::Bilinear => {
                let between = (middle - 0.5).max(0.0);
                let first = (between as usize).min(last);
                ([first, (first + 1).min(last)], (between - first as f64) as f32)
            }
        }
    };
    (0..pixels).map(position).collect()
}

/// Nine colours of matplotlib's "magma", dark to bright (CC0).
const MAGMA: [[u8; 3]; 9] = [
    [0x00, 0x00, 0x04],
    [0x1d, 0x11, 0x47],
    [0x51, 0x12, 0x7c],
    [0x82, 0x26, 0x81],
    [0xb6, 0x36, 0x79],
    [0xe6, 0x51, 0x64],
    [0xfb, 0x88, 0x61],
    [0xfe, 0xc2, 0x87],
    [0xfc, 0xfd, 0xbf],
];

/// The colour of a value from 0 to 1, as bright as the value is large.
pub fn heat(value: f32) -> [u8; 3] {
    let steps = (MAGMA.len() - 1) as f32;
    let position = if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) * steps };
    let first = (position as usize).min(MAGMA.len() - 2);
    let share = position - first as f32;
    std::array::from_fn(|c| {
        let [from, to] = [MAGMA[first][c], MAGMA[first + 1][c]].map(f32::from);
        (from + (to - from) * share).round() as u8
    })
}

/// A colour for the group with this number. Neighbours in number are far apart in hue.
pub fn hue(number: usize) -> [u8; 3] {
    // The golden ratio's multiples never come close to an earlier one.
    let turn = (number as f64 * 0.618_033_988_749_895).fract() * 6.0;
    let (sector, rise) = (turn as usize, turn.fract());
    // Every fourth round is darker.
    let (low, high) = if (number / 8).is_multiple_of(2) { (60.0, 245.0) } else { (30.0, 170.0) };
    let (up, down) = (low + (high - low) * rise, high - (high - low) * rise);
    let rgb = match sector {
        0 => [high, up, low],
        1 => [down, high, low],
        2 => [low, high, up],
        3 => [low, down, high],
        4 => [up, low, high],
        _ => [high, low, down],
    };
    rgb.map(|value| value.round() as u8)
}

/// `colours`, RGB of every pixel, over `picture`: 0 shows the picture alone, 1 the colours alone.
pub fn blend(picture: &RgbImage, colours: &[u8], opacity: f32) -> RgbImage {
    let mut blended = picture.clone();
    for (below, &above) in blended.iter_mut().zip(colours) {
        *below = (f32::from(*below) * (1.0 - opacity) + f32::from(above) * opacity).round() as u8;
    }
    blended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_keeps_its_values_at_the_middles_of_its_patches() {
        let grid = Grid { rows: 1, cols: 2 };
        let size = Size { height: 1, width: 4 };
        assert_eq!(upsample(&[0.0, 8.0], grid, 1, size, Interpolation::Bilinear), [0.0, 2.0, 6.0, 8.0]);
        assert_eq!(upsample(&[0.0, 8.0], grid, 1, size, Interpolation::Nearest), [0.0, 0.0, 8.0, 8.0]);
        // A picture smaller than its grid.
        assert_eq!(upsample(&[1.0, 2.0, 3.0], Grid { rows: 3, cols: 1 }, 1, Size { height: 1, width: 1 }, Interpolation::Nearest), [2.0]);
    }

    #[test]
    fn colours_are_bounded_and_told_apart() {
        assert_eq!([heat(-1.0), heat(f32::NAN), heat(0.5), heat(2.0)], [MAGMA[0], MAGMA[0], MAGMA[4], MAGMA[8]]);
        let colours: std::collections::BTreeSet<_> = (0..64).map(hue).collect();
        assert_eq!(colours.len(), 64);
        let picture = RgbImage::from_pixel(1, 1, image::Rgb([0, 100, 200]));
        assert_eq!(blend(&picture, &[200, 100, 0], 0.25).into_raw(), [50, 100, 150]);
    }
}
