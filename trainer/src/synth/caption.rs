//! Captions: what is there, where, and how many, in each language.

use super::phrases::{Phrases, fill};
use super::plan::{Content, Placed, Plan};
use super::split::Split;
use super::words::{Document, Kind};
use super::{World, draw::Draw, english};

/// Share of the training captions that only name what is there.
const BARE: f32 = 0.5;

/// One or several of a kind in a scene.
struct Group {
    glyph: usize,
    members: Vec<Placed>,
}

/// How a caption is put together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    List,
    /// Two things, one beside or above the other; what else there is follows.
    Relation,
    /// Each thing with its place.
    Places,
}

impl World {
    /// The label of a glyph in a language.
    pub(super) fn name(&self, language: usize, glyph: usize) -> Option<&str> {
        self.glyphs.get(glyph)?.names.get(language)?.as_ref().map(|name| name.label.as_str())
    }
}

/// `count` captions in a language. The first mentions everything in the scene; so do the others, in other words. None where a name is
/// missing in the language.
pub(super) fn captions(world: &World, plan: &Plan, language: usize, count: usize, draw: &mut Draw) -> Vec<String> {
    let writer = |draw: &mut Draw| match &plan.content {
        Content::Emoji(placed) => emoji_caption(world, plan, placed, language, draw),
        Content::Words(document) => words_caption(world, plan, document, language, draw),
    };
    let mut captions: Vec<String> = Vec::with_capacity(count);
    // A few tries more than asked for, since some come out the same.
    for _ in 0..3 * count {
        match writer(draw) {
            Some(caption) if !captions.contains(&caption) => captions.push(caption),
            _ => {}
        }
        if captions.len() == count {
            break;
        }
    }
    captions
}

fn emoji_caption(world: &World, plan: &Plan, placed: &[Placed], language: usize, draw: &mut Draw) -> Option<String> {
    let words = &world.languages.get(language)?;
    let phrases = &words.phrases;
    // Names and nothing else are what a label is, and what names are learnt from fastest.
    let bare = plan.split == Split::Train && draw.chance(BARE);
    let articles = words.code == "en" && !bare && draw.chance(0.6);
    let groups = groups(placed);
    let name = |group: &Group| {
        let label = world.name(language, group.glyph)?;
        Some(match group.members.len() {
            1 if articles => english::with_article(label),
            1 => label.to_owned(),
            n => fill(&phrases.count, &[("n", &n.to_string()), ("x", label)]),
        })
    };
    let names: Vec<String> = groups.iter().map(name).collect::<Option<_>>()?;
    if bare {
        return Some(names.join(&phrases.list));
    }
    // Four in ten lists, four in ten relations, two in ten places; whatever a scene does not allow becomes a list.
    let form = match draw.below(10) {
        0..=3 => Form::List,
        4..=7 => Form::Relation,
        _ => Form::Places,
    };
    let body = match form {
        Form::Relation => relation(phrases, &groups, &names, draw),
        Form::Places if names.len() <= 2 => places(phrases, plan, &groups, &names),
        _ => None,
    };
    let is_list = body.is_none();
    let mut caption = body.unwrap_or_else(|| names.join(&phrases.list));
    if let Some(colour) = plan.background.named_colour().and_then(|colour| phrases.colours.get(colour)).filter(|_| draw.chance(0.25)) {
        caption = [caption, fill(&phrases.background, &[("", colour)])].join(&phrases.clause);
    }
    Some(fill(phrases.frame(plan.split, is_list, draw), &[("", &caption)]))
}

/// Things of a kind together, kinds in reading order of their first member.
fn groups(placed: &[Placed]) -> Vec<Group> {
    let mut sorted = placed.to_vec();
    sorted.sort_by(|a, b| a.pose.center[1].total_cmp(&b.pose.center[1]));
    let mut groups: Vec<Group> = Vec::new();
    for object in sorted {
        match groups.iter_mut().find(|group| group.glyph == object.glyph) {
            Some(group) => group.members.push(object),
            None => groups.push(Group { glyph: object.glyph, members: vec![object] }),
        }
    }
    groups
}

/// Says how two single things stand to each other, if some two stand clearly.
fn relation(phrases: &Phrases, groups: &[Group], names: &[String], draw: &mut Draw) -> Option<String> {
    let single = |i: usize| groups.get(i).filter(|group| group.members.len() == 1)?.members.first();
    let pairs: Vec<(usize, usize, usize)> = (0..groups.len())
        .flat_map(|a| (0..groups.len()).map(move |b| (a, b)))
        .filter_map(|(a, b)| Some((clear_axis(single(a)?, single(b)?)?, a, b)))
        .collect();
    let &(axis, a, b) = draw.pick(&pairs)?;
    let templates = if axis == 1 { &phrases.beside } else { &phrases.above };
    let stated = fill(draw.pick(templates)?, &[("a", names.get(a)?), ("b", names.get(b)?)]);
    let others = names.iter().enumerate().filter(|(i, _)| *i != a && *i != b).map(|(_, name)| name.as_str());
    let others: Vec<_> = others.collect();
    Some(if others.is_empty() { stated } else { [stated, others.join(&phrases.list)].join(&phrases.clause) })
}

/// 1 if `a` is left of `b`, 0 if it is above, nothing if that is debatable.
fn clear_axis(a: &Placed, b: &Placed) -> Option<usize> {
    let distance = |axis: usize| b.pose.center[axis] - a.pose.center[axis];
    let apart = 0.35 * (a.pose.size + b.pose.size);
    [1, 0].into_iter().find(|&axis| distance(axis) > apart && distance(axis) > 1.5 * distance(1 - axis).abs())
}

/// Says where in the image each single thing is, if all are single and each is clearly in one cell of a 3 × 3 grid.
fn places(phrases: &Phrases, plan: &Plan, groups: &[Group], names: &[String]) -> Option<String> {
    let third = |center: f32, length: usize| {
        let share = 3.0 * center / length as f32;
        // Near a line between cells, two answers would be right.
        ((share - share.round()).abs() > 0.12 || !(0.5..2.5).contains(&share)).then_some((share as usize).min(2))
    };
    let stated = groups.iter().zip(names).map(|(group, name)| {
        let [object] = group.members.as_slice() else { return None };
        let cell = 3 * third(object.pose.center[0], plan.height)? + third(object.pose.center[1], plan.width)?;
        Some(fill(&phrases.place, &[("p", phrases.places.get(cell)?), ("x", name)]))
    });
    Some(stated.collect::<Option<Vec<_>>>()?.join(&phrases.clause))
}

/// Quotes the letters as they are written, whatever the caption's language.
fn words_caption(world: &World, plan: &Plan, document: &Document, language: usize, draw: &mut Draw) -> Option<String> {
    let phrases = &world.languages.get(language)?.phrases;
    let mut lines: Vec<String> = Vec::new();
    for line in &document.lines {
        lines.push(match line.price {
            Some(price) => format!("{} {}", line.text, document.money(world, price)),
            None => line.text.clone(),
        });
    }
    if let Some(sum) = document.total() {
        lines.push(format!("{} {}", phrases.total, document.money(world, sum)));
    }
    let template = if document.kind == Kind::Sign { &phrases.sign } else { &phrases.receipt };
    let body = fill(template, &[("", &lines.join(&phrases.list))]);
    Some(fill(phrases.frame(plan.split, false, draw), &[("", &body)]))
}
