//! Backgrounds: a pattern in shades of one colour that has a name, or a blend of two.

use super::{draw::Draw, split::Split};
use crate::random::Stream;

/// Colours that a caption can name, in the order of `phrases.toml`.
pub(super) const COLOURS: [&str; 11] = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "gray", "white", "black"];

/// For each colour, the range of hue (degrees), saturation and value that everybody calls by its name.
const RANGES: [[[f32; 2]; 3]; 11] = [
    [[352.0, 366.0], [0.70, 0.95], [0.60, 0.90]],
    [[24.0, 36.0], [0.75, 0.95], [0.88, 1.00]],
    [[49.0, 58.0], [0.60, 0.90], [0.88, 1.00]],
    [[95.0, 145.0], [0.45, 0.85], [0.40, 0.80]],
    [[205.0, 232.0], [0.55, 0.90], [0.50, 0.90]],
    [[268.0, 288.0], [0.45, 0.80], [0.40, 0.75]],
    [[325.0, 345.0], [0.28, 0.48], [0.92, 1.00]],
    [[20.0, 30.0], [0.50, 0.70], [0.30, 0.48]],
    [[0.0, 360.0], [0.00, 0.04], [0.42, 0.62]],
    [[0.0, 360.0], [0.00, 0.03], [0.94, 1.00]],
    [[0.0, 360.0], [0.00, 0.15], [0.03, 0.14]],
];

/// How the two shades of a background share the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// The first shade alone.
    Plain,
    /// A gradient along a direction.
    Linear,
    /// A gradient from the centre outwards.
    Radial,
    /// Smooth noise of the feature's size.
    Clouds,
    Stripes,
    Checks,
    Dots,
    /// Noise that differs from pixel to pixel.
    Grain,
    /// From one named colour to another: no single name fits.
    Blend,
}

const PATTERNS: [Pattern; 9] = {
    use Pattern::{Blend, Checks, Clouds, Dots, Grain, Linear, Plain, Radial, Stripes};
    [Plain, Linear, Radial, Clouds, Stripes, Checks, Dots, Grain, Blend]
};

/// A background, ready to be painted.
#[derive(Clone, Debug)]
pub(super) struct Background {
    pub pattern: Pattern,
    /// Index into [`COLOURS`].
    pub colour: usize,
    shades: [[f32; 3]; 2],
    /// Direction of gradients and stripes: its (y, x) unit vector.
    direction: [f32; 2],
    /// Size of a feature, as a share of the image's shorter side.
    scale: f32,
    grain: u64,
}

impl Background {
    /// A background that belongs to the split. Pattern and colour are drawn apart, and one pair in eleven is kept for each of validation
    /// and test, so that training knows every pattern and every colour.
    pub(super) fn draw(split: Split, draw: &mut Draw) -> Self {
        let (mut pattern, mut colour) = (0, 0);
        for _ in 0..256 {
            (pattern, colour) = (draw.below(PATTERNS.len()), draw.below(COLOURS.len()));
            if home(pattern, colour) == split {
                break;
            }
        }
        let pattern = PATTERNS.get(pattern).copied().unwrap_or(Pattern::Plain);
        let other = if pattern == Pattern::Blend { draw.below(COLOURS.len()) } else { colour };
        let angle = draw.between(0.0, std::f32::consts::TAU);
        Self {
            pattern,
            colour,
            shades: [shade(colour, draw), shade(other, draw)],
            direction: [angle.sin(), angle.cos()],
            scale: draw.log_between(0.06, 0.35),
            grain: u64::from(draw.uniform().to_bits()),
        }
    }

    /// The colour's index, where the whole background has one.
    pub(super) fn named_colour(&self) -> Option<usize> {
        (self.pattern != Pattern::Blend).then_some(self.colour)
    }

    /// "stripes, blue".
    pub(super) fn id(&self) -> String {
        format!("{:?}, {}", self.pattern, COLOURS.get(self.colour).unwrap_or(&"")).to_lowercase()
    }

    /// Red, green and blue (0 to 1) of all pixels, row by row.
    pub(super) fn paint(&self, height: usize, width: usize) -> Vec<[f32; 3]> {
        let short = height.min(width) as f32;
        let (half_height, half_width) = (height as f32 / 2.0, width as f32 / 2.0);
        let noise = Stream::new(self.grain, "grain");
        let pixel = |i: usize| {
            let (y, x) = ((i / width) as f32 + 0.5, (i % width) as f32 + 0.5);
            let (dy, dx) = (y - half_height, x - half_width);
            let along = dy * self.direction[0] + dx * self.direction[1];
            let across = dx * self.direction[0] - dy * self.direction[1];
            let feature = self.scale * short;
            let reach = half_height * self.direction[0].abs() + half_width * self.direction[1].abs();
            let share = match self.pattern {
                Pattern::Plain => 0.0,
                Pattern::Linear | Pattern::Blend => (along / reach + 1.0) / 2.0,
                Pattern::Radial => dy.hypot(dx) / half_height.hypot(half_width),
                Pattern::Clouds => clouds(noise, y / feature, x / feature),
                Pattern::Stripes => soft_square((along / feature).rem_euclid(2.0) - 1.0, feature),
                Pattern::Checks => {
                    let sign = |v: f32| 2.0 * soft_square((v / feature).rem_euclid(2.0) - 1.0, feature) - 1.0;
                    (sign(along) * sign(across) + 1.0) / 2.0
                }
                Pattern::Dots => {
                    let cell = |v: f32| (v / feature).rem_euclid(2.0) - 1.0;
                    ((0.55 - cell(along).hypot(cell(across))) * feature + 0.5).clamp(0.0, 1.0)
                }
                Pattern::Grain => noise.uniform(i as u64),
            };
            mix(self.shades, share)
        };
        (0..height * width).map(pixel).collect()
    }
}

fn home(pattern: usize, colour: usize) -> Split {
    match (4 * pattern + colour) % COLOURS.len() {
        0 => Split::Test,
        1 => Split::Validation,
        _ => Split::Train,
    }
}

/// A shade within the colour's range.
pub(super) fn shade(colour: usize, draw: &mut Draw) -> [f32; 3] {
    let [hue, saturation, value] = RANGES.get(colour).copied().unwrap_or_default().map(|[low, high]| draw.between(low, high));
    // The usual conversion from HSV, channel by channel.
    [5.0, 3.0, 1.0].map(|offset: f32| {
        let k = (offset + hue / 60.0).rem_euclid(6.0);
        value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0)
    })
}

fn mix([a, b]: [[f32; 3]; 2], share: f32) -> [f32; 3] {
    std::array::from_fn(|c| a[c] + (b[c] - a[c]) * share.clamp(0.0, 1.0))
}

/// A square wave of period 2 whose edges are a pixel wide: 1 where -½ < phase < ½.
fn soft_square(phase: f32, pixels: f32) -> f32 {
    ((0.5 - phase.abs()) * pixels + 0.5).clamp(0.0, 1.0)
}

/// Two octaves of value noise on a unit lattice.
fn clouds(noise: Stream, y: f32, x: f32) -> f32 {
    (2.0 * lattice(noise, y, x) + lattice(noise, 2.0 * y + 77.0, 2.0 * x + 33.0)) / 3.0
}

fn lattice(noise: Stream, y: f32, x: f32) -> f32 {
    let (top, left) = (y.floor(), x.floor());
    let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
    let (v, u) = (smooth(y - top), smooth(x - left));
    let corner = |dy: u64, dx: u64| noise.uniform(((top as u64 + dy) << 20) + left as u64 + dx);
    let row = |dy| corner(dy, 0) + (corner(dy, 1) - corner(dy, 0)) * u;
    row(0) + (row(1) - row(0)) * v
}
