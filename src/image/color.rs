//! Decoded samples of any kind to 8-bit sRGB: bit depth, ICC profile, transparency.

use std::sync::Arc;

use image::{DynamicImage, RgbImage};
use moxcms::{CmsError, ColorProfile, DataColorSpace, Layout, Transform8BitExecutor, TransformOptions};

/// An image as 8-bit sRGB, with transparency composited over white.
///
/// PIL's `convert("RGB")` drops the alpha channel instead, which shows the colours that an editor happened to leave under transparent
/// pixels. 16-bit samples are rounded to 8 bits; grey becomes three equal channels.
///
/// A profile that cannot be used leaves the colours as they are and adds a warning.
pub(super) fn to_srgb(image: DynamicImage, profile: Option<&[u8]>, warnings: &mut Vec<String>) -> RgbImage {
    let is_gray = !image.color().has_color();
    let (mut rgb, alpha) = split_alpha(image);
    if let Some(profile) = profile {
        let applied = super::decode::contain(|| apply_profile(profile, is_gray, &mut rgb));
        if let Some(Err(reason)) = applied {
            warnings.push(format!("the colour profile was ignored and sRGB assumed: {reason}"));
        } else if applied.is_none() {
            warnings.push("the colour profile was ignored and sRGB assumed: it is damaged".to_owned());
        }
    }
    if let Some(alpha) = alpha {
        for (pixel, alpha) in rgb.pixels_mut().zip(alpha) {
            pixel.0 = pixel.0.map(|value| over_white(value, alpha));
        }
    }
    rgb
}

fn split_alpha(image: DynamicImage) -> (RgbImage, Option<Vec<u8>>) {
    if !image.color().has_alpha() {
        return (image.into_rgb8(), None);
    }
    let rgba = image.into_rgba8();
    let alpha = rgba.pixels().map(|pixel| pixel.0[3]).collect();
    (DynamicImage::ImageRgba8(rgba).into_rgb8(), Some(alpha))
}

/// `value` at opacity `alpha` on white, rounded to nearest.
fn over_white(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

/// Converts `rgb` from `profile` to sRGB, unless the profile is sRGB in all but name: rounding differences of a level or two between
/// colour engines would only move ordinary photos away from what other software sees.
fn apply_profile(profile: &[u8], is_gray: bool, rgb: &mut RgbImage) -> Result<(), CmsError> {
    let profile = ColorProfile::new_from_slice(profile)?;
    // A decoder has already turned CMYK into RGB, so its profile no longer says anything about these samples.
    let is_gray_profile = profile.color_space == DataColorSpace::Gray;
    if (is_gray_profile && !is_gray) || !matches!(profile.color_space, DataColorSpace::Gray | DataColorSpace::Rgb) {
        return Err(CmsError::UnsupportedProfileConnection);
    }
    let layout = if is_gray_profile { Layout::Gray } else { Layout::Rgb };
    let executor = profile.create_transform_8bit(layout, &ColorProfile::new_srgb(), Layout::Rgb, TransformOptions::default())?;
    let transform = Transform { executor, is_gray_profile };
    let mut probes = probes(is_gray_profile);
    let before = probes.clone();
    transform.apply(&mut probes)?;
    if before.iter().zip(&probes).any(|(before, after)| before.abs_diff(*after) > SAME_LEVELS) {
        let stride = rgb.width() as usize * 3;
        rgb.chunks_exact_mut(stride).try_for_each(|row| transform.apply(row))?;
    }
    Ok(())
}

/// A profile that moves no probe by more than this is sRGB.
const SAME_LEVELS: u8 = 2;

/// Colours that show what a profile does: all greys, or a lattice of 16 levels a channel.
fn probes(is_gray: bool) -> Vec<u8> {
    if is_gray {
        return (0..=255).flat_map(|level| [level; 3]).collect();
    }
    let levels = || (0..=255).step_by(17);
    levels().flat_map(|r| levels().flat_map(move |g| levels().flat_map(move |b| [r, g, b]))).collect()
}

struct Transform {
    executor: Arc<Transform8BitExecutor>,
    is_gray_profile: bool,
}

impl Transform {
    /// Converts interleaved RGB in place; for a grey profile the three channels are equal.
    fn apply(&self, rgb: &mut [u8]) -> Result<(), CmsError> {
        let source = if self.is_gray_profile { rgb.iter().copied().step_by(3).collect() } else { rgb.to_vec() };
        self.executor.transform(&source, rgb)
    }
}
