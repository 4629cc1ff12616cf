//! One line: cut into pieces that egui draws right, in visual order, and the glyphs of what it drew back in the order of the text.

use std::ops::Range;
use std::sync::Arc;

use eframe::egui::epaint::Vertex;
use eframe::egui::epaint::text::{FontsView, Glyph};
use eframe::egui::text::{ByteIndex, LayoutJob, LayoutSection, TextFormat, TextWrapping};
use eframe::egui::{Align, Galley};
use unicode_bidi::{BidiClass, Level, ParagraphBidiInfo};
use unicode_segmentation::UnicodeSegmentation as _;

/// Signs that are the other one of their pair where text is read from the right (UAX #9, L4): those that people type.
const MIRRORED: [[char; 2]; 12] = [
    ['(', ')'],
    ['[', ']'],
    ['{', '}'],
    ['<', '>'],
    ['«', '»'],
    ['‹', '›'],
    ['≤', '≥'],
    ['「', '」'],
    ['『', '』'],
    ['《', '》'],
    ['（', '）'],
    ['【', '】'],
];

/// A text without line ends, and which of its letters are read from where.
pub(super) struct Paragraph<'a> {
    pub(super) text: &'a str,
    /// For its formats and the room there is.
    pub(super) job: &'a LayoutJob,
    bidi: ParagraphBidiInfo<'a>,
}

/// A part of a line that egui draws right: letters that are read from the left, a word that is read from the right, or a sign.
struct Piece {
    /// Its bytes in the paragraph.
    range: Range<usize>,
    is_right_to_left: bool,
    /// Glyphs that egui makes of it.
    count: usize,
}

impl<'a> Paragraph<'a> {
    pub(super) fn new(job: &'a LayoutJob, text: &'a str) -> Self {
        Self { text, job, bidi: ParagraphBidiInfo::new(text, None) }
    }

    /// What is left of this one when it is cut.
    pub(super) fn of_same_direction<'b>(&'b self, text: &'b str) -> Paragraph<'b> {
        Paragraph { text, job: self.job, bidi: ParagraphBidiInfo::new(text, Some(self.bidi.paragraph_level)) }
    }

    pub(super) fn is_right_to_left(&self) -> bool {
        self.bidi.paragraph_level.is_rtl()
    }

    /// Lays out a part of it as one row from 0 on, with one glyph per character in the order of the text.
    pub(super) fn row(&self, fonts: &mut FontsView<'_>, line: Range<usize>) -> Galley {
        let pieces = self.pieces(fonts, line);
        let drawn = fonts.layout_job(self.drawn(&pieces));
        let mut galley = Galley::clone(&drawn);
        let Some(row) = galley.rows.first_mut().map(|placed| Arc::make_mut(&mut placed.row)) else { return galley };
        let mut glyphs = row.glyphs.as_slice();
        let mut parts: Vec<(&Piece, &[Glyph])> = Vec::new();
        for piece in &pieces {
            let Some((own, rest)) = glyphs.split_at_checked(piece.count) else { return Galley::clone(&drawn) };
            glyphs = rest;
            parts.push((piece, own));
        }
        parts.sort_by_key(|(piece, _)| piece.range.start);
        let mut ordered = Ordered { from: &drawn, glyphs: Vec::new(), vertices: Vec::new() };
        for (piece, glyphs) in parts {
            ordered.add_piece(self.text.get(piece.range.clone()).unwrap_or_default(), glyphs, piece.is_right_to_left);
        }
        let place = row.visuals.glyph_vertex_range.clone();
        if ordered.vertices.len() == place.len() {
            let (glyphs, vertices) = (ordered.glyphs, ordered.vertices);
            row.visuals.mesh.vertices.splice(place, vertices);
            row.glyphs = glyphs;
        }
        galley
    }

    /// Cuts a line into its pieces, in visual order.
    fn pieces(&self, fonts: &mut FontsView<'_>, line: Range<usize>) -> Vec<Piece> {
        if line.is_empty() {
            return Vec::new();
        }
        let (levels, runs) = self.bidi.visual_runs(line);
        let mut pieces = Vec::new();
        for run in runs {
            let level = levels.get(run.start).copied().unwrap_or(Level::ltr());
            let start = pieces.len();
            for range in self.words(run, level.is_rtl()) {
                self.cut(fonts, range, level.is_rtl(), &mut pieces);
            }
            if level.is_rtl() {
                pieces.get_mut(start..).unwrap_or_default().reverse();
            }
        }
        pieces
    }

    /// Cuts a run of one direction where a shaper would have to know more than its letters.
    fn words(&self, run: Range<usize>, is_right_to_left: bool) -> Vec<Range<usize>> {
        let mut words: Vec<(Range<usize>, Option<BidiClass>)> = Vec::new();
        for (offset, letter) in self.text.get(run.clone()).unwrap_or_default().grapheme_indices(true) {
            let start = run.start + offset;
            let class = self.bidi.original_classes.get(start).copied();
            // What it can stand in one piece with.
            let kind = match class {
                Some(BidiClass::R | BidiClass::AL) if is_right_to_left => class,
                _ if is_right_to_left => None,
                // Persian digits are of a right-to-left script, by which a shaper would turn a number round.
                Some(BidiClass::EN | BidiClass::AN) if !letter.is_ascii() => None,
                _ => Some(BidiClass::L),
            };
            match words.last_mut() {
                Some((word, last)) if kind.is_some() && *last == kind => word.end = start + letter.len(),
                _ => words.push((start..start + letter.len(), kind)),
            }
        }
        words.into_iter().map(|(word, _)| word).collect()
    }

    /// Adds a word, or its letters where there is no font for it and each was drawn alone by the browser.
    fn cut(&self, fonts: &mut FontsView<'_>, range: Range<usize>, is_right_to_left: bool, pieces: &mut Vec<Piece>) {
        let text = self.text.get(range.clone()).unwrap_or_default();
        let mut draw = |range: Range<usize>| {
            let piece = Piece { range, is_right_to_left, count: 0 };
            let galley = fonts.layout_job(self.drawn(std::slice::from_ref(&piece)));
            let glyphs = galley.rows.first().map(|row| row.glyphs.as_slice()).unwrap_or_default();
            let wide = glyphs.iter().filter(|glyph| glyph.advance_width > 0.0).count();
            (Piece { count: glyphs.len(), ..piece }, wide)
        };
        if text.is_ascii() {
            pieces.push(Piece { count: text.len(), range, is_right_to_left });
            return;
        }
        let (whole, wide) = draw(range.clone());
        // A word that a shaper turned round has more glyphs than characters: egui 0.37 then adds one for each that it does not see follow.
        if is_right_to_left && wide > 1 && whole.count == text.chars().count() {
            let letters = text.grapheme_indices(true).map(|(at, letter)| range.start + at..range.start + at + letter.len());
            pieces.extend(letters.map(|letter| draw(letter).0));
        } else {
            pieces.push(whole);
        }
    }

    /// What egui shall draw: these pieces from left to right, each as a section of its own, so that it is shaped alone.
    fn drawn(&self, pieces: &[Piece]) -> LayoutJob {
        let wrap = TextWrapping::no_max_width();
        let mut job = LayoutJob {
            wrap,
            break_on_newline: false,
            halign: Align::LEFT,
            justify: false,
            round_output_to_gui: false,
            ..self.job.clone()
        };
        job.text.clear();
        job.sections.clear();
        for piece in pieces {
            let start = job.text.len();
            let text = self.text.get(piece.range.clone()).unwrap_or_default();
            match MIRRORED.iter().find(|pair| piece.is_right_to_left && pair.iter().any(|sign| text.chars().eq([*sign]))) {
                Some([left, right]) => job.text.push(if text.starts_with(*left) { *right } else { *left }),
                None => job.text.push_str(text),
            }
            let byte_range = ByteIndex(start)..ByteIndex(job.text.len());
            job.sections.push(LayoutSection { leading_space: 0.0, byte_range, format: self.format(piece.range.start) });
        }
        if pieces.is_empty() {
            job.sections.push(LayoutSection { leading_space: 0.0, byte_range: ByteIndex(0)..ByteIndex(0), format: self.format(0) });
        }
        job
    }

    /// How the letter at a byte shall look; the sign of a text that is cut, like the last one.
    fn format(&self, at: usize) -> TextFormat {
        let sections = &self.job.sections;
        let section = sections.iter().find(|section| at < section.byte_range.end.0).or(sections.last());
        section.map(|section| section.format.clone()).unwrap_or_default()
    }
}

/// Glyphs in the order of the text, and four vertices for each that one sees, in the same order: egui looks them up by it.
struct Ordered<'a> {
    from: &'a Galley,
    glyphs: Vec<Glyph>,
    vertices: Vec<Vertex>,
}

impl Ordered<'_> {
    /// Adds a character's glyph with the vertices of `drawn`.
    fn add(&mut self, mut glyph: Glyph, drawn: &[Glyph]) {
        let Some(row) = self.from.rows.first() else { return };
        glyph.first_vertex = (row.visuals.glyph_vertex_range.start + self.vertices.len()) as u32;
        self.glyphs.push(glyph);
        for glyph in drawn.iter().filter(|glyph| !glyph.uv_rect.is_nothing()) {
            let start = glyph.first_vertex as usize;
            self.vertices.extend(row.visuals.mesh.vertices.get(start..start + 4).unwrap_or_default());
        }
    }

    /// Adds a piece. What is read from the right begins at its right and has a negative width; of a ligature and of a letter with marks the first
    /// character has all of it.
    fn add_piece(&mut self, text: &str, drawn: &[Glyph], is_right_to_left: bool) {
        let letters: Vec<char> = text.chars().collect();
        let clusters = if is_right_to_left {
            clusters(&letters, drawn.iter().take(drawn.len() - added(drawn)).rev())
        } else {
            clusters(&letters, drawn.iter())
        };
        for (characters, mut glyphs) in clusters {
            let Some(mut glyph) = glyphs.iter().find(|glyph| glyph.advance_width > 0.0).or(glyphs.first()).copied() else { continue };
            let (left, right) = (glyph.pos.x, glyph.max_x());
            let [start, end] = if is_right_to_left { [right, left] } else { [left, right] };
            (glyph.pos.x, glyph.advance_width) = (start, end - start);
            for letter in letters.get(characters).unwrap_or_default() {
                glyph.chr = *letter;
                self.add(glyph, &glyphs);
                // What follows has no glyph of its own.
                glyphs.clear();
                (glyph.pos.x, glyph.advance_width, glyph.uv_rect) = (end, 0.0, Default::default());
            }
        }
    }
}

/// How many glyphs of a piece that was drawn from right to left egui added at its end, for characters that it thought had none.
fn added(drawn: &[Glyph]) -> usize {
    drawn.iter().skip(1).rev().take_while(|glyph| glyph.advance_width == 0.0 && glyph.uv_rect.is_nothing()).count()
}

/// The characters and glyphs of a piece that belong together; both come in the order of the text. A glyph knows the first character of its
/// cluster; marks have no width and belong to the letter before.
fn clusters<'a>(letters: &[char], glyphs: impl Iterator<Item = &'a Glyph>) -> Vec<(Range<usize>, Vec<Glyph>)> {
    let mut clusters: Vec<(Range<usize>, Vec<Glyph>)> = Vec::new();
    for glyph in glyphs {
        let next = clusters.last().map_or(0, |(characters, _)| characters.start + 1);
        let found = letters.iter().skip(next).position(|letter| *letter == glyph.chr).map(|place| next + place);
        match (clusters.last_mut(), found.filter(|_| glyph.advance_width > 0.0)) {
            (Some((characters, _)), Some(start)) => {
                characters.end = start;
                clusters.push((start..letters.len(), vec![*glyph]));
            }
            (Some((_, glyphs)), None) => glyphs.push(*glyph),
            (None, _) => clusters.push((0..letters.len(), vec![*glyph])),
        }
    }
    clusters
}
