//! The frame of the stage: what one sees, drags and pulls.

use eframe::egui::{
    Color32, CursorIcon, Event, FocusDirection, Key, Mesh, Pos2, Rect, Response, Role, Sense, Shape, Stroke, StrokeKind, Ui, Vec2,
    WidgetInfo, pos2, vec2,
};

use super::super::canvas::{draw_grid, fitted, tag};
use super::super::desk::Desk;
use super::super::strings::Text;
use super::super::theme::ACCENT;
use super::palette::Palette;
use super::scene::{Item, MAX_ASPECT};
use super::{Stage, compose};

/// Points beside the frame's right edge at which it can be pulled.
const HANDLE: f32 = 14.0;

impl Stage {
    pub(super) fn frame_ui(&mut self, ui: &mut Ui, desk: &mut Desk) {
        let space = ui.available_rect_before_wrap();
        let rect = fitted(self.scene.aspect, space.shrink2(vec2(HANDLE + 4.0, 8.0)));
        let response = ui.interact(rect, ui.scope_id().with("frame"), Sense::click_and_drag());
        self.speak(&response, desk);
        self.pull(ui, desk, space, rect);
        self.drag(ui, rect, &response);
        if response.has_focus() {
            keep_focus(ui);
            self.keys(ui);
        }
        self.drop_carried(ui, rect, desk);
        self.paint(ui, desk, rect, &response);
    }

    /// The scene in words, for screen readers.
    fn speak(&self, response: &Response, desk: &Desk) {
        let names: Vec<&str> = self.scene.items.iter().map(|item| self.palette.name(item.emoji, desk.language.code())).collect();
        let grid = self.results.grid().map(|grid| format!("; {}", grid_text(grid, desk))).unwrap_or_default();
        let spoken = format!("{}: {}{grid}", desk.text(Text::Stage), names.join(", "));
        response.widget_info(|| WidgetInfo::labeled(Role::Image, true, spoken.clone()));
    }

    /// The handle at the right edge changes the frame's shape.
    fn pull(&mut self, ui: &Ui, desk: &Desk, space: Rect, rect: Rect) {
        let edge = Rect::from_center_size(pos2(rect.right() + HANDLE / 2.0, rect.center().y), vec2(HANDLE, rect.height().max(64.0)));
        let handle = ui.interact(edge, ui.scope_id().with("pull"), Sense::drag()).on_hover_cursor(CursorIcon::ResizeHorizontal);
        let is_used = handle.dragged() || handle.hovered() || handle.has_focus();
        if let Some(delta) = dragged(&handle)
            && let Some(pointer) = handle.interact_pointer_pos()
        {
            // Half of the frame is left of the middle: the pointer tells how wide it shall be where there is room, and how low where not.
            let half = (pointer.x - space.center().x - HANDLE / 2.0).max(8.0);
            let height = rect.height().min(space.height());
            let aspect = if rect.width() >= space.width() - 2.0 * HANDLE - 10.0 {
                self.scene.aspect * (1.0 + delta.x / 120.0)
            } else {
                2.0 * half / height
            };
            self.scene.aspect = aspect;
        }
        if handle.has_focus() {
            keep_focus(ui);
            let presses = |key| ui.input(|input| input.num_presses(key)) as i32;
            self.scene.aspect *= 1.1f32.powi(presses(Key::ArrowRight) - presses(Key::ArrowLeft));
        }
        self.scene.aspect = self.scene.aspect.clamp(1.0 / MAX_ASPECT, MAX_ASPECT);
        let bar = Rect::from_center_size(edge.center(), vec2(5.0, 44.0));
        ui.painter().rect_filled(
            bar,
            2.5,
            if is_used { ACCENT } else { ui.visuals().widgets.inactive.bg_fill.lerp_to_gamma(ui.visuals().text_color(), 0.35) },
        );
        let spoken = format!("{}: {:.2}", desk.text(Text::Frame), self.scene.aspect);
        handle.widget_info(|| WidgetInfo::labeled(Role::Slider, true, spoken.clone()));
        handle.on_hover_text(desk.text(Text::FrameHint));
    }

    /// A place on the screen as shares of the frame.
    fn share(rect: Rect, place: Pos2) -> [f32; 2] {
        [(place.x - rect.left()) / rect.width(), (place.y - rect.top()) / rect.height()]
    }

    fn drag(&mut self, ui: &Ui, rect: Rect, response: &Response) {
        // A quick hand has left the emoji before the drag counts as one.
        let pressed = ui.input(|input| input.pointer.press_origin()).filter(|_| response.drag_started());
        let clicked = response.interact_pointer_pos().filter(|_| response.clicked());
        if let Some(place) = pressed.or(clicked) {
            self.selected = self.scene.item_at(Self::share(rect, place));
            response.request_focus();
        }
        if response.double_clicked() {
            self.remove_selected();
        }
        if let Some(delta) = dragged(response)
            && let Some(item) = self.selected.and_then(|index| self.scene.items.get_mut(index))
        {
            let delta = delta / rect.size();
            item.shift([delta.x, delta.y]);
        }
        let hovered = response.hover_pos().and_then(|place| self.scene.item_at(Self::share(rect, place)));
        if let Some(item) = hovered.and_then(|index| self.scene.items.get_mut(index)) {
            ui.ctx().set_cursor_icon(if response.dragged() { CursorIcon::Grabbing } else { CursorIcon::Grab });
            let scroll = ui.input(|input| input.smooth_scroll_delta().y);
            item.scale((scroll / 300.0).exp());
        }
    }

    /// Every press counts, and in its order: a slow frame brings several.
    fn keys(&mut self, ui: &Ui) {
        let pressed = |event: &Event| if let Event::Key { key, pressed: true, .. } = event { Some(*key) } else { None };
        let keys: Vec<Key> = ui.input(|input| input.events.iter().filter_map(pressed).collect());
        keys.into_iter().for_each(|key| self.press(key));
    }

    fn press(&mut self, key: Key) {
        let count = self.scene.items.len();
        match key {
            Key::N if count > 0 => self.selected = Some(self.selected.map_or(0, |index| (index + 1) % count)),
            Key::Delete | Key::Backspace => self.remove_selected(),
            _ => {
                if let Some(item) = self.selected.and_then(|index| self.scene.items.get_mut(index)) {
                    press_on(item, key);
                }
            }
        }
    }

    fn remove_selected(&mut self) {
        if let Some(index) = self.selected.take().filter(|index| *index < self.scene.items.len()) {
            self.scene.items.remove(index);
        }
    }

    /// An emoji from the palette lands where the pointer lets it go.
    fn drop_carried(&mut self, ui: &Ui, rect: Rect, desk: &mut Desk) {
        if !ui.input(|input| input.pointer.any_released()) {
            return;
        }
        let Some(emoji) = self.carried.take() else { return };
        if let Some(place) = ui.ctx().pointer_latest_pos().filter(|place| rect.contains(*place)) {
            self.put(emoji, Some(Self::share(rect, place)), desk);
        }
    }

    fn paint(&mut self, ui: &Ui, desk: &Desk, rect: Rect, response: &Response) {
        let painter = ui.painter().with_clip_rect(rect.expand(1.0));
        painter.add(Shape::mesh(self.background_mesh(rect)));
        let scene_side = (rect.width() * rect.height()).sqrt();
        let texture = self.palette.texture(ui.ctx()).id();
        for (index, item) in self.scene.items.iter().enumerate() {
            let center = rect.min + vec2(item.center[0] * rect.width(), item.center[1] * rect.height());
            let place = Rect::from_center_size(center, vec2(1.0, 1.0) * item.size * scene_side);
            let mut mesh = Mesh::with_texture(texture);
            mesh.add_rect_with_uv(place, Palette::uv(item.emoji), Color32::WHITE);
            mesh.rotate(eframe::egui::emath::Rot2::from_angle(item.angle), center);
            painter.add(Shape::mesh(mesh));
            if self.selected == Some(index) && response.has_focus() {
                painter.rect_stroke(place, 10.0, Stroke::new(1.5, ACCENT), StrokeKind::Outside);
            }
        }
        self.results.draw_heat(&painter, rect);
        if let Some(grid) = self.results.grid() {
            if self.shows_grid {
                draw_grid(&painter, rect, grid, Color32::from_rgba_unmultiplied(127, 127, 127, 70));
            }
            tag(&painter, rect, &grid_text(grid, desk));
        }
        if self.scene.items.is_empty() {
            let font = eframe::egui::FontId::proportional(16.0);
            painter.text(rect.center(), eframe::egui::Align2::CENTER_CENTER, desk.text(Text::StageEmpty), font, Color32::from_gray(110));
        }
        ui.painter().rect_stroke(rect, 4.0, ui.visuals().window_stroke, StrokeKind::Outside);
    }

    fn background_mesh(&self, rect: Rect) -> Mesh {
        let mut mesh = Mesh::default();
        for (corner, share) in [
            (rect.left_top(), [0.0, 0.0]),
            (rect.right_top(), [1.0, 0.0]),
            (rect.right_bottom(), [1.0, 1.0]),
            (rect.left_bottom(), [0.0, 1.0]),
        ] {
            let [r, g, b] = compose::background(self.scene.background, share);
            mesh.colored_vertex(corner, Color32::from_rgb(r, g, b));
        }
        mesh.add_triangle(0, 1, 2);
        mesh.add_triangle(0, 2, 3);
        mesh
    }
}

/// The way of a drag since the last frame, from where the hand pressed to where it let go: a slow frame brings a part of the way together with its
/// beginning or its end.
fn dragged(response: &Response) -> Option<Vec2> {
    let (starts, ends) = (response.drag_started(), response.drag_stopped());
    if !(starts || ends || response.dragged()) {
        return None;
    }
    response.ctx.input(|input| {
        let (pointer, last) = (&input.pointer, input.pointer.latest_pos()?);
        let released = |event: &Event| if let Event::PointerButton { pos, pressed: false, .. } = event { Some(*pos) } else { None };
        let start = pointer.press_origin().filter(|_| starts).unwrap_or(last - pointer.delta());
        let end = input.events.iter().rev().find_map(released).filter(|_| ends).unwrap_or(last);
        Some(end - start)
    })
}

/// Arrows are for the widget that has the focus, and do not move it. (egui's own lock holds from the next frame on only: a slow frame brings the first arrow
/// together with the click.)
fn keep_focus(ui: &Ui) {
    const ARROWS: [Key; 4] = [Key::ArrowLeft, Key::ArrowRight, Key::ArrowUp, Key::ArrowDown];
    if ui.input(|input| ARROWS.iter().any(|arrow| input.key_pressed(*arrow))) {
        ui.memory_mut(|memory| memory.move_focus(FocusDirection::None));
    }
}

/// What a key does to the emoji that is chosen.
fn press_on(item: &mut Item, key: Key) {
    const STEP: f32 = 0.02;
    match key {
        Key::ArrowLeft => item.shift([-STEP, 0.0]),
        Key::ArrowRight => item.shift([STEP, 0.0]),
        Key::ArrowUp => item.shift([0.0, -STEP]),
        Key::ArrowDown => item.shift([0.0, STEP]),
        Key::Plus | Key::Equals => item.scale(1.1),
        Key::Minus => item.scale(1.0 / 1.1),
        Key::CloseBracket => item.angle += 0.1,
        Key::OpenBracket => item.angle -= 0.1,
        _ => {}
    }
}

/// How many patches the model sees.
fn grid_text([rows, cols]: [usize; 2], desk: &Desk) -> String {
    format!("{rows} × {cols} = {} {}", rows * cols, desk.text(Text::Grid).to_lowercase())
}
