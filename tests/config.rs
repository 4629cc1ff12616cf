//! `ModelConfig`: presets against the published table, `config.json` in all its forms, and its limits.

use polyglance::config::{ConfigError, Filter, ModelConfig, PRESETS, Preprocessing, VisionGeometry};
use polyglance::limits;
use serde_json::{Value, json};

/// Vision, text and total parameters of the released checkpoints (computed in the reference from the published formulas).
const PARAMETERS: [(&str, u64, u64, u64); 17] = [
    ("siglip2-base-patch32-256", 94_552_320, 282_303_744, 376_856_066),
    ("siglip2-base-patch16-224", 92_884_224, 282_303_744, 375_187_970),
    ("siglip2-base-patch16-256", 92_930_304, 282_303_744, 375_234_050),
    ("siglip2-base-patch16-384", 93_176_064, 282_303_744, 375_479_810),
    ("siglip2-base-patch16-512", 93_520_128, 282_303_744, 375_823_874),
    ("siglip2-large-patch16-256", 315_956_224, 565_570_560, 881_526_786),
    ("siglip2-large-patch16-384", 316_283_904, 565_570_560, 881_854_466),
    ("siglip2-large-patch16-512", 316_742_656, 565_570_560, 882_313_218),
    ("siglip2-so400m-patch14-224", 427_680_704, 707_782_896, 1_135_463_602),
    ("siglip2-so400m-patch14-384", 428_225_600, 707_782_896, 1_136_008_498),
    ("siglip2-so400m-patch16-256", 427_888_064, 707_782_896, 1_135_670_962),
    ("siglip2-so400m-patch16-384", 428_256_704, 707_782_896, 1_136_039_602),
    ("siglip2-so400m-patch16-512", 428_772_800, 707_782_896, 1_136_555_698),
    ("siglip2-giant-opt-patch16-256", 1_163_168_256, 708_225_648, 1_871_393_906),
    ("siglip2-giant-opt-patch16-384", 1_163_659_776, 708_225_648, 1_871_885_426),
    ("siglip2-base-patch16-naflex", 92_930_304, 282_303_744, 375_234_050),
    ("siglip2-so400m-patch16-naflex", 427_888_064, 707_782_896, 1_135_670_962),
];

fn parse(json: &Value) -> Result<ModelConfig, ConfigError> {
    ModelConfig::from_json(json.to_string().as_bytes())
}

/// `config` with one key of one section replaced.
fn with(config: &Value, section: &str, key: &str, value: impl Into<Value>) -> Value {
    let mut changed = config.clone();
    changed[section][key] = value.into();
    changed
}

fn refusal(json: &Value) -> String {
    parse(json).expect_err("the configuration must be refused").to_string()
}

#[test]
fn presets_have_the_published_parameter_counts() {
    for (name, vision, text, total) in PARAMETERS {
        let preset = PRESETS.iter().find(|preset| preset.id == format!("google/{name}")).unwrap();
        let config = &preset.config;
        assert_eq!((config.vision.parameters(), config.text.parameters(), config.parameters()), (vision, text, total), "{name}");
    }
}

#[test]
fn presets_survive_a_round_trip_through_json() {
    for preset in PRESETS {
        assert_eq!(parse(&preset.config.to_json()).unwrap(), preset.config, "{}", preset.id);
    }
}

#[test]
fn missing_keys_take_the_class_defaults() {
    let fixed = parse(&json!({ "model_type": "siglip" })).unwrap();
    let naflex = parse(&json!({ "model_type": "siglip2", "vision_config": {}, "unknown": [1] })).unwrap();
    let tower = fixed.vision.tower;
    assert_eq!((tower.width, tower.mlp_dim, tower.depth, tower.heads, tower.layer_norm_eps), (768, 3072, 12, 12, 1e-6));
    assert_eq!((fixed.vision.patch_size, fixed.vision.geometry), (16, VisionGeometry::Fixed { image_size: 224 }));
    assert_eq!(naflex.vision.geometry, VisionGeometry::NaFlex { table_side: 16 });
    assert_eq!((fixed.text.vocab_size, fixed.text.positions, fixed.text.projection_dim), (32_000, 64, 768));
    assert_eq!((fixed.text.tower, fixed.vision.tower), (naflex.text.tower, naflex.vision.tower));
}

#[test]
fn pixels_beyond_the_last_patch_do_not_count() {
    let so400m = PRESETS.iter().find(|preset| preset.id.ends_with("patch14-384")).unwrap();
    assert_eq!(so400m.config.vision.table_side(), 27);
}

#[test]
fn contradictions_are_refused_by_name() {
    let fixed = json!({ "model_type": "siglip", "vision_config": {}, "text_config": {} });
    let naflex = with(&fixed, "vision_config", "num_patches", 256);
    let naflex = {
        let mut naflex = naflex;
        naflex["model_type"] = "siglip2".into();
        naflex
    };
    let cases = [
        (with(&fixed, "vision_config", "num_patches", 256), "num_patches 256 contradicts image_size 224"),
        (with(&fixed, "vision_config", "hidden_size", 1024), "vision_config.hidden_size 1024 is not divisible by num_attention_heads 12"),
        (with(&fixed, "vision_config", "hidden_size", 1152), "projection_size 768 differs from vision_config.hidden_size 1152"),
        (with(&fixed, "text_config", "projection_size", 512), "would not share a space"),
        (with(&fixed, "text_config", "num_attention_heads", 0), "not divisible"),
        (with(&fixed, "text_config", "num_attention_heads", 192), "multiples of 8"),
        (with(&fixed, "text_config", "hidden_act", "gelu"), "hidden_act"),
        (with(&fixed, "text_config", "layer_norm_eps", 0.0), "layer_norm_eps"),
        (with(&fixed, "vision_config", "num_channels", 1), "num_channels"),
        (with(&fixed, "vision_config", "vision_use_head", false), "vision_use_head"),
        (with(&naflex, "vision_config", "num_patches", 250), "must be square"),
        (with(&naflex, "vision_config", "num_patches", 0), "must be square"),
    ];
    for (config, expected) in cases {
        let message = refusal(&config);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn other_files_are_refused() {
    assert!(matches!(parse(&json!({ "model_type": "clip" })), Err(ConfigError::ModelType(kind)) if kind == "clip"));
    assert!(matches!(parse(&json!({})), Err(ConfigError::ModelType(_))));
    assert!(matches!(parse(&json!([])), Err(ConfigError::Json(_))));
    let negative = with(&json!({ "model_type": "siglip" }), "text_config", "hidden_size", -1);
    assert!(matches!(parse(&negative), Err(ConfigError::Json(_))));
    assert!(matches!(ModelConfig::from_json(b""), Err(ConfigError::Json(_))));
}

#[test]
fn the_file_size_limit_holds_one_below_at_and_above() {
    let padded = |len: u64| {
        let mut json = br#"{"model_type": "siglip"}"#.to_vec();
        json.resize(len as usize, b' ');
        ModelConfig::from_json(&json)
    };
    assert!(padded(limits::CONFIG_BYTES - 1).is_ok());
    assert!(padded(limits::CONFIG_BYTES).is_ok());
    assert!(matches!(padded(limits::CONFIG_BYTES + 1), Err(ConfigError::TooLarge { .. })));
}

/// `accepted` values parse, `refused` ones name the key.
fn check_limit(base: &Value, section: &str, key: &str, accepted: &[usize], refused: &[usize]) {
    for &value in accepted {
        parse(&with(base, section, key, value)).unwrap_or_else(|error| panic!("{key} = {value}: {error}"));
    }
    for &value in refused {
        let message = refusal(&with(base, section, key, value));
        assert!(message.contains(key), "{key} = {value}: {message}");
    }
}

#[test]
fn size_limits_hold_one_below_at_and_above() {
    let fixed = json!({ "model_type": "siglip", "vision_config": { "patch_size": 1, "image_size": 64 }, "text_config": {} });
    let naflex = json!({ "model_type": "siglip2", "vision_config": {}, "text_config": {} });
    let (dimension, depth, vocabulary) = (limits::CONFIG_DIMENSION, limits::CONFIG_DEPTH, limits::CONFIG_VOCABULARY);
    for section in ["vision_config", "text_config"] {
        check_limit(&fixed, section, "intermediate_size", &[1, dimension - 1, dimension], &[0, dimension + 1, usize::MAX]);
        check_limit(&fixed, section, "num_hidden_layers", &[1, depth - 1, depth], &[0, depth + 1]);
    }
    check_limit(&fixed, "text_config", "vocab_size", &[1, vocabulary - 1, vocabulary], &[0, vocabulary + 1]);
    check_limit(&fixed, "text_config", "max_position_embeddings", &[2, 511, 512], &[0, 1, 513]);
    check_limit(&fixed, "vision_config", "image_size", &[1, 63, 64], &[0, 65]);
    check_limit(&naflex, "vision_config", "num_patches", &[1, 63 * 63, 64 * 64], &[0, 65 * 65, usize::MAX]);
    check_limit(&naflex, "vision_config", "patch_size", &[1, 63, 64], &[0, 65]);

    // Widths come in steps of 8 per head and in pairs that agree.
    let wide = |width: usize| {
        let config = with(&naflex, "vision_config", "hidden_size", width);
        with(
            &with(&with(&config, "text_config", "projection_size", width), "vision_config", "num_attention_heads", 1),
            "text_config",
            "x",
            0,
        )
    };
    assert!(parse(&wide(dimension - 8)).is_ok());
    assert!(parse(&wide(dimension)).is_ok());
    assert!(refusal(&wide(dimension + 8)).contains("hidden_size"));
}

fn with_processor(config: &ModelConfig, processor: &serde_json::Value) -> Result<ModelConfig, ConfigError> {
    config.with_preprocessor_json(processor.to_string().as_bytes())
}

#[test]
fn the_image_processor_decides_filter_and_budget() {
    let (fixed, naflex) = (PRESETS[1].config, PRESETS[15].config);
    let of = |config: &ModelConfig, json| with_processor(config, &json).unwrap().vision.preprocessing;
    assert_eq!(of(&naflex, serde_json::json!({})), Preprocessing::SIGLIP2);
    assert_eq!(
        of(&naflex, serde_json::json!({"max_num_patches": 64, "resample": 3})),
        Preprocessing { filter: Filter::Bicubic, max_num_patches: 64 }
    );
    // SiglipImageProcessor's class default is bicubic; published SigLIP 2 processors say bilinear.
    assert_eq!(of(&fixed, serde_json::json!({})).filter, Filter::Bicubic);
    assert_eq!(of(&fixed, serde_json::json!({"resample": 2, "size": {"height": 224, "width": 224}})).filter, Filter::Bilinear);
    assert_eq!(of(&fixed, serde_json::json!({"image_processor": {"resample": 2}})).filter, Filter::Bilinear);
}

#[test]
fn an_image_processor_of_another_model_is_refused() {
    let fixed = PRESETS[1].config;
    for json in [
        serde_json::json!({"size": {"height": 256, "width": 256}}),
        serde_json::json!({"image_mean": [0.48, 0.45, 0.4]}),
        serde_json::json!({"rescale_factor": 1.0}),
        serde_json::json!({"do_resize": false}),
        serde_json::json!({"resample": 1}),
        serde_json::json!({"patch_size": 14}),
        serde_json::json!({"max_num_patches": 0}),
    ] {
        assert!(matches!(with_processor(&fixed, &json), Err(ConfigError::Contradiction(_))), "{json}");
    }
    assert!(matches!(fixed.with_preprocessor_json(b"{"), Err(ConfigError::PreprocessorJson(_))));
}
