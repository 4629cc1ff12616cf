//! The model inside and its sample scenes.

use std::collections::BTreeMap;
use std::sync::Arc;

use polyglance::config::ModelConfig;
use polyglance::demo::{SAMPLES, TEMPLATE, checkpoint};
use polyglance::encoder::{DeviceChoice, Encoder, EncoderOptions, ImageOutputs, Precision};
use polyglance::image::{PatchBatch, Resampling, decode, preprocess};
use polyglance::limits::Limits;
use polyglance::platform::block_on;
use polyglance::tasks::Classifier;
use polyglance::text::{TextOptions, Tokenizer, expand};

/// A line of `samples.json`.
#[derive(serde::Deserialize)]
struct Line {
    file: String,
    label: String,
    labels: BTreeMap<String, String>,
}

fn lines() -> Vec<Line> {
    serde_json::from_slice(include_bytes!("../assets/demo/samples/samples.json")).unwrap()
}

#[test]
fn samples_are_those_of_the_list() {
    let listed: Vec<_> = lines().into_iter().map(|line| (line.file, line.label)).collect();
    assert_eq!(listed, SAMPLES.map(|sample| (sample.file.to_owned(), sample.label.to_owned())));
}

/// The first impression of whoever tries the program.
#[test]
fn the_right_label_is_first_on_every_sample_in_every_language() {
    let checkpoint = Arc::new(block_on(checkpoint()).unwrap());
    let config: ModelConfig = *checkpoint.config();
    let tokenizer = Tokenizer::from_json(&block_on(checkpoint.tokenizer_json()).unwrap(), &config.text, TextOptions::default()).unwrap();
    let options = EncoderOptions { device: DeviceChoice::Cpu, precision: Precision::F32 };
    let mut encoder = block_on(Encoder::new(Arc::clone(&checkpoint), options)).unwrap();
    let pictures = SAMPLES.map(|sample| {
        let pixels = decode(sample.jpeg, &Limits::current()).unwrap().pixels;
        preprocess(&pixels, &config.vision, None, Resampling::Hf).unwrap()
    });
    let pictures = block_on(encoder.encode_images(&PatchBatch::pack(&pictures), ImageOutputs::default())).unwrap().embeds;
    let (lines, dim) = (lines(), config.embedding_dim());
    let mut wrong = Vec::new();
    for language in lines[0].labels.keys() {
        let tokens: Vec<_> =
            lines.iter().map(|line| tokenizer.encode(&expand(TEMPLATE, &line.labels[language]).unwrap()).unwrap()).collect();
        let labels = block_on(encoder.encode_texts(&tokens)).unwrap().embeds;
        let classifier = Classifier::new(labels, dim, encoder.logit_scale(), encoder.logit_bias()).unwrap();
        for (line, picture) in lines.iter().zip(pictures.chunks_exact(dim)) {
            let scores = classifier.scores(picture).unwrap();
            let best = scores.iter().enumerate().max_by(|a, b| a.1.logit.total_cmp(&b.1.logit)).unwrap().0;
            if lines[best].file != line.file {
                wrong.push(format!("{language}: {} for {}", lines[best].label, line.label));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
