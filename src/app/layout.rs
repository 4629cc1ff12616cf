//! Where things stand.

use eframe::egui::{Frame, Margin, Panel, ScrollArea, Ui};

/// A window narrower than this, in points, has no room for two columns.
const NARROW: f32 = 760.0;

/// Whether there is room for one column only, as on a telephone held upright.
pub(super) fn is_narrow(ui: &Ui) -> bool {
    ui.available_width() < NARROW
}

/// What stands beside the picture, of a default and a least width in points, or below it where it is narrow.
pub(super) fn beside(ui: &mut Ui, name: &'static str, [width, least]: [f32; 2], contents: impl FnOnce(&mut Ui)) {
    if is_narrow(ui) {
        Panel::bottom(name).resizable(true).default_size(ui.available_height() * 0.42).show(ui, contents);
    } else {
        Panel::right(name).resizable(true).default_size(width).min_size(least).show(ui, contents);
    }
}

/// What stands below a [`column`] and stays in sight, however long that is. It comes first.
pub(super) fn foot(ui: &mut Ui, contents: impl FnOnce(&mut Ui)) {
    let frame = Frame::NONE.inner_margin(Margin::symmetric(2, 6));
    Panel::bottom(ui.scope_id().with("foot")).resizable(false).frame(frame).show(ui, contents);
}

/// A column beside the picture that scrolls where it is too long; its scroll bar has room of its own.
pub(super) fn column(ui: &mut Ui, contents: impl FnOnce(&mut Ui)) {
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        Frame::NONE.inner_margin(Margin { left: 2, right: 12, top: 6, bottom: 6 }).show(ui, contents);
    });
}
