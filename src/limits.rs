//! Every limit on untrusted input, in one place. Each is tested one below, at, and one above.

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What one process accepts. A browser tab has less memory to lose than a native process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Encoded image file, in bytes.
    pub encoded_image_bytes: u64,
    /// Decoded image, in pixels.
    pub image_pixels: u64,
}

impl Limits {
    /// Limits inside a browser tab.
    pub const BROWSER: Self = Self { encoded_image_bytes: 64 * MIB, image_pixels: 64_000_000 };
    /// Limits of a native process.
    pub const NATIVE: Self = Self { encoded_image_bytes: 256 * MIB, image_pixels: 178_000_000 };

    /// The limits of the target this was compiled for.
    pub const fn current() -> Self {
        if cfg!(target_family = "wasm") { Self::BROWSER } else { Self::NATIVE }
    }
}

/// Longest side of an image, in pixels.
pub const IMAGE_SIDE: u32 = 65_535;
/// EXIF block and ICC profile, in bytes each. A larger one is ignored with a warning.
pub const IMAGE_METADATA_BYTES: u64 = MIB;
/// One text to embed, in bytes.
pub const TEXT_BYTES: u64 = 64 * KIB;
/// `tokenizer.json`, in bytes.
pub const TOKENIZER_BYTES: u64 = 64 * MIB;
/// `config.json` and the other small JSON files of a checkpoint folder, in bytes.
pub const CONFIG_BYTES: u64 = MIB;
/// Header of a safetensors file, in bytes.
pub const SAFETENSORS_HEADER_BYTES: u64 = 4 * MIB;
/// Tensors in one checkpoint.
pub const CHECKPOINT_TENSORS: usize = 10_000;
/// Entries of an `.npz` archive.
pub const NPZ_ENTRIES: usize = 10_000;
/// Inflated size of all entries of an `.npz` archive, in bytes: twice the largest released checkpoint.
pub const NPZ_INFLATED_BYTES: u64 = 16 << 30;
/// Patches of one image: a NaFlex budget above this is refused.
pub const MAX_NUM_PATCHES: usize = 4_096;
/// Side of a patch, in pixels.
pub const MAX_PATCH_SIZE: usize = 64;
/// Widest tower, longest MLP and vocabulary a configuration may ask for. They bound every allocation that follows from a config.
pub const CONFIG_DIMENSION: usize = 16_384;
/// Deepest tower a configuration may ask for.
pub const CONFIG_DEPTH: usize = 256;
/// Largest vocabulary a configuration may ask for.
pub const CONFIG_VOCABULARY: usize = 1 << 20;
