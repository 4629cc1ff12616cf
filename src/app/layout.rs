//! Where things stand.

use eframe::egui::{Frame, Margin, Panel, ScrollArea, Ui};

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
