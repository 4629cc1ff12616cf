//! Labels with their three numbers, as bars.

use std::sync::Arc;

use eframe::egui::text::{LayoutJob, TextWrapping};
use eframe::egui::{
    Align2, Color32, CursorIcon, FontId, Galley, Rect, Response, RichText, Role, Sense, TextStyle, Ui, Vec2, WidgetInfo, vec2,
};

use super::bidi;
use super::strings::{Language, Text};
use super::theme::{ACCENT, BEST};
use crate::engine::Scores;
use crate::tasks::LabelScore;

const ROW_HEIGHT: f32 = 30.0;
/// Width of one of the three columns of numbers.
const COLUMN: f32 = 66.0;

/// Shows a row for each label and gives the one under the pointer. `order` says which label comes when; `stale` rows are of an earlier question.
pub(super) fn bars(
    ui: &mut Ui,
    language: Language,
    labels: &[String],
    scores: &[LabelScore],
    order: &[usize],
    stale: bool,
) -> Option<usize> {
    // With ids of their own: those of the widgets below do not depend on how many rows there are, and nobody who types there loses the focus.
    ui.push_id("bars", |ui| rows(ui, language, labels, scores, order, stale)).inner
}

fn rows(ui: &mut Ui, language: Language, labels: &[String], scores: &[LabelScore], order: &[usize], stale: bool) -> Option<usize> {
    header(ui, language);
    let best = LabelScore::best(scores);
    let mut pointed = None;
    for &index in order {
        let (Some(label), Some(score)) = (labels.get(index), scores.get(index)) else { continue };
        if row(ui, language, label, score, Some(index) == best, stale).hovered() {
            pointed = Some(index);
        }
    }
    pointed
}

fn header(ui: &mut Ui, language: Language) {
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 18.0), Sense::hover());
    let columns = [(Text::ShareOf, Text::ShareOfHint), (Text::Probability, Text::ProbabilityHint), (Text::Logit, Text::LogitHint)];
    for (index, (name, hint)) in columns.into_iter().enumerate() {
        let right = rect.right() - COLUMN * index as f32;
        let place = Rect::from_x_y_ranges(right - COLUMN..=right, rect.y_range());
        let response = ui.interact(place, ui.scope_id().with(("column", index)), Sense::hover());
        let colour = ui.visuals().weak_text_color();
        ui.painter().text(place.right_center(), Align2::RIGHT_CENTER, name.get(language), FontId::proportional(12.0), colour);
        response.on_hover_text(hint.get(language)).on_hover_cursor(CursorIcon::Help);
    }
}

fn row(ui: &mut Ui, language: Language, label: &str, score: &LabelScore, is_best: bool, stale: bool) -> Response {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW_HEIGHT), Sense::hover());
    let numbers = [percent(score.share), percent(score.probability), format!("{:+.2}", score.logit)];
    let [share, probability, logit] = [Text::ShareOf, Text::Probability, Text::Logit].map(|name| name.get(language));
    let spoken = format!("{label}: {share} {}, {probability} {}, {logit} {}", numbers[0], numbers[1], numbers[2]);
    response.widget_info(|| WidgetInfo::labeled(Role::ProgressIndicator, true, spoken.clone()));
    let visuals = ui.visuals();
    let fade = if stale { 0.55 } else { 1.0 };
    let (text, weak) = (visuals.text_color().gamma_multiply(fade), visuals.weak_text_color().gamma_multiply(fade));
    let colour = if is_best { BEST } else { ACCENT }.gamma_multiply(fade);
    let painter = ui.painter();
    if response.hovered() {
        painter.rect_filled(rect, 6.0, visuals.faint_bg_color);
    }
    let track = rect.with_min_y(rect.bottom() - 6.0).translate(Vec2::new(0.0, -2.0));
    painter.rect_filled(track, 3.0, visuals.widgets.inactive.bg_fill);
    let length = track.width() * ui.ctx().animate_value_with_time(response.id.with("length"), score.share, 0.12).clamp(0.0, 1.0);
    painter.rect_filled(track.with_max_x(track.left() + length.max(2.0)), 3.0, colour);
    let baseline = rect.top() + 10.0;
    let mut right = rect.right();
    for (number, colour) in numbers.iter().zip([text, weak, weak]) {
        painter.text((right, baseline).into(), Align2::RIGHT_CENTER, number, FontId::proportional(13.0), colour);
        right -= COLUMN;
    }
    let name = elided(ui, label, right - rect.left() - 4.0, text);
    ui.painter().galley((rect.left(), baseline - name.size().y / 2.0).into(), name, text);
    response
}

/// A label on one line, cut with an ellipsis where it is too long.
fn elided(ui: &Ui, label: &str, width: f32, colour: Color32) -> Arc<Galley> {
    let mut job = LayoutJob::simple_singleline(label.to_owned(), TextStyle::Body.resolve(ui.style()), colour);
    job.wrap = TextWrapping::truncate_at_width(width.max(20.0));
    ui.fonts_mut(|fonts| bidi::layout(fonts, job))
}

/// How long scores took, if anything had to be computed for them.
pub(super) fn computed_in(ui: &mut Ui, language: Language, scores: &Scores) {
    let millis = scores.image_millis + scores.text_millis;
    if millis > 0.0 {
        ui.label(RichText::new(format!("{} {millis:.0} ms", Text::Faster.get(language))).small().weak());
    }
}

/// A number from 0 to 1, as precise as it is large.
pub(super) fn percent(share: f32) -> String {
    match 100.0 * share {
        small if small < 0.01 => "<0.01 %".to_owned(),
        small if small < 1.0 => format!("{small:.2} %"),
        large => format!("{large:.1} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_never_hide_that_they_are_small() {
        assert_eq!([0.0, 0.000_2, 0.5, 0.999].map(percent), ["<0.01 %", "0.02 %", "50.0 %", "99.9 %"]);
    }
}
