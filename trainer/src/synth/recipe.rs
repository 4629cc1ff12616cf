//! What a shard set is made of: the values of `trainer/recipes/synth/emoji-world.toml`.

use serde::{Deserialize, Serialize};

use super::SynthError;

/// A shard set, up to the pictures and names it is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SynthRecipe {
    /// Starting point of all randomness: equal seeds give equal shards.
    pub seed: u64,
    /// CLDR codes; the first one's caption is the member's `.txt`.
    pub languages: Vec<String>,
    /// Scenes of the training split.
    pub train: usize,
    /// Scenes of the validation split.
    pub validation: usize,
    /// Scenes of the test split.
    pub test: usize,
    /// Scenes of the retrieval set, no two of which show the same things.
    pub retrieval: usize,
    /// Pictures of each class in the zero-shot set.
    pub zero_shot_per_class: usize,
    /// Members of a shard.
    pub shard_members: usize,
    /// Side of the square that has as many pixels as the largest image.
    pub side: usize,
    /// Most pixels along either side.
    pub longest_side: usize,
    /// Largest ratio of the sides, either way.
    pub aspect: f32,
    /// Weights of scenes with one emoji, two, and so on up to five. One emoji teaches names fastest; more of them teach places and numbers.
    pub objects: Vec<f32>,
    /// Share of the scenes that are signs and receipts.
    pub words_share: f32,
    /// Captions in each language.
    pub captions: usize,
    /// Tokens of the tokenizer, the 4 special ones and 256 bytes included.
    pub vocab_size: usize,
    /// Scenes whose captions the tokenizer is trained on.
    pub tokenizer_scenes: usize,
}

impl Default for SynthRecipe {
    fn default() -> Self {
        let languages = ["en", "de", "fr", "es", "it", "pt", "tr", "pl", "ru", "uk", "ar", "fa", "hi", "zh", "ja", "ko"];
        Self {
            seed: 0,
            languages: languages.map(str::to_owned).to_vec(),
            train: 200_000,
            validation: 2_000,
            test: 2_000,
            retrieval: 1_000,
            zero_shot_per_class: 4,
            shard_members: 1_000,
            side: 224,
            longest_side: 512,
            aspect: 8.0,
            objects: vec![0.7, 0.15, 0.07, 0.05, 0.03],
            words_share: 0.05,
            captions: 2,
            vocab_size: 4_096,
            tokenizer_scenes: 20_000,
        }
    }
}

impl SynthRecipe {
    /// Reads a TOML file, then `key=value` overrides in TOML's notation (`languages=["en", "ja"]`).
    ///
    /// # Errors
    /// Unknown keys, values of the wrong type or out of range.
    pub fn parse(toml: &str, overrides: &[String]) -> Result<Self, SynthError> {
        let failed = |error: toml::de::Error| SynthError::Recipe(error.to_string());
        let mut table: toml::Table = toml::from_str(toml).map_err(failed)?;
        for entry in overrides {
            let parsed: toml::Table = toml::from_str(entry)
                .map_err(|_| SynthError::Recipe(format!("{entry:?} is no override; write key=value, with texts in double quotes")))?;
            table.extend(parsed);
        }
        let recipe: Self = table.try_into().map_err(failed)?;
        recipe.check()?;
        Ok(recipe)
    }

    fn check(&self) -> Result<(), SynthError> {
        let bounds: [(&str, f64, f64, f64); 7] = [
            ("shard_members", self.shard_members as f64, 1.0, 1e6),
            ("side", self.side as f64, 64.0, 2_048.0),
            ("longest_side", self.longest_side as f64, self.side as f64, 8_192.0),
            ("aspect", self.aspect.into(), 1.0, 16.0),
            ("words_share", self.words_share.into(), 0.0, 1.0),
            ("captions", self.captions as f64, 1.0, 16.0),
            ("vocab_size", self.vocab_size as f64, 600.0, 1e6),
        ];
        let wrong = bounds.iter().filter(|(_, value, low, high)| !(low..=high).contains(&value));
        let wrong: Vec<_> = wrong.map(|(key, value, low, high)| format!("{key} = {value} must lie between {low} and {high}")).collect();
        let is_weight = |weight: &f32| weight.is_finite() && *weight >= 0.0;
        if !(1..=5).contains(&self.objects.len()) || !self.objects.iter().all(is_weight) || self.objects.iter().sum::<f32>() == 0.0 {
            return Err(SynthError::Recipe("objects must be 1 to 5 weights of at least 0, and not all 0".to_owned()));
        }
        if self.languages.is_empty() {
            return Err(SynthError::Recipe("languages is empty; name at least one, for instance [\"en\"]".to_owned()));
        }
        if wrong.is_empty() { Ok(()) } else { Err(SynthError::Recipe(wrong.join("\n"))) }
    }
}
