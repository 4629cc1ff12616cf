//! Decoding, the NaFlex grid, resizing, patches and batches, against Pillow, torchvision and transformers
//! (`tests/oracle/images.py` wrote the fixtures).

use std::fs;
use std::io::Cursor;
use std::path::PathBuf;

use image::{ImageFormat, ImageReader, Rgb, RgbImage};
use polyglance::config::{Preprocessing, TowerConfig, VisionConfig, VisionGeometry};
use polyglance::image::{
    ExtensionSupport, Grid, ImageError, PatchBatch, Patches, Resampling, decodable_extensions, decode, extension_support, patchify,
    preprocess, target_grid,
};
use polyglance::limits::{self, Limits};
use polyglance::platform::Stopwatch;
use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::cases;

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/fixtures/images").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&fixture(name)).unwrap()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// `mix` of the oracle.
fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7FEB_352D);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846C_A68B);
    x ^ (x >> 16)
}

/// `picture` of the oracle.
fn picture(height: usize, width: usize, seed: usize) -> RgbImage {
    let start = (seed as u32).wrapping_mul(0x9E37_79B9);
    let value = |index: usize| {
        let noise = mix(start.wrapping_add(index as u32));
        let (y, x, c) = (index / (width * 3), index / 3 % width, index % 3);
        match seed % 3 {
            0 => noise as u8,
            1 => (noise & 1) as u8 * 255,
            _ => (x * 7 + y * 13 + c * 85 + (noise & 15) as usize) as u8,
        }
    };
    RgbImage::from_raw(width as u32, height as u32, (0..height * width * 3).map(value).collect()).unwrap()
}

fn integers<const N: usize>(case: &Value) -> [usize; N] {
    std::array::from_fn(|i| case[i].as_u64().unwrap() as usize)
}

fn value_bytes(patches: &Patches) -> Vec<u8> {
    patches.values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn vision(patch_size: usize, geometry: VisionGeometry) -> VisionConfig {
    let tower = TowerConfig { width: 64, mlp_dim: 64, depth: 1, heads: 1, layer_norm_eps: 1e-6 };
    VisionConfig { tower, patch_size, geometry, preprocessing: Preprocessing::SIGLIP2 }
}

// --- grid ------------------------------------------------------------------------------------------------------------

/// `grid_case` of the oracle: height, width, patch size, budget.
fn grid_case(i: usize) -> [usize; 4] {
    let r: [usize; 5] = std::array::from_fn(|k| mix((8 * i + k) as u32) as usize);
    let patch = [14, 16, 32][r[4] % 3];
    let (mut height, mut width) = (1 + ((r[0] % 65535) >> (r[2] & 15)), 1 + ((r[1] % 65535) >> ((r[2] >> 4) & 15)));
    match (r[2] >> 8) & 3 {
        0 => width = height,
        1 => (height, width) = (height.min(65535 / patch) * patch, width.min(65535 / patch) * patch),
        _ => {}
    }
    [height, width, patch, 1 + ((r[3] % 4096) >> ((r[2] >> 10) & 7))]
}

#[test]
fn grid_equals_transformers_on_100_000_sizes() {
    let fixture = json("grids.json");
    let block = fixture["block"].as_u64().unwrap() as usize;
    let digests = fixture["digests"].as_array().unwrap();
    assert_eq!(block * digests.len(), 100_000);
    for (b, expected) in digests.iter().enumerate() {
        let results: Vec<u8> = (b * block..(b + 1) * block)
            .flat_map(|i| {
                let [height, width, patch, budget] = grid_case(i);
                let grid = target_grid(height, width, patch, budget).unwrap();
                assert!(grid.patches() <= budget, "{height} × {width} at {budget}");
                [grid.rows as u16, grid.cols as u16].map(u16::to_le_bytes).concat()
            })
            .collect();
        assert_eq!(digest(&results), expected.as_str().unwrap(), "cases from {}", b * block);
    }
}

#[test]
fn grid_limits() {
    let side = limits::IMAGE_SIDE as usize;
    let most = limits::MAX_NUM_PATCHES;
    assert_eq!(target_grid(side, 1, 16, most).unwrap(), Grid { rows: most, cols: 1 });
    assert_eq!(target_grid(1, side, limits::MAX_PATCH_SIZE, 1).unwrap(), Grid { rows: 1, cols: 1 });
    for (height, width) in [(0, 1), (1, 0), (side + 1, 1), (1, side + 1)] {
        assert!(matches!(target_grid(height, width, 16, 256), Err(ImageError::Sides { .. })));
    }
    for patch_size in [0, limits::MAX_PATCH_SIZE + 1] {
        assert!(matches!(target_grid(9, 9, patch_size, 256), Err(ImageError::PatchSize { .. })));
        assert!(matches!(
            patchify(&RgbImage::new(9, 9), Grid { rows: 1, cols: 1 }, patch_size, Resampling::Hf),
            Err(ImageError::PatchSize { .. })
        ));
    }
    for budget in [0, most + 1] {
        assert!(matches!(target_grid(9, 9, 16, budget), Err(ImageError::Budget { .. })));
    }
    for grid in [Grid { rows: 0, cols: 4 }, Grid { rows: 4, cols: 0 }, Grid { rows: 2, cols: 2049 }, Grid { rows: usize::MAX, cols: 2 }] {
        assert!(matches!(patchify(&RgbImage::new(9, 9), grid, 1, Resampling::Hf), Err(ImageError::Grid(_))));
    }
    assert!(matches!(patchify(&RgbImage::new(0, 9), Grid { rows: 1, cols: 1 }, 1, Resampling::Jax), Err(ImageError::Sides { .. })));
}

// --- patches ---------------------------------------------------------------------------------------------------------

#[test]
fn naflex_patches_equal_transformers_bit_for_bit() {
    for case in json("patches.json")["naflex"].as_array().unwrap() {
        let [height, width, patch, budget, seed, rows, cols] = integers(case);
        let model = vision(patch, VisionGeometry::NaFlex { table_side: 16 });
        let patches = preprocess(&picture(height, width, seed), &model, Some(budget), Resampling::Hf).unwrap();
        assert_eq!(patches.grid, Grid { rows, cols }, "{case}");
        assert_eq!(digest(&value_bytes(&patches)), case[7].as_str().unwrap(), "{case}");
    }
}

#[test]
fn fixed_patches_equal_transformers_bit_for_bit() {
    for case in json("patches.json")["fixed"].as_array().unwrap() {
        let [height, width, patch, image_size, seed] = integers(case);
        let model = vision(patch, VisionGeometry::Fixed { image_size });
        let patches = preprocess(&picture(height, width, seed), &model, None, Resampling::Hf).unwrap();
        assert_eq!(patches.grid, Grid { rows: image_size / patch, cols: image_size / patch }, "{case}");
        assert_eq!(digest(&value_bytes(&patches)), case[5].as_str().unwrap(), "{case}");
    }
}

#[test]
fn small_patches_equal_transformers_value_by_value() {
    for case in json("patches.json")["small"].as_array().unwrap() {
        let [height, width, patch, budget, seed, rows, cols] = integers(case);
        let grid = target_grid(height, width, patch, budget).unwrap();
        assert_eq!(grid, Grid { rows, cols });
        let patches = patchify(&picture(height, width, seed), grid, patch, Resampling::Hf).unwrap();
        let levels: Vec<u8> = patches.values.iter().map(|value| (value * 127.5 + 127.5).round() as u8).collect();
        let hex: String = levels.iter().map(|level| format!("{level:02x}")).collect();
        assert_eq!(hex, case[7].as_str().unwrap());
    }
}

#[test]
fn jax_patches_match_the_filter_in_f64() {
    for case in json("patches.json")["jax"].as_array().unwrap() {
        let [height, width, patch, rows, cols, seed] = integers(case);
        let patches = patchify(&picture(height, width, seed), Grid { rows, cols }, patch, Resampling::Jax).unwrap();
        let expected = case[6].as_array().unwrap();
        assert_eq!(patches.values.len(), expected.len());
        for (value, expected) in patches.values.iter().zip(expected) {
            let expected = expected.as_f64().unwrap();
            assert!((f64::from(*value) - expected).abs() <= 1e-6, "{value} instead of {expected} in {height} × {width}");
        }
    }
}

#[test]
fn a_budget_is_for_naflex_models_only() {
    let image = picture(40, 60, 0);
    let fixed = vision(16, VisionGeometry::Fixed { image_size: 224 });
    assert!(matches!(preprocess(&image, &fixed, Some(256), Resampling::Hf), Err(ImageError::BudgetOfFixedModel { image_size: 224 })));
    let naflex = vision(16, VisionGeometry::NaFlex { table_side: 4 });
    let default = preprocess(&image, &naflex, None, Resampling::Hf).unwrap();
    assert_eq!(default, preprocess(&image, &naflex, Some(256), Resampling::Hf).unwrap());
}

#[test]
fn resampling_names() {
    assert_eq!("hf".parse::<Resampling>().unwrap(), Resampling::Hf);
    assert_eq!("jax".parse::<Resampling>().unwrap(), Resampling::Jax);
    assert!("pil".parse::<Resampling>().unwrap_err().to_string().contains("\"hf\" or \"jax\""));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(48), failure_persistence: None, ..ProptestConfig::default() })]

    /// Neither mode leaves the range of the values, makes a colour out of an even one, or depends on what surrounds the image.
    #[test]
    fn an_even_picture_stays_even(height in 1usize..90, width in 1usize..90, rows in 1usize..9, cols in 1usize..9, level: u8) {
        let image = RgbImage::from_pixel(width as u32, height as u32, Rgb([level, 255, 0]));
        for resampling in [Resampling::Hf, Resampling::Jax] {
            let patches = patchify(&image, Grid { rows, cols }, 4, resampling).unwrap();
            prop_assert_eq!(patches.values.len(), rows * cols * 4 * 4 * 3);
            let expected = [f32::from(level) / 127.5 - 1.0, 1.0, -1.0];
            for pixel in patches.values.chunks(3) {
                for (value, expected) in pixel.iter().zip(expected) {
                    prop_assert!((value - expected).abs() < 1e-5, "{value} instead of {expected}");
                }
            }
        }
    }

    /// The two modes round differently and agree otherwise: half a level for each of the two passes.
    #[test]
    fn modes_agree_within_a_level(height in 1usize..70, width in 1usize..70, rows in 1usize..6, cols in 1usize..6, seed in 0usize..99) {
        let image = picture(height, width, seed);
        let [hf, jax] = [Resampling::Hf, Resampling::Jax].map(|mode| patchify(&image, Grid { rows, cols }, 5, mode).unwrap());
        for (hf, jax) in hf.values.iter().zip(&jax.values) {
            prop_assert!((hf - jax).abs() * 127.5 < 1.1, "{hf} and {jax}");
        }
    }

    #[test]
    fn a_batch_holds_its_images_in_order(sizes in prop::collection::vec((1usize..50, 1usize..50, 1usize..30), 0..6)) {
        let images: Vec<Patches> = sizes
            .iter()
            .enumerate()
            .map(|(seed, &(height, width, budget))| {
                let grid = target_grid(height, width, 4, budget).unwrap();
                patchify(&picture(height, width, seed), grid, 4, Resampling::Hf).unwrap()
            })
            .collect();
        let batch = PatchBatch::pack(&images);
        prop_assert_eq!((batch.len(), batch.is_empty()), (images.len(), images.is_empty()));
        prop_assert_eq!(batch.offsets().len(), images.len() + 1);
        prop_assert_eq!(batch.values().len(), batch.tokens() * 48);
        prop_assert_eq!(batch.offsets().last().map(|&end| end as usize), Some(batch.tokens()));
        for (i, image) in images.iter().enumerate() {
            let [start, end] = [batch.offsets()[i], batch.offsets()[i + 1]].map(|offset| offset as usize);
            prop_assert_eq!(&batch.values()[start * 48..end * 48], image.values.as_slice());
            prop_assert_eq!(batch.grids()[i], image.grid);
        }
    }
}

// --- files -----------------------------------------------------------------------------------------------------------

fn samples() -> Vec<(String, Value)> {
    json("files.json").as_array().unwrap().iter().map(|entry| (entry["file"].as_str().unwrap().to_owned(), entry.clone())).collect()
}

/// Read by the decoder of plain 8-bit PNG alone, not by the function under test.
fn expected_pixels(name: &str) -> RgbImage {
    let bytes = Cursor::new(fixture(&format!("{name}.expected.png")));
    ImageReader::with_format(bytes, ImageFormat::Png).decode().unwrap().into_rgb8()
}

#[test]
fn files_decode_as_pillow_decodes_them() {
    for (name, entry) in samples() {
        let decoded = decode(&fixture(&name), &Limits::NATIVE).unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = expected_pixels(&name);
        assert_eq!(decoded.pixels.dimensions(), expected.dimensions(), "{name}");
        let worst = decoded.pixels.iter().zip(expected.iter()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(u64::from(worst) <= entry["tolerance"].as_u64().unwrap(), "{name} is {worst} levels off");
        assert_eq!(!decoded.warnings.is_empty(), entry["warns"].as_bool().unwrap(), "{name}: {:?}", decoded.warnings);
    }
}

/// Right or an error: what decodes from a part of a file is the whole picture, never one with a grey rest.
#[test]
fn truncated_files_are_refused_or_whole() {
    for (name, _) in samples() {
        let bytes = fixture(&name);
        let whole = decode(&bytes, &Limits::NATIVE).unwrap().pixels;
        for end in (0..bytes.len()).step_by(37).chain(bytes.len().saturating_sub(4)..bytes.len()) {
            if let Ok(part) = decode(&bytes[..end], &Limits::NATIVE) {
                assert!(part.pixels == whole, "{name} cut to {end} of {} bytes decodes to another picture", bytes.len());
            }
        }
    }
}

#[test]
fn flipped_bits_never_panic_and_stay_within_limits() {
    let limits = Limits { image_pixels: 1 << 20, ..Limits::NATIVE };
    for (name, _) in samples() {
        let mut bytes = fixture(&name);
        for trial in 0..64 {
            let at = mix(trial) as usize % bytes.len();
            // Most flips fall on the header, where they hurt.
            let at = if trial % 2 == 0 { at % 64.min(bytes.len()) } else { at };
            bytes[at] ^= 1 << (trial % 8);
            if let Ok(decoded) = decode(&bytes, &limits) {
                assert!(u64::from(decoded.pixels.width()) * u64::from(decoded.pixels.height()) <= limits.image_pixels, "{name}");
            }
            bytes[at] ^= 1 << (trial % 8);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(256), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_refused(magic in 0usize..8, noise in prop::collection::vec(any::<u8>(), 0..400)) {
        let start: &[u8] = [&b"\x89PNG\r\n\x1a\n"[..], b"\xFF\xD8\xFF", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"RIFF\0\x10\0\0WEBPVP8 ", b""][magic];
        prop_assert!(decode(&[start, &noise].concat(), &Limits::BROWSER).is_err());
    }
}

#[test]
fn outrageous_sizes_are_refused_at_once() {
    let stopwatch = Stopwatch::start();
    let error = |name: &str| decode(&fixture(name), &Limits::NATIVE).unwrap_err();
    assert!(matches!(error("claims-65535x32769.png"), ImageError::TooManyPixels { width: 65535, height: 32769, .. }));
    assert!(matches!(error("claims-65536x1.png"), ImageError::SideTooLong));
    assert!(matches!(error("claims-2147483647x1.png"), ImageError::SideTooLong));
    assert!(matches!(decode(&[], &Limits::NATIVE), Err(ImageError::Empty)));
    assert!(stopwatch.elapsed_secs() < 0.5);
}

#[test]
fn limits_hold_exactly() {
    let bytes = fixture("rgb.png");
    let size = bytes.len() as u64;
    let pixels = 24 * 16;
    let allowed = |encoded_image_bytes, image_pixels| decode(&bytes, &Limits { encoded_image_bytes, image_pixels });
    assert!(allowed(size, pixels).is_ok());
    assert!(allowed(size + 1, pixels + 1).is_ok());
    assert!(matches!(allowed(size - 1, pixels), Err(ImageError::FileTooLarge { .. })));
    assert!(matches!(allowed(size, pixels - 1), Err(ImageError::TooManyPixels { limit, .. }) if limit == pixels - 1));
}

#[test]
fn metadata_above_the_limit_is_ignored_with_a_warning() {
    let bytes = fixture("orientation-8.webp");
    let exif = bytes.windows(4).position(|window| window == b"EXIF").unwrap();
    let most = limits::IMAGE_METADATA_BYTES as u32;
    for (size, upright, warnings) in [(most - 1, (16, 24), 0), (most, (16, 24), 0), (most + 1, (24, 16), 1)] {
        let mut padded = bytes.clone();
        padded.resize(exif + 8 + size.next_multiple_of(2) as usize, 0);
        padded[exif + 4..exif + 8].copy_from_slice(&size.to_le_bytes());
        let riff = padded.len() as u32 - 8;
        padded[4..8].copy_from_slice(&riff.to_le_bytes());
        let decoded = decode(&padded, &Limits::NATIVE).unwrap();
        assert_eq!((decoded.pixels.dimensions(), decoded.warnings.len()), (upright, warnings), "{size}: {:?}", decoded.warnings);
    }
}

#[test]
fn unsupported_formats_are_named_with_advice() {
    let cases: [(&[u8], &str, &str); 14] = [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC", "heif-convert"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC", "heif-convert"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "AVIF", "avifdec"),
        (b"\xFF\x0A\xFA\x1F\x01\x91", "JPEG XL", "djxl"),
        (b"%PDF-1.7\n", "PDF", "pdftoppm"),
        (b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "SVG", "rsvg-convert"),
        (b"\xEF\xBB\xBF<?xml version=\"1.0\"?>\n<!-- drawn by hand -->\n<svg/>", "SVG", "rsvg-convert"),
        (b"<!DOCTYPE html><html><svg/></html>", "HTML", "download it again"),
        (b"FUJIFILMCCD-RAW 0201", "camera raw", "darktable"),
        (b"II*\0\x10\0\0\0CR\x02\0\0\0\0\0", "camera raw", "darktable"),
        // A DNG: its first directory holds the DNGVersion tag; and a NEF: its first directory holds a thumbnail.
        (b"II*\0\x08\0\0\0\x01\0\x12\xC6\x01\0\x04\0\0\0\x01\x04\0\0\0\0\0\0", "camera raw", "darktable"),
        (b"MM\0*\0\0\0\x08\0\x01\0\xFE\0\x04\0\0\0\x01\0\0\0\x01\0\0\0\0", "camera raw", "darktable"),
        (b"8BPS\0\x01", "Photoshop", "export it"),
        (b"P6\n1 1\n255\n\0\0\0", "simple bitmap", "PNG"),
    ];
    for (bytes, format, advice) in cases {
        let error = decode(bytes, &Limits::NATIVE).unwrap_err();
        assert!(matches!(error, ImageError::Unsupported(_)), "{format}: {error}");
        let message = error.to_string();
        assert!(message.starts_with(format) && message.contains(advice), "{message}");
    }
    assert!(matches!(decode(b"hello there", &Limits::NATIVE), Err(ImageError::UnknownFormat)));
}

#[test]
fn extensions_say_what_a_folder_walk_leaves_out() {
    for extension in ["jpg", "JPEG", "png", "WebP", "gif", "bmp", "tif", "TIFF"] {
        assert_eq!(extension_support(extension), ExtensionSupport::Decodable, "{extension}");
    }
    for extension in ["heic", "HEIF", "avif", "nef", "CR2", "dng", "jxl", "pdf", "svg", "psd"] {
        assert!(matches!(extension_support(extension), ExtensionSupport::Unsupported(format) if !format.advice.is_empty()), "{extension}");
    }
    for extension in ["txt", "", "mp4", "json"] {
        assert_eq!(extension_support(extension), ExtensionSupport::NotAnImage, "{extension}");
    }
    assert!(decodable_extensions().all(|extension| extension_support(extension) == ExtensionSupport::Decodable));
}
