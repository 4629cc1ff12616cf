//! A picture on the screen with what is painted over it.

use eframe::egui::text::LayoutJob;
use eframe::egui::{Align2, Color32, ColorImage, Context, FontId, Painter, Rect, Stroke, TextureHandle, TextureOptions, Vec2, pos2, vec2};

use super::bidi;

/// The largest rectangle of a shape in the middle of another.
pub(super) fn fitted(aspect: f32, space: Rect) -> Rect {
    let width = space.width().min(space.height() * aspect);
    Rect::from_center_size(space.center(), vec2(width, width / aspect))
}

/// The whole of a texture.
pub(super) fn whole() -> Rect {
    Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0))
}

/// Draws the borders of patches.
pub(super) fn draw_grid(painter: &Painter, rect: Rect, [rows, cols]: [usize; 2], colour: Color32) {
    let stroke = Stroke::new(1.0, colour);
    for row in 1..rows {
        painter.hline(rect.x_range(), rect.top() + rect.height() * row as f32 / rows as f32, stroke);
    }
    for col in 1..cols {
        painter.vline(rect.left() + rect.width() * col as f32 / cols as f32, rect.y_range(), stroke);
    }
}

/// A dark tag in a corner of a picture.
pub(super) fn tag(painter: &Painter, rect: Rect, text: &str) {
    let job = LayoutJob::simple(text.to_owned(), FontId::proportional(12.0), Color32::WHITE, f32::INFINITY);
    let galley = painter.fonts_mut(|fonts| bidi::layout(fonts, job));
    let place = Align2::LEFT_BOTTOM.anchor_size(rect.left_bottom() + vec2(8.0, -8.0), galley.size() + vec2(12.0, 6.0));
    painter.rect_filled(place, 6.0, Color32::from_black_alpha(150));
    painter.galley(place.min + Vec2::new(6.0, 3.0), galley, Color32::WHITE);
}

/// A texture whose pixels change.
#[derive(Default)]
pub(super) struct Layer {
    texture: Option<TextureHandle>,
}

impl Layer {
    /// Replaces the pixels.
    pub(super) fn set(&mut self, context: &Context, name: &str, pixels: ColorImage, options: TextureOptions) {
        match &mut self.texture {
            Some(texture) => texture.set(pixels, options),
            empty => *empty = Some(context.load_texture(name, pixels, options)),
        }
    }

    pub(super) fn draw(&self, painter: &Painter, rect: Rect, opacity: f32) {
        if let Some(texture) = &self.texture {
            painter.image(texture.id(), rect, whole(), Color32::WHITE.gamma_multiply(opacity));
        }
    }
}
