//! What would the probabilities be with another scale and bias?

use eframe::egui::{CollapsingHeader, Slider, Ui};

use super::super::desk::Desk;
use super::super::strings::Text;
use crate::engine::ModelInfo;

/// Scale and bias in place of the model's own.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Calibration {
    scale: Option<f64>,
    bias: Option<f64>,
}

/// The scale and bias that were used, for exports.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(super) struct Changed {
    scale: f64,
    bias: f64,
    model_scale: f64,
    model_bias: f64,
}

/// A model's scale and bias.
fn own(info: &ModelInfo) -> [f64; 2] {
    [f64::from(info.logit_scale).exp(), f64::from(info.logit_bias)]
}

impl Calibration {
    /// Logits as they would be: the cosines do not change.
    pub(super) fn logits(&self, logits: &[f32], info: Option<&ModelInfo>) -> Vec<f64> {
        let Some([own_scale, own_bias]) = info.map(own) else { return logits.iter().map(|logit| f64::from(*logit)).collect() };
        let (scale, bias) = (self.scale.unwrap_or(own_scale), self.bias.unwrap_or(own_bias));
        if self.scale.is_none() && self.bias.is_none() {
            return logits.iter().map(|logit| f64::from(*logit)).collect();
        }
        logits.iter().map(|logit| (f64::from(*logit) - own_bias) / own_scale * scale + bias).collect()
    }

    /// What differs from the model's own, if anything does.
    pub(super) fn changed(&self, info: Option<&ModelInfo>) -> Option<Changed> {
        let [model_scale, model_bias] = own(info?);
        let is_changed = self.scale.is_some() || self.bias.is_some();
        is_changed.then(|| Changed {
            scale: self.scale.unwrap_or(model_scale),
            bias: self.bias.unwrap_or(model_bias),
            model_scale,
            model_bias,
        })
    }

    pub(super) fn ui(&mut self, ui: &mut Ui, desk: &Desk) {
        let Some([own_scale, own_bias]) = desk.model.info.as_ref().map(own) else { return };
        let header = CollapsingHeader::new(desk.text(Text::Calibration)).show(ui, |ui| {
            for (value, own, range, name) in
                [(&mut self.scale, own_scale, 1.0..=200.0, Text::Scale), (&mut self.bias, own_bias, -30.0..=10.0, Text::Bias)]
            {
                let mut shown = value.unwrap_or(own);
                if ui.add(Slider::new(&mut shown, range).text(desk.text(name))).changed() {
                    *value = Some(shown);
                }
            }
            if ui.button(desk.text(Text::Reset)).clicked() {
                *self = Self::default();
            }
        });
        header.header_response.on_hover_text(desk.text(Text::CalibrationHint));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{ModelSource, Table};

    fn info() -> ModelInfo {
        ModelInfo {
            source: ModelSource::Demo,
            patch_size: 16,
            max_num_patches: Some(100),
            image_size: None,
            depth: 4,
            width: 160,
            positions: 32,
            parameters: 3_000_000,
            logit_scale: 10f32.ln(),
            logit_bias: -5.0,
            table: Table::Here,
            device: String::new(),
            device_reason: None,
        }
    }

    #[test]
    fn another_scale_and_bias_meet_the_same_cosines() {
        let unchanged = Calibration::default();
        assert_eq!(unchanged.logits(&[2.5, -5.0], Some(&info())), [2.5, -5.0]);
        assert_eq!(unchanged.changed(Some(&info())), None);
        let other = Calibration { scale: Some(20.0), bias: Some(1.0) };
        // Cosines 0.75 and 0.
        let logits = other.logits(&[2.5, -5.0], Some(&info()));
        assert!((logits[0] - 16.0).abs() < 1e-5 && (logits[1] - 1.0).abs() < 1e-5, "{logits:?}");
        assert_eq!(other.changed(Some(&info())).map(|changed| (changed.scale, changed.model_bias)), Some((20.0, -5.0)));
    }
}
