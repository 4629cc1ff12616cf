//! Text: token ids equal to transformers', hostile tokenizer files, prompts, label lists.

use std::{fs, path::PathBuf, sync::LazyLock};

use polyglance::{
    config::{ModelConfig, TextConfig},
    limits,
    text::{
        IMAGENET_TEMPLATES, Lowercase, TextError, TextOptions, Tokenizer, canonicalize, ensemble, expand, parse_label_file, parse_labels,
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::cases;

const EOS: u32 = 1;
const ASCII: TextOptions = TextOptions { lowercase: Lowercase::Ascii, canonicalize: false };

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| load(TextOptions::default()));
static CANONICALIZER: LazyLock<Tokenizer> = LazyLock::new(|| load(TextOptions { canonicalize: true, ..TextOptions::default() }));

fn models() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/fixtures/models")
}

fn read(path: &str) -> Vec<u8> {
    fs::read(models().join(path)).unwrap()
}

fn config() -> TextConfig {
    ModelConfig::from_json(&read("naflex/config.json")).unwrap().text
}

fn load(options: TextOptions) -> Tokenizer {
    Tokenizer::from_json(&read("tokenizer/tokenizer.json"), &config(), options).unwrap()
}

/// Loads the fixture's tokenizer after a change to its JSON.
fn load_changed(change: impl FnOnce(&mut Value)) -> Result<Tokenizer, TextError> {
    let mut file: Value = serde_json::from_slice(&read("tokenizer/tokenizer.json")).unwrap();
    change(&mut file);
    Tokenizer::from_json(file.to_string().as_bytes(), &config(), TextOptions::default())
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text).unwrap().ids
}

/// The `input_ids` that transformers gave, one row of 64 per text.
fn expected_ids(model: &str) -> Vec<Vec<u32>> {
    let file = read(&format!("{model}/expected.safetensors"));
    let (length, rest) = file.split_at(8);
    let (header, data) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
    let header: Value = serde_json::from_slice(header).unwrap();
    let offsets: (usize, usize) = serde_json::from_value(header["input_ids"]["data_offsets"].clone()).unwrap();
    let values: Vec<u32> = data[offsets.0..offsets.1].chunks_exact(4).map(|id| u32::from_le_bytes(id.try_into().unwrap())).collect();
    values.chunks_exact(64).map(<[u32]>::to_vec).collect()
}

#[test]
fn ids_equal_transformers_with_either_export() {
    let manifest: Value = serde_json::from_slice(&read("manifest.json")).unwrap();
    let texts: Vec<String> = serde_json::from_value(manifest["texts"].clone()).unwrap();
    let expected = expected_ids("naflex");
    assert_eq!(texts.len(), expected.len());
    for file in manifest["tokenizers"].as_array().unwrap() {
        let tokenizer = Tokenizer::from_json(&read(file.as_str().unwrap()), &config(), TextOptions::default()).unwrap();
        for (text, expected) in texts.iter().zip(&expected) {
            assert_eq!(&ids(&tokenizer, text), expected, "{file}: {text:?}");
        }
    }
}

#[test]
fn the_first_63_tokens_and_eos_are_kept() {
    for (count, truncated) in [(0, false), (62, false), (63, false), (64, true), (200, true)] {
        let tokens = TOKENIZER.encode(&"!".repeat(count)).unwrap();
        assert_eq!(tokens.truncated, truncated, "{count} tokens");
        assert_eq!(tokens.ids.len(), 64);
        assert_eq!(tokens.ids.iter().position(|&id| id == EOS), Some(count.min(63)));
        assert!(tokens.ids.iter().skip(count.min(63) + 1).all(|&id| id == 0));
    }
}

#[test]
fn ascii_lowercasing_leaves_other_letters_alone_even_if_the_file_lowercases() {
    let ascii = load(ASCII);
    assert_eq!(ids(&ascii, "UPPER case"), ids(&TOKENIZER, "upper case"));
    assert_eq!(ids(&TOKENIZER, "É"), ids(&TOKENIZER, "é"));
    assert_ne!(ids(&ascii, "É"), ids(&ascii, "é"));
    let byte = |byte: u32| 5 + byte; // the byte tokens follow pad, eos, bos, unk and mask
    assert_eq!(ids(&ascii, "É")[..3], [byte(0xC3), byte(0x89), EOS]);
    assert_eq!(ascii.options(), ASCII);
}

#[test]
fn canonical_form_is_big_visions() {
    for (text, canonical) in [
        ("  Hello,   world!  ", "Hello world"),
        ("snake_case_label", "snake case label"),
        ("it's \"quoted\" (really)", "its quoted really"),
        ("tab\tnew\nline\u{a0}\u{1f}space", "tab new line space"),
        ("«¿Qué?»、。", "«¿Qué»、。"),
        ("!?.", ""),
        ("_", ""),
        ("a - b", "a b"),
    ] {
        assert_eq!(canonicalize(text), canonical);
    }
    assert_eq!(ids(&CANONICALIZER, "A photo_of a Cat!"), ids(&TOKENIZER, "a photo of a cat"));
}

#[test]
fn texts_are_limited() {
    let limit = limits::TEXT_BYTES as usize;
    for bytes in [limit - 1, limit] {
        assert!(TOKENIZER.encode(&"a".repeat(bytes)).unwrap().truncated);
    }
    assert!(matches!(TOKENIZER.encode(&"a".repeat(limit + 1)), Err(TextError::TextTooLong { bytes }) if bytes == limit + 1));
}

#[test]
fn tokenizer_files_are_limited() {
    let mut json = vec![b' '; limits::TOKENIZER_BYTES as usize];
    let load = |json: &[u8]| Tokenizer::from_json(json, &config(), TextOptions::default());
    assert!(matches!(load(&json[1..]), Err(TextError::TokenizerJson(_))));
    assert!(matches!(load(&json), Err(TextError::TokenizerJson(_))));
    json.push(b' ');
    assert!(matches!(load(&json), Err(TextError::TokenizerTooLarge { .. })));
}

#[test]
fn another_models_tokenizer_is_refused() {
    let json = read("tokenizer/tokenizer.json");
    let vocab_size = config().vocab_size;
    let load = |vocab_size| Tokenizer::from_json(&json, &TextConfig { vocab_size, ..config() }, TextOptions::default());
    for accepted in [vocab_size, vocab_size + 1, vocab_size * 2] {
        assert!(load(accepted).is_ok(), "{accepted}");
    }
    for refused in [1, vocab_size - 1, vocab_size * 2 + 2, 256_000] {
        let error = load(refused).err().unwrap();
        assert!(matches!(error, TextError::WrongTokenizer(_)) && error.to_string().contains(&vocab_size.to_string()), "{error}");
    }
}

#[test]
fn siglip_1_ends_and_pads_with_the_same_token() {
    let file = json!({
        "version": "1.0", "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Lowercase"}, {"type": "Replace", "pattern": {"Regex": "[!\"#$%&'()*+,./:;<=>?@\\[\\\\\\]^_`{|}~-]"}, "content": ""},
            {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}, {"type": "Strip", "strip_left": true, "strip_right": true}]},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {}},
        "model": {"type": "Unigram", "unk_id": 2, "vocab": [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], ["▁a", -1.0], ["▁cat", -2.0], ["s", -3.0]]},
    });
    let config = TextConfig { vocab_size: 6, positions: 8, ..config() };
    let tokenizer = Tokenizer::from_json(file.to_string().as_bytes(), &config, TextOptions::default()).unwrap();
    assert_eq!(ids(&tokenizer, "  A  (Cat)-s!  "), [3, 4, 5, 1, 1, 1, 1, 1]);
    assert_eq!(ids(&tokenizer, ""), [1; 8]);
    assert_eq!(ids(&tokenizer, "a z"), [3, 2, 1, 1, 1, 1, 1, 1]);
}

#[test]
fn hostile_tokenizer_files_are_refused() {
    let replace = |pattern: Value, content: &str| json!({"type": "Replace", "pattern": pattern, "content": content});
    let sequence = |steps: Vec<Value>| json!({"type": "Sequence", "normalizers": steps});
    let cases: Vec<(&str, Value, &str)> = vec![
        ("/normalizer", replace(json!({"Regex": "(a+)+$"}), ""), "groups"),
        ("/normalizer", replace(json!({"String": "x".repeat(300)}), ""), "pattern"),
        ("/normalizer", replace(json!({}), ""), "neither a string"),
        ("/normalizer", replace(json!({"String": "a"}), &"b".repeat(1000)), "at most one character"),
        ("/normalizer", json!({"type": "Prepend", "prepend": "long"}), "at most one character"),
        ("/normalizer", sequence(vec![json!({"type": "NFC"}); 9]), "steps"),
        ("/normalizer", sequence(vec![json!({"type": "Sequence"})]), "lacks its normalizers"),
        ("/normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"}), "Precompiled"),
        ("/normalizer", json!(7), "(no type)"),
        ("/pre_tokenizer", json!({"type": "ByteLevel"}), "ByteLevel"),
        ("/pre_tokenizer", json!({"type": "Split", "pattern": {"Regex": "a|b"}, "behavior": "Removed", "invert": false}), "alternatives"),
        ("/pre_tokenizer", json!({"type": "Split", "pattern": {"Regex": "["}, "behavior": "Removed", "invert": false}), "groups"),
        ("/model/type", json!("WordPiece"), "WordPiece"),
        ("/model/continuing_subword_prefix", json!("##"), "prefix"),
        ("/model/merges", json!([["a", "b".repeat(300)]]), "gives no token"),
        ("/model/merges", json!(["ab"]), "not two tokens"),
        ("/model/merges", json!([["a", "<unk>"]]), "out of vocabulary"),
        ("/model/vocab", json!({"a".repeat(40): 0}), "out of vocabulary"),
        ("/model/vocab", json!({"x".repeat(300): 0}), "300 bytes"),
        ("/model/vocab/a", json!(1_000_000), "1000001 tokens"),
        ("/model/vocab/a", json!(u32::MAX), "tokens and the model's table"),
        ("/model/vocab/a", json!(-1), "invalid value"),
        ("/added_tokens/0/content", json!("y".repeat(300)), "300 bytes"),
        ("/padding/pad_id", json!(-1), "invalid value"),
        ("/padding/pad_id", json!(config().vocab_size), "pads with token 578"),
        ("/model", json!(null), "cannot be read"),
    ];
    for (pointer, value, message) in cases {
        let error =
            load_changed(|file| *file.pointer_mut(pointer).unwrap() = value).err().unwrap_or_else(|| panic!("{pointer}: {message}"));
        assert!(error.to_string().contains(message), "{pointer}: {error}");
    }
}

#[test]
fn joined_merges_and_missing_sections_load() {
    let tokenizer = load_changed(|file| {
        let merges = file["model"]["merges"].as_array_mut().unwrap();
        merges.iter_mut().for_each(|pair| *pair = json!(format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap())));
        for section in ["padding", "truncation", "post_processor", "decoder", "version"] {
            file.as_object_mut().unwrap().remove(section);
        }
    });
    assert_eq!(ids(&tokenizer.unwrap(), "A photo of a cat"), ids(&TOKENIZER, "a photo of a cat"));
}

#[test]
fn truncated_tokenizer_files_are_refused() {
    let json = read("tokenizer/tokenizer.json");
    for length in (0..json.len() - 2).step_by(997) {
        assert!(Tokenizer::from_json(&json[..length], &config(), TextOptions::default()).is_err(), "{length} bytes");
    }
}

#[test]
fn templates_take_exactly_one_label() {
    assert_eq!(expand("This is a photo of {}.", "salt, {pepper}").unwrap(), "This is a photo of salt, {pepper}.");
    assert_eq!(expand("{}", "").unwrap(), "");
    for (template, count) in [("a photo", 0), ("", 0), ("{ }", 0), ("{} and {}", 2), ("{}{}{}", 3)] {
        assert!(matches!(expand(template, "x"), Err(TextError::Template { slots, .. }) if slots == count), "{template}");
    }
}

#[test]
fn imagenet_templates_are_canonical_and_distinct() {
    let mut prompts: Vec<String> = IMAGENET_TEMPLATES.iter().map(|template| expand(template, "x").unwrap()).collect();
    assert!(prompts.iter().all(|prompt| canonicalize(prompt).to_lowercase() == *prompt));
    assert_eq!((prompts[0].as_str(), prompts[79].as_str(), prompts[80].as_str()), ("a bad photo of a x", "a tattoo of the x", "x"));
    prompts.sort();
    prompts.dedup();
    assert_eq!(prompts.len(), 81);
}

#[test]
fn ensembles_average_unit_vectors() {
    // Lengths must not weigh: (10, 0) and (0, 1) average to the diagonal.
    let averages = ensemble(&[10.0, 0.0, 0.0, 1.0, -3.0, 4.0, -3.0, 4.0], 2, 2).unwrap();
    for (value, expected) in averages.iter().zip([0.5f32.sqrt(), 0.5f32.sqrt(), -0.6, 0.8]) {
        assert!((value - expected).abs() < 1e-6);
    }
    assert_eq!(ensemble(&[], 2, 3).unwrap(), Vec::<f32>::new());
    for (embeds, dim, prompts) in [(vec![1.0; 7], 2, 2), (vec![1.0; 4], 0, 2), (vec![1.0; 4], 2, 0)] {
        assert!(matches!(ensemble(&embeds, dim, prompts), Err(TextError::Ensemble(_))));
    }
    for cancelling in [[1.0, 0.0, -1.0, 0.0], [0.0; 4], [f32::NAN, 0.0, 0.0, 1.0], [f32::INFINITY, 0.0, 0.0, 1.0]] {
        assert!(matches!(ensemble(&cancelling, 2, 2), Err(TextError::Ensemble(_))));
    }
}

#[test]
fn label_lists_follow_csv_quoting() {
    for (list, labels) in [
        ("cat", vec!["cat"]),
        (" cat , two dogs,猫 ", vec!["cat", "two dogs", "猫"]),
        ("cat,\"salt, pepper\" ,dog", vec!["cat", "salt, pepper", "dog"]),
        ("\"the \"\"best\"\" dog\"", vec!["the \"best\" dog"]),
        ("5\" screen", vec!["5\" screen"]),
        ("\" kept \"", vec![" kept "]),
    ] {
        assert_eq!(parse_labels(list).unwrap(), labels);
    }
    for (list, problem) in [
        ("", "empty"),
        ("a,,b", "empty"),
        ("a,", "empty"),
        (",", "empty"),
        ("a,\"\"", "empty"),
        ("\" \"", "empty"),
        ("\"open, b", "not closed"),
        ("\"a\"b,c", "closing quote"),
    ] {
        let error = parse_labels(list).unwrap_err().to_string();
        assert!(error.contains(problem), "{list}: {error}");
    }
}

#[test]
fn label_files_are_read_whatever_wrote_them() {
    for (file, text) in [
        ("labels.txt", "cat\nsalt, pepper\n"),
        ("labels.txt", "\u{feff}cat\r\n\r\n  salt, pepper\r\n\t\r\n"),
        ("labels", "cat\nsalt, pepper"),
        ("labels.json", "[\"cat\",\n \"salt, pepper\"]"),
        ("LABELS.JSON", "\u{feff}[\"cat\", \"salt, pepper\"]\r\n"),
    ] {
        assert_eq!(parse_label_file(file, text.as_bytes()).unwrap(), ["cat", "salt, pepper"]);
    }
    for (file, bytes, message) in [
        ("a.txt", b"one\ntwo\nthr\xffee\n".as_slice(), "a.txt, line 3: not UTF-8"),
        ("a.txt", b"\xff\xfea\0", "a.txt, line 1: not UTF-8"),
        ("a.json", b"[\"a\",\n\n 7]", "a.json, line 3: not a JSON list"),
        ("a.json", b"{}", "a.json, line 1: not a JSON list"),
        ("a.json", b"[]", "a.json holds no labels"),
        ("a.txt", b"\n \r\n", "a.txt holds no labels"),
        ("a.txt", b"", "a.txt holds no labels"),
    ] {
        let error = parse_label_file(file, bytes).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn lowercasing_modes_have_names() {
    assert_eq!("unicode".parse(), Ok(Lowercase::Unicode));
    assert_eq!("ascii".parse(), Ok(Lowercase::Ascii));
    assert!("ASCII ".parse::<Lowercase>().unwrap_err().contains("unicode"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases(300)) })]

    #[test]
    fn any_text_gives_64_ids_with_eos(text in any::<String>(), repeat in 1usize..40) {
        let text = text.repeat(repeat);
        for tokenizer in [&*TOKENIZER, &*CANONICALIZER] {
            let tokens = tokenizer.encode(&text).unwrap();
            prop_assert_eq!(tokens.ids.len(), 64);
            prop_assert!(tokens.ids.contains(&EOS));
            prop_assert!(!tokens.truncated || tokens.ids[63] == EOS);
        }
    }

    #[test]
    fn a_changed_byte_never_panics(position in 0.0..1.0f64, byte in any::<u8>(), text in "\\PC{0,20}") {
        let mut json = read("tokenizer/tokenizer.json");
        let position = (position * json.len() as f64) as usize;
        json[position] = byte;
        let loaded = Tokenizer::from_json(&json, &config(), TextOptions::default());
        if let Ok(tokens) = loaded.and_then(|tokenizer| tokenizer.encode(&text)) {
            prop_assert_eq!(tokens.ids.len(), 64);
        }
    }

    #[test]
    fn labels_survive_quoting(labels in prop::collection::vec("[ -~é猫]{0,8}[!-~]", 1..6)) {
        let list: Vec<String> = labels.iter().map(|label| format!("\"{}\"", label.replace('"', "\"\""))).collect();
        prop_assert_eq!(parse_labels(&list.join(", ")).unwrap(), labels);
    }
}
