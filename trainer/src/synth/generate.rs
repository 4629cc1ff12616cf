//! A whole shard set: the splits, the zero-shot and retrieval sets, and what was found out while making them.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use polyglance::{platform::Stopwatch, weights::replace_file};
use rayon::prelude::*;
use serde::Serialize;

use super::duplicates::{Fingerprint, Seen};
use super::notices;
use super::plan::{Plan, Wanted};
use super::render::{jpeg, render};
use super::shards::{Member, write};
use super::split::Split;
use super::{SynthError, SynthRecipe, World, draw::Draw, world::plain};

/// How often a held-out scene that repeats a training scene is drawn anew.
const ATTEMPTS: usize = 16;

/// What was made, as `report.json` says it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// By set.
    pub sets: BTreeMap<String, SetReport>,
    /// Emoji that scenes may show.
    pub glyphs: usize,
    /// Emoji of the zero-shot set.
    pub classes: usize,
}

/// One set.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SetReport {
    /// Members.
    pub members: usize,
    /// Bytes of all shards without tar's padding.
    pub bytes: u64,
    /// Members drawn anew because they looked like one of an earlier set.
    pub redrawn: usize,
    /// Members that look like one of an earlier set after all attempts.
    pub near_duplicates: usize,
    /// Members per second, on the threads there were. It varies, so it is printed and not written.
    #[serde(skip)]
    pub images_per_sec: f64,
}

/// A set to be made: its name, how many members, and the plan of each at each attempt.
struct Set<'a> {
    name: &'a str,
    world: &'a World,
    count: usize,
    plan: &'a (dyn Fn(usize, usize) -> Plan + Sync),
}

/// Makes shard sets in a folder.
pub struct Generator<'a> {
    recipe: &'a SynthRecipe,
    folder: &'a Path,
    world: &'a World,
    seen: Seen,
    report: Report,
}

impl<'a> Generator<'a> {
    /// Prepares the folder and writes what is known before the first scene: names, classes, what is missing, licences.
    ///
    /// # Errors
    /// The folder exists already, or cannot be made.
    pub fn new(recipe: &'a SynthRecipe, world: &'a World, folder: &'a Path) -> Result<Self, SynthError> {
        if folder.exists() {
            return Err(SynthError::Exists { path: folder.to_owned() });
        }
        std::fs::create_dir_all(folder).map_err(|error| SynthError::write(folder, error))?;
        let classes = world.classes();
        let report = Report { glyphs: world.glyphs.len(), classes: classes.len(), ..Report::default() };
        let generator = Self { recipe, folder, world, seen: Seen::default(), report };
        generator.write_json("recipe.json", recipe)?;
        generator.write_json("glyphs.json", &world.glyphs.iter().map(|glyph| world.entry(glyph)).collect::<Vec<_>>())?;
        let classes: Vec<_> = classes.iter().filter_map(|class| world.glyphs.get(*class)).map(|glyph| world.entry(glyph)).collect();
        generator.write_json("classes.json", &classes)?;
        generator.write_json("missing.json", world.missing())?;
        generator.write_file("README.md", notices::SHARD_SET.as_bytes())?;
        Ok(generator)
    }

    /// Train, validation and test, each checked against those before it; then the retrieval and zero-shot sets, checked against these three.
    ///
    /// # Errors
    /// A shard cannot be written.
    pub fn all(&mut self, progress: &mut dyn FnMut(&str, usize, usize)) -> Result<(), SynthError> {
        for (split, count) in
            [(Split::Train, self.recipe.train), (Split::Validation, self.recipe.validation), (Split::Test, self.recipe.test)]
        {
            let wanted = Wanted { split, at_least: 1, words: true };
            let plan = |index, attempt| self.plan_scene(self.world, &split.to_string(), wanted, index, attempt);
            let (made, fingerprints) = self.make(&Set { name: &split.to_string(), world: self.world, count, plan: &plan }, progress)?;
            fingerprints.into_iter().for_each(|fingerprint| self.seen.insert(fingerprint));
            self.report.sets.insert(split.to_string(), made);
        }
        self.held_out(self.world, "", progress)
    }

    /// The retrieval and zero-shot sets, with the pictures of `world`. Twins of one scene in two fonts are no duplicates.
    ///
    /// # Errors
    /// A shard cannot be written.
    pub fn held_out(&mut self, world: &World, suffix: &str, progress: &mut dyn FnMut(&str, usize, usize)) -> Result<(), SynthError> {
        let name = format!("retrieval{suffix}");
        let chosen = self.distinct_scenes(world);
        let wanted = Wanted { split: Split::Test, at_least: 2, words: false };
        // Scenes are told apart by what they show, so another attempt would be another scene: their backgrounds are held out anyway.
        let plan = |index: usize, _| self.plan_scene(world, "retrieval", wanted, chosen.get(index).copied().unwrap_or(index), 0);
        let (made, _) = self.make(&Set { name: &name, world, count: chosen.len(), plan: &plan }, progress)?;
        self.report.sets.insert(name, made);

        let name = format!("zero-shot{suffix}");
        let (classes, each) = (world.classes(), self.recipe.zero_shot_per_class);
        let plan = |index: usize, attempt| {
            let class = classes.get(index / each.max(1)).copied().unwrap_or(0);
            Plan::portrait(self.recipe, class, &mut self.draw("zero-shot", index, attempt))
        };
        let (made, _) = self.make(&Set { name: &name, world, count: classes.len() * each, plan: &plan }, progress)?;
        self.report.sets.insert(name, made);
        self.write_json("report.json", &self.report)
    }

    /// What was made so far.
    pub fn report(&self) -> &Report {
        &self.report
    }

    fn draw(&self, set: &str, index: usize, attempt: usize) -> Draw {
        Draw::new(self.recipe.seed, &format!("{set}/{index}/{attempt}"))
    }

    fn plan_scene(&self, world: &World, set: &str, wanted: Wanted, index: usize, attempt: usize) -> Plan {
        Plan::scene(world, self.recipe, wanted, &mut self.draw(set, index, attempt))
    }

    /// Indices of scenes no two of which show the same things: each has one right caption among them.
    fn distinct_scenes(&self, world: &World) -> Vec<usize> {
        let wanted = Wanted { split: Split::Test, at_least: 2, words: false };
        let mut shown = HashSet::new();
        let new = |index: &usize| {
            let glyphs = self.plan_scene(world, "retrieval", wanted, *index, 0).glyphs();
            glyphs.len() > 1 && shown.insert(glyphs)
        };
        (0..100 * self.recipe.retrieval).filter(new).take(self.recipe.retrieval).collect()
    }

    /// Renders and writes a set, shard by shard, the members of a shard in parallel.
    fn make(&self, set: &Set, progress: &mut dyn FnMut(&str, usize, usize)) -> Result<(SetReport, Vec<Fingerprint>), SynthError> {
        let watch = Stopwatch::start();
        let (mut report, mut fingerprints) = (SetReport { members: set.count, ..SetReport::default() }, Vec::new());
        if set.count > 0 {
            let folder = self.folder.join(set.name);
            std::fs::create_dir(&folder).map_err(|error| SynthError::write(&folder, error))?;
        }
        let shards = set.count.div_ceil(self.recipe.shard_members);
        for shard in 0..shards {
            let first = shard * self.recipe.shard_members;
            let last = (first + self.recipe.shard_members).min(set.count);
            let made: Result<Vec<_>, SynthError> = (first..last).into_par_iter().map(|index| self.member(set, index)).collect();
            let mut members = Vec::with_capacity(last - first);
            for (member, fingerprint, attempts) in made? {
                report.bytes += (member.jpeg.len() + member.text.len() + member.json.len()) as u64;
                report.redrawn += usize::from(attempts > 0);
                report.near_duplicates += usize::from(self.seen.repeats(&fingerprint));
                fingerprints.push(fingerprint);
                members.push(member);
            }
            write(&self.folder.join(set.name).join(format!("{shard:05}.tar")), &members)?;
            progress(set.name, last, set.count);
        }
        report.images_per_sec = set.count as f64 / watch.elapsed_secs().max(1e-9);
        Ok((report, fingerprints))
    }

    /// A member, its fingerprint and how often it was drawn anew.
    fn member(&self, set: &Set, index: usize) -> Result<(Member, Fingerprint, usize), SynthError> {
        let name = format!("{}/{index}", set.name);
        let mut attempt = 0;
        loop {
            let plan = (set.plan)(index, attempt);
            let rendered = render(set.world, &plan, self.recipe.captions, self.recipe.seed, &name);
            let fingerprint = Fingerprint::of(&rendered.image, &plan.glyphs());
            if attempt < ATTEMPTS && self.seen.repeats(&fingerprint) {
                attempt += 1;
                continue;
            }
            let captions = self.recipe.languages.first().and_then(|language| rendered.description.captions.get(language));
            let member = Member {
                key: format!("{}-{index:07}", set.name),
                jpeg: jpeg(&rendered.image, plan.effects.quality)?,
                text: captions.and_then(|captions| captions.first().cloned()).unwrap_or_default(),
                json: serde_json::to_vec(&rendered.description)?,
            };
            return Ok((member, fingerprint, attempt));
        }
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), SynthError> {
        self.write_file(name, &serde_json::to_vec_pretty(value)?)
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> Result<(), SynthError> {
        Ok(replace_file(&self.folder.join(name), |writer| writer.write_all(bytes))?)
    }
}

/// Captions of training scenes in all languages, without drawing them: what a tokenizer is trained on.
pub(super) fn training_captions(world: &World, recipe: &SynthRecipe) -> Vec<String> {
    let scene = |index: usize| {
        let name = format!("train/{index}");
        let wanted = Wanted { split: Split::Train, at_least: 1, words: true };
        let plan = Plan::scene(world, recipe, wanted, &mut Draw::new(recipe.seed, &format!("{name}/0")));
        let in_language = |language: usize| {
            let code = world.languages.get(language).map_or("", |language| language.code.as_str());
            super::caption::captions(
                world,
                &plan,
                language,
                recipe.captions,
                &mut Draw::new(recipe.seed, &format!("{name}/captions/{code}")),
            )
        };
        (0..world.languages.len()).flat_map(in_language).collect::<Vec<_>>()
    };
    (0..recipe.tokenizer_scenes).into_par_iter().flat_map_iter(scene).collect()
}

/// A glyph in `glyphs.json` and `classes.json`.
#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    emoji: String,
    group: &'a str,
    /// The split that alone may show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    only_in: Option<Split>,
    attributes: &'a super::Attributes,
    names: BTreeMap<&'a str, &'a str>,
    /// CLDR's search words: some are synonyms, others only related.
    keywords: BTreeMap<&'a str, &'a [String]>,
}

impl World {
    fn entry<'a>(&'a self, glyph: &'a super::world::Glyph) -> Entry<'a> {
        let named =
            || self.languages.iter().zip(&glyph.names).filter_map(|(language, name)| Some((language.code.as_str(), name.as_ref()?)));
        Entry {
            id: &glyph.id,
            emoji: plain(&glyph.sequence),
            group: &glyph.group,
            only_in: glyph.home,
            attributes: &glyph.attributes,
            names: named().map(|(code, name)| (code, name.label.as_str())).collect(),
            keywords: named().map(|(code, name)| (code, name.keywords.as_slice())).collect(),
        }
    }
}
