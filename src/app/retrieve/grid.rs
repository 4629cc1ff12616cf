//! Results as rows of pictures that fill the width.

use std::collections::HashMap;

use eframe::egui::{
    Align2, Color32, ColorImage, Context, FontId, Image, Rect, Response, Role, ScrollArea, Sense, StrokeKind, TextureHandle,
    TextureOptions, Ui, UiBuilder, WidgetInfo, pos2, vec2,
};

use super::super::bidi;
use super::super::desk::Desk;
use super::super::strings::Text;
use super::super::theme::ACCENT;
use super::{Action, Workspace};
use crate::engine::{Hit, Job, News, Reply};

/// Height that rows come near to, in points.
const HEIGHT: f32 = 150.0;
const GAP: f32 = 6.0;
/// Shapes beyond these would be slivers: they are cut.
const ASPECTS: [f32; 2] = [0.4, 3.0];
/// Small pictures that are asked for at once: so few that a search in between is not noticed.
const AT_ONCE: usize = 24;
/// Small pictures that are kept on the GPU.
const KEPT: usize = 600;

#[derive(Default)]
pub(super) struct Grid {
    pub(super) shows_scores: bool,
    /// What shall have the focus next.
    pub(super) focused: Option<String>,
    rows: Vec<Row>,
    /// The width that rows were made for; none if they have to be made anew.
    width: Option<f32>,
    thumbnails: HashMap<String, Thumbnail>,
    /// The job that brings some, and which.
    coming: Option<(u64, Vec<String>)>,
    /// Pictures that the map lacks.
    wanted_elsewhere: Vec<String>,
    /// Goes up with every frame.
    now: u64,
}

/// Pictures beside each other.
#[derive(Debug, PartialEq)]
struct Row {
    first: usize,
    /// Left edge and width of each.
    places: Vec<[f32; 2]>,
    top: f32,
    height: f32,
}

/// A small picture; none if there is none to be had.
struct Thumbnail {
    texture: Option<TextureHandle>,
    used: u64,
}

impl Grid {
    /// Pictures may have changed, or are those of another folder.
    pub(super) fn forget(&mut self) {
        self.thumbnails.clear();
        self.coming = None;
        self.width = None;
    }

    /// There are other results. What could not be had is tried again.
    pub(super) fn arrange_anew(&mut self) {
        self.thumbnails.retain(|_, thumbnail| thumbnail.texture.is_some());
        self.width = None;
    }

    pub(super) fn hear(&mut self, context: &Context, reply: &Reply) {
        let Some((_, paths)) = self.coming.take_if(|(id, _)| *id == reply.id && reply.news.is_last()) else { return };
        let sizes = match &reply.news {
            News::Thumbnails { sizes } => sizes.as_slice(),
            _ => &[],
        };
        let mut pixels = reply.bulk.as_slice();
        for (index, path) in paths.into_iter().enumerate() {
            let [height, width] = sizes.get(index).copied().unwrap_or_default();
            let own = pixels.split_off(..height * width * 3).unwrap_or_default();
            let is_there = height * width > 0 && own.len() == height * width * 3;
            let texture = is_there.then(|| context.load_texture(&path, ColorImage::from_rgb([width, height], own), TextureOptions::LINEAR));
            self.thumbnails.insert(path, Thumbnail { texture, used: self.now });
        }
    }

    /// Draws them; gives what people want to do with one, and its place among the results.
    pub(super) fn ui(&mut self, ui: &mut Ui, desk: &mut Desk, collection: &str, hits: &[Hit], groups: &[usize]) -> Option<(usize, Action)> {
        self.now += 1;
        let width = ui.available_width() - 12.0;
        if self.width != Some(width) {
            self.width = Some(width);
            self.rows = rows(hits, groups, width);
        }
        if hits.is_empty() {
            ui.vertical_centered(|ui| {
                ui.add_space(ui.available_height() * 0.3);
                ui.label(desk.text(Text::NothingFound));
            });
            return None;
        }
        let total = self.rows.last().map_or(0.0, |row| row.top + row.height);
        let mut action = None;
        let mut missing = std::mem::take(&mut self.wanted_elsewhere);
        ScrollArea::vertical().auto_shrink([false, false]).show_viewport(ui, |ui, viewport| {
            ui.set_height(total);
            let origin = ui.max_rect().min;
            // A row more on either side, for the keyboard, and for whoever scrolls.
            let margin = viewport.expand(HEIGHT * 1.5);
            for row in self.rows.iter().filter(|row| row.top < margin.max.y && row.top + row.height > margin.min.y) {
                for (index, [left, width]) in (row.first..).zip(&row.places) {
                    let Some(hit) = hits.get(index) else { continue };
                    let rect = Rect::from_min_size(origin + vec2(*left, row.top), vec2(*width, row.height));
                    let texture = texture(&mut self.thumbnails, self.now, &hit.path, &mut missing);
                    // Ids by path: whoever has the focus keeps it while results come and go.
                    let builder = UiBuilder::new().max_rect(rect).id_salt(&hit.path);
                    let (response, wanted) = ui.scope_builder(builder, |ui| cell(ui, desk, hit, texture, self.shows_scores)).inner;
                    if self.focused.take_if(|path| *path == hit.path).is_some() {
                        response.request_focus();
                    }
                    action = wanted.map(|wanted| (index, wanted)).or(action.take());
                }
            }
        });
        self.fetch(desk, collection, missing);
        action
    }

    /// A small picture for the map; it comes with those of the results.
    pub(super) fn thumbnail(&mut self, path: &str) -> Option<&TextureHandle> {
        texture(&mut self.thumbnails, self.now, path, &mut self.wanted_elsewhere)
    }

    /// Asks for small pictures, and forgets those that were not seen for long.
    fn fetch(&mut self, desk: &mut Desk, collection: &str, mut missing: Vec<String>) {
        if self.coming.is_some() || missing.is_empty() {
            return;
        }
        missing.truncate(AT_ONCE);
        let job = Job::Thumbnails { collection: collection.to_owned(), paths: missing.clone() };
        self.coming = Some((desk.engine.send(job, Vec::new()), missing));
        if self.thumbnails.len() > KEPT {
            let mut ages: Vec<u64> = self.thumbnails.values().map(|thumbnail| thumbnail.used).collect();
            ages.sort_unstable();
            let oldest = ages.get(ages.len() - KEPT).copied().unwrap_or_default();
            self.thumbnails.retain(|_, thumbnail| thumbnail.used >= oldest.min(self.now));
        }
    }
}

/// A small picture that is there, or nothing and one more that is missing.
fn texture<'a>(
    thumbnails: &'a mut HashMap<String, Thumbnail>,
    now: u64,
    path: &str,
    missing: &mut Vec<String>,
) -> Option<&'a TextureHandle> {
    match thumbnails.get_mut(path) {
        Some(thumbnail) => {
            thumbnail.used = now;
            thumbnail.texture.as_ref()
        }
        None => {
            missing.push(path.to_owned());
            None
        }
    }
}

/// One picture; gives what people want to do with it, too.
fn cell(ui: &mut Ui, desk: &Desk, hit: &Hit, texture: Option<&TextureHandle>, shows_scores: bool) -> (Response, Option<Action>) {
    let rect = ui.max_rect();
    let response = ui.allocate_rect(rect, Sense::click());
    let score = hit.score.map(|score| format!("{score:.3}"));
    let name = format!("{}{}", hit.path, score.as_ref().map(|score| format!(" · {score}")).unwrap_or_default());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, &name));
    if response.gained_focus() {
        response.scroll_to_me(None);
    }
    match texture {
        Some(texture) => paint(ui, rect, texture),
        None => drop(ui.painter().rect_filled(rect, 6.0, ui.visuals().faint_bg_color)),
    }
    if let Some(score) = score.filter(|_| shows_scores) {
        let (font, white) = (FontId::proportional(12.0), Color32::WHITE);
        let place = rect.left_bottom() + vec2(6.0, -6.0);
        let galley = ui.painter().layout_no_wrap(score, font, white);
        let back = Align2::LEFT_BOTTOM.anchor_size(place, galley.size()).expand2(vec2(4.0, 2.0));
        ui.painter().rect_filled(back, 4.0, Color32::from_black_alpha(150));
        ui.painter().galley(back.min + vec2(4.0, 2.0), galley, white);
    }
    if response.has_focus() || response.hovered() {
        ui.painter().rect_stroke(rect, 6.0, (2.0, ACCENT), StrokeKind::Inside);
    }
    let mut action = response.clicked().then_some(Action::Open);
    menu(desk, &response, &mut action);
    (response.on_hover_text(bidi::words(ui, &name)), action)
}

/// What can be done with a picture.
fn menu(desk: &Desk, response: &Response, action: &mut Option<Action>) {
    response.context_menu(|ui| {
        for (text, wanted) in actions(desk) {
            if ui.button(desk.text(text)).clicked() {
                *action = Some(wanted);
            }
        }
    });
}

/// What can be done with a picture, in the order of menus.
pub(super) fn actions(desk: &Desk) -> impl Iterator<Item = (Text, Action)> + use<> {
    let everywhere = [
        (Text::MoreLikeThis, Action::Like),
        (Text::LessLikeThis, Action::Unlike),
        (Text::Classify, Action::Look(Workspace::Classify)),
        (Text::Features, Action::Look(Workspace::Features)),
    ];
    // A page does not know where its files are.
    let is_page = desk.host.is_page();
    let in_windows = [(Text::Reveal, Action::Reveal), (Text::CopyFile, Action::CopyFile), (Text::CopyPath, Action::CopyPath)];
    everywhere.into_iter().chain(in_windows.into_iter().filter(move |_| !is_page))
}

/// The middle of a picture, where its place has another shape.
fn paint(ui: &Ui, rect: Rect, texture: &TextureHandle) {
    let (own, place) = (texture.aspect_ratio(), rect.aspect_ratio());
    let (width, height) = if own > place { (place / own, 1.0) } else { (1.0, own / place) };
    let part = Rect::from_center_size(pos2(0.5, 0.5), vec2(width, height));
    Image::new(texture).uv(part).corner_radius(6.0).paint_at(ui, rect);
}

/// Rows that fill `width`: each as high as makes its pictures fit; the last one of a group, or of all, is not stretched.
fn rows(hits: &[Hit], groups: &[usize], width: f32) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let aspect = |hit: &Hit| {
        let [height, width] = hit.size;
        let own = if height * width == 0 { 1.0 } else { width as f32 / height as f32 };
        own.clamp(ASPECTS[0], ASPECTS[1])
    };
    let mut ends = groups.iter().scan(0, |end, count| {
        *end += count;
        Some(*end)
    });
    let (mut start, mut last) = (0, ends.next().unwrap_or(hits.len()).min(hits.len()));
    while start < last {
        let (mut sum, mut end) = (0.0, start);
        let room = |count: usize| (width - GAP * count.saturating_sub(1) as f32).max(1.0);
        while end < last && sum * HEIGHT < room(end - start) {
            sum += hits.get(end).map_or(1.0, aspect);
            end += 1;
        }
        let height = (room(end - start) / sum.max(f32::MIN_POSITIVE)).min(HEIGHT * if end == last { 1.0 } else { 1.5 });
        let mut left = 0.0;
        let place = |hit: &Hit| {
            let place = [left, aspect(hit) * height];
            left += place[1] + GAP;
            place
        };
        let places = hits.get(start..end).unwrap_or_default().iter().map(place).collect();
        let top = rows.last().map_or(0.0, |row| row.top + row.height + GAP);
        rows.push(Row { first: start, places, top, height });
        start = end;
        if start == last {
            last = ends.next().unwrap_or(hits.len()).min(hits.len());
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_fill_the_width_and_hold_every_picture_once() {
        let hit = |number: usize| Hit { path: number.to_string(), score: None, size: [[30, 40], [40, 30], [0, 0], [10, 900]][number % 4] };
        let hits: Vec<Hit> = (0..50).map(hit).collect();
        for width in [300.0, 1_000.0] {
            let rows = rows(&hits, &[], width);
            assert_eq!(rows.iter().map(|row| row.places.len()).sum::<usize>(), 50);
            for pair in rows.windows(2) {
                let [row, next] = pair else { continue };
                assert_eq!(next.first, row.first + row.places.len());
                assert_eq!(next.top, row.top + row.height + GAP);
                let [left, last] = row.places.last().unwrap();
                assert!((left + last - width).abs() < 0.1, "{row:?}");
                assert!((0.2 * HEIGHT..=1.5 * HEIGHT).contains(&row.height));
            }
            assert!(rows.last().unwrap().height <= HEIGHT);
        }
        assert!(rows(&[], &[], 100.0).is_empty());
        // A group begins a row of its own.
        let firsts: Vec<usize> = rows(&hits[..9], &[2, 3, 4], 10_000.0).iter().map(|row| row.first).collect();
        assert_eq!(firsts, [0, 2, 5]);
    }
}
