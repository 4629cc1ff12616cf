//! Reading an untrusted `tokenizer.json`.
//!
//! The `tokenizers` crate trusts its files: some crash it, some make a text grow without bound, some carry regular expressions that run for
//! hours. So only the parts that SigLIP tokenizers are made of get through, and those are checked first:
//!
//! - models BPE (Gemma) and Unigram (SigLIP 1), tokens of at most [`TOKEN_BYTES`], every merge within the longest token;
//! - normalisers that replace a match by at most one character, strip, or apply a Unicode normal form;
//! - pre-tokenisers that split at a pattern or at spaces;
//! - patterns without groups, alternatives and counts (see [`check_pattern`]): those match in linear time.
//!
//! The file's lower-casing is dropped because ours replaces it.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokenizers::{
    AddedToken, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper,
    models::{
        bpe::{BPE, Vocab},
        unigram::Unigram,
    },
};

use super::TextError;

/// Longest token; the longest of the released ones are runs of spaces, below 100 bytes. Unigram's time grows with its square.
const TOKEN_BYTES: usize = 256;
/// Most normalisation or pre-tokenisation steps.
const STEPS: usize = 8;
/// Longest pattern. The longest in use lists all ASCII punctuation.
const PATTERN_BYTES: usize = 256;

/// The parts of a `tokenizer.json` that decide token ids.
pub(super) struct TokenizerFile {
    pub model: ModelWrapper,
    /// Without lower-casing.
    pub normalizers: Vec<NormalizerWrapper>,
    pub pre_tokenizer: Option<PreTokenizerWrapper>,
    pub added_tokens: Vec<AddedToken>,
    pub pad_id: Option<u32>,
    /// The largest id in the model's vocabulary.
    pub largest_id: u32,
}

/// Everything but the vocabulary, which a first pass over the file skips: its type decides how the second pass reads it.
#[derive(Deserialize)]
struct Head {
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    padding: Option<Padding>,
    model: ModelType,
}

#[derive(Deserialize)]
struct ModelType {
    #[serde(rename = "type")]
    name: String,
}

#[derive(Deserialize)]
struct Padding {
    pad_id: u32,
}

#[derive(Deserialize)]
struct Body<M> {
    model: M,
}

#[derive(Deserialize)]
struct BpeFile {
    vocab: Vocab,
    merges: Vec<Merge>,
    unk_token: Option<String>,
    fuse_unk: Option<bool>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
}

/// Older files join the two halves with a space.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Joined(String),
}

impl TokenizerFile {
    pub(super) fn parse(json: &[u8]) -> Result<Self, TextError> {
        let head: Head = serde_json::from_slice(json)?;
        let mut normalizers = Vec::new();
        flatten(head.normalizer, "normalizers", &mut |step| {
            normalizers.extend(read_normalizer(step)?);
            Ok(())
        })?;
        let mut parts = 0;
        flatten(head.pre_tokenizer.clone(), "pretokenizers", &mut |step| {
            parts += 1;
            check_pre_tokenizer(&step)
        })?;
        if normalizers.len() > STEPS || parts > STEPS {
            return refuse(format!("it has more than {STEPS} normalisation steps"));
        }
        if let Some(token) = head.added_tokens.iter().find(|token| token.content.len() > TOKEN_BYTES) {
            return refuse(format!("an added token has {} bytes, more than {TOKEN_BYTES}", token.content.len()));
        }
        let (model, largest_id) = match head.model.name.as_str() {
            "BPE" => read_bpe(read_body(json)?)?,
            "Unigram" => check_unigram(read_body(json)?)?,
            other => return refuse(format!("its model is {other:?}; SigLIP tokenizers are BPE or Unigram")),
        };
        let pre_tokenizer = head.pre_tokenizer.map(serde_json::from_value).transpose()?;
        Ok(Self { model, normalizers, pre_tokenizer, added_tokens: head.added_tokens, pad_id: head.padding.map(|p| p.pad_id), largest_id })
    }
}

fn read_body<M: DeserializeOwned>(json: &[u8]) -> Result<M, TextError> {
    Ok(serde_json::from_slice::<Body<M>>(json)?.model)
}

fn refuse<T>(problem: String) -> Result<T, TextError> {
    Err(TextError::TokenizerPart(problem))
}

/// Calls `visit` for each step of a component that may be absent, a single step, or nested sequences of steps (under the key `list`).
fn flatten(component: Option<Value>, list: &str, visit: &mut dyn FnMut(Value) -> Result<(), TextError>) -> Result<(), TextError> {
    let Some(mut component) = component else { return Ok(()) };
    if kind(&component) != "Sequence" {
        return visit(component);
    }
    let Value::Array(steps) = component[list].take() else { return refuse(format!("a sequence lacks its {list}")) };
    steps.into_iter().try_for_each(|step| flatten(Some(step), list, visit))
}

fn kind(component: &Value) -> &str {
    component["type"].as_str().unwrap_or("(no type)")
}

/// The normaliser of one step, or nothing for the file's own lower-casing.
fn read_normalizer(step: Value) -> Result<Option<NormalizerWrapper>, TextError> {
    let inserted = match kind(&step) {
        "Lowercase" => return Ok(None),
        "Strip" | "StripAccents" | "NFC" | "NFD" | "NFKC" | "NFKD" => "",
        "Prepend" => step["prepend"].as_str().unwrap_or_default(),
        "Replace" => {
            check_pattern(&step["pattern"])?;
            step["content"].as_str().unwrap_or_default()
        }
        other => return refuse(format!("its normalizer is {other:?}, which no SigLIP tokenizer has")),
    };
    // A longer replacement could turn 64 KiB of text into gigabytes.
    if inserted.chars().count() > 1 {
        return refuse(format!("a normalizer inserts {inserted:?}; at most one character is allowed"));
    }
    Ok(Some(serde_json::from_value(step)?))
}

fn check_pre_tokenizer(step: &Value) -> Result<(), TextError> {
    match kind(step) {
        "Metaspace" | "WhitespaceSplit" => Ok(()),
        "Split" => check_pattern(&step["pattern"]),
        other => refuse(format!("its pre-tokenizer is {other:?}, which no SigLIP tokenizer has")),
    }
}

/// Allows literal strings and regular expressions made of characters, classes and the quantifiers `* + ?`.
///
/// Without groups there are no look-arounds, back-references or nested repetitions, so the regex engine never backtracks; without counts
/// a pattern cannot compile to something huge; without alternatives a search cannot look far ahead in vain at every position.
fn check_pattern(pattern: &Value) -> Result<(), TextError> {
    let (regex, text) = match (&pattern["String"], &pattern["Regex"]) {
        (Value::String(text), Value::Null) => (false, text),
        (Value::Null, Value::String(text)) => (true, text),
        _ => return refuse("a pattern is neither a string nor a regular expression".to_owned()),
    };
    if text.len() > PATTERN_BYTES || (regex && !is_linear(text)) {
        return refuse(format!("the pattern {text:?} could take too long; groups, alternatives and counts are not allowed"));
    }
    Ok(())
}

fn is_linear(regex: &str) -> bool {
    let (mut in_class, mut after_quantifier) = (false, false);
    let mut rest = regex.chars();
    while let Some(symbol) = rest.next() {
        let quantifier = !in_class && matches!(symbol, '*' | '+' | '?');
        let allowed = match symbol {
            // Only class escapes; a letter or digit could also be a reference, an anchor or a property.
            '\\' => rest.next().is_some_and(|escaped| !escaped.is_ascii_alphanumeric() || "sSdDwWntr".contains(escaped)),
            '[' if in_class => false,
            ']' if in_class => {
                in_class = false;
                true
            }
            _ if in_class => true,
            '[' => {
                in_class = true;
                // Here a bracket would be a literal, and the class end somewhere else than it seems.
                !rest.as_str().starts_with(']') && !rest.as_str().starts_with("^]")
            }
            '(' | ')' | '{' | '}' | '|' => false,
            // A second quantifier makes the first possessive or lazy.
            _ => !(quantifier && after_quantifier),
        };
        if !allowed {
            return false;
        }
        after_quantifier = quantifier;
    }
    !in_class
}

fn read_bpe(file: BpeFile) -> Result<(ModelWrapper, u32), TextError> {
    let affix = |affix: Option<String>| affix.is_some_and(|affix| !affix.is_empty());
    if affix(file.continuing_subword_prefix) || affix(file.end_of_word_suffix) {
        return refuse("it marks word parts with a prefix or suffix, which no SigLIP tokenizer does".to_owned());
    }
    let longest = check_lengths(file.vocab.keys())?;
    let largest_id = file.vocab.values().copied().max().unwrap_or(0);
    let mut merges = Vec::with_capacity(file.merges.len());
    for merge in file.merges {
        let (left, right) = match merge {
            Merge::Pair(left, right) => (left, right),
            Merge::Joined(joined) => match joined.split_once(' ') {
                Some((left, right)) => (left.to_owned(), right.to_owned()),
                None => return refuse(format!("the merge {joined:?} is not two tokens")),
            },
        };
        // The crate concatenates both in a buffer of the longest token's length.
        if left.len() + right.len() > longest {
            return refuse(format!("the merge of {left:?} and {right:?} gives no token"));
        }
        merges.push((left, right));
    }
    let mut builder = BPE::builder()
        .vocab_and_merges(file.vocab, merges)
        .cache_capacity(0) // a text is one word here, so nothing would be found again
        .fuse_unk(file.fuse_unk.unwrap_or(false))
        .byte_fallback(file.byte_fallback.unwrap_or(false))
        .ignore_merges(file.ignore_merges.unwrap_or(false));
    if let Some(token) = file.unk_token {
        builder = builder.unk_token(token);
    }
    let model = builder.build().map_err(|error| TextError::TokenizerPart(error.to_string()))?;
    Ok((model.into(), largest_id))
}

fn check_unigram(model: Unigram) -> Result<(ModelWrapper, u32), TextError> {
    check_lengths(model.iter().map(|(token, _)| token))?;
    let largest_id = model.iter().count().saturating_sub(1) as u32;
    Ok((model.into(), largest_id))
}

/// Length of the longest token, in bytes.
fn check_lengths<'a>(tokens: impl Iterator<Item = &'a String>) -> Result<usize, TextError> {
    let longest = tokens.map(String::len).max().unwrap_or(0);
    if longest > TOKEN_BYTES { refuse(format!("a token has {longest} bytes, more than {TOKEN_BYTES}")) } else { Ok(longest) }
}

#[cfg(test)]
mod tests {
    use super::is_linear;

    #[test]
    fn patterns_of_known_tokenizers_are_linear() {
        for pattern in
            [" ", r"\s+", r"[!\#\$%\&'\(\)\*\+,\-\./:;<=>\?@\[\\\]\^_`\{\|\}\~]", "[!\"#$%&'()*+,./:;<=>?@^_`{|}~-]", r"^a?b*\.$"]
        {
            assert!(is_linear(pattern), "{pattern}");
        }
    }

    #[test]
    fn patterns_that_could_run_away_are_not() {
        for pattern in [
            "(a+)+b", "(?=a)", "a|b", "a{1000}", r"(a)\1", r"\Ga", r"\p{L}", "a++", "a+?", "a**", "[a", "[[a](]", "[](]", "[^](]", r"a\",
            r"\k", "(?i)a",
        ] {
            assert!(!is_linear(pattern), "{pattern}");
        }
    }
}
