//! What is looked for: sums of texts and pictures with weights and signs, `2: red car + ./sketch.png - people`.

use std::fmt;
use std::path::Path;

/// A sum of terms.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// At least one.
    pub terms: Vec<Term>,
}

/// A part of a sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// How much it counts; negative for what the results should be unlike.
    pub weight: f32,
    /// What it is.
    pub subject: Subject,
}

/// Something with an embedding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A text in any language.
    Text(String),
    /// A picture, by its path.
    Picture(String),
}

/// Why a query cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct QueryError(String);

impl Query {
    /// Reads a query. Signs stand between spaces, a weight before a colon and a space; what begins with `./`, `../` or `/` is a picture. What has
    /// signs of its own stands in quotes.
    ///
    /// # Errors
    /// A term is empty, or a quote does not end.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let mut terms = Vec::new();
        let (mut rest, mut sign) = (text.trim(), 1.0);
        for (mark, own) in [("- ", -1.0), ("+ ", 1.0)] {
            if let Some(after) = rest.strip_prefix(mark) {
                (rest, sign) = (after, own);
            }
        }
        loop {
            let (weight, subject, after) = term(rest)?;
            terms.push(Term { weight: sign * weight, subject });
            (rest, sign) = match after {
                "" => return Ok(Self { terms }),
                more => signed(more)?,
            };
        }
    }

    /// The direction that the sum of its terms' embeddings points in, of unit length; nothing if they cancel each other out. `embeds` has one of unit
    /// length for each term.
    pub fn direction(&self, embeds: &[Vec<f32>]) -> Option<Vec<f32>> {
        let dim = embeds.first()?.len();
        let mut sum = vec![0.0_f64; dim];
        for (term, embed) in self.terms.iter().zip(embeds) {
            sum.iter_mut().zip(embed).for_each(|(sum, value)| *sum += f64::from(term.weight) * f64::from(*value));
        }
        let norm = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
        (norm > 1e-6).then(|| sum.iter().map(|value| (value / norm) as f32).collect())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Picture(text) => f.write_str(text),
        }
    }
}

/// The first term of a text with its weight, and what follows it.
fn term(text: &str) -> Result<(f32, Subject, &str), QueryError> {
    let (weight, text) = weight(text.trim_start());
    let (subject, rest) = match text.strip_prefix('"') {
        Some(quoted) => {
            let (inside, after) = quoted.split_once('"').ok_or_else(|| QueryError(format!("the quote at {text} does not end")))?;
            (subject(inside), after)
        }
        None => {
            let end = [" + ", " - "].iter().filter_map(|mark| text.find(mark)).min().unwrap_or(text.len());
            let (own, rest) = text.split_at(end);
            (subject(own.trim()), rest)
        }
    };
    let is_unfinished = rest.is_empty() && ["+", "-"].iter().any(|mark| text.split(' ').next_back() == Some(*mark));
    if subject.to_string().is_empty() || is_unfinished {
        return Err(QueryError("a part of the query is empty; write it as: red car + ./sketch.png - people".to_owned()));
    }
    Ok((weight, subject, rest.trim_start()))
}

fn subject(text: &str) -> Subject {
    let is_path = ["./", "../", "/"].iter().any(|start| text.starts_with(start)) || Path::new(text).is_absolute();
    if is_path { Subject::Picture(text.to_owned()) } else { Subject::Text(text.to_owned()) }
}

/// What follows a sign, and the sign.
fn signed(text: &str) -> Result<(&str, f32), QueryError> {
    let plus = text.strip_prefix('+').map(|rest| (rest, 1.0));
    let signed = plus.or_else(|| text.strip_prefix('-').map(|rest| (rest, -1.0)));
    signed.ok_or_else(|| QueryError(format!("before {text:?} a + or - is missing")))
}

/// A weight at the start of a term: `2: red car`.
fn weight(text: &str) -> (f32, &str) {
    let split = text.split_once(": ").and_then(|(weight, rest)| Some((weight.trim().parse::<f32>().ok()?, rest)));
    split.filter(|(weight, _)| weight.is_finite()).map_or((1.0, text), |(weight, rest)| (weight, rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(f32, String)> {
        Query::parse(text).unwrap().terms.into_iter().map(|term| (term.weight, format!("{:?}", term.subject))).collect()
    }

    #[test]
    fn sums_have_weights_and_signs() {
        assert_eq!(read("собака"), [(1.0, r#"Text("собака")"#.to_owned())]);
        let sum = [(2.0, r#"Text("red car")"#), (1.0, r#"Picture("./sketch.png")"#), (-1.0, r#"Text("people")"#)];
        assert_eq!(read("2: red car + ./sketch.png - people"), sum.map(|(weight, subject)| (weight, subject.to_owned())));
        assert_eq!(read("- 0.5: night"), [(-0.5, r#"Text("night")"#.to_owned())]);
        assert_eq!(read(r#""a + b" - well-known"#), [(1.0, r#"Text("a + b")"#.to_owned()), (-1.0, r#"Text("well-known")"#.to_owned())]);
        assert_eq!(read(r#""./a - b.jpg""#), [(1.0, r#"Picture("./a - b.jpg")"#.to_owned())]);
        assert_eq!(read("time: 3: 45"), [(1.0, r#"Text("time: 3: 45")"#.to_owned())]);
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for text in ["", "  ", "a + ", " - ", "\"a", "\"a\" b"] {
            assert!(Query::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn directions_are_of_unit_length_and_opposites_have_none() {
        let query = Query::parse("2: a - b").unwrap();
        let direction = query.direction(&[vec![1.0, 0.0], vec![0.0, 1.0]]).unwrap();
        let norm = 5.0_f32.sqrt();
        assert!((direction[0] - 2.0 / norm).abs() < 1e-6 && (direction[1] + 1.0 / norm).abs() < 1e-6, "{direction:?}");
        assert_eq!(Query::parse("a - b").unwrap().direction(&[vec![1.0, 0.0], vec![1.0, 0.0]]), None);
    }
}
