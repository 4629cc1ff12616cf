//! Colours, letters and distances.

use std::sync::Arc;

use eframe::egui::{
    Color32, Context, CornerRadius, FontData, FontDefinitions, FontFamily, FontId, Margin, Stroke, Style, TextStyle, Theme, Visuals, vec2,
};

use super::assets::Assets;

/// Name of the heavier letters.
const STRONG: &str = "strong";

/// The colour of what is chosen, in the middle between both themes' backgrounds.
pub(super) const ACCENT: Color32 = Color32::from_rgb(0x4f, 0x7c, 0xff);
/// The colour of the best result.
pub(super) const BEST: Color32 = Color32::from_rgb(0x1f, 0xb5, 0x8f);

/// Sets both themes; which one shows is the system's choice until a person makes another.
pub(super) fn install(context: &Context, assets: &Assets) {
    context.set_fonts(fonts(assets));
    for theme in [Theme::Dark, Theme::Light] {
        context.style_mut_of(theme, |style| adapt(style, theme));
    }
}

/// Heavier letters of a size in points.
pub(super) fn strong(size: f32) -> FontId {
    FontId::new(size, FontFamily::Name(STRONG.into()))
}

fn fonts(assets: &Assets) -> FontDefinitions {
    let mut fonts = FontDefinitions::empty();
    let [regular, strong] = assets.fonts;
    let mut names = Vec::new();
    for (index, file) in [regular].iter().chain(assets.joined).enumerate() {
        names.push(format!("regular {index}"));
        fonts.font_data.insert(format!("regular {index}"), Arc::new(FontData::from_static(file)));
    }
    // Other scripts come from the system's or the browser's own fonts.
    for family in [FontFamily::Proportional, FontFamily::Monospace] {
        fonts.families.insert(family, names.clone());
    }
    fonts.font_data.insert(STRONG.to_owned(), Arc::new(FontData::from_static(strong)));
    fonts.families.insert(FontFamily::Name(STRONG.into()), vec![STRONG.to_owned()]);
    fonts
}

fn adapt(style: &mut Style, theme: Theme) {
    style.text_styles = [
        (TextStyle::Small, FontId::proportional(12.0)),
        (TextStyle::Body, FontId::proportional(14.0)),
        (TextStyle::Button, FontId::proportional(14.0)),
        (TextStyle::Heading, strong(18.0)),
        (TextStyle::Monospace, FontId::monospace(13.0)),
    ]
    .into();
    style.spacing.item_spacing = vec2(8.0, 8.0);
    style.spacing.button_padding = vec2(10.0, 5.0);
    style.spacing.interact_size.y = 28.0;
    style.spacing.slider_width = 150.0;
    style.spacing.window_margin = Margin::same(16);
    style.visuals = visuals(theme);
}

fn visuals(theme: Theme) -> Visuals {
    let [base, panel, raised, line, text, weak] = match theme {
        Theme::Dark => [0x0e_10_14, 0x15_18_1e, 0x22_27_30, 0x2b_31_3c, 0xe6_e9_ef, 0x9a_a3_b2],
        Theme::Light => [0xff_ff_ff, 0xf4_f6_f9, 0xe6_ea_f0, 0xd7_dc_e4, 0x1b_20_28, 0x5c_66_75],
    }
    .map(|rgb: u32| {
        let [_, r, g, b] = rgb.to_be_bytes();
        Color32::from_rgb(r, g, b)
    });
    let mut visuals = match theme {
        Theme::Dark => Visuals::dark(),
        Theme::Light => Visuals::light(),
    };
    visuals.panel_fill = panel;
    visuals.window_fill = panel;
    visuals.window_stroke = Stroke::new(1.0, line);
    visuals.extreme_bg_color = base;
    visuals.faint_bg_color = panel.lerp_to_gamma(raised, 0.5);
    visuals.weak_text_color = Some(weak);
    visuals.hyperlink_color = ACCENT;
    if theme == Theme::Light {
        // egui's orange is hard to read on white.
        visuals.warn_fg_color = Color32::from_rgb(0x9a, 0x56, 0x00);
    }
    visuals.selection.bg_fill = ACCENT.gamma_multiply(if theme == Theme::Dark { 0.55 } else { 0.3 });
    visuals.selection.stroke = Stroke::new(1.0, text);
    visuals.window_corner_radius = CornerRadius::same(12);
    visuals.menu_corner_radius = CornerRadius::same(10);
    let widgets = &mut visuals.widgets;
    widgets.noninteractive.bg_stroke = Stroke::new(1.0, line);
    widgets.noninteractive.fg_stroke = Stroke::new(1.0, text);
    for (state, fill) in [
        (&mut widgets.inactive, raised),
        (&mut widgets.hovered, raised.lerp_to_gamma(ACCENT, 0.25)),
        (&mut widgets.active, raised.lerp_to_gamma(ACCENT, 0.5)),
        (&mut widgets.open, raised),
    ] {
        state.bg_fill = fill;
        state.weak_bg_fill = fill;
        state.bg_stroke = Stroke::NONE;
        state.fg_stroke = Stroke::new(1.0, text);
        state.corner_radius = CornerRadius::same(7);
        state.expansion = 0.0;
    }
    widgets.hovered.bg_stroke = Stroke::new(1.0, ACCENT);
    visuals
}
