//! One result, large.

use eframe::egui::{ColorImage, Context, Image, Key, Modifiers, Role, Sense, TextureHandle, TextureOptions, Ui, WidgetInfo};

use super::super::bidi;
use super::super::canvas::fitted;
use super::super::desk::Desk;
use super::super::strings::Text;
use super::super::wanted::Wanted;
use super::Action;
use super::grid::actions;
use crate::engine::{Hit, ImageInfo, Job, News, Reply};

/// Enough for a window, little enough to come quickly.
const PREVIEW_SIDE: usize = 1600;

#[derive(Default)]
pub(super) struct Viewer {
    /// What is shown: its place may change while people look at it.
    path: Option<String>,
    /// By collection and path.
    picture: Wanted<(String, String), (TextureHandle, ImageInfo)>,
}

impl Viewer {
    /// What is shown.
    pub(super) fn path(&self) -> Option<String> {
        self.path.clone()
    }

    pub(super) fn open(&mut self, path: String) {
        self.path = Some(path);
    }

    pub(super) fn close(&mut self) {
        self.path = None;
    }

    pub(super) fn hear(&mut self, context: &Context, reply: &Reply) {
        self.picture.hear(reply, |reply| {
            let News::Image(info) = &reply.news else { return None };
            let [height, width] = info.preview;
            let pixels = (reply.bulk.len() == height * width * 3).then(|| ColorImage::from_rgb([width, height], &reply.bulk))?;
            Some((context.load_texture("viewer", pixels, TextureOptions::LINEAR), info.clone()))
        });
    }

    /// Draws it; gives what people want to do with it, and its place among the results.
    pub(super) fn ui(&mut self, ui: &mut Ui, desk: &mut Desk, collection: &str, hits: &[Hit]) -> Option<(usize, Action)> {
        let place = |path: &String| hits.iter().position(|hit| hit.path == *path);
        // What is among the results no longer is left.
        let index = self.path.as_ref().and_then(place);
        let Some((index, hit)) = index.and_then(|index| self.keys(ui, index, hits)).and_then(|index| Some((index, hits.get(index)?)))
        else {
            self.close();
            return None;
        };
        self.path = Some(hit.path.clone());
        let engine = &mut desk.engine;
        let question = (collection.to_owned(), hit.path.clone());
        self.picture.want(question.clone(), |(collection, path)| {
            engine.send(Job::Look { collection: collection.clone(), path: path.clone(), preview_side: PREVIEW_SIDE }, Vec::new())
        });
        let mut wanted = None;
        ui.horizontal_wrapped(|ui| {
            if ui.button(desk.text(Text::Back)).on_hover_text("Esc").clicked() {
                self.close();
            }
            for (text, action) in actions(desk) {
                if ui.button(desk.text(text)).clicked() {
                    wanted = Some((index, action));
                }
            }
        });
        let size = self.picture.answered().filter(|(asked, _)| **asked == question).map(|(_, (_, info))| [info.width, info.height]);
        let size = size.map(|[width, height]| format!(" · {width} × {height}")).unwrap_or_default();
        let score = hit.score.map(|score| format!(" · {score:.3}")).unwrap_or_default();
        let line = format!("{} / {} · {}{size}{score}", index + 1, hits.len(), hit.path);
        ui.label(bidi::words(ui, &line));
        match self.picture.failure() {
            Some(failure) => drop(ui.colored_label(ui.visuals().error_fg_color, &failure.message)),
            None => self.paint(ui, &hit.path),
        }
        wanted
    }

    fn paint(&self, ui: &mut Ui, path: &str) {
        let Some((texture, _)) = self.picture.answer() else {
            ui.spinner();
            return;
        };
        let space = ui.available_rect_before_wrap();
        let response = ui.allocate_rect(space, Sense::hover());
        response.widget_info(|| WidgetInfo::labeled(Role::Image, true, path));
        Image::new(texture).corner_radius(6.0).paint_at(ui, fitted(texture.aspect_ratio(), space));
    }

    /// Where the keys lead to; nowhere if back to the others.
    fn keys(&self, ui: &Ui, index: usize, hits: &[Hit]) -> Option<usize> {
        // Where text is written, arrows move in it.
        if ui.ctx().text_edit_focused() {
            return Some(index);
        }
        let pressed = |key| ui.input_mut(|input| input.consume_key(Modifiers::NONE, key));
        let step = isize::from(pressed(Key::ArrowRight)) - isize::from(pressed(Key::ArrowLeft));
        let index = index.saturating_add_signed(step).min(hits.len().saturating_sub(1));
        (!pressed(Key::Escape)).then_some(index)
    }
}
