//! Which way is up: the orientation in the first directory of a TIFF, which EXIF blocks are too, and turning pictures by it.

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

use crate::kernels::resize::CHANNELS;

const ORIENTATION: u16 = 0x0112;
const SUBFILE_TYPE: u16 = 0x00FE;
const DNG_VERSION: u16 = 0xC612;

/// The orientation in an EXIF block or TIFF file; anything broken, missing or outside 1 to 8 means "as stored".
pub(super) fn orientation(exif: &[u8]) -> Orientation {
    // Some WebP writers keep the marker that introduces EXIF in a JPEG.
    let tiff = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    first_directory_entry(tiff, ORIENTATION)
        .and_then(|value| Orientation::from_exif(u8::try_from(value).ok()?))
        .unwrap_or(Orientation::NoTransforms)
}

/// Turns a stored picture upright.
pub(super) fn upright(stored: RgbImage, orientation: Orientation) -> RgbImage {
    match orientation {
        Orientation::Rotate90 => transposed(&stored, false, true),
        Orientation::Rotate270 => transposed(&stored, true, false),
        Orientation::Rotate90FlipH => transposed(&stored, false, false),
        Orientation::Rotate270FlipH => transposed(&stored, true, true),
        Orientation::NoTransforms | Orientation::Rotate180 | Orientation::FlipHorizontal | Orientation::FlipVertical => {
            let mut image = DynamicImage::ImageRgb8(stored);
            image.apply_orientation(orientation);
            image.into_rgb8()
        }
    }
}

/// Rows become columns, taken from the right if `mirror_x`; columns become rows, taken from the bottom if `mirror_y`.
///
/// Most phone photos pass through here, and pixel by pixel over a whole picture it would miss the cache each time: bands of a few rows
/// read runs of neighbours instead, more than twice as fast as `image`'s own rotation.
fn transposed(stored: &RgbImage, mirror_x: bool, mirror_y: bool) -> RgbImage {
    const BAND: usize = 32;
    let (width, height) = (stored.width() as usize, stored.height() as usize);
    let mut turned = RgbImage::new(stored.height(), stored.width());
    for (band, rows) in turned.chunks_mut(BAND * height * CHANNELS).enumerate() {
        let mut rows: Vec<_> = rows.chunks_exact_mut(height * CHANNELS).map(|row| row.as_chunks_mut::<CHANNELS>().0).collect();
        let start = band * BAND;
        for (y, source) in stored.chunks_exact(width * CHANNELS).enumerate() {
            let source = source.as_chunks::<CHANNELS>().0;
            let target = if mirror_y { height - 1 - y } else { y };
            if mirror_x {
                rows.iter_mut().zip(source.iter().rev().skip(start)).for_each(|(row, pixel)| row[target] = *pixel);
            } else {
                rows.iter_mut().zip(&source[start..]).for_each(|(row, pixel)| row[target] = *pixel);
            }
        }
    }
    turned
}

/// Whether a TIFF file is camera raw in disguise: its first picture is only a thumbnail of the one that its owner means.
pub(super) fn is_camera_raw(tiff: &[u8]) -> bool {
    tiff.get(8..10) == Some(b"CR")
        || first_directory_entry(tiff, DNG_VERSION).is_some()
        || first_directory_entry(tiff, SUBFILE_TYPE).is_some_and(|kind| kind & 1 == 1)
}

/// Value of a tag in the first directory: its own if it is one SHORT or LONG, else the first four bytes as a number.
fn first_directory_entry(tiff: &[u8], wanted: u16) -> Option<u32> {
    let reader = Reader { bytes: tiff, little_endian: tiff.starts_with(b"II") };
    if !(tiff.starts_with(b"II*\0") || tiff.starts_with(b"MM\0*")) {
        return None;
    }
    let directory = reader.u32(4)? as usize;
    let entries = usize::from(reader.u16(directory)?);
    let entry = (0..entries).map(|i| directory + 2 + 12 * i).find(|&entry| reader.u16(entry) == Some(wanted))?;
    const SHORT: u16 = 3;
    if reader.u16(entry + 2)? == SHORT { reader.u16(entry + 8).map(u32::from) } else { reader.u32(entry + 8) }
}

struct Reader<'a> {
    bytes: &'a [u8],
    little_endian: bool,
}

impl Reader<'_> {
    fn u16(&self, at: usize) -> Option<u16> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.little_endian { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }
}
