//! The stage: emoji that people move while the model says what it sees.

mod compose;
mod frame;
mod palette;
mod results;
mod scene;

use eframe::egui::{Button, CentralPanel, Color32, Context, Panel, Rect, ScrollArea, Sense, StrokeKind, Ui, vec2};

use self::palette::Palette;
use self::results::Results;
use self::scene::{Item, Scene};
use super::assets::Assets;
use super::bidi;
use super::desk::Desk;
use super::labels::Labels;
use super::layout::{beside, column, is_narrow};
use super::link;
use super::strings::Text;
use super::theme::ACCENT;
use crate::engine::Reply;

pub(super) struct Stage {
    palette: Palette,
    scene: Scene,
    phrases: Labels,
    results: Results,
    selected: Option<usize>,
    shows_grid: bool,
    /// The emoji that is being dragged from the palette.
    carried: Option<usize>,
    /// Counts surprises, so that each is another.
    surprises: usize,
}

impl Stage {
    /// The scene of a link, or one to begin with.
    pub(super) fn new(assets: &Assets, fragment: &str, language: &str) -> Self {
        let palette = Palette::new(assets);
        let place_of = |emoji: &str| palette.place_of(emoji);
        let scene = link::value(fragment, "stage").and_then(|scene| Scene::from_link(&scene, place_of));
        let phrases = link::value(fragment, "words").map(|words| Labels::new(words.split('\n')));
        let mut stage = Self {
            scene: scene.unwrap_or_else(|| first_scene(&palette)),
            phrases: phrases.unwrap_or_default(),
            palette,
            results: Results::default(),
            selected: None,
            shows_grid: true,
            carried: None,
            surprises: 0,
        };
        if stage.phrases.list().is_empty() {
            stage.phrases = stage.first_phrases(language);
        }
        stage
    }

    /// What is on the stage, and a few things that are not.
    fn first_phrases(&self, language: &str) -> Labels {
        let beside = ["🍕", "🚀", "🐙", "🎸", "🌵"].iter().filter_map(|emoji| self.palette.place_of(emoji));
        let mut places: Vec<usize> = Vec::new();
        for place in self.scene.items.iter().map(|item| item.emoji).chain(beside) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        Labels::new(places.into_iter().take(6).map(|place| self.palette.name(place, language)))
    }

    /// The scene and the phrases as a link's fragment.
    pub(super) fn fragment(&self) -> String {
        let scene = self.scene.to_link(|place| self.palette.entries.get(place).map(|entry| entry.emoji.clone()).unwrap_or_default());
        link::fragment(&[("stage", &scene), ("words", &self.phrases.list().join("\n"))])
    }

    pub(super) fn hear(&mut self, context: &Context, reply: &Reply) {
        self.results.hear(context, reply);
    }

    pub(super) fn ui(&mut self, ui: &mut Ui, desk: &mut Desk) {
        self.results.ask(desk, &self.scene, &self.palette, &self.phrases);
        let palette_height = if is_narrow(ui) { 104.0 } else { 180.0 };
        beside(ui, "stage results", [360.0, 300.0], |ui| {
            if desk.opening.has_turn() {
                column(ui, |ui| self.results.ui(ui, desk, &self.palette, &mut self.phrases));
            }
        });
        Panel::bottom("palette").exact_size(palette_height).show(ui, |ui| {
            if desk.opening.has_turn() {
                self.palette_ui(ui, desk);
            }
        });
        CentralPanel::default().show(ui, |ui| {
            if desk.opening.has_turn() {
                self.tools(ui, desk);
            }
            if desk.opening.has_turn() {
                self.frame_ui(ui, desk);
            }
        });
        self.draw_carried(ui);
    }

    fn tools(&mut self, ui: &mut Ui, desk: &mut Desk) {
        ui.horizontal_wrapped(|ui| {
            ui.toggle_value(&mut self.shows_grid, desk.text(Text::Grid)).on_hover_text(desk.text(Text::GridHint));
            if ui.button(desk.text(Text::Background)).clicked() {
                self.scene.background = (self.scene.background + 1) % compose::BACKGROUNDS.len();
            }
            if ui.button(desk.text(Text::Surprise)).clicked() {
                self.surprise(desk.language.code());
            }
            let clear = ui.add_enabled(!self.scene.items.is_empty(), Button::new(desk.text(Text::Clear)));
            if clear.clicked() {
                self.scene.items.clear();
                self.selected = None;
            }
            if ui.button(desk.text(Text::Share)).on_hover_text(desk.text(Text::ShareHint)).clicked() {
                let link = desk.host.link(&self.fragment());
                ui.copy_text(link);
                desk.say(desk.text(Text::LinkCopied));
            }
            ui.label("?").on_hover_text(desk.text(Text::StageKeys));
        });
    }

    /// Another scene, with phrases for what is on it.
    fn surprise(&mut self, language: &str) {
        self.surprises += 1;
        let count = self.palette.entries.len().max(1);
        // Steps through the palette that meet every place before they repeat one.
        let place = |step: usize| ((self.surprises * 3 + step) * 37) % count;
        self.scene = Scene {
            aspect: [1.0, 1.5, 2.4, 0.7][self.surprises % 4],
            background: self.surprises % compose::BACKGROUNDS.len(),
            items: Vec::new(),
        };
        for (step, center) in [[0.26, 0.36], [0.7, 0.3], [0.52, 0.74]].into_iter().enumerate() {
            self.scene.add(place(step), center);
        }
        let turned = self.scene.items.iter_mut().zip([-0.2, 0.25, 0.0]);
        turned.for_each(|(item, angle)| item.angle = angle);
        self.selected = None;
        self.phrases = Labels::new((0..6).map(|step| self.palette.name(place(step), language)));
    }

    fn palette_ui(&mut self, ui: &mut Ui, desk: &mut Desk) {
        let texture = self.palette.texture(ui.ctx()).id();
        // A quick hand is elsewhere before the drag counts as one.
        let origin = ui.input(|input| input.pointer.press_origin());
        let (mut pressed, mut is_dragged) = (None, false);
        ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
            ui.spacing_mut().item_spacing = vec2(4.0, 4.0);
            ui.horizontal_wrapped(|ui| {
                for place in 0..self.palette.entries.len() {
                    let (rect, response) = ui.allocate_exact_size(vec2(40.0, 40.0), Sense::click_and_drag());
                    let name = self.palette.name(place, desk.language.code()).to_owned();
                    response.widget_info(|| eframe::egui::WidgetInfo::labeled(eframe::egui::Role::Button, true, name.clone()));
                    if response.hovered() || response.has_focus() {
                        ui.painter().rect_filled(rect, 8.0, ui.visuals().widgets.hovered.bg_fill);
                    }
                    if response.has_focus() {
                        ui.painter().rect_stroke(rect, 8.0, (1.0, ACCENT), StrokeKind::Inside);
                    }
                    ui.painter().image(texture, rect.shrink(4.0), Palette::uv(place), Color32::WHITE);
                    is_dragged |= response.drag_started();
                    if origin.is_some_and(|origin| rect.contains(origin)) {
                        pressed = Some(place);
                    }
                    if response.clicked() {
                        self.put(place, None, desk);
                    }
                    response.on_hover_text(bidi::words(ui, &name));
                }
            });
        });
        if is_dragged {
            self.carried = pressed;
        }
    }

    /// Adds an emoji, at a place or where there is room.
    fn put(&mut self, emoji: usize, center: Option<[f32; 2]>, desk: &mut Desk) {
        // Places that are far from each other, one after the other.
        const PLACES: [[f32; 2]; 8] =
            [[0.5, 0.5], [0.22, 0.28], [0.78, 0.3], [0.25, 0.75], [0.76, 0.74], [0.5, 0.2], [0.5, 0.82], [0.15, 0.52]];
        let is_free = |place: &&[f32; 2]| self.scene.item_at(**place).is_none();
        let center = center.unwrap_or_else(|| *PLACES.iter().find(is_free).unwrap_or(&PLACES[self.scene.items.len() % PLACES.len()]));
        if self.scene.add(emoji, center) {
            self.selected = Some(self.scene.items.len() - 1);
        } else {
            desk.say(desk.text(Text::StageFull));
        }
    }

    /// The emoji under the pointer on its way from the palette.
    fn draw_carried(&mut self, ui: &Ui) {
        let Some(place) = self.carried else { return };
        let Some(pointer) = ui.ctx().pointer_latest_pos() else { return };
        let texture = self.palette.texture(ui.ctx()).id();
        let painter = ui.ctx().layer_painter(eframe::egui::LayerId::new(eframe::egui::Order::Tooltip, ui.scope_id().with("carried")));
        painter.image(texture, Rect::from_center_size(pointer, vec2(64.0, 64.0)), Palette::uv(place), Color32::from_white_alpha(220));
    }
}

fn first_scene(palette: &Palette) -> Scene {
    let item = |emoji: &str, center, size, angle| Some(Item { emoji: palette.place_of(emoji)?, center, size, angle });
    let items = [item("🐱", [0.3, 0.56], 0.52, -0.12), item("🍕", [0.74, 0.42], 0.42, 0.2)];
    Scene { aspect: 1.5, background: 0, items: items.into_iter().flatten().collect() }
}
