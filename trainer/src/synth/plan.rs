//! What a scene shows and where, before a pixel is drawn: cheap enough to try many, and all that captions need.

use super::background::Background;
use super::split::{Split, pair_home};
use super::sprite::Pose;
use super::words::Document;
use super::{SynthRecipe, World, draw::Draw};

/// A scene.
#[derive(Debug)]
pub(super) struct Plan {
    pub split: Split,
    pub height: usize,
    pub width: usize,
    pub background: Background,
    pub content: Content,
    pub effects: Effects,
}

#[derive(Debug)]
pub(super) enum Content {
    /// In the order they are drawn: later ones may cover earlier ones.
    Emoji(Vec<Placed>),
    Words(Document),
}

/// An emoji and its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    /// Index into the world's glyphs.
    pub glyph: usize,
    pub pose: Pose,
}

/// What happens to the finished image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effects {
    /// Standard deviation of the blur in pixels; 0 is none.
    pub blur: f32,
    /// Standard deviation of the noise, on a scale of 0 to 1.
    pub noise: f32,
    pub brightness: f32,
    pub contrast: f32,
    /// Of the JPEG encoder, 1 to 100.
    pub quality: u8,
}

/// What is asked of a scene beside its recipe.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub split: Split,
    /// Fewest emoji.
    pub at_least: usize,
    pub words: bool,
}

impl Plan {
    /// A scene of the recipe.
    pub(super) fn scene(world: &World, recipe: &SynthRecipe, wanted: Wanted, draw: &mut Draw) -> Self {
        let Wanted { split, .. } = wanted;
        let words = draw.chance(recipe.words_share) && wanted.words && world.typefaces.is_some();
        let (height, width) = size(recipe, if words { 3.0 } else { recipe.aspect }, draw);
        let background = Background::draw(split, draw);
        let content = if words {
            Content::Words(Document::draw(world, recipe.seed, split, (height, width), draw))
        } else {
            Content::Emoji(objects(world, recipe, wanted, (height, width), draw))
        };
        let mut effects = Effects::draw(draw);
        // Letters are thinner than emoji.
        effects.blur = if words { effects.blur.min(0.5) } else { effects.blur };
        Self { split, height, width, background, content, effects }
    }

    /// One emoji, large enough to be told from all others: the pictures of the zero-shot set.
    pub(super) fn portrait(recipe: &SynthRecipe, glyph: usize, draw: &mut Draw) -> Self {
        let split = Split::Test;
        let (height, width) = size(recipe, 2.0, draw);
        let side = height.min(width) as f32 * draw.between(0.45, 0.88);
        let place = |length: usize, draw: &mut Draw| length as f32 / 2.0 + draw.between(-0.5, 0.5) * (length as f32 - side);
        let center = [place(height, draw), place(width, draw)];
        let content = Content::Emoji(vec![Placed { glyph, pose: pose(center, side, draw) }]);
        Self { split, height, width, background: Background::draw(split, draw), content, effects: Effects::draw(draw) }
    }

    /// The glyphs shown or named, sorted.
    pub(super) fn glyphs(&self) -> Vec<usize> {
        let mut glyphs: Vec<usize> = match &self.content {
            Content::Emoji(placed) => placed.iter().map(|object| object.glyph).collect(),
            Content::Words(document) => document.lines.iter().map(|line| line.glyph).collect(),
        };
        glyphs.sort_unstable();
        glyphs
    }
}

impl Effects {
    fn draw(draw: &mut Draw) -> Self {
        let sometimes = |draw: &mut Draw, share, low, high| if draw.chance(share) { draw.between(low, high) } else { 0.0 };
        Self {
            blur: sometimes(draw, 0.2, 0.4, 1.0),
            noise: sometimes(draw, 0.2, 0.01, 0.04),
            brightness: draw.between(-0.08, 0.08),
            contrast: draw.between(0.85, 1.15),
            quality: 75 + draw.below(20) as u8,
        }
    }
}

/// Height and width: one in six images may be as long as the recipe allows, the others are within 1:2 and 2:1. In a long image of few
/// patches an emoji is a few pixels wide, which teaches little.
fn size(recipe: &SynthRecipe, widest: f32, draw: &mut Draw) -> (usize, usize) {
    let widest = if draw.chance(1.0 / 6.0) { widest } else { widest.min(2.0) };
    let aspect = draw.log_between(1.0 / widest, widest);
    let side = recipe.side as f32 * draw.between(0.75, 1.0);
    let pixels = |length: f32| (length.round() as usize).clamp(24, recipe.longest_side);
    (pixels(side / aspect.sqrt()), pixels(side * aspect.sqrt()))
}

/// Emoji whose pairs the split allows, placed so that each stays recognisable.
fn objects(world: &World, recipe: &SynthRecipe, wanted: Wanted, (height, width): (usize, usize), draw: &mut Draw) -> Vec<Placed> {
    let count = (1 + draw.weighted(&recipe.objects)).max(wanted.at_least);
    let room = (height.min(width) as f32).min(((height * width) as f32 / count as f32).sqrt());
    let mut placed: Vec<Placed> = Vec::with_capacity(count);
    let mut shown = Vec::with_capacity(count);
    while shown.len() < count {
        let Some(glyph) = next_glyph(world, recipe.seed, wanted.split, &shown, draw) else { break };
        let Some(pose) = free_place(&placed, room, (height, width), draw) else { break };
        shown.push(glyph);
        placed.push(Placed { glyph, pose });
    }
    placed
}

/// A glyph that may join the others in this split. The second one of a held-out scene makes it held out: the two never meet elsewhere.
pub(super) fn next_glyph(world: &World, seed: u64, split: Split, shown: &[usize], draw: &mut Draw) -> Option<usize> {
    let first = shown.first().copied();
    // Counting needs things that come more than once.
    if let Some(first) = first.filter(|_| draw.chance(if split == Split::Train || shown.len() > 1 { 0.2 } else { 0.0 })) {
        return Some(first);
    }
    (0..512).map(|_| world.pick(split, draw)).find(|glyph| {
        let allowed = |other: &usize| [Split::Train, split].contains(&pair_home(seed, *other, *glyph));
        let held_out = split == Split::Train || shown.len() != 1 || first.is_none_or(|first| pair_home(seed, first, *glyph) == split);
        held_out && shown.iter().all(allowed)
    })
}

/// A place that covers little of what is there. Two in three objects touch no other; edges cut off a tenth at most.
fn free_place(placed: &[Placed], room: f32, (height, width): (usize, usize), draw: &mut Draw) -> Option<Pose> {
    let allowed = if draw.chance(0.33) { 0.3 } else { 0.0 };
    (0..40).find_map(|attempt| {
        // Later attempts are smaller: somewhere is room for a small one.
        let size = (room * draw.between(0.45, 0.95) * 0.97f32.powi(attempt)).max(20.0);
        let margin = size * 0.4;
        let place = |length: usize, draw: &mut Draw| {
            let length = length as f32;
            if length > 2.0 * margin { draw.between(margin, length - margin) } else { length / 2.0 }
        };
        let pose = pose([place(height, draw), place(width, draw)], size, draw);
        let free = placed.iter().enumerate().all(|(i, other)| {
            let later = placed.iter().skip(i + 1).map(|later| covered(&later.pose, &other.pose)).sum::<f32>();
            covered(&pose, &other.pose) <= allowed && later + covered(&pose, &other.pose) <= 0.5
        });
        free.then_some(pose)
    })
}

/// Share of the smaller of two squares that lies in the other, whichever is on top.
fn covered(one: &Pose, other: &Pose) -> f32 {
    let smaller = one.size.min(other.size);
    let overlap = |axis: usize| {
        let distance = (one.center[axis] - other.center[axis]).abs();
        ((one.size + other.size) / 2.0 - distance).clamp(0.0, smaller)
    };
    overlap(0) * overlap(1) / smaller.powi(2)
}

fn pose(center: [f32; 2], size: f32, draw: &mut Draw) -> Pose {
    let angle = if draw.chance(0.7) { draw.between(-0.2, 0.2) } else { draw.between(-0.6, 0.6) };
    Pose { center, size, angle, colours: jitter(draw) }
}

/// Saturation and brightness change enough to matter, hues too little to turn orange into red.
fn jitter(draw: &mut Draw) -> [[f32; 3]; 3] {
    const LUMA: [f32; 3] = [0.299, 0.587, 0.114];
    let (saturation, brightness) = (draw.between(0.75, 1.2), draw.between(0.85, 1.12));
    let warmth = draw.between(-0.05, 0.05);
    let channel = [1.0 + warmth, 1.0, 1.0 - warmth];
    std::array::from_fn(|row| {
        std::array::from_fn(|column| {
            let own = if row == column { saturation } else { 0.0 };
            brightness * channel[row] * (own + (1.0 - saturation) * LUMA[column])
        })
    })
}
