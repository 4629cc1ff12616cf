//! Which parameters decay, which learn slower, which not at all: decided by Hugging Face name.

use std::collections::BTreeMap;

use super::OptimizerRecipe;

/// How one parameter is treated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// Factor on the learning rate (big_vision's `lr_mults`: decay is not scaled); 0 freezes.
    pub multiplier: f64,
    /// Whether it is a kernel and decays.
    pub decayed: bool,
}

/// The treatment of every parameter of a model.
#[derive(Clone, Debug)]
pub struct Groups(BTreeMap<String, Group>);

impl Groups {
    /// Sorts a model's parameters.
    ///
    /// # Errors
    /// A pattern that matches nothing: almost surely a slip, which would silently train what should be frozen.
    pub fn new<'a>(recipe: &OptimizerRecipe, names: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let names: Vec<_> = names.collect();
        if let Some((pattern, _)) = recipe.multipliers.iter().find(|(pattern, _)| !names.iter().any(|name| matches(pattern, name))) {
            return Err(format!("optimizer.multipliers: no parameter is called like {pattern:?}; names look like {:?}", names.get(2)));
        }
        let blocks = |tower: &str| names.iter().filter_map(|name| block(name, tower)).max().map_or(0, |last| last + 1);
        let depths = BTreeMap::from(TOWERS.map(|tower| (tower, blocks(tower))));
        let group = |name: &str| Group {
            multiplier: pattern_multiplier(recipe, name) * layer_multiplier(recipe.layer_decay, name, &depths),
            decayed: is_kernel(name),
        };
        Ok(Self(names.iter().map(|name| ((*name).to_owned(), group(name))).collect()))
    }

    /// The treatment of a parameter; the plain one for names it does not know.
    pub fn get(&self, name: &str) -> Group {
        self.0.get(name).copied().unwrap_or(Group { multiplier: 1.0, decayed: is_kernel(name) })
    }

    /// Whether a parameter never moves.
    pub fn is_frozen(&self, name: &str) -> bool {
        self.get(name).multiplier == 0.0
    }

    /// Names with their treatment.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Group)> {
        self.0.iter().map(|(name, group)| (name.as_str(), *group))
    }
}

const TOWERS: [&str; 2] = ["vision_model", "text_model"];

/// Whether flax calls this tensor a `kernel`: the matrices of linear layers and the patch embedding, no biases, norms, tables or probe.
fn is_kernel(name: &str) -> bool {
    let linear = ["_proj.weight", ".fc1.weight", ".fc2.weight", ".patch_embedding.weight", "text_model.head.weight", ".in_proj_weight"];
    linear.iter().any(|suffix| name.ends_with(suffix))
}

fn pattern_multiplier(recipe: &OptimizerRecipe, name: &str) -> f64 {
    recipe.multipliers.iter().find(|(pattern, _)| matches(pattern, name)).map_or(1.0, |(_, multiplier)| *multiplier)
}

/// decay^(distance from the top): embeddings are one below block 0, what follows the last block is one above it (BEiT, appendix D).
fn layer_multiplier(decay: f64, name: &str, depths: &BTreeMap<&str, usize>) -> f64 {
    let Some((tower, depth)) = depths.iter().find(|(tower, _)| name.starts_with(**tower)) else { return 1.0 };
    let level = match block(name, tower) {
        Some(block) => block + 1,
        None if name.contains(".embeddings.") => 0,
        None => depth + 1,
    };
    decay.powi((depth + 1 - level) as i32)
}

fn block(name: &str, tower: &str) -> Option<usize> {
    let rest = name.strip_prefix(tower)?.strip_prefix(".encoder.layers.")?;
    rest.split('.').next()?.parse().ok()
}

/// Whether `pattern`, in which `*` stands for any text, covers the whole of `name`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => {
            let Some(name) = name.strip_prefix(start) else { return false };
            (0..=name.len()).any(|at| name.get(at..).is_some_and(|name| matches(rest, name)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(matches("vision_model.*", "vision_model.head.probe"));
        assert!(matches("*.layers.1.*bias", "text_model.encoder.layers.1.mlp.fc1.bias"));
        assert!(matches("logit_scale", "logit_scale") && matches("*", ""));
        assert!(!matches("vision", "vision_model") && !matches("*.weight", "a.bias") && !matches("layers.1.*", "layers.11.x"));
    }
}
