//! Text of right-to-left scripts in the order in which it is read (Unicode's UAX #9).
//!
//! egui 0.37 shapes words, Arabic ones too, but sets them from left to right, whatever their script. Here a paragraph with right-to-left
//! letters is broken into lines, each line is cut into pieces that egui does draw right, and these are laid out in their visual order
//! (`row.rs`). All other text is egui's own business.
//!
//! A paragraph's direction is that of its first letter. It stands at the left, as everything does; lines of one that is read from the right
//! end at the same place there.

mod row;

use std::ops::Range;
use std::sync::Arc;

use eframe::egui::epaint::text::FontsView;
use eframe::egui::text::{ByteIndex, CCursor, CCursorRange, LayoutJob, LayoutSection, TextFormat, TextWrapping};
use eframe::egui::text_edit::TextEditOutput;
use eframe::egui::{Color32, Galley, Response, TextBuffer, TextEdit, TextStyle, Ui, Vec2, WidgetText, emath::GuiRounding as _, vec2};
use unicode_segmentation::UnicodeSegmentation as _;

use self::row::Paragraph;

/// A text of people's own, for a widget: as egui would take it, with its letters in order.
pub(super) fn words(ui: &Ui, text: &str) -> WidgetText {
    if !is_right_to_left(text) {
        return text.into();
    }
    let mut job = LayoutJob::simple_format(text.to_owned(), format(ui, Color32::PLACEHOLDER));
    job.wrap = TextWrapping::from_wrap_mode_and_width(ui.wrap_mode(), ui.available_width());
    ui.fonts_mut(|fonts| layout(fonts, job)).into()
}

/// For the `layouter` of a field that is then shown by [`field`].
pub(super) fn layouter(is_multiline: bool) -> impl FnMut(&Ui, &dyn TextBuffer, f32) -> Arc<Galley> {
    move |ui, text, width| {
        let mut job = LayoutJob::simple_format(text.as_str().to_owned(), format(ui, ui.visuals().widgets.inactive.text_color()));
        job.break_on_newline = is_multiline;
        job.wrap.max_width = if is_multiline { width } else { f32::INFINITY };
        job.keep_trailing_whitespace = true;
        ui.fonts_mut(|fonts| layout(fonts, job))
    }
}

/// Letters of a widget's size.
fn format(ui: &Ui, colour: Color32) -> TextFormat {
    let font = TextStyle::Body.resolve(ui.style());
    let height = ui.fonts_mut(|fonts| fonts.row_height(&font)) + ui.spacing().extra_text_line_spacing;
    TextFormat { line_height: Some(height), ..TextFormat::simple(font, colour) }
}

/// Shows a field. Its caret stands where the next character begins, at the right of what is read from the right; at the end of a row it stands
/// where the row's paragraph ends, at the left of one from the right.
///
/// What would take another editor than egui's: arrows move the caret in the order in which the text is read, not in which it is seen; while a
/// button is held, what is selected shows as if all were read from the left, and is what it should be when the button is let go; a selection across
/// both directions is painted as one stretch; a double click selects a word that may be another one.
pub(super) fn field(ui: &mut Ui, field: TextEdit<'_>) -> Response {
    let output = field.show(ui);
    let response = &output.response;
    // A quick click begins and ends in one frame.
    let is_set = response.is_pointer_button_down_on() || response.clicked() && !response.double_clicked() && !response.triple_clicked();
    if is_set && is_right_to_left(output.galley.text()) {
        place_caret(ui, &output);
    }
    output.response.response
}

fn place_caret(ui: &Ui, output: &TextEditOutput) {
    let mut state = output.state.clone();
    let (Some(pointer), Some(range)) = (output.response.interact_pointer_pos(), state.cursor.char_range()) else { return };
    let caret = caret_at(&output.galley, pointer - output.galley_pos);
    let begins = ui.input(|input| input.pointer.any_pressed() && !input.modifiers.shift);
    let range = if begins { CCursorRange::one(caret) } else { CCursorRange { primary: caret, ..range } };
    state.cursor.set_char_range(Some(range));
    state.store(ui.ctx(), output.response.id);
}

/// The caret that is nearest to a place of a galley.
fn caret_at(galley: &Galley, place: Vec2) -> CCursor {
    let mut start = 0;
    for (index, row) in galley.rows.iter().enumerate() {
        if place.y < row.max_y() || index + 1 == galley.rows.len() {
            let distance = |column: usize| (row.pos.x + row.x_offset(column.into()) - place.x).abs();
            let column = (0..=row.glyphs.len()).min_by(|a, b| distance(*a).total_cmp(&distance(*b))).unwrap_or_default();
            return CCursor { index: (start + column).into(), prefer_next_row: column < row.glyphs.len() };
        }
        start += row.char_count_including_newline().0;
    }
    CCursor::default()
}

/// Whether any letter, or a sign for directions, is read from the right; without a look into Unicode's tables, since it is asked in every frame.
fn is_right_to_left(text: &str) -> bool {
    let is_strong = |letter| {
        matches!(letter, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}' | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
            || matches!(letter, '\u{200f}' | '\u{202b}' | '\u{202e}' | '\u{2067}')
    };
    !text.is_ascii() && text.chars().any(is_strong)
}

/// Lays out a text as [`FontsView::layout_job`] does, and what has right-to-left letters in visual order. Each row then has one glyph per
/// character in the text's own order, on which egui's carets and selections rely; only their places are the visual ones.
pub(super) fn layout(fonts: &mut FontsView<'_>, job: LayoutJob) -> Arc<Galley> {
    if !is_right_to_left(&job.text) {
        return fonts.layout_job(job);
    }
    let mut lines = Lines { galleys: Vec::new(), are_last: Vec::new(), widths: Vec::new(), is_elided: false };
    for range in paragraphs(&job) {
        let room = job.wrap.max_rows.saturating_sub(lines.are_last.len());
        if room == 0 {
            lines.is_elided = true;
            break;
        }
        let part = part(&job, range, room);
        if is_right_to_left(&part.text) {
            lines.add(fonts, &part);
        } else {
            let galley = fonts.layout_job(part);
            lines.are_last.extend((1..=galley.rows.len()).map(|row| row == galley.rows.len()));
            lines.widths.extend(galley.rows.iter().map(|_| None));
            lines.galleys.push(galley);
        }
    }
    Arc::new(lines.joined(job))
}

/// Where the paragraphs are, without the line ends between them.
fn paragraphs(job: &LayoutJob) -> Vec<Range<usize>> {
    let mut start = 0;
    let ends = job.text.match_indices('\n').map(|(end, _)| end).filter(|_| job.break_on_newline).chain([job.text.len()]);
    ends.map(|end| std::mem::replace(&mut start, end + 1)..end).collect()
}

/// One paragraph as a text of its own, with as many rows as there is room for.
fn part(job: &LayoutJob, range: Range<usize>, room: usize) -> LayoutJob {
    let mut part = LayoutJob { text: job.text.get(range.clone()).unwrap_or_default().to_owned(), sections: Vec::new(), ..job.clone() };
    part.wrap.max_rows = room;
    for section in &job.sections {
        let [start, end] = [section.byte_range.start, section.byte_range.end].map(|end| end.0.clamp(range.start, range.end) - range.start);
        // Also an empty paragraph has a height.
        if start < end || part.text.is_empty() && part.sections.is_empty() {
            part.sections.push(LayoutSection { byte_range: ByteIndex(start)..ByteIndex(end), ..section.clone() });
        }
    }
    part
}

/// Rows as they are found.
struct Lines {
    galleys: Vec<Arc<Galley>>,
    /// For each row, whether its paragraph ends there.
    are_last: Vec<bool>,
    /// For each row of a paragraph that is read from the right, how far right that begins, in points.
    widths: Vec<Option<f32>>,
    is_elided: bool,
}

impl Lines {
    /// Breaks a paragraph into lines: after spaces, and within words that have no room in one.
    fn add(&mut self, fonts: &mut FontsView<'_>, job: &LayoutJob) {
        let paragraph = Paragraph::new(job, &job.text);
        let (mut start, mut rows, length) = (0, Vec::new(), job.text.len());
        while start < length {
            let end = line_end(fonts, &paragraph, start);
            if end < length && rows.len() + 1 == job.wrap.max_rows {
                rows.push(elided(fonts, &paragraph, start));
                self.is_elided = true;
                break;
            }
            rows.push(paragraph.row(fonts, start..end));
            start = end;
        }
        let widest = rows.iter().map(width).fold(0.0, f32::max);
        self.are_last.extend((1..=rows.len()).map(|row| row == rows.len()));
        self.widths.extend(rows.iter().map(|_| paragraph.is_right_to_left().then_some(widest)));
        self.galleys.extend(rows.into_iter().map(Arc::new));
    }

    fn joined(self, job: LayoutJob) -> Galley {
        let pixels_per_point = self.galleys.first().map_or(1.0, |galley| galley.pixels_per_point);
        let mut galley = Galley::concat(Arc::new(job), &self.galleys, pixels_per_point);
        galley.elided |= self.is_elided;
        let count = galley.rows.len();
        for (index, ((placed, is_last), width)) in galley.rows.iter_mut().zip(self.are_last).zip(self.widths).enumerate() {
            placed.ends_with_newline = is_last && index + 1 < count;
            // Where egui paints a selection, a row begins at 0 and ends at its width: from the right that is a negative one.
            if let Some(right) = width {
                let row = Arc::make_mut(&mut placed.row);
                let own = row.size.x.round_to_pixels(pixels_per_point);
                row.glyphs.iter_mut().for_each(|glyph| glyph.pos.x -= own);
                row.visuals.mesh.translate(vec2(-own, 0.0));
                row.visuals.mesh_bounds = row.visuals.mesh_bounds.translate(vec2(-own, 0.0));
                row.size.x = -own;
                placed.pos.x += right.round_to_pixels(pixels_per_point);
            }
        }
        galley
    }
}

fn width(galley: &Galley) -> f32 {
    galley.rows.first().map_or(0.0, |row| row.size.x)
}

/// Whether a part of a paragraph has room in one line, but for spaces at its end.
fn fits(fonts: &mut FontsView<'_>, paragraph: &Paragraph<'_>, line: Range<usize>) -> bool {
    let text = paragraph.text.get(line.clone()).unwrap_or_default();
    let end = line.start + text.trim_end().len();
    width(&paragraph.row(fonts, line.start..end)) <= paragraph.job.effective_wrap_width()
}

/// Where a line ends that begins at `start` and has no room for everything. It is not empty.
fn line_end(fonts: &mut FontsView<'_>, paragraph: &Paragraph<'_>, start: usize) -> usize {
    let rest = paragraph.text.get(start..).unwrap_or_default();
    let ends = |pieces: &mut dyn Iterator<Item = &str>| {
        let sum = |end: &mut usize, piece: &str| {
            *end += piece.len();
            Some(*end)
        };
        pieces.scan(start, sum).collect::<Vec<usize>>()
    };
    let words = ends(&mut rest.split_inclusive(char::is_whitespace));
    let kept = fitting(&words, |end| fits(fonts, paragraph, start..end));
    if let Some(end) = kept.checked_sub(1).and_then(|last| words.get(last)) {
        return *end;
    }
    let letters = ends(&mut rest.graphemes(true));
    let kept = fitting(&letters, |end| fits(fonts, paragraph, start..end)).max(1);
    letters.get(kept - 1).copied().unwrap_or(paragraph.text.len())
}

/// How many of these ends there is room for. It begins with the nearest: laying out all that follows a line, for each line, would take forever.
fn fitting(ends: &[usize], mut fits: impl FnMut(usize) -> bool) -> usize {
    let (mut kept, mut step) = (0, 1);
    while ends.get(kept + step - 1).is_some_and(|end| fits(*end)) {
        kept += step;
        step *= 2;
    }
    let between = ends.get(kept..ends.len().min(kept + step - 1)).unwrap_or_default();
    kept + between.partition_point(|end| fits(*end))
}

/// The last line there is room for, cut where the sign for that fits behind it.
fn elided(fonts: &mut FontsView<'_>, paragraph: &Paragraph<'_>, start: usize) -> Galley {
    let rest = paragraph.text.get(start..).unwrap_or_default();
    let sign = paragraph.job.wrap.overflow_character.map(String::from).unwrap_or_default();
    let mut cut = |end: usize| {
        let text = format!("{}{sign}", rest.get(..end).unwrap_or_default());
        let cut = paragraph.of_same_direction(&text);
        cut.row(fonts, 0..text.len())
    };
    let ends: Vec<usize> = rest.grapheme_indices(true).map(|(end, _)| end).collect();
    let kept = fitting(&ends, |end| width(&cut(end)) <= paragraph.job.effective_wrap_width());
    cut(kept.checked_sub(1).and_then(|last| ends.get(last)).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use eframe::egui::epaint::text::Fonts;
    use eframe::egui::{Event, FontData, FontDefinitions, FontFamily, FontId, Role};
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable as _;
    use proptest::prelude::*;

    use super::*;

    /// The page's own letters, and those that it fetches.
    fn fonts() -> Fonts {
        let mut definitions = FontDefinitions::empty();
        let latin: &[u8] = include_bytes!("../../assets/fonts/Inter-Regular.otf");
        let arabic: &[u8] = include_bytes!("../../assets/fonts/NotoSansArabic-Regular.ttf");
        for (name, file) in [("latin", latin), ("arabic", arabic)] {
            definitions.font_data.insert(name.to_owned(), Arc::new(FontData::from_static(file)));
            definitions.families.entry(FontFamily::Proportional).or_default().push(name.to_owned());
        }
        Fonts::new(Default::default(), definitions)
    }

    fn job(text: &str, width: f32) -> LayoutJob {
        LayoutJob::simple(text.to_owned(), FontId::proportional(14.0), Color32::BLACK, width)
    }

    fn laid_out(job: LayoutJob) -> Arc<Galley> {
        layout(&mut fonts().with_pixels_per_point(1.0), job)
    }

    /// The characters of each row, as they stand from left to right. Those without a width are left out.
    fn seen(galley: &Galley) -> Vec<String> {
        let row = |row: &eframe::egui::epaint::text::PlacedRow| {
            let mut glyphs: Vec<_> = row.glyphs.iter().filter(|glyph| glyph.advance_width != 0.0).collect();
            glyphs.sort_by(|a, b| (a.pos.x + a.max_x()).total_cmp(&(b.pos.x + b.max_x())));
            glyphs.iter().map(|glyph| glyph.chr).collect()
        };
        galley.rows.iter().map(row).collect()
    }

    fn text(galley: &Galley) -> String {
        galley.rows.iter().map(|row| row.text() + if row.ends_with_newline { "\n" } else { "" }).collect()
    }

    #[test]
    fn lines_are_read_as_unicode_says() {
        // Each is derived by hand from the rules of UAX #9 that are named.
        for (logical, visual) in [
            // P2, L2: a word, and words.
            ("قطة", "ةطق"),
            ("قطة سوداء", "ءادوس ةطق"),
            ("שלום עולם", "םלוע םולש"),
            // W7, N1: the number belongs to the word before it.
            ("قطة black 12 سوداء", "ءادوس black 12 ةطق"),
            // W2: after an Arabic word it stands alone, and from left to right.
            ("سعر 12 كتب", "بتك 12 رعس"),
            ("قطة١٢", "١٢ةطق"),
            ("كتب ۱۴۰۳", "۱۴۰۳ بتك"),
            // P2: the first letter decides.
            ("a قطة b", "a ةطق b"),
            ("a 1 قطة", "a 1 ةطق"),
            // N0, N2: brackets and the end of the sentence follow the paragraph.
            ("قطة (black)!", "!)black( ةطق"),
            ("see (قطة)!", "see (ةطق)!"),
            // L1: spaces at the end stand where it ends.
            ("قطة  ", "  ةطق"),
        ] {
            let galley = laid_out(job(logical, f32::INFINITY));
            assert_eq!(seen(&galley), [visual], "{logical}");
            assert_eq!(text(&galley), logical);
        }
    }

    #[test]
    fn text_without_such_letters_is_egui_s_own() {
        let mut fonts = fonts();
        let fonts = &mut fonts.with_pixels_per_point(1.0);
        for text in ["a black cat", "чёрная кошка", "काली बिल्ली", "黒い猫", ""] {
            assert!(Arc::ptr_eq(&fonts.layout_job(job(text, 50.0)), &layout(fonts, job(text, 50.0))), "{text}");
        }
    }

    #[test]
    fn brackets_are_mirrored() {
        let mut fonts = fonts();
        let fonts = &mut fonts.with_pixels_per_point(1.0);
        // All at the left edge, where equal shapes have one place in the atlas.
        let mut drawn = |text: &str, at: usize| layout(fonts, job(text, f32::INFINITY)).rows[0].glyphs[at];
        let mirrored = drawn("ق(", 1);
        assert_eq!((mirrored.chr, mirrored.uv_rect), ('(', drawn(")", 0).uv_rect));
        assert_ne!(mirrored.uv_rect, drawn("(", 0).uv_rect);
    }

    #[test]
    fn lines_break_in_the_order_of_the_text() {
        let words = "قطة سوداء كبيرة على الطاولة";
        let galley = laid_out(job(words, 75.0));
        assert_eq!(text(&galley), words);
        let rows = seen(&galley);
        assert!(rows.len() > 1 && rows[0].ends_with("ةطق") && rows.last().is_some_and(|row| !row.contains("ةطق")), "{rows:?}");
        for row in &galley.rows {
            // All begin at the same place on the right, and none is too long but for its space.
            assert_eq!(row.pos.x, galley.rows[0].pos.x);
            assert!(row.size.x < 0.0 && -row.size.x <= 75.0 + 5.0, "{}", row.size.x);
        }
        // Not even a word has room.
        let galley = laid_out(job(words, 12.0));
        assert_eq!(text(&galley), words);
        assert!(galley.rows.len() > 10);
    }

    #[test]
    fn what_fits_is_found_wherever_it_ends() {
        for count in 0..20 {
            let ends: Vec<usize> = (0..count).collect();
            for room in 0..=count {
                assert_eq!(fitting(&ends, |end| end < room), room, "{count}");
            }
        }
    }

    #[test]
    fn what_has_no_room_ends_with_a_sign_at_its_left() {
        let mut job = job("قطة سوداء كبيرة على الطاولة", 75.0);
        job.wrap = TextWrapping::truncate_at_width(75.0);
        let galley = laid_out(job);
        let rows = seen(&galley);
        assert!(galley.elided && galley.size().x <= 75.0);
        assert!(rows.len() == 1 && rows[0].starts_with('…') && rows[0].ends_with("ءادوس ةطق"), "{rows:?}");
    }

    #[test]
    fn every_line_is_a_paragraph_of_its_own() {
        let galley = laid_out(job("cat\nقطة سوداء\n\n猫\n", 400.0));
        assert_eq!(seen(&galley), ["cat", "ءادوس ةطق", "", "猫", ""]);
        assert_eq!(text(&galley), "cat\nقطة سوداء\n\n猫\n");
        let tops: Vec<f32> = galley.rows.iter().map(|row| row.pos.y).collect();
        assert!(tops.is_sorted_by(|a, b| a + 10.0 < *b), "{tops:?}");
    }

    #[test]
    fn carets_stand_before_what_is_read_next() {
        let galley = laid_out(job("قطة ab", f32::INFINITY));
        let at = |index: usize| galley.pos_from_cursor(CCursor::new(index)).left();
        // From the right edge to the left in the word; at the left of each letter that is read from the left; at the end on the left.
        assert!(at(0) > at(1) && at(1) > at(2) && at(2) > at(3), "{:?}", [0, 1, 2, 3].map(at));
        assert!(at(4) < at(5) && at(5) < at(3), "{:?}", [4, 5, 3].map(at));
        assert!((at(0) - galley.size().x).abs() <= 1.0 && at(6).abs() <= 1.0, "{:?} of {}", [0, 6].map(at), galley.size().x);
        for index in [0, 1, 2, 5] {
            assert_eq!(caret_at(&galley, vec2(at(index), 5.0)).index.0, index);
        }
    }

    #[test]
    fn a_ligature_is_one_glyph_of_two_characters() {
        let galley = laid_out(job("لا", f32::INFINITY));
        let widths: Vec<bool> = galley.rows[0].glyphs.iter().map(|glyph| glyph.advance_width < 0.0).collect();
        assert_eq!((widths, galley.rows[0].visuals.mesh.vertices.len()), (vec![true, false], 4));
    }

    #[test]
    fn a_click_sets_the_caret_where_it_is_seen() {
        let show = |ui: &mut Ui, text: &mut String| {
            let mut layouter = layouter(false);
            field(ui, TextEdit::singleline(text).layouter(&mut layouter).desired_width(300.0)).accessible_name("word");
        };
        // Boxes take the place of letters: there is no font.
        let builder = Harness::builder().with_size(vec2(320.0, 60.0)).allow_missing_glyphs();
        let mut harness = builder.build_ui_state(show, "قطة سوداء".to_owned());
        for (share, letter, is_quick) in [(0.99, "م", false), (0.01, "ن", false), (0.99, "ل", true), (0.01, "ي", true)] {
            let place = harness.get_by_role(Role::TextInput).rect().lerp_inside(vec2(share, 0.5));
            harness.drag_at(place);
            if !is_quick {
                harness.run();
            }
            harness.drop_at(place);
            harness.run();
            harness.event(Event::Text(letter.to_owned()));
            harness.run();
        }
        assert_eq!(harness.state(), "لمقطة سوداءني");
    }

    proptest! {
        #[test]
        fn no_character_is_lost(
            text in proptest::collection::vec(prop::sample::select("ab 1٢۳قطةلاَّי(«…\u{200c}\u{200f}\u{202e}猫👩\u{200d}🚀".chars().collect::<Vec<_>>()), 0..24),
            width in prop::sample::select(vec![8.0, 40.0, f32::INFINITY]),
        ) {
            // A letter that is read from the right is among them: what has none is egui's.
            let logical: String = text.into_iter().chain(['ق']).collect();
            let galley = laid_out(job(&logical, width));
            for row in &galley.rows {
                prop_assert!(row.glyphs.is_sorted_by_key(|glyph| glyph.first_vertex));
            }
            let vertices: usize = galley.rows.iter().map(|row| row.visuals.mesh.vertices.len()).sum();
            prop_assert_eq!(galley.num_vertices, vertices);
            prop_assert_eq!(super::tests::text(&galley), logical);
        }
    }
}
