//! What an emoji's characters say about the thing it shows: skin tone, gender, profession, colour and shape.

use serde::{Deserialize, Serialize};

use super::split::Split;

/// Properties that can be combined freely, so that unseen combinations test whether a model learnt the properties.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// "woman", "man" or "person", of people only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gender: Option<String>,
    /// Fitzpatrick type as Unicode groups it: "light" (1 and 2) to "dark" (6).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skin_tone: Option<String>,
    /// Of people with a tool of their trade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profession: Option<String>,
    /// Of circles, squares and hearts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colour: Option<String>,
    /// "circle", "square" or "heart".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<String>,
}

/// Skin tone modifiers U+1F3FB to U+1F3FF.
pub(super) const TONES: [(char, &str); 5] =
    [('🏻', "light"), ('🏼', "medium-light"), ('🏽', "medium"), ('🏾', "medium-dark"), ('🏿', "dark")];

pub(super) const GENDERS: [(char, &str); 3] = [('🧑', "person"), ('👨', "man"), ('👩', "woman")];

const COLOURS: [&str; 9] = ["red", "orange", "yellow", "green", "blue", "purple", "brown", "black", "white"];
const SHAPES: [(&str, [char; 9]); 3] = [
    ("circle", ['🔴', '🟠', '🟡', '🟢', '🔵', '🟣', '🟤', '⚫', '⚪']),
    ("square", ['🟥', '🟧', '🟨', '🟩', '🟦', '🟪', '🟫', '⬛', '⬜']),
    ("heart", ['❤', '🧡', '💛', '💚', '💙', '💜', '🤎', '🖤', '🤍']),
];

/// The trades by the character that follows the person.
const PROFESSIONS: [(char, &str); 16] = [
    ('⚕', "health worker"),
    ('🎓', "student"),
    ('🏫', "teacher"),
    ('⚖', "judge"),
    ('🌾', "farmer"),
    ('🍳', "cook"),
    ('🔧', "mechanic"),
    ('🏭', "factory worker"),
    ('💼', "office worker"),
    ('🔬', "scientist"),
    ('💻', "technologist"),
    ('🎤', "singer"),
    ('🎨', "artist"),
    ('✈', "pilot"),
    ('🚀', "astronaut"),
    ('🚒', "firefighter"),
];

impl Attributes {
    /// Reads an emoji's characters, and whether its combination is kept out of training.
    ///
    /// Held out are cells of a Latin square: every colour, shape, tone, gender and profession stays in training in other combinations.
    pub(super) fn of(sequence: &str) -> (Self, Option<Split>) {
        let first = sequence.chars().next().unwrap_or_default();
        for (row, (shape, cells)) in SHAPES.iter().enumerate() {
            if let Some(column) = cells.iter().position(|cell| *cell == first) {
                let found =
                    Self { colour: COLOURS.get(column).map(ToString::to_string), shape: Some((*shape).to_owned()), ..Self::default() };
                return (found, held_out(column + 9 - 3 * row, 9));
            }
        }
        let tone = sequence.chars().find_map(|c| position(&TONES, c));
        let gender = position(&GENDERS, first);
        let profession = sequence.chars().skip(1).find_map(|c| position(&PROFESSIONS, c));
        let name = |table: &[(char, &str)], at: Option<usize>| Some(table.get(at?)?.1.to_owned());
        let found = Self {
            gender: name(&GENDERS, gender),
            skin_tone: name(&TONES, tone),
            profession: name(&PROFESSIONS, profession),
            ..Self::default()
        };
        let home = gender.zip(profession).and_then(|(gender, profession)| {
            // The toneless form counts as a sixth tone.
            held_out(tone.map_or(0, |tone| tone + 1) + 2 * gender + profession, 6)
        });
        (found, home)
    }

    /// Whether anything is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn position(table: &[(char, &str)], wanted: char) -> Option<usize> {
    table.iter().position(|(symbol, _)| *symbol == wanted)
}

/// Two diagonals of `period`: one for the test, one for validation.
fn held_out(diagonal: usize, period: usize) -> Option<Split> {
    match diagonal % period {
        0 => Some(Split::Test),
        1 => Some(Split::Validation),
        _ => None,
    }
}
