//! Files that the interface needs: inside a native binary, and beside a page so that its code stays small.

use std::io::Cursor;

use image::codecs::png::PngDecoder;
use image::{DynamicImage, RgbaImage};

/// Fonts, emoji and sample pictures. Leaked rather than owned: there is one app in a process, and fonts must outlive it.
#[derive(Clone, Copy, Debug)]
pub struct Assets {
    /// Letters, regular and strong, as OpenType files.
    pub fonts: [&'static [u8]; 2],
    /// Letters of scripts that are written in words: those of one word must come from one font, and a system may have some in one and some in
    /// another. A page has none of them at first, for they are large.
    pub joined: &'static [&'static [u8]],
    /// A sheet of 8 × 8 emoji.
    pub palette: &'static RgbaImage,
    /// Their names in JSON, in the order of the sheet.
    pub palette_names: &'static [u8],
    /// Names of a thousand things, one per line, in English and in Japanese.
    pub captions: [&'static str; 2],
    /// Scenes to begin with: names and encoded pictures.
    pub samples: &'static [(&'static str, &'static [u8])],
}

impl Assets {
    /// Decodes a sheet of emoji; an empty one if the file is damaged.
    pub fn sheet(file: &[u8]) -> &'static RgbaImage {
        // PNG's own decoder: one that picks a format would bring all others into the page's module.
        let sheet = PngDecoder::new(Cursor::new(file)).and_then(DynamicImage::from_decoder);
        Box::leak(Box::new(sheet.map(|sheet| sheet.to_rgba8()).unwrap_or_default()))
    }
}

macro_rules! samples {
    ($($name:literal),*) => {
        /// Names of the samples, in the order in which they are shown; a page finds each as `demo/samples/NAME.jpg`.
        pub const SAMPLES: [&str; [$($name),*].len()] = [$($name),*];

        #[cfg(not(target_family = "wasm"))]
        const INSIDE: &[(&str, &[u8])] = &[$(($name, include_bytes!(concat!("../../assets/demo/samples/", $name, ".jpg")))),*];
    };
}

samples!("cat-face", "pizza", "bicycle", "cactus", "guitar", "rocket", "butterfly", "umbrella", "strawberry", "octopus", "castle", "key");

#[cfg(not(target_family = "wasm"))]
impl Assets {
    /// What is compiled in.
    pub fn inside() -> Self {
        Self {
            fonts: [include_bytes!("../../assets/fonts/Inter-Regular.otf"), include_bytes!("../../assets/fonts/Inter-SemiBold.otf")],
            joined: &[
                include_bytes!("../../assets/fonts/NotoSansArabic-Regular.ttf"),
                include_bytes!("../../assets/fonts/NotoSansDevanagari-Regular.ttf"),
            ],
            palette: Self::sheet(include_bytes!("../../assets/demo/palette/palette.png")),
            palette_names: include_bytes!("../../assets/demo/palette/palette.json"),
            captions: [include_str!("../../assets/captions/en.txt"), include_str!("../../assets/captions/ja.txt")],
            samples: INSIDE,
        }
    }
}
