//! Evaluation on the way: the model as it is now, asked what `polyglance-trainer evaluate` asks.

use std::sync::Arc;

use burn::module::Module;
use polyglance::config::ModelConfig;
use polyglance::image::{PatchBatch, Resampling};
use polyglance::text::{Tokenizer, Tokens};

use super::TrainError;
use crate::data::HttpOptions;
use crate::evaluate::{ClassList, Embedder, EvaluationError, EvaluationOptions, Exam, Fitting, HeldOut, Row, take};
use crate::model::{Siglip, to_host};

/// A held-out set with its questions.
pub struct Judge {
    held_out: HeldOut,
    exam: Exam,
    tokenizer: Arc<Tokenizer>,
    seed: u64,
}

impl Judge {
    /// Reads up to `pairs` held-out examples behind `pattern`; `classes` adds zero-shot classification to retrieval.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn new(pattern: &str, pairs: usize, classes: Option<&ClassList>, tokenizer: Arc<Tokenizer>, seed: u64) -> Result<Self, TrainError> {
        let held_out = HeldOut::read(pattern, Some(pairs), &HttpOptions::default())?;
        let exam = Exam::new(&held_out, classes, &[], pairs)?;
        Ok(Self { held_out, exam, tokenizer, seed })
    }

    /// Results by name, and their mean: what "best" goes by.
    ///
    /// # Errors
    /// The model fails.
    pub fn judge(&self, model: &Siglip) -> Result<(Vec<(String, f64)>, f64), TrainError> {
        let config: ModelConfig = *model.config();
        let options = EvaluationOptions {
            fittings: vec![Fitting::default()],
            budgets: Vec::new(),
            resampling: Resampling::default(),
            seed: self.seed,
        };
        let mut plain = Plain(model.valid());
        let rows = take(&mut plain, "model", &config.vision, &self.tokenizer, &self.exam, &self.held_out, &options)?;
        let results = results(&rows);
        let mean = results.iter().map(|(_, value)| value).sum::<f64>() / results.len().max(1) as f64;
        Ok((results, mean))
    }
}

fn results(rows: &[Row]) -> Vec<(String, f64)> {
    let mut results = Vec::new();
    for part in rows.iter().flat_map(|row| &row.marks.parts) {
        let language = &part.language;
        if let Some(zero_shot) = &part.zero_shot {
            results.push((format!("zero_shot/{language}/top_1"), zero_shot.top_1.value));
        }
        if let Some(retrieval) = &part.retrieval {
            results.push((format!("retrieval/{language}/text_to_image_1"), retrieval.text_to_image.at_1.value));
            results.push((format!("retrieval/{language}/image_to_text_1"), retrieval.image_to_text.at_1.value));
        }
    }
    results
}

/// A model outside any graph.
struct Plain(Siglip);

impl Embedder for Plain {
    fn dim(&self) -> usize {
        self.0.config().embedding_dim()
    }

    fn embed_images(&mut self, batch: &PatchBatch) -> Result<Vec<f32>, EvaluationError> {
        self.0.embed_images(batch).and_then(to_host).map_err(|error| EvaluationError::Model(error.to_string()))
    }

    fn embed_texts(&mut self, tokens: &[Tokens]) -> Result<Vec<f32>, EvaluationError> {
        self.0.embed_texts(tokens).and_then(to_host).map_err(|error| EvaluationError::Model(error.to_string()))
    }
}
