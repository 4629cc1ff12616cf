//! Builds that index no folders do without the workspace.

use eframe::egui::{Context, Ui};

use super::Workspace;
use super::desk::Desk;
use crate::engine::Reply;

#[derive(Default)]
pub(super) struct Retrieval {}

impl Retrieval {
    pub(super) fn hear(&mut self, _context: &Context, _desk: &mut Desk, _reply: &Reply) {}

    pub(super) fn index(&mut self, _root: String) {}

    pub(super) fn go_on(&mut self, _desk: &mut Desk) {}

    pub(super) fn take_files(&mut self, _desk: &Desk, _names: Vec<String>) {}

    pub(super) fn take<'a>(&mut self, _desk: &Desk, _texts: impl Iterator<Item = &'a str>) {}

    pub(super) fn ui(&mut self, _ui: &mut Ui, _desk: &mut Desk) -> Option<Workspace> {
        None
    }
}
