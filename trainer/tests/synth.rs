//! Emoji world, on a few glyphs of the font and their names. No text fonts, so no signs and receipts, which need a system's.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use polyglance::config::PRESETS;
use polyglance::text::{TextOptions, Tokenizer};
use polyglance_trainer::synth::{
    Annotations, Description, EmojiFont, Fingerprint, Generator, Mask, Seen, Split, SynthError, SynthRecipe, World, train_tokenizer,
};

const CLASSES: &str = "thing: 🐱 🍕 🚲 🌵 🎸 🚀 🦋 ☂ 🍓 🐙 🏰 🔑\ngeometric: 🔴 🟠 🟢 🔵 🟥 🟦\nperson: 🧑‍🚒 👩‍🚒 👩🏽‍🚒 👨🏿‍🚒";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/fixtures/synth")
}

fn font() -> EmojiFont {
    EmojiFont::open(Some(&fixtures().join("emoji-subset.ttf"))).expect("the fixture opens")
}

fn recipe() -> SynthRecipe {
    let overrides = ["train=24", "validation=8", "test=8", "retrieval=5", "zero_shot_per_class=1", "shard_members=10", "side=96"];
    let overrides = overrides.iter().map(ToString::to_string).chain(["longest_side=192".to_owned(), "words_share=0.0".to_owned()]);
    SynthRecipe::parse("seed = 3", &overrides.collect::<Vec<_>>()).expect("it is right")
}

fn world(languages: &[String]) -> World {
    let annotations = Annotations::open(&fixtures(), languages).expect("the fixture opens");
    World::new(&font(), &annotations, languages, Some(CLASSES)).expect("all parts are there")
}

/// File name and bytes of all members of a set.
fn members(set: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut members = BTreeMap::new();
    for shard in std::fs::read_dir(set).expect("the set is there") {
        let mut archive = tar::Archive::new(std::fs::File::open(shard.unwrap().path()).unwrap());
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            members.insert(entry.path().unwrap().display().to_string(), bytes);
        }
    }
    members
}

fn descriptions(set: &Path) -> Vec<Description> {
    let json = members(set).into_iter().filter(|(name, _)| name.ends_with(".json"));
    json.map(|(_, bytes)| serde_json::from_slice(&bytes).expect("it is a description")).collect()
}

fn generate(recipe: &SynthRecipe, folder: &Path) {
    let world = world(&recipe.languages);
    Generator::new(recipe, &world, folder).expect("the folder is new").all(&mut |_, _, _| {}).expect("it is written");
}

#[test]
fn sequences_become_one_glyph_each() {
    let font = font();
    for emoji in ["🐱", "☂\u{fe0f}", "☂", "👩🏽‍🚒", "👨🏿‍🚒", "🧑‍🚒"] {
        assert!(font.sprite(emoji).expect("it decodes").is_some(), "{emoji}");
    }
    for emoji in ["🐱🐱", "👩🏿‍🎤", "🦖", "x"] {
        assert!(font.sprite(emoji).expect("nothing to decode").is_none(), "{emoji}");
    }
}

#[test]
fn missing_sources_say_what_to_install() {
    let error = |result: Result<EmojiFont, SynthError>| result.err().expect("it is refused").to_string();
    assert!(error(EmojiFont::open(Some(Path::new("no-such-file.ttf")))).contains("no-such-file.ttf"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("font.ttf");
    std::fs::write(&file, "no font").unwrap();
    assert!(error(EmojiFont::open(Some(&file))).contains("font.ttf"));
    let names = Annotations::open(&fixtures(), &["sw".to_owned()]).err().expect("Swahili is not there").to_string();
    assert!(names.contains("\"sw\"") && names.contains("cldr-annotations-full"), "{names}");
}

#[test]
fn names_that_a_language_lacks_are_listed_and_leave_its_captions_out() {
    let languages = ["en", "ko"].map(str::to_owned);
    let world = world(&languages);
    assert_eq!(world.missing().names["ko"], ["🔑"]);
    assert!(!world.missing().names.contains_key("en"));
}

#[test]
fn shards_are_reproducible_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe();
    generate(&recipe, &folder.path().join("a"));
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    one_thread.install(|| generate(&recipe, &folder.path().join("b")));
    for set in ["train", "validation", "test", "retrieval", "zero-shot"] {
        let (a, b) = (members(&folder.path().join("a").join(set)), members(&folder.path().join("b").join(set)));
        assert_eq!(a, b, "{set}");
        assert_eq!(a.len() % 3, 0, "{set}");
    }
    generate(&SynthRecipe { seed: 4, ..recipe }, &folder.path().join("c"));
    assert_ne!(members(&folder.path().join("a/train")), members(&folder.path().join("c/train")));
    for (name, bytes) in members(&folder.path().join("a/train")).iter().filter(|(name, _)| name.ends_with(".jpg")) {
        let image = polyglance::image::decode(bytes, &polyglance::limits::Limits::current()).expect("it decodes");
        assert!(image.pixels.width() <= 192 && image.pixels.height() <= 192, "{name}");
    }
}

#[test]
fn captions_name_every_region_in_every_language() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = SynthRecipe { languages: ["en", "de", "ja", "ar", "hi", "ru", "zh"].map(str::to_owned).to_vec(), ..recipe() };
    generate(&recipe, &folder.path().join("set"));
    for scene in descriptions(&folder.path().join("set/train")) {
        for language in &recipe.languages {
            let captions = &scene.captions[language];
            assert!(!captions.is_empty() && captions.len() <= recipe.captions);
            for region in scene.regions.iter().filter(|region| region.visible > 0.0) {
                let name = &region.caption[language];
                assert!(captions.iter().all(|caption| caption.contains(name)), "{name:?} in {captions:?}");
            }
            assert!(captions.iter().all(|caption| !caption.contains(['{', '}'])), "{captions:?}");
        }
    }
}

#[test]
fn boxes_are_the_bounds_of_their_masks_and_masks_do_not_overlap() {
    let folder = tempfile::tempdir().unwrap();
    generate(&recipe(), &folder.path().join("set"));
    for scene in descriptions(&folder.path().join("set/train")) {
        let mut taken = vec![false; scene.height * scene.width];
        for region in &scene.regions {
            assert_eq!(region.mask.size, [scene.height, scene.width]);
            let inside: Vec<usize> =
                region.mask.decode().expect("it decodes").iter().enumerate().filter(|(_, inside)| **inside).map(|(i, _)| i).collect();
            assert!(inside.iter().all(|i| !std::mem::replace(&mut taken[*i], true)));
            let rows = inside.iter().map(|i| i / scene.width);
            let columns = inside.iter().map(|i| i % scene.width);
            let bounds = [rows.clone().min(), columns.clone().min(), rows.max().map(|y| y + 1), columns.max().map(|x| x + 1)];
            assert_eq!(bounds.map(|bound| bound.expect("a region has pixels")), region.bounds);
            assert!(region.visible > 0.3 && region.visible <= 1.0, "{} is hidden", region.label);
        }
    }
}

#[test]
fn masks_are_cocos() {
    // Made with pycocotools 2.0.11: encode(asfortranarray(mask)) for three masks.
    let disc = Mask::encode(20, 30, |y, x| (y as f32 - 9.5).hypot(x as f32 - 14.5) < 8.0);
    assert_eq!(disc.counts, "c46<4M2N2O0O2O0000000001N101N2N3LW4");
    assert_eq!(Mask::encode(3, 4, |_, _| true).counts, "0<");
    assert_eq!(Mask::encode(3, 4, |_, _| false).counts, "<");
    let stripes = Mask::encode(300, 5, |y, x| (y + 7 * x) % 290 < 120);
    assert_eq!(stripes.counts, "0h3Z530000000[M");
    let pixels = stripes.decode().expect("it decodes");
    assert!((0..300 * 5).all(|i| pixels[i] == ((i / 5 + 7 * (i % 5)) % 290 < 120)));
    for broken in ["", "0", "~~~~", "\u{1}", "PPPPPPPPPPPPPPPPPPPPPP", "ooooooooooooooooooo0"] {
        assert_eq!(Mask { size: [3, 4], counts: broken.to_owned() }.decode(), None, "{broken}");
    }
}

#[test]
fn held_out_pairs_and_combinations_never_reach_training() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = SynthRecipe { train: 150, test: 40, validation: 40, ..recipe() };
    generate(&recipe, &folder.path().join("set"));
    let scenes = |split: &str| descriptions(&folder.path().join("set").join(split));
    let pairs = |scenes: &[Description]| {
        let of = |scene: &Description| {
            let ids: Vec<String> = scene.regions.iter().map(|region| region.glyph.clone()).collect();
            ids.iter().flat_map(|a| ids.iter().map(move |b| (a.clone(), b.clone()))).filter(|(a, b)| a < b).collect::<Vec<_>>()
        };
        scenes.iter().map(of).collect::<Vec<_>>()
    };
    let (train, test, validation) = (scenes("train"), scenes("test"), scenes("validation"));
    let trained: HashSet<_> = pairs(&train).into_iter().flatten().collect();
    for held_out in [&test, &validation] {
        for (scene, pairs) in held_out.iter().zip(pairs(held_out)) {
            assert!(pairs.is_empty() || pairs.iter().any(|pair| !trained.contains(pair)), "{pairs:?}");
            assert!(train.iter().all(|other| other.background != scene.background), "{}", scene.background);
        }
    }
    // A red circle is a cell of the test's diagonal, an orange one of validation's.
    let shows = |scenes: &[Description], glyph: &str| scenes.iter().flat_map(|scene| &scene.regions).any(|region| region.glyph == glyph);
    assert!(shows(&test, "1f534") && !shows(&train, "1f534") && !shows(&validation, "1f534"));
    assert!(shows(&validation, "1f7e0") && !shows(&train, "1f7e0") && !shows(&test, "1f7e0"));
    let wordings = |scenes: &[Description]| scenes.iter().flat_map(|scene| scene.captions["en"].clone()).collect::<Vec<_>>();
    assert!(wordings(&test).iter().all(|caption| caption.starts_with("in this image: ")));
    assert!(wordings(&train).iter().all(|caption| !caption.starts_with("in this image: ") && !caption.starts_with("here we have: ")));
    assert!(scenes("retrieval").iter().all(|scene| scene.split == Split::Test && scene.regions.len() > 1));
}

#[test]
fn duplicates_are_found_by_bytes_and_by_looks() {
    let image = |value: &dyn Fn(u32, u32) -> u8| image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([value(x, y); 3]));
    let first = image(&|x, y| (x * 2 + y) as u8);
    let mut seen = Seen::default();
    seen.insert(Fingerprint::of(&first, &[1, 2]));
    let brighter = image(&|x, y| (x * 2 + y + 20) as u8);
    assert!(seen.repeats(&Fingerprint::of(&first, &[9])), "equal bytes");
    assert!(seen.repeats(&Fingerprint::of(&brighter, &[1, 2])), "the same things, and alike");
    assert!(!seen.repeats(&Fingerprint::of(&brighter, &[1, 3])), "other things");
    assert!(!seen.repeats(&Fingerprint::of(&image(&|x, y| (200 - x * 2 - y) as u8), &[1, 2])), "another look");
}

#[test]
fn recipes_name_what_is_wrong() {
    let error = |toml: &str, overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        SynthRecipe::parse(toml, &overrides).expect_err("it is wrong").to_string()
    };
    assert!(error("trains = 5", &[]).contains("trains"));
    assert!(error("", &["aspect=99.0"]).contains("aspect = 99 must lie between 1 and 16"));
    assert!(error("", &["languages=[]"]).contains("languages"));
    assert!(error("", &["no override"]).contains("key=value"));
    let file = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/synth/emoji-world.toml")).unwrap();
    assert_eq!(SynthRecipe::parse(&file, &[]).expect("it is right"), SynthRecipe::default());
    let unknown = World::new(&font(), &Annotations::open(&fixtures(), &["en".to_owned()]).unwrap(), &["xx".to_owned()], Some(CLASSES));
    assert!(unknown.err().expect("no phrases").to_string().contains("\"xx\""));
}

#[test]
fn a_trained_tokenizer_knows_every_byte_and_loads_in_the_library() {
    let texts: Vec<String> = ["a cat left of a tree", "links: Katze, rechts: Baum", "木の左に猫", "слева: кошка", "사과 왼쪽에 고양이"]
        .map(str::to_owned)
        .to_vec();
    let json = train_tokenizer(&texts, 400).expect("it is trained");
    let bytes = serde_json::to_vec(&json).unwrap();
    let reference: tokenizers::Tokenizer = serde_json::from_slice(&bytes).expect("the crate reads it");
    let size = reference.get_vocab_size(true);
    assert!(size <= 400);
    for (token, id) in [("<pad>", 0), ("<eos>", 1), ("<bos>", 2), ("<unk>", 3), ("<0x00>", size as u32 - 256), ("<0xFF>", size as u32 - 1)]
    {
        assert_eq!(reference.token_to_id(token), Some(id), "{token}");
    }
    let mut config = PRESETS[15].config.text;
    config.vocab_size = size;
    let tokenizer = Tokenizer::from_json(&bytes, &config, TextOptions::default()).expect("the library reads it");
    for text in ["แมวอยู่ทางซ้าย", "🦖🏽", "ὁ γάτος", "\u{0}\u{7f}", "CAT", "a  cat ", "x\ny"] {
        let ids = tokenizer.encode(text).expect("it encodes").ids;
        assert!(!ids.contains(&3), "{text:?} has an unknown part");
        let expected = reference.encode(text, true).expect("it encodes");
        assert_eq!(ids, expected.get_ids(), "{text:?}");
        assert_eq!(reference.decode(&ids, true).expect("it decodes"), text.to_lowercase());
    }
    let words = tokenizer.encode("a cat left of a tree").unwrap().ids;
    assert!(words.iter().position(|id| *id == 1).expect("it ends") <= 6, "frequent words are one token each: {words:?}");
    assert!(train_tokenizer(&texts, 100).is_err());
}

#[test]
fn signs_and_receipts_quote_what_is_written_on_them() {
    let recipe = SynthRecipe { words_share: 1.0, train: 20, validation: 0, test: 0, retrieval: 0, zero_shot_per_class: 0, ..recipe() };
    let world = match world(&recipe.languages).with_typefaces(Path::new("/usr/share/fonts")) {
        Ok(world) => world,
        Err(error) => return println!("skipped: {error}"),
    };
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set");
    Generator::new(&recipe, &world, &set).expect("the folder is new").all(&mut |_, _, _| {}).expect("it is written");
    for scene in descriptions(&set.join("train")) {
        assert!(["sign", "receipt"].contains(&scene.kind.as_str()) && scene.language.is_some());
        assert!(!scene.regions.is_empty());
        for region in &scene.regions {
            assert!(scene.captions.values().flatten().all(|caption| caption.contains(&region.label)), "{:?}", region.label);
        }
    }
}
