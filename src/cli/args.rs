//! Options that several commands share. Their doc comments are what `--help` prints.

use clap::Args;
use polyglance::encoder::{DeviceChoice, EncoderOptions, Precision};
use polyglance::image::Resampling;
use polyglance::limits;
use polyglance::text::{Lowercase, TextOptions};

/// What the model runs on.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Device")]
pub(crate) struct DeviceArgs {
    /// `auto`, `cpu`, `gpu`, or part of an adapter's name as `polyglance doctor` lists it.
    ///
    /// `auto` takes a real GPU if there is one; software adapters, slower than the CPU backend, run only when named.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: DeviceChoice,

    /// How weights are stored: `auto`, `f32` or `f16`. Sums are always f32.
    #[arg(long, value_name = "PRECISION", default_value = "auto")]
    precision: Precision,
}

impl DeviceArgs {
    /// As the encoder takes them.
    pub(crate) fn options(&self) -> EncoderOptions {
        EncoderOptions { device: self.device.clone(), precision: self.precision }
    }
}

/// How hub ids are looked up.
#[derive(Args, Clone, Debug)]
pub(crate) struct HubArgs {
    /// Use only what is already in the cache, and never the network.
    #[arg(long)]
    pub(crate) offline: bool,
}

/// How pictures become patches.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Pictures")]
pub(crate) struct ImageArgs {
    /// Most patches of one picture, for NaFlex models only: more show finer detail and cost more time [default: the model's, 256].
    #[arg(long, value_name = "N", value_parser = patch_budget)]
    pub(crate) max_num_patches: Option<usize>,

    /// How pictures are scaled: `hf` as transformers does, to the bit, or `jax` as big_vision does.
    #[arg(long, value_name = "hf|jax", default_value = "hf")]
    pub(crate) resample: Resampling,
}

/// Reads `--max-num-patches`. Checked here, so that no model is loaded for a budget that no picture can have.
pub(crate) fn patch_budget(text: &str) -> Result<usize, String> {
    let budget = text.parse().ok().filter(|budget| (1..=limits::MAX_NUM_PATCHES).contains(budget));
    budget.ok_or_else(|| format!("a picture has 1 to {} patches", limits::MAX_NUM_PATCHES))
}

/// How texts are normalised before they become tokens.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Texts")]
pub(crate) struct TextArgs {
    /// Which letters become lower case: all of Unicode's, as transformers does, or ASCII only, as big_vision does.
    #[arg(long, value_name = "unicode|ascii", default_value = "unicode")]
    lowercase: Lowercase,

    /// Remove ASCII punctuation as well, as open_clip and big_vision's ImageNet evaluation do.
    #[arg(long)]
    canonicalize: bool,
}

impl TextArgs {
    /// As the tokenizer takes them.
    pub(crate) fn options(&self) -> TextOptions {
        TextOptions { lowercase: self.lowercase, canonicalize: self.canonicalize }
    }

    /// How texts were normalised, for whoever reads the result.
    pub(crate) fn describe(&self) -> String {
        let letters = match self.lowercase {
            Lowercase::Unicode => "lower case (Unicode)",
            Lowercase::Ascii => "lower case (ASCII)",
        };
        if self.canonicalize { format!("{letters}, without punctuation") } else { letters.to_owned() }
    }
}
