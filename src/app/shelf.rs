//! The row of pictures that people brought, or what to do while there is none.

use eframe::egui::{
    Align, Button, Image, Key, Layout, Panel, RichText, Role, ScrollArea, Sense, StrokeKind, TextEdit, Ui, WidgetInfo, vec2,
};

use super::bidi;
use super::desk::Desk;
use super::pictures::Picture;
use super::strings::Text;
use super::theme::ACCENT;

const HEIGHT: f32 = 72.0;
/// Room for the samples' names, in two lines.
const SAMPLES_WIDTH: f32 = 560.0;

/// Thumbnails to choose from, and ways to add more.
pub(super) fn shelf(ui: &mut Ui, desk: &mut Desk) {
    // Of one height, with pictures and without: nothing jumps.
    Panel::bottom("shelf").exact_size(HEIGHT + 24.0).show(ui, |ui| {
        ui.add_space(6.0);
        row(ui, desk);
    });
}

fn row(ui: &mut Ui, desk: &mut Desk) {
    let mut removed = None;
    ui.horizontal_top(|ui| {
        ui.vertical(|ui| {
            if ui.button(desk.text(Text::AddPictures)).clicked() {
                desk.host.pick_pictures();
            }
            samples_menu(ui, desk);
        });
        if desk.host.has_camera() {
            camera_button(ui, desk);
        }
        ScrollArea::horizontal().auto_shrink([false, true]).show(ui, |ui| {
            ui.horizontal_top(|ui| {
                let mut chosen = desk.pictures.chosen;
                for picture in desk.pictures.all() {
                    let (is_chosen, is_removed) = thumbnail(ui, picture, chosen == Some(picture.image), desk.text(Text::Remove));
                    chosen = if is_chosen { Some(picture.image) } else { chosen };
                    removed = removed.or(is_removed.then_some(picture.image));
                }
                desk.pictures.chosen = chosen;
                if desk.pictures.coming() > 0 {
                    ui.spinner();
                }
            });
        });
    });
    if let Some(image) = removed {
        desk.pictures.remove(&mut desk.engine, image);
    }
}

/// Whether the thumbnail was chosen, and whether it shall go.
fn thumbnail(ui: &mut Ui, picture: &Picture, is_chosen: bool, remove: &str) -> (bool, bool) {
    let aspect = picture.preview.aspect_ratio().clamp(0.4, 2.5);
    let (rect, response) = ui.allocate_exact_size(vec2(HEIGHT * aspect, HEIGHT), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::RadioButton, true, is_chosen, &picture.name));
    Image::new(&picture.preview).corner_radius(6.0).paint_at(ui, rect);
    if is_chosen || response.has_focus() || response.hovered() {
        let width = if is_chosen { 3.0 } else { 1.0 };
        ui.painter().rect_stroke(rect, 6.0, (width, ACCENT), StrokeKind::Inside);
    }
    let is_deleted = response.has_focus() && ui.input(|input| input.key_pressed(Key::Delete));
    let mut is_removed = is_deleted;
    response.context_menu(|ui| is_removed |= ui.button(remove).clicked());
    let [height, width] = picture.size;
    let is_clicked = response.clicked();
    if is_clicked {
        // The Delete key is for the one that was clicked last.
        response.request_focus();
    }
    response.on_hover_text(bidi::words(ui, &format!("{}\n{width} × {height}", picture.name)));
    (is_clicked, is_removed)
}

fn camera_button(ui: &mut Ui, desk: &mut Desk) {
    ui.vertical(|ui| {
        let [name, hint] = [Text::Camera, Text::CameraHint].map(|text| desk.text(text));
        if ui.selectable_label(desk.is_camera_on, name).on_hover_text(hint).clicked() {
            desk.switch_camera(!desk.is_camera_on);
        }
        if let Some(rate) = desk.pictures.camera_rate() {
            ui.label(RichText::new(format!("{rate:.1} {}", desk.text(Text::FramesPerSecond))).small().weak());
        }
    });
}

fn samples_menu(ui: &mut Ui, desk: &mut Desk) {
    let samples = desk.assets.samples;
    ui.menu_button(desk.text(Text::Samples), |ui| {
        for (name, jpeg) in samples {
            if ui.button(*name).clicked() {
                desk.pictures.add(&mut desk.engine, (*name).to_owned(), jpeg.to_vec());
                ui.close();
            }
        }
        if desk.host.can_fetch() {
            ui.separator();
            address_field(ui, desk);
        }
    });
}

/// A picture from an address, which is fetched when Enter is pressed.
fn address_field(ui: &mut Ui, desk: &mut Desk) {
    let hint = desk.text(Text::AddressHint);
    let field = ui.add(TextEdit::singleline(&mut desk.address).hint_text(hint).desired_width(240.0));
    if field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter)) && !desk.address.trim().is_empty() {
        let address = std::mem::take(&mut desk.address);
        desk.host.fetch(&address);
        ui.close();
    }
}

/// What stands in the middle while there is no picture.
pub(super) fn empty(ui: &mut Ui, desk: &mut Desk) {
    ui.vertical_centered(|ui| {
        ui.add_space(ui.available_height() * 0.3);
        ui.label(RichText::new(desk.text(Text::NoPicture)).heading());
        ui.label(desk.text(Text::DropHere));
        ui.add_space(8.0);
        if ui.add(Button::new(desk.text(Text::AddPictures)).min_size(vec2(160.0, 36.0))).clicked() {
            desk.host.pick_pictures();
        }
        ui.add_space(4.0);
        let samples = desk.assets.samples;
        let size = vec2(ui.available_width().min(SAMPLES_WIDTH), 0.0);
        ui.allocate_ui_with_layout(size, Layout::left_to_right(Align::Center).with_main_wrap(true), |ui| {
            ui.label(desk.text(Text::Samples));
            for (name, jpeg) in samples {
                if ui.button(*name).clicked() {
                    desk.pictures.add(&mut desk.engine, (*name).to_owned(), jpeg.to_vec());
                }
            }
        });
    });
}

/// That the small model knows nothing of photos, where it could disappoint, and the way to those that do.
pub(super) fn demo_warning(ui: &mut Ui, desk: &mut Desk) {
    if desk.model.is_demo() {
        ui.horizontal_wrapped(|ui| {
            ui.label(RichText::new(desk.text(Text::KnowsEmoji)).small().color(ui.visuals().warn_fg_color));
            if ui.small_button(desk.text(Text::ChooseModel)).clicked() {
                desk.wants_picker = true;
            }
        });
    }
}

/// The slider of patches; absent for models of one size.
pub(super) fn budget_slider(ui: &mut Ui, desk: &Desk, budget: &mut Option<usize>) {
    let Some(default) = desk.model.info.as_ref().and_then(|info| info.max_num_patches) else { return };
    let mut patches = budget.unwrap_or(default);
    ui.horizontal(|ui| {
        let name = ui.label(desk.text(Text::Budget)).on_hover_text(desk.text(Text::BudgetHint)).id;
        let slider = eframe::egui::Slider::new(&mut patches, 16..=4096).logarithmic(true);
        if ui.add(slider).labelled_by(name).on_hover_text(desk.text(Text::BudgetHint)).changed() {
            *budget = Some(patches);
        }
        if budget.is_some() && ui.small_button(desk.text(Text::Reset)).clicked() {
            *budget = None;
        }
    });
}
