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
    index: Option<usize>,
    /// By collection and path.
    picture: Wanted<(String, String), (TextureHandle, ImageInfo)>,
}

impl Viewer {
    /// The place of what is shown among the results.
    pub(super) fn index(&self) -> Option<usize> {
        self.index
    }

    pub(super) fn open(&mut self, index: usize) {
        self.index = Some(index);
    }

    pub(super) fn close(&mut self) {
        self.index = None;
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
        self.keys(ui, hits.len());
        let index = self.index?;
        let Some(hit) = hits.get(index) else {
            // The results are others now.
            self.close();
            return None;
        };
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
            for (text, action) in actions() {
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

    fn keys(&mut self, ui: &Ui, count: usize) {
        let pressed = |key| ui.input_mut(|input| input.consume_key(Modifiers::NONE, key));
        // Where text is written, arrows move in it.
        if ui.ctx().text_edit_focused() {
            return;
        }
        let step = isize::from(pressed(Key::ArrowRight)) - isize::from(pressed(Key::ArrowLeft));
        self.index =
            self.index.and_then(|index| index.checked_add_signed(step)).map(|index| index.min(count.saturating_sub(1))).or(self.index);
        if pressed(Key::Escape) {
            self.close();
        }
    }
}
