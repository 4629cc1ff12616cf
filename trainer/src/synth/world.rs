//! The things that scenes are made of: pictures with their names in every language.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Serialize;

use super::attributes::{Attributes, GENDERS, TONES};
use super::font::{PICTURE_SELECTOR, code_points};
use super::phrases::Phrases;
use super::{Annotations, EmojiFont, SynthError, annotations::Name, draw::Draw, split::Split, sprite::Sprite, typeface::Typefaces};

/// Everything that does not change from scene to scene.
pub struct World {
    /// Languages in the recipe's order; the first one's captions are the default.
    pub(super) languages: Vec<Language>,
    pub(super) glyphs: Vec<Glyph>,
    /// Without them there are no signs and receipts.
    pub(super) typefaces: Option<Typefaces>,
    missing: Missing,
    pools: HashMap<Pool, Vec<usize>>,
}

/// A language of the recipe.
pub(super) struct Language {
    /// CLDR's.
    pub code: String,
    pub phrases: Phrases,
}

/// One emoji.
pub(super) struct Glyph {
    /// Its characters.
    pub sequence: String,
    /// Its code points, the name of its picture in other sets: "1f431".
    pub id: String,
    /// The line of `classes.txt` it stands in.
    pub group: String,
    /// By language, in the order of [`World::languages`].
    pub names: Vec<Option<Name>>,
    pub attributes: Attributes,
    /// The only split that may show it, if its attributes are a held-out combination.
    pub home: Option<Split>,
    /// Absent where a second set of pictures lacks it.
    pub sprite: Option<Sprite>,
}

/// What could not be found, for the report of the shard set.
#[derive(Debug, Default, Serialize)]
pub struct Missing {
    /// Emoji without a picture in the font.
    pub pictures: Vec<String>,
    /// Emoji without a name, by language. Their scenes have no caption in it.
    pub names: BTreeMap<String, Vec<String>>,
    /// Names that several emoji share, by language: no label for a classifier.
    pub shared_names: BTreeMap<String, Vec<String>>,
}

/// Glyphs that are drawn with the same probability. Without pools, the hundreds of people would crowd out the rest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Pool {
    Thing,
    /// Coloured shapes.
    Geometric,
    Person,
    /// Combinations of attributes that one split alone may show.
    HeldOut(Split),
}

impl World {
    /// Finds pictures and names for the emoji of `classes.txt`, or of a list in its form.
    ///
    /// # Errors
    /// A language without phrases, a font without any of the pictures, or one that cannot be decoded.
    pub fn new(font: &EmojiFont, annotations: &Annotations, codes: &[String], classes: Option<&str>) -> Result<Self, SynthError> {
        let languages = languages(codes)?;
        let (mut glyphs, mut missing) = (Vec::new(), Missing::default());
        for (group, sequence) in sequences(classes.unwrap_or(include_str!("classes.txt")))? {
            let Some(sprite) = font.sprite(&sequence)? else {
                missing.pictures.push(sequence);
                continue;
            };
            let names: Vec<_> = codes.iter().map(|code| annotations.name(code, &sequence).cloned()).collect();
            for (code, _) in codes.iter().zip(&names).filter(|(_, name)| name.is_none()) {
                missing.names.entry(code.clone()).or_default().push(sequence.clone());
            }
            let (attributes, home) = Attributes::of(&sequence);
            glyphs.push(Glyph { id: code_points(&sequence), sequence, group, names, attributes, home, sprite: Some(sprite) });
        }
        if glyphs.is_empty() {
            let problem =
                "it has none of the emoji of the list; use Noto Color Emoji or a folder of PNG files named by code point".to_owned();
            return Err(SynthError::Font { path: font.path().to_owned(), problem });
        }
        missing.shared_names = shared_names(codes, &glyphs);
        let pools = pools(&glyphs);
        Ok(Self { languages, glyphs, typefaces: None, missing, pools })
    }

    /// The same with fonts for the recipe's scripts, so that there are signs and receipts.
    ///
    /// # Errors
    /// A script without a font below the folder.
    pub fn with_typefaces(mut self, folder: &Path) -> Result<Self, SynthError> {
        let scripts: Vec<&str> = self.languages.iter().map(|language| language.phrases.script.as_str()).collect();
        self.typefaces = Some(Typefaces::open(folder, &scripts)?);
        Ok(self)
    }

    /// The same things as another set of pictures shows them. Those that it lacks keep their numbers and are never shown.
    ///
    /// # Errors
    /// A picture that cannot be decoded.
    pub fn with_pictures(mut self, font: &EmojiFont) -> Result<Self, SynthError> {
        self.missing.pictures.clear();
        for glyph in &mut self.glyphs {
            glyph.sprite = font.sprite(&glyph.sequence)?;
            if glyph.sprite.is_none() {
                self.missing.pictures.push(glyph.sequence.clone());
            }
        }
        self.pools = pools(&self.glyphs);
        Ok(self)
    }

    /// What could not be found.
    pub fn missing(&self) -> &Missing {
        &self.missing
    }

    /// Emoji that a classifier is asked to tell apart: all but people and combinations kept out of training, with a name of their own in
    /// every language.
    pub(super) fn classes(&self) -> Vec<usize> {
        let alone = |glyph: &Glyph| {
            self.languages.iter().zip(&glyph.names).all(|(language, name)| {
                let shared = self.missing.shared_names.get(&language.code);
                name.as_ref().is_some_and(|name| shared.is_none_or(|shared| !shared.contains(&name.label)))
            })
        };
        let fit = |glyph: &Glyph| glyph.sprite.is_some() && glyph.home.is_none() && glyph.attributes.gender.is_none() && alone(glyph);
        self.glyphs.iter().enumerate().filter(|(_, glyph)| fit(glyph)).map(|(i, _)| i).collect()
    }

    /// A glyph that may appear in the split; combinations kept for the split are as likely as a fifth of its glyphs.
    pub(super) fn pick(&self, split: Split, draw: &mut Draw) -> usize {
        let held_out = if split == Split::Train { 0.0 } else { 0.25 };
        let weighted = [(Pool::Thing, 0.8), (Pool::Geometric, 0.08), (Pool::Person, 0.12), (Pool::HeldOut(split), held_out)];
        let pools = weighted.map(|(pool, weight)| (self.pools.get(&pool).map_or(&[][..], Vec::as_slice), weight));
        let weights = pools.map(|(pool, weight)| if pool.is_empty() { 0.0 } else { weight });
        let pool = pools.get(draw.weighted(&weights)).map_or(&[][..], |(pool, _)| pool);
        draw.pick(pool).copied().unwrap_or(0)
    }
}

fn languages(codes: &[String]) -> Result<Vec<Language>, SynthError> {
    let mut all = Phrases::all()?;
    let known = all.keys().cloned().collect::<Vec<_>>().join(", ");
    let find = |code: &String| match all.remove(code) {
        Some(phrases) => Ok(Language { code: code.clone(), phrases }),
        None => {
            Err(SynthError::Recipe(format!("there are no phrases for the language {code:?}, or it is listed twice; known are {known}")))
        }
    };
    codes.iter().map(find).collect()
}

/// The (group, sequence) pairs of a list; `profession` stands for all people of these trades.
fn sequences(list: &str) -> Result<Vec<(String, String)>, SynthError> {
    let mut found = Vec::new();
    for line in list.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let failed =
            || SynthError::Table { file: "list of emoji", problem: format!("the line {line:?} is not \"group: emoji emoji …\"") };
        let (group, symbols) = line.split_once(':').ok_or_else(failed)?;
        for symbol in symbols.split_whitespace() {
            let members = if group == "profession" { people(symbol) } else { vec![symbol.to_owned()] };
            found.extend(members.into_iter().map(|sequence| (group.to_owned(), sequence)));
        }
    }
    Ok(found)
}

fn people(trade: &str) -> Vec<String> {
    let tones = || std::iter::once(String::new()).chain(TONES.map(|(tone, _)| tone.to_string()));
    let joined = |(gender, _)| tones().map(move |tone| format!("{gender}{tone}\u{200d}{trade}"));
    GENDERS.into_iter().flat_map(joined).collect()
}

fn pools(glyphs: &[Glyph]) -> HashMap<Pool, Vec<usize>> {
    let mut pools: HashMap<Pool, Vec<usize>> = HashMap::new();
    for (i, glyph) in glyphs.iter().enumerate().filter(|(_, glyph)| glyph.sprite.is_some()) {
        let pool = match glyph.home {
            Some(split) => Pool::HeldOut(split),
            None if glyph.attributes.gender.is_some() => Pool::Person,
            None if glyph.attributes.shape.is_some() => Pool::Geometric,
            None => Pool::Thing,
        };
        pools.entry(pool).or_default().push(i);
    }
    pools
}

fn shared_names(codes: &[String], glyphs: &[Glyph]) -> BTreeMap<String, Vec<String>> {
    let shared_in = |language: usize| {
        let mut counts = BTreeMap::new();
        for name in glyphs.iter().filter_map(|glyph| glyph.names.get(language)?.as_ref()) {
            *counts.entry(&name.label).or_insert(0) += 1;
        }
        counts.into_iter().filter(|(_, count)| *count > 1).map(|(label, _)| label.clone()).collect::<Vec<_>>()
    };
    let by_language = codes.iter().enumerate().map(|(i, code)| (code.clone(), shared_in(i)));
    by_language.filter(|(_, shared)| !shared.is_empty()).collect()
}

/// Sequences keep the selector in the list, and lose it in ids that other sets write without.
pub(super) fn plain(sequence: &str) -> String {
    sequence.replace(PICTURE_SELECTOR, "")
}
