//! All pictures of a collection on a plane, to choose some by drawing around them.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use eframe::egui::epaint::{Mesh, Vertex};
use eframe::egui::{
    Color32, Context, Key, Modifiers, PointerButton, Pos2, Rect, Response, Role, Sense, Shape, Stroke, Ui, Vec2, WidgetInfo, vec2,
};

use super::super::canvas::whole;
use super::super::desk::Desk;
use super::super::strings::Text;
use super::super::theme::ACCENT;
use super::super::wanted::Wanted;
use super::grid::Grid;
use crate::engine::{Hit, Job, News, Reply, Spot};

/// Sides of the squares of the screen in each of which one picture is shown, the others being dots.
const CELL: f32 = 72.0;
/// Longer side of a small picture.
const THUMBNAIL: f32 = 52.0;
const DOT: f32 = 3.0;
/// Of the space, around everything.
const MARGIN: f32 = 0.06;
const MOST_ZOOM: f32 = 400.0;
/// Between two corners of what is drawn around pictures.
const STEP: f32 = 4.0;

#[derive(Default)]
pub(super) struct PictureMap {
    pub(super) is_shown: bool,
    /// By collection and version: quick at first, and then by neighbours.
    plane: Wanted<(String, u32), Plane>,
    arranged: Wanted<(String, u32), Plane>,
    /// The place in the middle, and how much larger than all of it is shown.
    view: View,
    /// What is being drawn around pictures, on the screen.
    lasso: Vec<Pos2>,
    /// Paths that were chosen.
    chosen: Option<HashSet<String>>,
    /// Of each picture, in the order of the plane: to look paths up in every frame would take too long.
    marks: Vec<Mark>,
}

/// Pictures in a square of sides 1.
#[derive(Clone)]
struct Plane(Rc<[Spot]>);

#[derive(Clone, Copy)]
struct Mark {
    is_found: bool,
    is_chosen: bool,
}

#[derive(Clone, Copy)]
struct View {
    centre: Vec2,
    zoom: f32,
}

impl Default for View {
    fn default() -> Self {
        Self { centre: Vec2::splat(0.5), zoom: 1.0 }
    }
}

impl PictureMap {
    /// Other pictures are looked at.
    pub(super) fn forget(&mut self) {
        (self.view, self.chosen) = (View::default(), None);
        self.lasso.clear();
    }

    /// Takes answers; gives whether there is another plane now.
    pub(super) fn hear(&mut self, reply: &Reply) -> bool {
        let read = |reply: &Reply| if let News::Plane(spots) = &reply.news { Some(Plane::new(spots)) } else { None };
        self.plane.hear(reply, read) || self.arranged.hear(reply, read)
    }

    /// By neighbours, if there is that of the same pictures.
    fn shown(&self) -> Option<&Plane> {
        let (key, plane) = self.plane.answered()?;
        Some(self.arranged.answered().filter(|(arranged, _)| *arranged == key).map_or(plane, |(_, arranged)| arranged))
    }

    /// The pictures that were chosen: results in their order, then the others by path. Nothing if none were.
    pub(super) fn filter(&mut self, hits: &[Hit]) -> Option<Vec<Hit>> {
        let Plane(spots) = self.shown().filter(|_| self.is_shown)?.clone();
        let found: HashSet<&str> = hits.iter().filter(|hit| hit.score.is_some()).map(|hit| hit.path.as_str()).collect();
        let is_chosen = |path: &String| self.chosen.as_ref().is_none_or(|chosen| chosen.contains(path));
        let mark = |spot: &Spot| Mark { is_found: found.contains(spot.path.as_str()), is_chosen: is_chosen(&spot.path) };
        self.marks = spots.iter().map(mark).collect();
        let chosen = self.chosen.as_ref()?;
        let mut kept: Vec<Hit> = hits.iter().filter(|hit| chosen.contains(&hit.path)).cloned().collect();
        let known: HashSet<&str> = hits.iter().map(|hit| hit.path.as_str()).collect();
        let others = spots.iter().filter(|spot| chosen.contains(&spot.path) && !known.contains(spot.path.as_str()));
        kept.extend(others.map(|spot| Hit { path: spot.path.clone(), score: None, size: spot.size }));
        Some(kept)
    }

    /// Chooses one picture, unless it is shown anyway; gives whether it was not.
    pub(super) fn choose(&mut self, path: &str, shown: &[Hit]) -> bool {
        let is_missing = !shown.iter().any(|hit| hit.path == path);
        if is_missing {
            self.chosen = Some(HashSet::from([path.to_owned()]));
        }
        is_missing
    }

    /// Draws it; gives whether other pictures are chosen now, and one that people want to see large. What is `steady` does not change every few seconds.
    pub(super) fn ui(
        &mut self,
        ui: &mut Ui,
        desk: &mut Desk,
        grid: &mut Grid,
        key: (String, u32),
        is_steady: bool,
    ) -> (bool, Option<String>) {
        self.ask(desk, key, is_steady);
        let mut is_other = false;
        ui.horizontal_wrapped(|ui| {
            let count = self.shown().map_or(0, |plane| plane.0.len());
            let chosen = self.chosen.as_ref().map_or(0, HashSet::len);
            ui.label(desk.fill(Text::MapOf, &[&count.to_string(), &chosen.to_string()])).on_hover_text(desk.text(Text::MapHint));
            if ui.small_button(desk.text(Text::MapAll)).clicked() {
                self.forget();
                is_other = true;
            }
            if self.arranged.pending().is_some() {
                ui.spinner().on_hover_text(desk.text(Text::Arranging));
            }
        });
        if let Some(failure) = self.plane.failure().or(self.arranged.failure()) {
            ui.colored_label(ui.visuals().error_fg_color, &failure.message);
        }
        let Some(plane) = self.shown().cloned() else {
            ui.spinner();
            return (is_other, None);
        };
        let response = ui.allocate_response(ui.available_size(), Sense::click_and_drag());
        response.widget_info(|| WidgetInfo::labeled(Role::Image, true, desk.text(Text::Map)));
        is_other |= self.steer(ui.ctx(), &response, &plane);
        let opened = self.paint(ui, &response, grid, &plane);
        (is_other, opened)
    }

    fn ask(&mut self, desk: &mut Desk, key: (String, u32), is_steady: bool) {
        let engine = &mut desk.engine;
        self.plane.want(key.clone(), |(collection, _)| engine.send(Job::Plane { collection: collection.clone() }, Vec::new()));
        if is_steady && self.plane.is_answer_to(&key) && !desk.host.is_page() {
            self.arranged.want(key, |(collection, _)| engine.send(Job::Arrange { collection: collection.clone() }, Vec::new()));
        }
    }

    /// Moves and chooses; gives whether others are chosen now.
    fn steer(&mut self, context: &Context, response: &Response, plane: &Plane) -> bool {
        let space = response.rect;
        if let Some(pointer) = response.hover_pos() {
            let factor = context.input(|input| (input.smooth_scroll_delta().y / 200.0).exp() * input.zoom_delta());
            let before = self.view.place(space, pointer);
            self.view.zoom = (self.view.zoom * factor).clamp(0.5, MOST_ZOOM);
            // What is below the pointer stays there.
            self.view.centre += before - self.view.place(space, pointer);
        }
        if response.dragged_by(PointerButton::Secondary) || response.dragged_by(PointerButton::Middle) {
            self.view.centre -= response.drag_delta() / self.view.scale(space);
        }
        if response.has_focus() {
            self.keys(context, space);
        }
        if response.drag_started_by(PointerButton::Primary) {
            // A drag is known to be one after its first points.
            self.lasso.extend(context.input(|input| input.pointer.press_origin()));
        }
        let is_drawing = response.dragged_by(PointerButton::Primary) || response.drag_stopped_by(PointerButton::Primary);
        if is_drawing
            && let Some(pointer) = response.interact_pointer_pos()
            && self.lasso.last().is_none_or(|last| last.distance(pointer) >= STEP)
        {
            self.lasso.push(pointer);
        }
        let lets_go = response.has_focus() && context.input_mut(|input| input.consume_key(Modifiers::NONE, Key::Escape));
        if lets_go {
            self.chosen = None;
            return true;
        }
        if !response.drag_stopped_by(PointerButton::Primary) {
            return false;
        }
        let corners = std::mem::take(&mut self.lasso);
        let inside = plane.0.iter().filter(|spot| is_inside(self.view.on_screen(space, spot), &corners));
        let chosen: HashSet<String> = inside.map(|spot| spot.path.clone()).collect();
        self.chosen = (!chosen.is_empty()).then_some(chosen);
        response.request_focus();
        true
    }

    fn keys(&mut self, context: &Context, space: Rect) {
        let pressed = |key| context.input_mut(|input| input.consume_key(Modifiers::NONE, key));
        let steps = [(Key::ArrowLeft, -1.0, 0.0), (Key::ArrowRight, 1.0, 0.0), (Key::ArrowUp, 0.0, -1.0), (Key::ArrowDown, 0.0, 1.0)];
        for (key, x, y) in steps {
            if pressed(key) {
                self.view.centre += vec2(x, y) * 60.0 / self.view.scale(space);
            }
        }
        for (key, factor) in [(Key::Plus, 1.25), (Key::Equals, 1.25), (Key::Minus, 0.8)] {
            if pressed(key) {
                self.view.zoom = (self.view.zoom * factor).clamp(0.5, MOST_ZOOM);
            }
        }
        if pressed(Key::Home) {
            self.view = View::default();
        }
    }

    fn paint(&self, ui: &Ui, response: &Response, grid: &mut Grid, plane: &Plane) -> Option<String> {
        let (space, painter) = (response.rect, ui.painter().with_clip_rect(response.rect));
        painter.rect_filled(space, 6.0, ui.visuals().extreme_bg_color);
        // What is shown of each cell: a result if there is one, the first by path.
        let mut shown: HashMap<[i32; 2], (bool, &Spot, Pos2)> = HashMap::new();
        let mut dots = Mesh::default();
        for (spot, Mark { is_found, is_chosen }) in plane.0.iter().zip(&self.marks) {
            let place = self.view.on_screen(space, spot);
            if !space.expand(THUMBNAIL).contains(place) {
                continue;
            }
            let colour = if *is_found { ACCENT } else { ui.visuals().weak_text_color() };
            dot(&mut dots, place, colour.gamma_multiply(if *is_chosen { 1.0 } else { 0.35 }));
            let cell = (place - space.min) / CELL;
            let cell = [cell.x.floor() as i32, cell.y.floor() as i32];
            let is_better = || shown.get(&cell).is_none_or(|(was_found, ..)| *is_found && !was_found);
            if *is_chosen && is_better() {
                shown.insert(cell, (*is_found, spot, place));
            }
        }
        painter.add(Shape::mesh(dots));
        let clicked = response.clicked().then(|| response.interact_pointer_pos()).flatten();
        let mut opened = None;
        // In the order of the paths, so that the same ones lie on top in every frame.
        let mut shown: Vec<_> = shown.into_values().collect();
        shown.sort_by(|(_, a, _), (_, b, _)| a.path.cmp(&b.path));
        for (_, spot, place) in shown {
            let Some(texture) = grid.thumbnail(&spot.path) else { continue };
            let rect = Rect::from_center_size(place, texture.size_vec2() * (THUMBNAIL / texture.size_vec2().max_elem()));
            painter.image(texture.id(), rect, whole(), Color32::WHITE);
            if clicked.is_some_and(|pointer| rect.contains(pointer)) {
                opened = Some(spot.path.clone());
            }
        }
        painter.add(Shape::closed_line(self.lasso.clone(), Stroke::new(2.0, ACCENT)));
        opened
    }
}

impl Plane {
    /// Scaled alike in both directions, so that distances keep their meaning.
    fn new(spots: &[Spot]) -> Self {
        let mut all = Rect::NOTHING;
        spots.iter().for_each(|spot| all.extend_with(Pos2::from(spot.place)));
        let side = all.size().max_elem().max(f32::MIN_POSITIVE);
        let scaled = |spot: &Spot| {
            let place = (Pos2::from(spot.place) - all.center()) / side + Vec2::splat(0.5);
            Spot { place: place.into(), ..spot.clone() }
        };
        Self(spots.iter().map(scaled).collect())
    }
}

impl View {
    /// Points of the screen for the side of the plane.
    fn scale(self, space: Rect) -> f32 {
        space.size().min_elem().max(1.0) * (1.0 - 2.0 * MARGIN) * self.zoom
    }

    fn on_screen(self, space: Rect, spot: &Spot) -> Pos2 {
        space.center() + (Vec2::from(spot.place) - self.centre) * self.scale(space)
    }

    fn place(self, space: Rect, pointer: Pos2) -> Vec2 {
        self.centre + (pointer - space.center()) / self.scale(space)
    }
}

/// A square: a hundred thousand circles would take longer than a frame may.
fn dot(mesh: &mut Mesh, place: Pos2, colour: Color32) {
    let first = mesh.vertices.len() as u32;
    for (x, y) in [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)] {
        let uv = eframe::egui::epaint::WHITE_UV;
        mesh.vertices.push(Vertex { pos: place + vec2(x, y) * DOT, uv, color: colour });
    }
    mesh.indices.extend([0, 1, 2, 0, 2, 3].map(|corner| first + corner));
}

/// Whether a place is inside of a polygon: a line from it to the right crosses its sides an odd number of times.
fn is_inside(place: Pos2, corners: &[Pos2]) -> bool {
    let before = corners.last().into_iter().chain(corners);
    let crossings = before.zip(corners).filter(|(a, b)| {
        let (low, high) = if a.y < b.y { (a, b) } else { (b, a) };
        low.y <= place.y && place.y < high.y && place.x < low.x + (place.y - low.y) / (high.y - low.y) * (high.x - low.x)
    });
    crossings.count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use eframe::egui::pos2;

    use super::*;

    #[test]
    fn what_is_drawn_around_is_inside() {
        // An arrow head that points to the right, open at its left.
        let corners = [pos2(0.0, 0.0), pos2(10.0, 5.0), pos2(0.0, 10.0), pos2(4.0, 5.0)];
        for (x, y, inside) in [(6.0, 5.0, true), (2.0, 5.0, false), (1.0, 1.0, true), (9.0, 9.0, false), (-1.0, 5.0, false)] {
            assert_eq!(is_inside(pos2(x, y), &corners), inside, "{x}, {y}");
        }
        assert!(!is_inside(pos2(0.0, 0.0), &[]));
    }

    #[test]
    fn a_plane_is_fitted_and_what_the_pointer_is_at_is_found_again() {
        let spot = |x, y| Spot { path: String::new(), place: [x, y], size: [1, 1] };
        let Plane(spots) = Plane::new(&[spot(-3.0, 1.0), spot(1.0, 3.0)]);
        assert_eq!(spots.iter().map(|spot| spot.place).collect::<Vec<_>>(), [[0.0, 0.25], [1.0, 0.75]]);
        let (view, space) = (View { centre: vec2(0.2, 0.3), zoom: 3.0 }, Rect::from_min_size(pos2(5.0, 6.0), vec2(300.0, 200.0)));
        let place = view.place(space, view.on_screen(space, &spots[1]));
        assert!((place - vec2(1.0, 0.75)).length() < 1e-5, "{place:?}");
        // All pictures alike.
        assert_eq!(Plane::new(&[spot(2.0, 2.0)]).0[0].place, [0.5, 0.5]);
    }
}
