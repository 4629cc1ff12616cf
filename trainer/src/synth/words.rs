//! Scenes of rendered words: signs and receipts, in the letters of one language.

use ab_glyph_rasterizer::{Point, point};

use super::background::{COLOURS, shade};
use super::canvas::Canvas;
use super::plan::next_glyph;
use super::typeface::{Outline, Typefaces};
use super::{World, draw::Draw, split::Split};

/// Smallest size of letters, in pixels per em, that a reader at this resolution could tell apart.
const SMALLEST_EM: f32 = 10.0;

/// A sign or a receipt.
#[derive(Debug)]
pub(super) struct Document {
    pub kind: Kind,
    /// Index of the language it is written in.
    pub language: usize,
    pub lines: Vec<Line>,
    font: usize,
    /// Centre in pixels (y, x), and height and width.
    center: [f32; 2],
    size: [f32; 2],
    em: f32,
    angle: f32,
    /// Of the paper or plate, then of the letters.
    colours: [[f32; 3]; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sign,
    Receipt,
}

/// A name, with a price on receipts.
#[derive(Debug)]
pub(super) struct Line {
    /// Index of the glyph whose name it is.
    pub glyph: usize,
    pub text: String,
    /// In hundredths.
    pub price: Option<u32>,
}

/// Where a text stands on its line.
#[derive(Clone, Copy)]
enum Align {
    Start,
    Middle,
    End,
}

impl Document {
    pub(super) fn draw(world: &World, seed: u64, split: Split, (height, width): (usize, usize), draw: &mut Draw) -> Self {
        let kind = if draw.chance(0.6) { Kind::Sign } else { Kind::Receipt };
        let size = match kind {
            Kind::Sign => [height as f32, width as f32].map(|length| length * draw.between(0.7, 0.95)),
            // Paper is seldom wider than it is long.
            Kind::Receipt => [height as f32 * 0.96, (width as f32 * 0.92).min(height as f32 * draw.between(0.6, 1.1))],
        };
        let mut document = Self {
            kind,
            language: draw.below(world.languages.len()),
            lines: Vec::new(),
            font: 0,
            center: [height as f32 / 2.0, width as f32 / 2.0],
            size,
            em: 0.0,
            angle: if draw.chance(0.5) { draw.between(-0.06, 0.06) } else { 0.0 },
            colours: colours(kind, draw),
        };
        for attempt in 0..24 {
            document.write(world, seed, split, attempt, draw);
            if document.em >= SMALLEST_EM {
                break;
            }
        }
        document
    }

    /// Chooses language, font and lines, fewer at each attempt, and the size that fits them.
    fn write(&mut self, world: &World, seed: u64, split: Split, attempt: usize, draw: &mut Draw) {
        self.language = draw.below(world.languages.len());
        let (Some(language), Some(typefaces)) = (world.languages.get(self.language), &world.typefaces) else { return };
        self.font = draw.below(typefaces.count(&language.phrases.script));
        let most = if self.kind == Kind::Sign { 3 } else { 5 };
        let count = 1 + draw.below(most - (attempt / 5).min(most - 1));
        let (mut lines, mut shown) = (Vec::new(), Vec::new());
        while lines.len() < count {
            let Some(glyph) = next_glyph(world, seed, split, &shown, draw) else { break };
            let Some(text) = world.name(self.language, glyph) else { break };
            let price = (self.kind == Kind::Receipt).then(|| 50 + 5 * draw.below(390) as u32);
            shown.push(glyph);
            lines.push(Line { glyph, text: text.to_owned(), price });
        }
        self.lines = lines;
        self.em = self.fitting_em(world, typefaces);
    }

    /// The largest letters with which every line fits; 0 if the font lacks some.
    fn fitting_em(&self, world: &World, typefaces: &Typefaces) -> f32 {
        let rows = self.rows(world);
        let widths = rows.iter().map(|(left, right)| {
            let width = |text: &str| self.outline(world, typefaces, text).map(|outline| outline.width);
            Some(width(left)? + right.as_ref().map_or(Some(0.0), |right| Some(width(right)? + 1.0))?)
        });
        let Some(widest) = widths.collect::<Option<Vec<f32>>>().and_then(|widths| widths.into_iter().reduce(f32::max)) else { return 0.0 };
        let tallest = 0.86 * self.size[0] / (rows.len() as f32 * 1.45);
        tallest.min(0.88 * self.size[1] / widest.max(0.1)).min(64.0)
    }

    /// What is written: a text, and one at the other end of the line.
    fn rows(&self, world: &World) -> Vec<(String, Option<String>)> {
        let mut rows: Vec<_> =
            self.lines.iter().map(|line| (line.text.clone(), line.price.map(|price| self.money(world, price)))).collect();
        if let (Some(sum), Some(language)) = (self.total(), world.languages.get(self.language)) {
            rows.push((language.phrases.total.clone(), Some(self.money(world, sum))));
        }
        rows
    }

    /// The sum of a receipt.
    pub(super) fn total(&self) -> Option<u32> {
        (self.kind == Kind::Receipt).then(|| self.lines.iter().filter_map(|line| line.price).sum())
    }

    /// A price as the document's language writes it.
    pub(super) fn money(&self, world: &World, hundredths: u32) -> String {
        let decimal = world.languages.get(self.language).map_or(".", |language| language.phrases.decimal.as_str());
        format!("{}{decimal}{:02}", hundredths / 100, hundredths % 100)
    }

    fn outline(&self, world: &World, typefaces: &Typefaces, text: &str) -> Option<Outline> {
        typefaces.outline(&world.languages.get(self.language)?.phrases.script, self.font, text)
    }

    /// Draws paper and letters; line k of [`Self::lines`] is object k.
    pub(super) fn paint(&self, world: &World, canvas: &mut Canvas) {
        let Some(typefaces) = &world.typefaces else { return };
        self.paint_plate(canvas);
        let rows = self.rows(world);
        let right_to_left = world.languages.get(self.language).is_some_and(|language| language.phrases.script == "Arabic");
        for (k, (text, amount)) in rows.iter().enumerate() {
            let object = (k < self.lines.len()).then_some(k);
            // The baseline is a third of an em below the middle of the row.
            let baseline = (k as f32 + 0.5 - rows.len() as f32 / 2.0) * 1.45 * self.em + 0.33 * self.em;
            let (name, number) = match (amount, right_to_left) {
                (None, _) => (Align::Middle, Align::Middle),
                (Some(_), false) => (Align::Start, Align::End),
                (Some(_), true) => (Align::End, Align::Start),
            };
            for (text, align) in [(Some(text), name), (amount.as_ref(), number)] {
                if let Some(outline) = text.and_then(|text| self.outline(world, typefaces, text)) {
                    self.paint_text(canvas, &outline, align, baseline, object);
                }
            }
        }
    }

    fn paint_text(&self, canvas: &mut Canvas, outline: &Outline, align: Align, baseline: f32, object: Option<usize>) {
        let (half, width) = (0.44 * self.size[1], outline.width * self.em);
        let left = match align {
            Align::Start => -half,
            Align::Middle => -width / 2.0,
            Align::End => half - width,
        };
        let (sin, cos) = self.angle.sin_cos();
        let place = |p: Point| {
            let (u, v) = (left + p.x * self.em, baseline - p.y * self.em);
            point(self.center[1] + u * cos - v * sin, self.center[0] + u * sin + v * cos)
        };
        let [_, ink] = self.colours;
        let (height, width) = (canvas.height as i64, canvas.width as i64);
        outline.rasterize(place, |y, x, coverage| {
            if (0..height).contains(&y) && (0..width).contains(&x) {
                let [r, g, b] = ink.map(|channel| channel * coverage);
                canvas.put(y as usize, x as usize, [r, g, b, coverage], object);
            }
        });
    }

    /// A rectangle with a border (signs only) and edges a pixel wide.
    fn paint_plate(&self, canvas: &mut Canvas) {
        let (sin, cos) = self.angle.sin_cos();
        let [paper, ink] = self.colours;
        let border = if self.kind == Kind::Sign { (0.03 * self.size[0].min(self.size[1])).max(1.5) } else { 0.0 };
        for y in 0..canvas.height {
            for x in 0..canvas.width {
                let (dy, dx) = (y as f32 + 0.5 - self.center[0], x as f32 + 0.5 - self.center[1]);
                let (v, u) = (dy * cos - dx * sin, dx * cos + dy * sin);
                let inside = (self.size[0] / 2.0 - v.abs()).min(self.size[1] / 2.0 - u.abs());
                let alpha = (inside + 0.5).clamp(0.0, 1.0);
                if alpha > 0.0 {
                    let colour = if inside > border && inside < 2.0 * border { ink } else { paper };
                    let [r, g, b] = colour.map(|channel| channel * alpha);
                    canvas.put(y, x, [r, g, b, alpha], None);
                }
            }
        }
    }
}

/// Light paper with dark letters, or (signs) a coloured plate with white ones.
fn colours(kind: Kind, draw: &mut Draw) -> [[f32; 3]; 2] {
    let of = |name: &str| COLOURS.iter().position(|colour| *colour == name).unwrap_or(0);
    let (white, black) = (of("white"), of("black"));
    if kind == Kind::Receipt || draw.chance(0.4) {
        return [shade(white, draw), shade(black, draw)];
    }
    match *draw.pick(&["red", "green", "blue", "purple", "brown", "black", "yellow", "pink"]).unwrap_or(&"blue") {
        light @ ("yellow" | "pink") => [shade(of(light), draw), shade(black, draw)],
        dark => [shade(of(dark), draw), shade(white, draw)],
    }
}
