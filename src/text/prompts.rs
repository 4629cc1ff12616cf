//! Prompts: templates, canonical form, and averaging the embeddings of many prompts for one label.

use super::TextError;

/// Where a template takes its label.
const SLOT: &str = "{}";

/// Puts `label` into `template` at its one `{}`.
///
/// # Errors
/// A template with no `{}` or more than one.
pub fn expand(template: &str, label: &str) -> Result<String, TextError> {
    match template.split_once(SLOT) {
        Some((before, after)) if !after.contains(SLOT) => Ok(format!("{before}{label}{after}")),
        _ => Err(TextError::Template { template: template.to_owned(), slots: template.matches(SLOT).count() }),
    }
}

/// The canonical form of big_vision's `canonicalize_text` and open_clip's `clean: canonicalize`, except for lower-casing, which the tokenizer
/// does: `_` becomes a space, ASCII punctuation goes, runs of white space become one space, both ends are trimmed.
pub fn canonicalize(text: &str) -> String {
    let mut canonical = String::with_capacity(text.len());
    for symbol in text.chars() {
        // U+001C to U+001F are white space in Python's regular expressions.
        if symbol == '_' || symbol.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&symbol) {
            if !canonical.is_empty() && !canonical.ends_with(' ') {
                canonical.push(' ');
            }
        } else if !symbol.is_ascii_punctuation() {
            canonical.push(symbol);
        }
    }
    canonical.truncate(canonical.trim_end_matches(' ').len());
    canonical
}

/// One embedding per label from those of its prompts: each normalised, averaged, normalised again (big_vision's `discriminative_classifier`).
///
/// `embeds` is `[labels * prompts_per_label, dim]`, the prompts of a label next to each other; the result is `[labels, dim]`, unit length.
///
/// # Errors
/// A length that is not a multiple of `prompts_per_label * dim`, or prompts that cancel out or are not finite.
pub fn ensemble(embeds: &[f32], dim: usize, prompts_per_label: usize) -> Result<Vec<f32>, TextError> {
    let group = dim * prompts_per_label;
    if group == 0 || !embeds.len().is_multiple_of(group) {
        let problem = format!("{} values are not a multiple of {prompts_per_label} prompts of {dim} values", embeds.len());
        return Err(TextError::Ensemble(problem));
    }
    let mut averages = Vec::with_capacity(embeds.len() / prompts_per_label);
    for prompts in embeds.chunks_exact(group) {
        let mut sum = vec![0.0; dim];
        for prompt in prompts.chunks_exact(dim) {
            add_unit(&mut sum, prompt.iter().map(|&value| f64::from(value)))?;
        }
        let mut unit = vec![0.0; dim];
        add_unit(&mut unit, sum.into_iter())?;
        averages.extend(unit.into_iter().map(|value| value as f32));
    }
    Ok(averages)
}

/// Adds `vector`, scaled to unit length, to `sum`. In f64, so that 80 prompts lose nothing to rounding.
fn add_unit(sum: &mut [f64], vector: impl Iterator<Item = f64> + Clone) -> Result<(), TextError> {
    let norm = vector.clone().map(|value| value * value).sum::<f64>().sqrt();
    if !norm.is_finite() || norm < 1e-12 {
        return Err(TextError::Ensemble(format!("a vector has length {norm:e}")));
    }
    sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value / norm);
    Ok(())
}
