//! What the patches of a picture say, as colours over it.

mod view;

use eframe::egui::{
    CentralPanel, Color32, ColorImage, ComboBox, Pos2, Rect, RichText, Role, Sense, Slider, Stroke, StrokeKind, TextEdit, TextureOptions,
    Ui, WidgetInfo, vec2,
};

use image::codecs::png::PngEncoder;

use self::view::{Kind, Settings};
use super::answers::{PatchMap, patch_map};
use super::bidi;
use super::canvas::{Layer, draw_grid, fitted, tag, whole};
use super::desk::Desk;
use super::labels::alone;
use super::layout::{beside, column, foot};
use super::pictures::Picture;
use super::shelf::{budget_slider, demo_warning, empty, shelf};
use super::strings::Text;
use super::wanted::Wanted;
use crate::engine::{Job, Reply, ViewJob, ViewOf};
use crate::image::Grid;
use crate::kernels::Size;
use crate::tasks::dense::{Interpolation, Painted, blend, hue};

#[derive(Default)]
pub(super) struct FeatureViews {
    settings: Settings,
    map: Wanted<Question, PatchMap>,
    /// The features themselves, asked for when they are saved.
    saved: Wanted<Question, PatchMap>,
    wants_npy: bool,
    layer: Layer,
    /// What the layer shows. Its colours have gone there.
    painted: Option<(Question, Look, Painted)>,
    /// The patch that was clicked, which may be in another picture.
    pinned: Option<Patch>,
    /// The patch under the pointer.
    pointed: Option<Patch>,
}

/// A picture and the middle of one of its patches, as shares of its width and height.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Patch {
    image: u64,
    place: [f32; 2],
}

#[derive(Clone, Debug, PartialEq)]
struct Question {
    epoch: u32,
    /// Of all pictures that the job is about.
    versions: Vec<u32>,
    job: ViewJob,
}

/// How a map is painted.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Look {
    interpolation: Interpolation,
    head: Option<usize>,
}

impl FeatureViews {
    pub(super) fn hear(&mut self, reply: &Reply) {
        self.map.hear(reply, patch_map);
        self.saved.hear(reply, patch_map);
    }

    fn job(&self, image: u64, view: ViewOf) -> ViewJob {
        let settings = &self.settings;
        // Phrases and attention are of the last layer: they need the pooling head.
        let layer = settings.layer.filter(|_| settings.kind.has_layers());
        ViewJob { image, max_num_patches: settings.budget, layer, mask_outliers: settings.masks_outliers, view }
    }

    /// The last answer about a picture, and its question.
    fn answered(&self, image: u64) -> Option<(&Question, &PatchMap)> {
        self.map.answered().filter(|(question, _)| question.job.image == image)
    }

    fn look(&self) -> Look {
        let interpolation = if self.settings.is_smooth { Interpolation::Bilinear } else { Interpolation::Nearest };
        Look { interpolation, head: self.settings.head }
    }

    fn asked(&self, desk: &Desk, image: u64, view: ViewOf) -> Question {
        let others: &[u64] = match &view {
            ViewOf::Components { with, .. } => with,
            ViewOf::Similar { of, .. } => std::slice::from_ref(of),
            _ => &[],
        };
        let versions = std::iter::once(&image).chain(others).map(|image| desk.pictures.version(*image)).collect();
        Question { epoch: desk.model.epoch, versions, job: self.job(image, view) }
    }

    /// The question that the settings ask of a picture; none while something is missing.
    fn question(&self, desk: &Desk) -> Option<Question> {
        let image = desk.pictures.chosen()?.image;
        let settings = &self.settings;
        let view = match settings.kind {
            Kind::Components => {
                let others = desk.pictures.all().iter().map(|picture| picture.image).filter(|other| *other != image);
                let with = if settings.shares_colours { others.collect() } else { Vec::new() };
                ViewOf::Components { count: 3, with, foreground: settings.is_foreground }
            }
            Kind::Similar => {
                let Patch { image, place } = self.pointed.or(self.pinned).unwrap_or(Patch { image, place: [0.5, 0.5] });
                ViewOf::Similar { of: image, place }
            }
            Kind::Groups => ViewOf::Groups(settings.groups),
            Kind::Attention => ViewOf::Attention,
            Kind::Phrase => ViewOf::Phrases(alone(&[settings.phrase()?.to_owned()])),
            Kind::Segment => ViewOf::Phrases(alone(settings.phrases()?)),
        };
        Some(self.asked(desk, image, view))
    }

    fn ask(&mut self, desk: &mut Desk) {
        if desk.model.info.is_none() {
            return;
        }
        self.pinned = self.pinned.filter(|patch| desk.pictures.get(patch.image).is_some());
        if let Some(question) = self.question(desk) {
            let engine = &mut desk.engine;
            self.map.want(question, |question| engine.send(Job::View(question.job.clone()), Vec::new()));
        }
        self.save_npy(desk);
    }

    pub(super) fn ui(&mut self, ui: &mut Ui, desk: &mut Desk) {
        self.ask(desk);
        shelf(ui, desk);
        beside(ui, "features side", [320.0, 280.0], |ui| {
            foot(ui, |ui| self.saving(ui, desk));
            column(ui, |ui| self.side(ui, desk));
        });
        CentralPanel::default().show(ui, |ui| {
            if desk.pictures.all().is_empty() {
                empty(ui, desk);
            } else {
                self.picture(ui, desk);
            }
        });
    }

    fn side(&mut self, ui: &mut Ui, desk: &mut Desk) {
        demo_warning(ui, desk);
        ui.label(RichText::new(desk.text(Text::View)).strong());
        for (kind, name, hint) in view::KINDS {
            ui.radio_value(&mut self.settings.kind, kind, desk.text(name)).on_hover_text(desk.text(hint));
        }
        ui.separator();
        self.kind_ui(ui, desk);
        budget_slider(ui, desk, &mut self.settings.budget);
        self.layer_ui(ui, desk);
        ui.add(Slider::new(&mut self.settings.opacity, 0.0..=1.0).max_decimals(2).text(desk.text(Text::Opacity)));
        ui.checkbox(&mut self.settings.is_smooth, desk.text(Text::Smooth));
        ui.checkbox(&mut self.settings.shows_grid, desk.text(Text::Grid));
        ui.separator();
        self.legend(ui, desk);
    }

    fn kind_ui(&mut self, ui: &mut Ui, desk: &Desk) {
        let settings = &mut self.settings;
        match settings.kind {
            Kind::Components => {
                ui.checkbox(&mut settings.is_foreground, desk.text(Text::Foreground)).on_hover_text(desk.text(Text::ForegroundHint));
                ui.add_enabled_ui(desk.pictures.all().len() > 1, |ui| {
                    ui.checkbox(&mut settings.shares_colours, desk.text(Text::SharedColours))
                        .on_hover_text(desk.text(Text::SharedColoursHint));
                });
            }
            Kind::Similar => {
                ui.label(desk.text(Text::PointAt));
                if let Some(picture) = self.pinned.and_then(|patch| desk.pictures.get(patch.image)) {
                    ui.horizontal_wrapped(|ui| {
                        ui.label(RichText::new(desk.fill(Text::ComparedWith, &[&picture.name])).small().weak());
                        if ui.small_button(desk.text(Text::Reset)).clicked() {
                            self.pinned = None;
                        }
                    });
                }
            }
            Kind::Groups => drop(ui.add(Slider::new(&mut settings.groups, 2..=16).text(desk.text(Text::Count)))),
            Kind::Phrase => {
                let mut layouter = bidi::layouter(false);
                let field = TextEdit::singleline(&mut settings.phrase).layouter(&mut layouter).hint_text(desk.text(Text::WordHint));
                bidi::field(ui, field.desired_width(f32::INFINITY)).accessible_name(desk.text(Text::ViewPhrase));
            }
            Kind::Segment => drop(settings.phrases.edit(ui, desk.text(Text::PhrasesHint), 5).accessible_name(desk.text(Text::Phrases))),
            Kind::Attention => {
                let heads = self.map.answer().map_or(1, |map| map.map.channels);
                let name = |head: Option<usize>| {
                    head.map_or(desk.text(Text::AllHeads).to_owned(), |head| format!("{} {}", desk.text(Text::Head), head + 1))
                };
                let choice = ComboBox::from_id_salt("head").selected_text(name(settings.head)).show_ui(ui, |ui| {
                    ui.selectable_value(&mut settings.head, None, name(None));
                    for head in 0..heads {
                        ui.selectable_value(&mut settings.head, Some(head), name(Some(head)));
                    }
                });
                choice.response.accessible_name(desk.text(Text::Head));
            }
        }
    }

    fn layer_ui(&mut self, ui: &mut Ui, desk: &Desk) {
        let Some(depth) = desk.model.info.as_ref().map(|info| info.depth) else { return };
        if !self.settings.kind.has_layers() {
            return;
        }
        self.settings.layer = self.settings.layer.filter(|layer| *layer < depth);
        let name = |layer: Option<usize>| layer.map_or(desk.text(Text::LastLayer).to_owned(), |layer| (layer + 1).to_string());
        ui.horizontal(|ui| {
            let label = ui.label(desk.text(Text::Layer)).id;
            let choice = ComboBox::from_id_salt("layer").selected_text(name(self.settings.layer)).show_ui(ui, |ui| {
                ui.selectable_value(&mut self.settings.layer, None, name(None));
                for layer in (0..depth).rev() {
                    ui.selectable_value(&mut self.settings.layer, Some(layer), name(Some(layer)));
                }
            });
            choice.response.labelled_by(label);
        });
        ui.checkbox(&mut self.settings.masks_outliers, desk.text(Text::MaskOutliers));
        if let Some(outliers) = self.map.answer().map(|map| &map.outliers).filter(|outliers| !outliers.is_empty()) {
            let names: Vec<String> = outliers.iter().map(usize::to_string).collect();
            ui.label(RichText::new(format!("{}: {}", desk.text(Text::Outliers), names.join(", "))).small().weak());
        }
    }

    /// What the colours mean.
    fn legend(&self, ui: &mut Ui, desk: &Desk) {
        if let Some(failure) = self.map.failure() {
            ui.colored_label(ui.visuals().error_fg_color, &failure.message);
        }
        let Some((.., painted)) = &self.painted else { return };
        if let Some([least, greatest]) = painted.range {
            ui.label(RichText::new(format!("{least:.3} … {greatest:.3}")).small().weak());
        }
        let labels = self.settings.phrases.list();
        for (index, share) in painted.shares.iter().enumerate() {
            let [r, g, b] = hue(index);
            ui.horizontal(|ui| {
                let (rect, _) = ui.allocate_exact_size([14.0, 14.0].into(), Sense::hover());
                ui.painter().rect_filled(rect, 3.0, Color32::from_rgb(r, g, b));
                let name = match self.settings.kind {
                    Kind::Segment => labels.get(index).cloned().unwrap_or_default(),
                    _ => format!("{} {}", desk.text(Text::ViewGroups), index + 1),
                };
                ui.label(bidi::words(ui, &name));
                ui.label(RichText::new(format!("{:.0} %", 100.0 * share)).weak());
            });
        }
    }

    fn picture(&mut self, ui: &mut Ui, desk: &Desk) {
        let Some(picture) = desk.pictures.chosen() else { return };
        let rect = fitted(picture.preview.aspect_ratio(), ui.available_rect_before_wrap());
        let response = ui.interact(rect, ui.scope_id().with("features picture"), Sense::click());
        let grid = self.answered(picture.image).map(|(_, map)| map.map.grid);
        let patch_at = |place: Pos2| {
            let share = (place - rect.min) / rect.size();
            let place = grid?.middle_of(grid?.cell_at([share.x, share.y].map(f64::from))?).map(|share| share as f32);
            Some(Patch { image: picture.image, place })
        };
        self.pointed = response.hover_pos().and_then(patch_at).filter(|_| self.settings.kind == Kind::Similar);
        if response.clicked() {
            self.pinned = self.pointed;
        }
        self.paint_map(ui, picture);
        ui.painter().image(picture.preview.id(), rect, whole(), Color32::WHITE);
        let patches = grid.map(|Grid { rows, cols }| format!(" · {rows} × {cols} {}", desk.text(Text::Grid).to_lowercase()));
        let line = format!("{}{}", picture.name, patches.unwrap_or_default());
        response.widget_info(|| WidgetInfo::labeled(Role::Image, true, line.clone()));
        let Some((question, PatchMap { map, .. })) = self.answered(picture.image) else { return };
        self.layer.draw(ui.painter(), rect, self.settings.opacity);
        let Grid { rows, cols } = map.grid;
        if self.settings.shows_grid {
            draw_grid(ui.painter(), rect, [rows, cols], Color32::from_rgba_unmultiplied(127, 127, 127, 110));
        }
        if let ViewOf::Similar { of, place } = question.job.view
            && of == picture.image
            && let Some([row, col]) = map.grid.cell_at(place.map(f64::from))
        {
            let step = rect.size() / vec2(cols as f32, rows as f32);
            let patch = Rect::from_min_size(rect.min + step * vec2(col as f32, row as f32), step);
            ui.painter().rect_stroke(patch, 0.0, Stroke::new(2.0, Color32::WHITE), StrokeKind::Inside);
        }
        tag(ui.painter(), rect, &line);
    }

    /// Paints the map anew where the answer or the look has changed.
    fn paint_map(&mut self, ui: &Ui, picture: &Picture) {
        let Some((question, map)) = self.answered(picture.image) else { return };
        let look = self.look();
        if self.painted.as_ref().is_some_and(|(painted, with, _)| painted == question && *with == look) {
            return;
        }
        let (question, mut painted) = (question.clone(), paint(picture, question, map, look));
        let size = [picture.pixels.width() as usize, picture.pixels.height() as usize];
        let colours = ColorImage::from_rgb(size, &std::mem::take(&mut painted.colours));
        self.layer.set(ui.ctx(), "features", colours, TextureOptions::LINEAR);
        self.painted = Some((question, look, painted));
        // The legend stands on the side, which was drawn before.
        ui.ctx().request_repaint();
    }

    fn saving(&mut self, ui: &mut Ui, desk: &mut Desk) {
        ui.horizontal(|ui| {
            let is_known = desk.pictures.chosen().is_some() && self.map.answer().is_some();
            ui.add_enabled_ui(is_known, |ui| {
                if ui.button(desk.text(Text::SavePng)).clicked() {
                    self.save_png(desk);
                }
                if ui.button(desk.text(Text::SaveNpy)).clicked() {
                    self.wants_npy = true;
                }
            });
            if self.wants_npy {
                ui.spinner();
            }
        });
    }

    fn save_png(&self, desk: &mut Desk) {
        let Some(picture) = desk.pictures.chosen() else { return };
        let Some((question, map)) = self.answered(picture.image) else { return };
        let painted = paint(picture, question, map, self.look());
        let blended = blend(&picture.pixels, &painted.colours, self.settings.opacity);
        let mut png = Vec::new();
        let name = format!("{}-{}.png", stem(&picture.name), self.settings.kind.file_name());
        match blended.write_with_encoder(PngEncoder::new(&mut png)) {
            Ok(()) => desk.host.save(&name, png),
            Err(error) => desk.complain(format!("{name}: {error}")),
        }
    }

    /// Asks for the features of the chosen picture and hands them to the host when they are in.
    fn save_npy(&mut self, desk: &mut Desk) {
        let Some(picture) = desk.pictures.chosen().filter(|_| self.wants_npy) else { return };
        let name = format!("{}.npy", stem(&picture.name));
        let question = self.asked(desk, picture.image, ViewOf::Features);
        if !self.saved.is_answer_to(&question) {
            let engine = &mut desk.engine;
            return self.saved.want(question, |question| engine.send(Job::View(question.job.clone()), Vec::new()));
        }
        self.wants_npy = false;
        let failure = match (self.saved.answer().map(|map| view::npy(&map.map)), self.saved.failure()) {
            (Some(Ok(file)), _) => return desk.host.save(&name, file),
            (Some(Err(error)), _) => error.to_string(),
            (None, failure) => failure.map(ToString::to_string).unwrap_or_default(),
        };
        desk.complain(format!("{name}: {failure}"));
    }
}

/// Colours a map at the size of the picture's preview.
fn paint(picture: &Picture, question: &Question, map: &PatchMap, look: Look) -> Painted {
    let size = Size { height: picture.pixels.height() as usize, width: picture.pixels.width() as usize };
    let (map, palette) = view::coloured(&question.job.view, &map.map, look.head);
    map.paint(size, look.interpolation, palette)
}

/// A file's name without its ending.
fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}
