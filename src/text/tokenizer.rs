//! The tokenizer: a text in, exactly `positions` token ids out.

use std::str::FromStr;

use tokenizers::{
    DecoderWrapper, ModelWrapper, NormalizedString, Normalizer, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, TokenizerImpl,
};

use super::{TextError, canonicalize, file::TokenizerFile};
use crate::{config::TextConfig, limits};

/// Which letters become lower case before a text is tokenized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lowercase {
    /// All of Unicode, letter by letter, as `transformers` does.
    #[default]
    Unicode,
    /// A to Z only, as big_vision's `tf.strings.lower` does: É, Ж and Ω keep their case.
    Ascii,
}

impl FromStr for Lowercase {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "unicode" => Ok(Self::Unicode),
            "ascii" => Ok(Self::Ascii),
            _ => Err(format!("{name:?} is no way of lower-casing; use \"unicode\" or \"ascii\"")),
        }
    }
}

/// What happens to a text before it is tokenized. The default is what `transformers` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// Which letters become lower case.
    pub lowercase: Lowercase,
    /// Whether [`canonicalize`] runs first, as open_clip and big_vision's ImageNet evaluation do.
    pub canonicalize: bool,
}

/// One text, ready for the text tower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Token ids: the text, EOS, then padding up to exactly the model's positions.
    pub ids: Vec<u32>,
    /// Whether the end of the text did not fit.
    pub truncated: bool,
}

/// The parts of the `tokenizers` crate that turn text into ids. Padding, truncation and the post-processor are left empty: what a file says
/// about them differs between exports of the same model (some add BOS, some pad on the left), and here it is always the same.
type Pipeline = TokenizerImpl<ModelWrapper, Normalizers, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

/// A model's tokenizer, from its `tokenizer.json`.
pub struct Tokenizer {
    pipeline: Pipeline,
    options: TextOptions,
    eos: u32,
    pad: u32,
    positions: usize,
}

impl Tokenizer {
    /// Reads a `tokenizer.json` for the text tower `config`. The 256,000 tokens of a released one take a few tenths of a second.
    ///
    /// # Errors
    /// A file that is too large, unreadable, unlike any SigLIP tokenizer, or made for a model with another vocabulary.
    pub fn from_json(json: &[u8], config: &TextConfig, options: TextOptions) -> Result<Self, TextError> {
        if json.len() as u64 > limits::TOKENIZER_BYTES {
            return Err(TextError::TokenizerTooLarge { bytes: json.len() as u64 });
        }
        let file = TokenizerFile::parse(json)?;
        let failed = |error: tokenizers::Error| TextError::TokenizerPart(error.to_string());
        let mut pipeline = Pipeline::new(file.model);
        let normalizers = Normalizers { lowercase: options.lowercase, steps: file.normalizers };
        pipeline.with_normalizer(Some(normalizers)).map_err(failed)?;
        pipeline.with_pre_tokenizer(file.pre_tokenizer);
        pipeline.add_tokens(file.added_tokens).map_err(failed)?;
        check_vocabulary(pipeline.get_vocab_size(true).max((file.largest_id as usize).saturating_add(1)), config.vocab_size)?;
        let (eos, pad) = eos_and_pad(&pipeline, file.pad_id)?;
        if pad as usize >= config.vocab_size {
            return Err(TextError::WrongTokenizer(format!("it pads with token {pad}, and the model has {}", config.vocab_size)));
        }
        Ok(Self { pipeline, options, eos, pad, positions: config.positions })
    }

    /// Token ids of one text: at most `positions - 1` tokens of it, EOS, padding.
    ///
    /// # Errors
    /// A text above [`limits::TEXT_BYTES`], or one with characters that this tokenizer has no token for, not even an unknown one.
    pub fn encode(&self, text: &str) -> Result<Tokens, TextError> {
        if text.len() as u64 > limits::TEXT_BYTES {
            return Err(TextError::TextTooLong { bytes: text.len() });
        }
        let encoding = if self.options.canonicalize {
            self.pipeline.encode_fast(canonicalize(text), false)
        } else {
            self.pipeline.encode_fast(text, false)
        };
        let encoding = encoding.map_err(|error| TextError::Tokenize(error.to_string()))?;
        let kept = encoding.get_ids().len().min(self.positions.saturating_sub(1));
        let mut ids: Vec<u32> = encoding.get_ids().iter().take(kept).copied().chain([self.eos]).collect();
        ids.resize(self.positions, self.pad);
        Ok(Tokens { ids, truncated: kept < encoding.get_ids().len() })
    }

    /// Ids before the padding, EOS included.
    pub fn used(&self, tokens: &Tokens) -> usize {
        let is_eos = |id: &u32| *id == self.eos;
        // SigLIP 1 pads with EOS; elsewhere the text itself may name the token.
        let end = if self.pad == self.eos { tokens.ids.iter().position(is_eos) } else { tokens.ids.iter().rposition(is_eos) };
        end.map_or(tokens.ids.len(), |end| end + 1)
    }

    /// What happens to a text before it is tokenized.
    pub fn options(&self) -> TextOptions {
        self.options
    }
}

/// Some exports have fewer tokens than the table has rows, because rows were added to round the number up; another model's have far fewer.
fn check_vocabulary(tokens: usize, rows: usize) -> Result<(), TextError> {
    if tokens > rows || tokens < rows / 2 {
        return Err(TextError::WrongTokenizer(format!(
            "it has {tokens} tokens and the model's table has {rows} rows; use the tokenizer.json of this model's own repository"
        )));
    }
    Ok(())
}

/// Gemma (SigLIP 2) ends with `<eos>` and pads with `<pad>`; SigLIP 1 ends with `</s>` and pads with the same token.
fn eos_and_pad(pipeline: &Pipeline, pad_in_file: Option<u32>) -> Result<(u32, u32), TextError> {
    let (eos, pad) = if let Some(eos) = pipeline.token_to_id("<eos>") {
        (eos, pipeline.token_to_id("<pad>"))
    } else if let Some(eos) = pipeline.token_to_id("</s>") {
        (eos, Some(eos))
    } else {
        return Err(TextError::WrongTokenizer("it has neither <eos> (SigLIP 2) nor </s> (SigLIP 1)".to_owned()));
    };
    let pad = pad_in_file.or(pad).ok_or_else(|| TextError::WrongTokenizer("it has no <pad>".to_owned()))?;
    Ok((eos, pad))
}

/// Our lower-casing, then the file's own steps. It runs inside the pipeline, after special tokens were found, as in `transformers`: `<EOS>` in
/// a text stays a word, `<eos>` is the token.
struct Normalizers {
    lowercase: Lowercase,
    steps: Vec<NormalizerWrapper>,
}

impl Normalizer for Normalizers {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        match self.lowercase {
            Lowercase::Unicode => text.lowercase(),
            Lowercase::Ascii => text.map(|letter| letter.to_ascii_lowercase()),
        };
        self.steps.iter().try_for_each(|step| step.normalize(text))
    }
}
