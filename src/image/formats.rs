//! Which files are images, which of those can be decoded, and what to do about the others.

use image::ImageFormat;

use super::{ImageError, orientation};

/// What a file extension promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionSupport {
    /// An image format with a decoder.
    Decodable,
    /// An image format without one: worth telling the user about.
    Unsupported(&'static UnsupportedFormat),
    /// Not the extension of an image.
    NotAnImage,
}

/// An image format that cannot be decoded.
#[derive(Debug, PartialEq, Eq)]
pub struct UnsupportedFormat {
    /// Name of the format.
    pub name: &'static str,
    /// What the user can do; completes "HEIC files cannot be read; …".
    pub advice: &'static str,
    /// Lower-case extensions, without the dot.
    pub extensions: &'static [&'static str],
    /// How such files begin: an offset and the bytes there.
    magic: &'static [(usize, &'static [u8])],
}

/// A format with a decoder.
struct DecodableFormat {
    format: ImageFormat,
    name: &'static str,
    extensions: &'static [&'static str],
}

const DECODABLE: [DecodableFormat; 6] = [
    DecodableFormat { format: ImageFormat::Jpeg, name: "JPEG", extensions: &["jpg", "jpeg", "jpe", "jfif"] },
    DecodableFormat { format: ImageFormat::Png, name: "PNG", extensions: &["png", "apng"] },
    DecodableFormat { format: ImageFormat::WebP, name: "WebP", extensions: &["webp"] },
    DecodableFormat { format: ImageFormat::Gif, name: "GIF", extensions: &["gif"] },
    DecodableFormat { format: ImageFormat::Bmp, name: "BMP", extensions: &["bmp", "dib"] },
    DecodableFormat { format: ImageFormat::Tiff, name: "TIFF", extensions: &["tif", "tiff"] },
];

static CAMERA_RAW: UnsupportedFormat = UnsupportedFormat {
    name: "camera raw",
    advice: "develop and export it as JPEG, for example with darktable or RawTherapee",
    extensions: &[
        "3fr", "arw", "cr2", "cr3", "crw", "dcr", "dng", "erf", "fff", "iiq", "kdc", "mef", "mos", "mrw", "nef", "nrw", "orf", "pef",
        "raf", "raw", "rw2", "rwl", "sr2", "srf", "srw", "x3f",
    ],
    magic: &[
        (0, b"FUJIFILMCCD-RAW"),
        (0, b"IIRO"),
        (0, b"IIRS"),
        (0, b"MMOR"),
        (0, b"IIU\0"),
        (0, b"FOVb"),
        (0, b"\0MRM"),
        (4, b"ftypcrx "),
    ],
};

// HTML before SVG: pages contain drawings.
static UNSUPPORTED: [&UnsupportedFormat; 15] = [
    &UnsupportedFormat {
        name: "HTML",
        advice: "it is a web page, probably in place of a picture that could not be downloaded: download it again",
        extensions: &[],
        magic: &[(0, b"<!DOCTYPE html"), (0, b"<!doctype html"), (0, b"<html"), (0, b"<HTML")],
    },
    &UnsupportedFormat {
        name: "HEIC",
        advice: "convert it with `heif-convert photo.heic photo.jpg` or export it as JPEG",
        extensions: &["heic", "heics", "heif", "heifs", "hif"],
        magic: &[
            (4, b"ftypheic"),
            (4, b"ftypheix"),
            (4, b"ftypheim"),
            (4, b"ftypheis"),
            (4, b"ftyphevc"),
            (4, b"ftyphevx"),
            (4, b"ftypmif1"),
            (4, b"ftypmsf1"),
        ],
    },
    &UnsupportedFormat {
        name: "AVIF",
        advice: "convert it with `avifdec picture.avif picture.png` or export it as JPEG",
        extensions: &["avif", "avifs"],
        magic: &[(4, b"ftypavif"), (4, b"ftypavis")],
    },
    &CAMERA_RAW,
    &UnsupportedFormat {
        name: "JPEG XL",
        advice: "convert it with `djxl picture.jxl picture.jpg`",
        extensions: &["jxl"],
        magic: &[(0, b"\xFF\x0A"), (0, b"\0\0\0\x0CJXL \r\n\x87\n")],
    },
    &UnsupportedFormat {
        name: "JPEG 2000",
        advice: "convert it to PNG or JPEG, for example with `magick picture.jp2 picture.png`",
        extensions: &["j2c", "j2k", "jp2", "jpc", "jpf", "jpx"],
        magic: &[(0, b"\0\0\0\x0CjP  \r\n\x87\n"), (0, b"\xFF\x4F\xFF\x51")],
    },
    &UnsupportedFormat {
        name: "JPEG XR",
        advice: "convert it to PNG or JPEG, for example with `JxrDecApp -i picture.jxr -o picture.tif`",
        extensions: &["hdp", "jxr", "wdp"],
        magic: &[(0, b"II\xBC")],
    },
    &UnsupportedFormat {
        name: "PDF",
        advice: "render its pages with `pdftoppm -png document.pdf page`",
        extensions: &["pdf"],
        magic: &[(0, b"%PDF")],
    },
    &UnsupportedFormat {
        name: "SVG",
        advice: "render it with `rsvg-convert drawing.svg -o drawing.png`",
        extensions: &["svg", "svgz"],
        magic: &[(0, b"<svg")],
    },
    &UnsupportedFormat {
        name: "PostScript",
        advice: "render it to PNG, for example with `gs -sDEVICE=png16m -r150 -o page%d.png drawing.eps`",
        extensions: &["ai", "eps", "ps"],
        magic: &[(0, b"%!PS"), (0, b"\xC5\xD0\xD3\xC6")],
    },
    &UnsupportedFormat { name: "Photoshop", advice: "export it as PNG or JPEG", extensions: &["psb", "psd"], magic: &[(0, b"8BPS")] },
    &UnsupportedFormat { name: "GIMP", advice: "export it as PNG or JPEG", extensions: &["xcf"], magic: &[(0, b"gimp xcf")] },
    &UnsupportedFormat {
        name: "high dynamic range",
        advice: "tone-map and export it as PNG or JPEG",
        extensions: &["exr", "hdr"],
        magic: &[(0, b"\x76\x2F\x31\x01"), (0, b"#?RADIANCE"), (0, b"#?RGBE")],
    },
    &UnsupportedFormat {
        name: "icon",
        advice: "extract a picture with `magick icon.ico icon.png`",
        extensions: &["cur", "icns", "ico"],
        magic: &[(0, b"\0\0\x01\0"), (0, b"\0\0\x02\0"), (0, b"icns")],
    },
    &UnsupportedFormat {
        name: "simple bitmap",
        advice: "convert it to PNG, for example with `magick picture.ppm picture.png`",
        extensions: &["dds", "ff", "pam", "pbm", "pcx", "pgm", "pnm", "ppm", "qoi", "tga", "xbm", "xpm"],
        magic: &[
            (0, b"DDS "),
            (0, b"farbfeld"),
            (0, b"P1\n"),
            (0, b"P2\n"),
            (0, b"P3\n"),
            (0, b"P4\n"),
            (0, b"P5\n"),
            (0, b"P6\n"),
            (0, b"P7\n"),
            (0, b"qoif"),
        ],
    },
];

/// Extensions that [`decode`](super::decode) can read, in lower case and without the dot.
pub fn decodable_extensions() -> impl Iterator<Item = &'static str> {
    DECODABLE.iter().flat_map(|known| known.extensions.iter().copied())
}

/// What `extension` (without the dot, in any case) promises, so that whoever walks a folder can count what was left out and why.
pub fn extension_support(extension: &str) -> ExtensionSupport {
    let extension = extension.to_ascii_lowercase();
    if decodable_extensions().any(|known| known == extension) {
        return ExtensionSupport::Decodable;
    }
    match UNSUPPORTED.iter().find(|known| known.extensions.contains(&extension.as_str())) {
        Some(known) => ExtensionSupport::Unsupported(known),
        None => ExtensionSupport::NotAnImage,
    }
}

/// The format of an image file and its name, from the first bytes alone: names lie, and `decode` has none.
pub(super) fn recognize(bytes: &[u8]) -> Result<(ImageFormat, &'static str), ImageError> {
    let guessed = image::guess_format(bytes).ok();
    if guessed == Some(ImageFormat::Tiff) && orientation::is_camera_raw(bytes) {
        return Err(ImageError::Unsupported(&CAMERA_RAW));
    }
    if let Some(known) = DECODABLE.iter().find(|known| Some(known.format) == guessed) {
        return Ok((known.format, known.name));
    }
    let starts_like = |known: &UnsupportedFormat| {
        known.magic.iter().any(|(offset, magic)| bytes.get(*offset..).is_some_and(|rest| rest.starts_with(magic)))
    };
    match UNSUPPORTED.iter().find(|known| starts_like(known) || (known.name == "SVG" && is_svg_document(bytes))) {
        Some(known) => Err(ImageError::Unsupported(known)),
        None => Err(ImageError::UnknownFormat),
    }
}

/// An SVG, whatever declaration, comments or byte-order mark precede its first element.
fn is_svg_document(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(1024)];
    let text = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head).trim_ascii_start();
    text.starts_with(b"<") && text.windows(4).any(|window| window == b"<svg")
}
