//! Image files of unknown origin to upright 8-bit sRGB pixels, or an error: never a panic, a hang or a large allocation.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::error::LimitErrorKind;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};

use super::{ImageError, color, formats, orientation};
use crate::limits::{self, Limits};

/// A picture as a person would see it.
#[derive(Clone, Debug)]
pub struct DecodedImage {
    /// Upright (EXIF orientation applied), 8-bit sRGB, transparency composited over white; the first frame of an animation.
    pub pixels: RgbImage,
    /// What was left aside, for the user to read.
    pub warnings: Vec<String>,
}

/// Decodes a JPEG, PNG, WebP, GIF, BMP or TIFF file, recognised by its content.
///
/// # Errors
/// Anything else than such a file, whole and within `limits`; the message says what to do. The caller adds the file's name.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<DecodedImage, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    if bytes.len() as u64 > limits.encoded_image_bytes {
        return Err(ImageError::FileTooLarge { bytes: bytes.len() as u64, limit: limits.encoded_image_bytes });
    }
    let (format, name) = formats::recognize(bytes)?;
    let is_whole = match format {
        ImageFormat::Jpeg => jpeg_reaches_its_end(bytes),
        ImageFormat::WebP => webp_reaches_its_end(bytes),
        _ => true,
    };
    if !is_whole {
        return Err(ImageError::Damaged { format: name, reason: "it ends before the picture does".to_owned() });
    }
    contain(|| decode_format(bytes, format, name, limits))
        .unwrap_or_else(|| Err(ImageError::Damaged { format: name, reason: "it breaks the decoder".to_owned() }))
}

/// Runs code that may panic on malicious input; `None` if it did. Where panics abort (WebAssembly) the worker dies instead.
pub(super) fn contain<T>(work: impl FnOnce() -> T) -> Option<T> {
    // What a panic leaves half-done is dropped or, for pixels under a broken profile, still valid pixels.
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// Memory that a decoder may use before the picture's size is known, and beside the pixels after: metadata, tables, rows.
const WORKING_BYTES: u64 = 64 << 20;

fn decode_format(bytes: &[u8], format: ImageFormat, name: &'static str, limits: &Limits) -> Result<DecodedImage, ImageError> {
    let refuse = |error| refuse(error, name);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(decoder_limits(WORKING_BYTES));
    let mut decoder = reader.into_decoder().map_err(refuse)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(ImageError::Sides { height: height as usize, width: width as usize });
    }
    if pixels > limits.image_pixels {
        return Err(ImageError::TooManyPixels { width, height, limit: limits.image_pixels });
    }
    // Four channels of 16 bits; only floating-point files need more.
    if decoder.total_bytes() > limits.image_pixels * 8 {
        return Err(ImageError::TooMuchMemory { format: name });
    }
    decoder.set_limits(decoder_limits(2 * decoder.total_bytes() + WORKING_BYTES)).map_err(refuse)?;

    let mut warnings = Vec::new();
    let orientation = match format {
        ImageFormat::Tiff => orientation::orientation(bytes),
        _ => metadata(decoder.exif_metadata(), "EXIF block", &mut warnings)
            .map_or(Orientation::NoTransforms, |exif| orientation::orientation(&exif)),
    };
    let profile = metadata(decoder.icc_profile(), "colour profile", &mut warnings);
    let decoded = DynamicImage::from_decoder(decoder).map_err(refuse)?;
    let stored = color::to_srgb(decoded, profile.as_deref(), &mut warnings);
    Ok(DecodedImage { pixels: orientation::upright(stored, orientation), warnings })
}

fn decoder_limits(max_alloc: u64) -> image::Limits {
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(limits::IMAGE_SIDE);
    limits.max_image_height = Some(limits::IMAGE_SIDE);
    limits.max_alloc = Some(max_alloc);
    limits
}

/// A metadata block, if it is there, readable and of reasonable size.
fn metadata(read: image::ImageResult<Option<Vec<u8>>>, what: &str, warnings: &mut Vec<String>) -> Option<Vec<u8>> {
    match read {
        Ok(Some(block)) if block.len() as u64 > limits::IMAGE_METADATA_BYTES => {
            warnings.push(format!("the {what} was ignored: it has {} bytes, more than {}", block.len(), limits::IMAGE_METADATA_BYTES));
            None
        }
        Ok(block) => block,
        Err(error) => {
            warnings.push(format!("the {what} was ignored: {error}"));
            None
        }
    }
}

fn refuse(error: image::ImageError, format: &'static str) -> ImageError {
    match error {
        image::ImageError::Limits(limit) => match limit.kind() {
            LimitErrorKind::DimensionError => ImageError::SideTooLong,
            _ => ImageError::TooMuchMemory { format },
        },
        image::ImageError::Unsupported(feature) => ImageError::UnsupportedFeature { format, reason: feature.to_string() },
        other => ImageError::Damaged { format, reason: other.to_string() },
    }
}

/// Whether an end marker follows the first scan. The decoder would paint what a cut-off JPEG lacks in grey and call it a success.
fn jpeg_reaches_its_end(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xDA;
    let mut rest = bytes.get(2..).unwrap_or_default();
    // Segments carry their length, so that an embedded thumbnail's markers are not mistaken for the picture's.
    while let [0xFF, marker, after @ ..] = rest {
        if *marker == START_OF_SCAN {
            return after.windows(2).rev().any(|pair| pair == [0xFF, 0xD9]);
        }
        let Some(&length) = after.first_chunk() else { return false };
        rest = if *marker == 0xFF { &rest[1..] } else { after.get(usize::from(u16::from_be_bytes(length))..).unwrap_or_default() };
    }
    // Bytes between segments: unusual, and for the decoder to judge.
    !rest.is_empty()
}

/// Whether a WebP file is as long as its header says. Its EXIF block stands at the end, and with it the way up.
fn webp_reaches_its_end(bytes: &[u8]) -> bool {
    let announced = bytes.get(4..).and_then(|rest| rest.first_chunk()).map(|&size| u32::from_le_bytes(size));
    announced.is_some_and(|size| bytes.len() as u64 >= u64::from(size) + 8)
}
