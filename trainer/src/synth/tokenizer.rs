//! Trains a small tokenizer in Gemma's shape: lower case, ▁ for the space, byte-pair encoding that falls back to bytes.
//!
//! Special tokens have Gemma's numbers: pad 0, eos 1, bos 2, unk 3. The 256 byte tokens come last, since the trainer of the `tokenizers`
//! crate never makes them; with them no text is ever unknown.

use std::path::Path;

use polyglance::weights::replace_file;
use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::{Lowercase, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::{digits::Digits, punctuation::Punctuation, sequence::Sequence as PreTokenizers, split::Split};
use tokenizers::{AddedToken, DecoderWrapper, PostProcessorWrapper, SplitDelimiterBehavior, TokenizerImpl};

use super::generate::training_captions;
use super::{SynthError, SynthRecipe, World};

/// In the order of their numbers.
const SPECIAL: [&str; 4] = ["<pad>", "<eos>", "<bos>", "<unk>"];
const SPACE: &str = "▁";
/// Text positions of SigLIP 2.
const POSITIONS: usize = 64;
/// Letters beyond the most frequent ones are left to bytes: each would take a row of the token table.
const LETTERS_SHARE: f64 = 0.4;

type Training = TokenizerImpl<BPE, Normalizers, PreTokenizers, PostProcessorWrapper, DecoderWrapper>;

/// Trains on captions of the recipe's training scenes; writes `tokenizer.json` and `tokenizer_config.json` into a folder.
///
/// # Errors
/// The tokenizer library refuses, or a file cannot be written.
pub fn write_tokenizer(world: &World, recipe: &SynthRecipe, folder: &Path) -> Result<(), SynthError> {
    std::fs::create_dir_all(folder).map_err(|error| SynthError::write(folder, error))?;
    let json = train(&training_captions(world, recipe), recipe.vocab_size)?;
    let bytes = serde_json::to_vec(&json)?;
    replace_file(&folder.join("tokenizer.json"), |writer| writer.write_all(&bytes))?;
    let config = serde_json::to_vec_pretty(&transformers_config())?;
    Ok(replace_file(&folder.join("tokenizer_config.json"), |writer| writer.write_all(&config))?)
}

/// A `tokenizer.json` with at most `vocab_size` tokens, fewer if the texts have not enough parts.
///
/// # Errors
/// `vocab_size` has no room for the special tokens and bytes, or the tokenizer library refuses.
pub fn train(texts: &[String], vocab_size: usize) -> Result<Value, SynthError> {
    let failed = |error: tokenizers::Error| SynthError::Tokenizer(error.to_string());
    let learned = vocab_size.checked_sub(256).filter(|learned| *learned > SPECIAL.len());
    let learned = learned.ok_or_else(|| SynthError::Tokenizer(format!("vocab_size = {vocab_size} has no room beside 256 bytes")))?;
    let mut pipeline = Training::new(BPE::default());
    let space = Replace::new(" ", SPACE).map_err(failed)?;
    pipeline.with_normalizer(Some(Normalizers::new(vec![Lowercase.into(), space.into()]))).map_err(failed)?;
    // Merges never cross words, digits or punctuation; the finished tokenizer needs no such rule, since it only has these merges.
    let words = Split::new(SPACE, SplitDelimiterBehavior::MergedWithNext, false).map_err(failed)?;
    let punctuation = Punctuation::new(SplitDelimiterBehavior::Isolated);
    pipeline.with_pre_tokenizer(Some(PreTokenizers::new(vec![words.into(), punctuation.into(), Digits::new(true).into()])));
    let mut trainer = BpeTrainer::builder()
        .show_progress(false)
        .vocab_size(learned)
        .limit_alphabet((learned as f64 * LETTERS_SHARE) as usize)
        .special_tokens(SPECIAL.map(|token| AddedToken::from(token, true)).to_vec())
        .build();
    pipeline.train(&mut trainer, texts.iter()).map_err(failed)?;
    let model = serde_json::to_value(pipeline.get_model())?;
    finish(model)
}

/// Adds the byte tokens, and everything around the model.
fn finish(mut model: Value) -> Result<Value, SynthError> {
    let lost = |part: &str| SynthError::Tokenizer(format!("the trained model has no {part}"));
    let vocabulary = model["vocab"].as_object_mut().ok_or_else(|| lost("vocabulary"))?;
    let first = vocabulary.len();
    for byte in 0..256 {
        vocabulary.insert(format!("<0x{byte:02X}>"), (first + byte).into());
    }
    let merges = model["merges"].take();
    let added: Vec<Value> = SPECIAL.iter().enumerate().map(|(id, token)| added_token(id, token)).collect();
    let eos = json!({ "SpecialToken": { "id": "<eos>", "type_id": 0 } });
    Ok(json!({
        "version": "1.0",
        "truncation": { "direction": "Right", "max_length": POSITIONS, "strategy": "LongestFirst", "stride": 0 },
        "padding": {
            "strategy": { "Fixed": POSITIONS }, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>",
        },
        "added_tokens": added,
        "normalizer": { "type": "Sequence", "normalizers": [
            { "type": "Lowercase" },
            { "type": "Replace", "pattern": { "String": " " }, "content": SPACE },
        ] },
        "pre_tokenizer": { "type": "Split", "pattern": { "String": " " }, "behavior": "MergedWithPrevious", "invert": false },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{ "Sequence": { "id": "A", "type_id": 0 } }, eos.clone()],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 0 } }, eos],
            "special_tokens": { "<eos>": { "id": "<eos>", "ids": [1], "tokens": ["<eos>"] } },
        },
        "decoder": { "type": "Sequence", "decoders": [
            { "type": "Replace", "pattern": { "String": SPACE }, "content": " " },
            { "type": "ByteFallback" },
            { "type": "Fuse" },
        ] },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": true, "byte_fallback": true, "ignore_merges": false, "vocab": model["vocab"].take(), "merges": merges,
        },
    }))
}

fn added_token(id: usize, token: &str) -> Value {
    json!({ "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true })
}

/// What `transformers` wants beside the file.
fn transformers_config() -> Value {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": POSITIONS,
        "padding_side": "right",
        "model_input_names": ["input_ids"],
        "pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>",
    })
}
