//! Words as outlines: any script that a font of the system has, shaped and rasterised.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ab_glyph_rasterizer::{Point, Rasterizer, point};
use harfrust::font::glyph::outline::{DrawMemory, DrawOptions, PathSink};
use harfrust::{Buffer, Font, GlyphId, ShapeOptions, ShaperFont, shape};

use super::SynthError;

/// Where a script's letters come from.
struct Source {
    /// As `phrases.toml` calls it.
    script: &'static str,
    /// File names.
    files: &'static [&'static str],
    /// Which font of a collection.
    index: u32,
    /// Debian's package.
    package: &'static str,
}

const fn source(script: &'static str, files: &'static [&'static str], index: u32, package: &'static str) -> Source {
    Source { script, files, index, package }
}

const CJK: &[&str] = &["NotoSansCJK-Regular.ttc", "NotoSansCJK-Bold.ttc"];
const SOURCES: [Source; 7] = [
    source("Latin", &["NotoSans-Regular.ttf", "NotoSerif-Bold.ttf", "DejaVuSans-Bold.ttf"], 0, "fonts-noto-core"),
    source("Cyrillic", &["NotoSans-Bold.ttf", "NotoSerif-Regular.ttf", "DejaVuSans.ttf"], 0, "fonts-noto-core"),
    source("Arabic", &["NotoSansArabic-Regular.ttf", "NotoNaskhArabic-Bold.ttf"], 0, "fonts-noto-core"),
    source("Devanagari", &["NotoSansDevanagari-Regular.ttf", "NotoSerifDevanagari-Bold.ttf"], 0, "fonts-noto-core"),
    source("Han", CJK, 2, "fonts-noto-cjk"),
    source("Kana", CJK, 0, "fonts-noto-cjk"),
    source("Hangul", CJK, 1, "fonts-noto-cjk"),
];

/// Fonts for the scripts of a recipe.
pub struct Typefaces {
    by_script: BTreeMap<String, Vec<Font>>,
}

/// One line of text as outlines: font units scaled to an em of 1, baseline at 0, y upwards.
pub(super) struct Outline {
    segments: Vec<Segment>,
    /// Advance of the whole line.
    pub width: f32,
}

#[derive(Clone, Copy)]
enum Segment {
    Line([Point; 2]),
    Quadratic([Point; 3]),
    Cubic([Point; 4]),
}

impl Typefaces {
    /// Finds fonts below `folder` for each script.
    ///
    /// # Errors
    /// A script without a font; the message names the package that has one.
    pub fn open(folder: &Path, scripts: &[&str]) -> Result<Self, SynthError> {
        let files = fonts_below(folder)?;
        let mut by_script = BTreeMap::new();
        for source in SOURCES.iter().filter(|source| scripts.contains(&source.script)) {
            let mut fonts = Vec::new();
            for file in
                source.files.iter().filter_map(|name| files.iter().find(|file| file.file_name().is_some_and(|found| found == *name)))
            {
                let bytes = std::fs::read(file).map_err(|error| SynthError::read(file, error))?;
                fonts.extend(Font::new(bytes, source.index));
            }
            if fonts.is_empty() {
                let (script, folder) = (source.script.to_owned(), folder.to_owned());
                return Err(SynthError::NoTypeface { script, folder, package: source.package });
            }
            by_script.insert(source.script.to_owned(), fonts);
        }
        Ok(Self { by_script })
    }

    /// How many fonts a script has.
    pub(super) fn count(&self, script: &str) -> usize {
        self.by_script.get(script).map_or(0, Vec::len)
    }

    /// Shapes a line that runs in one direction; nothing if the font lacks one of its letters.
    pub(super) fn outline(&self, script: &str, font: usize, text: &str) -> Option<Outline> {
        let font = self.by_script.get(script)?.get(font)?;
        let mut buffer = Buffer::new();
        buffer.push_str(text);
        buffer.guess_segment_properties();
        shape(&ShaperFont::new(font), &mut buffer, ShapeOptions::new()).ok()?;
        let em = f32::from(font.units_per_em());
        let mut pen = Pen { segments: Vec::new(), offset: [0.0; 2], start: point(0.0, 0.0), last: point(0.0, 0.0), scale: 1.0 / em };
        let mut x = 0.0;
        for (info, place) in buffer.glyph_infos().iter().zip(buffer.glyph_positions()) {
            if info.glyph_id == 0 {
                return None;
            }
            pen.offset = [x + place.x_offset as f32, place.y_offset as f32];
            if let Some(glyph) = font.outline_glyphs().get(GlyphId::new(info.glyph_id)) {
                glyph.draw(&DrawOptions::new(), DrawMemory::Scratch, &mut pen).ok()?;
            }
            x += place.x_advance as f32;
        }
        Some(Outline { segments: pen.segments, width: x / em })
    }
}

impl Outline {
    /// Calls `put(y, x, coverage)` for every pixel the line touches. `place` maps em coordinates to (x, y) in the image.
    pub(super) fn rasterize(&self, place: impl Fn(Point) -> Point, mut put: impl FnMut(i64, i64, f32)) {
        let placed: Vec<Segment> = self.segments.iter().map(|segment| segment.map(&place)).collect();
        let points = || placed.iter().flat_map(|segment| segment.points());
        let bounds = |axis: fn(&Point) -> f32| {
            points().fold((f32::MAX, f32::MIN), |(low, high), point| (low.min(axis(point)), high.max(axis(point))))
        };
        let ((left, right), (top, bottom)) = (bounds(|p| p.x), bounds(|p| p.y));
        if placed.is_empty() || right - left > 8192.0 || bottom - top > 8192.0 {
            return;
        }
        let (left, top) = (left.floor() - 1.0, top.floor() - 1.0);
        let mut raster = Rasterizer::new((right - left) as usize + 3, (bottom - top) as usize + 3);
        for segment in placed {
            match segment.map(&|p| point(p.x - left, p.y - top)) {
                Segment::Line([a, b]) => raster.draw_line(a, b),
                Segment::Quadratic([a, b, c]) => raster.draw_quad(a, b, c),
                Segment::Cubic([a, b, c, d]) => raster.draw_cubic(a, b, c, d),
            }
        }
        raster.for_each_pixel_2d(|x, y, coverage| {
            if coverage > 0.004 {
                put(i64::from(y) + top as i64, i64::from(x) + left as i64, coverage.min(1.0));
            }
        });
    }
}

impl Segment {
    fn map(&self, place: &impl Fn(Point) -> Point) -> Self {
        match self {
            Self::Line(points) => Self::Line(points.map(place)),
            Self::Quadratic(points) => Self::Quadratic(points.map(place)),
            Self::Cubic(points) => Self::Cubic(points.map(place)),
        }
    }

    fn points(&self) -> &[Point] {
        match self {
            Self::Line(points) => points,
            Self::Quadratic(points) => points,
            Self::Cubic(points) => points,
        }
    }
}

/// Collects the outlines of one glyph after the other.
struct Pen {
    segments: Vec<Segment>,
    offset: [f32; 2],
    start: Point,
    last: Point,
    scale: f32,
}

impl Pen {
    fn at(&self, x: f32, y: f32) -> Point {
        point((x + self.offset[0]) * self.scale, (y + self.offset[1]) * self.scale)
    }
}

impl PathSink for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.start = self.at(x, y);
        self.last = self.start;
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let end = self.at(x, y);
        self.segments.push(Segment::Line([self.last, end]));
        self.last = end;
    }

    fn quad_to(&mut self, cx: f32, cy: f32, x: f32, y: f32) {
        let end = self.at(x, y);
        self.segments.push(Segment::Quadratic([self.last, self.at(cx, cy), end]));
        self.last = end;
    }

    fn curve_to(&mut self, cx0: f32, cy0: f32, cx1: f32, cy1: f32, x: f32, y: f32) {
        let end = self.at(x, y);
        self.segments.push(Segment::Cubic([self.last, self.at(cx0, cy0), self.at(cx1, cy1), end]));
        self.last = end;
    }

    fn close(&mut self) {
        self.segments.push(Segment::Line([self.last, self.start]));
        self.last = self.start;
    }
}

fn fonts_below(folder: &Path) -> Result<Vec<PathBuf>, SynthError> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| SynthError::read(&folder, error))?.flatten() {
            let path = entry.path();
            // A link to a folder could lead in circles.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}
