//! Emoji pictures: from a bitmap font (PNG in CBDT, sequences through GSUB) or from a folder of PNG files named by code point.

use std::path::{Path, PathBuf};

use harfrust::{Buffer, BufferFlags, Font, GlyphId, ShapeOptions, ShaperFont, font::glyph::bitmap::Pixels, shape};

use super::{SynthError, sprite::Sprite};

/// Variation selector 16, "as a picture": fonts and CLDR mostly leave it out.
pub(super) const PICTURE_SELECTOR: char = '\u{fe0f}';

/// Where distributions install Noto Color Emoji.
const USUAL_PATHS: [&str; 5] = [
    "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",
    "/usr/share/fonts/noto/NotoColorEmoji.ttf",
    "/usr/share/fonts/google-noto-emoji/NotoColorEmoji.ttf",
    "/usr/share/fonts/google-noto-color-emoji-fonts/NotoColorEmoji.ttf",
    "/Library/Fonts/NotoColorEmoji.ttf",
];

/// A source of pictures.
pub struct EmojiFont {
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    Font(Font),
    Folder,
}

impl EmojiFont {
    /// Opens a font file, a folder of PNG files, or (`None`) the font where it is usually installed.
    ///
    /// # Errors
    /// There is none, or it has no PNG bitmaps.
    pub fn open(path: Option<&Path>) -> Result<Self, SynthError> {
        let usual = || USUAL_PATHS.iter().map(Path::new).find(|path| path.exists());
        let path = path.or_else(usual).ok_or_else(|| SynthError::NoFont { looked: USUAL_PATHS.join(", ") })?;
        if path.is_dir() {
            return Ok(Self { path: path.to_owned(), kind: Kind::Folder });
        }
        let bytes = std::fs::read(path).map_err(|error| SynthError::read(path, error))?;
        let refuse = |problem: &str| SynthError::Font { path: path.to_owned(), problem: problem.to_owned() };
        let font = Font::new(bytes, 0).ok_or_else(|| refuse("this is no font"))?;
        if font.bitmap_strikes().is_empty() {
            return Err(refuse("it has no bitmaps; use the CBDT version of Noto Color Emoji (Debian's fonts-noto-color-emoji)"));
        }
        Ok(Self { path: path.to_owned(), kind: Kind::Font(font) })
    }

    /// The file or folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The picture of a sequence of characters, or nothing where there is none for the sequence as a whole.
    ///
    /// # Errors
    /// A picture that cannot be decoded.
    pub fn sprite(&self, sequence: &str) -> Result<Option<Sprite>, SynthError> {
        let (what, png) = match &self.kind {
            Kind::Font(font) => {
                (format!("{}, {sequence}", self.path.display()), glyph(font, sequence).and_then(|glyph| bitmap(font, glyph)))
            }
            Kind::Folder => {
                let found = file_names(sequence).map(|name| self.path.join(name)).find(|file| file.exists());
                let Some(file) = found else { return Ok(None) };
                (file.display().to_string(), Some(std::fs::read(&file).map_err(|error| SynthError::read(&file, error))?))
            }
        };
        png.map(|png| Sprite::decode(&png).map_err(|reason| SynthError::Picture { what, reason })).transpose()
    }
}

/// The single glyph that the font's ligatures make of a sequence.
fn glyph(font: &Font, sequence: &str) -> Option<GlyphId> {
    let mut buffer = Buffer::new();
    buffer.push_str(&sequence.replace(PICTURE_SELECTOR, ""));
    buffer.guess_segment_properties();
    buffer.set_flags(BufferFlags::REMOVE_DEFAULT_IGNORABLES);
    shape(&ShaperFont::new(font), &mut buffer, ShapeOptions::new()).ok()?;
    match buffer.glyph_infos() {
        [only] if only.glyph_id != 0 => Some(GlyphId::new(only.glyph_id)),
        _ => None,
    }
}

fn bitmap(font: &Font, glyph: GlyphId) -> Option<Vec<u8>> {
    match font.bitmap_strikes().select_bitmap(glyph, None)?.pixels() {
        Pixels::Png(bytes) => Some(bytes.to_vec()),
        _ => None,
    }
}

/// `1f9d1-200d-1f692.png` and the like: Twemoji writes small letters, OpenMoji capitals; both keep the selector in some names.
fn file_names(sequence: &str) -> impl Iterator<Item = String> {
    let with_selector = format!("{sequence}{PICTURE_SELECTOR}");
    [sequence.to_owned(), sequence.replace(PICTURE_SELECTOR, ""), with_selector].into_iter().flat_map(|sequence| {
        let name = format!("{}.png", code_points(&sequence));
        [name.to_uppercase().replace(".PNG", ".png"), name]
    })
}

/// The code points of a sequence in hexadecimal, joined by hyphens.
pub(super) fn code_points(sequence: &str) -> String {
    sequence.chars().map(|c| format!("{:04x}", u32::from(c))).collect::<Vec<_>>().join("-")
}
