//! Results as files.

use std::fmt::Write;

use serde_json::{Value, json};

use super::super::csv::quoted;
use super::calibration::Changed;
use crate::tasks::LabelScore;

/// Scores of pictures with what they depend on.
pub(super) struct Results {
    pub(super) model: String,
    pub(super) template: String,
    /// Present if scale or bias are not the model's.
    pub(super) calibration: Option<Changed>,
    pub(super) labels: Vec<String>,
    pub(super) pictures: Vec<Row>,
}

/// Scores of one picture.
pub(super) struct Row {
    pub(super) picture: String,
    pub(super) grid: [usize; 2],
    /// In the order of the labels.
    pub(super) scores: Vec<LabelScore>,
}

impl Results {
    /// A line for every picture and label (RFC 4180).
    pub(super) fn csv(&self) -> String {
        let mut csv = String::from("picture,label,logit,probability,share,model,template,calibration\r\n");
        let calibration = self.calibration.map_or_else(|| "model".to_owned(), |_| "changed".to_owned());
        for row in &self.pictures {
            for (label, score) in self.labels.iter().zip(&row.scores) {
                let (picture, label) = (quoted(&row.picture), quoted(label));
                let (model, template) = (quoted(&self.model), quoted(&self.template));
                let LabelScore { logit, probability, share } = score;
                let _ = write!(csv, "{picture},{label},{logit},{probability},{share},{model},{template},{calibration}\r\n");
            }
        }
        csv
    }

    /// The same as JSON.
    pub(super) fn json(&self) -> Vec<u8> {
        let scores = |row: &Row| -> Vec<Value> {
            let score = |(label, score): (&String, &LabelScore)| json!({ "label": label, "logit": score.logit, "probability": score.probability, "share": score.share });
            self.labels.iter().zip(&row.scores).map(score).collect()
        };
        let pictures: Vec<Value> =
            self.pictures.iter().map(|row| json!({ "picture": row.picture, "grid": row.grid, "labels": scores(row) })).collect();
        let all = json!({ "model": self.model, "template": self.template, "calibration": self.calibration, "pictures": pictures });
        serde_json::to_vec_pretty(&all).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_keep_every_letter_and_run_nothing() {
        let results = Results {
            model: "demo".to_owned(),
            template: "{}".to_owned(),
            calibration: None,
            labels: vec!["a \"cat\", sitting".to_owned(), "=1+1".to_owned()],
            pictures: vec![Row { picture: "猫.jpg".to_owned(), grid: [2, 3], scores: LabelScore::all(&[1.0, -1.0]) }],
        };
        let csv = results.csv();
        assert!(csv.contains("\"猫.jpg\",\"a \"\"cat\"\", sitting\",1,0.7310586"), "{csv}");
        assert!(csv.contains("\"'=1+1\"") && csv.lines().count() == 3);
        let json: Value = serde_json::from_slice(&results.json()).unwrap();
        assert_eq!(json["pictures"][0]["labels"][1]["label"], "=1+1");
        assert_eq!(json["pictures"][0]["grid"], json!([2, 3]));
    }
}
