//! Files of embeddings: `.safetensors`, `.npy`, `.parquet` and `.jsonl`, chosen by extension.

mod jsonl;
mod parquet;
mod safetensors;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use polyglance::image::Grid;
use polyglance::tasks::write_npy;
use polyglance::weights::PendingFile;

use super::UsageError;

/// A file format, known by its extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Every tensor and the names.
    Safetensors,
    /// One array, of images or of texts.
    Npy,
    /// Rows of kind, name and embedding.
    Parquet,
    /// One JSON object a line.
    JsonLines,
}

impl Format {
    /// The format that `path` asks for.
    pub(crate) fn of(path: &Path) -> Result<Self, UsageError> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("safetensors") => Ok(Self::Safetensors),
            Some("npy") => Ok(Self::Npy),
            Some("parquet") => Ok(Self::Parquet),
            Some("jsonl") => Ok(Self::JsonLines),
            _ => Err(UsageError(format!("--output {}: the name must end in .safetensors, .npy, .parquet or .jsonl", path.display()))),
        }
    }

    /// Refuses what the format cannot hold, before any work is done.
    pub(crate) fn check(self, images: bool, texts: bool, extras: bool) -> Result<(), UsageError> {
        if self == Self::Npy && images && texts {
            return Err(UsageError(
                "a .npy file holds one array: embed images and texts in two runs, or write .safetensors, .parquet or .jsonl".to_owned(),
            ));
        }
        if self != Self::Safetensors && extras {
            return Err(UsageError("--with needs a .safetensors output: the other formats hold embeddings only".to_owned()));
        }
        Ok(())
    }
}

/// Everything one run of `embed` produced.
#[derive(Debug, Default)]
pub(crate) struct Embeddings {
    /// Length of every embedding.
    pub(crate) dim: usize,
    pub(crate) images: Option<ImageRows>,
    pub(crate) texts: Option<TextRows>,
    /// How the embeddings were made: model, preprocessing and text normalisation.
    pub(crate) about: BTreeMap<&'static str, String>,
}

/// One row per picture.
#[derive(Debug, Default)]
pub(crate) struct ImageRows {
    /// Paths as typed or found.
    pub(crate) names: Vec<String>,
    /// Size of each picture in patches; empty where nobody knows.
    pub(crate) grids: Vec<Grid>,
    /// `[N, dim]`, unit length.
    pub(crate) embeds: Vec<f32>,
    /// What `--with` asked for.
    pub(crate) extras: Vec<Extra>,
}

/// One more tensor about one picture.
#[derive(Debug)]
pub(crate) struct Extra {
    /// For example `last_hidden_state.0`.
    pub(crate) name: String,
    /// Row-major.
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// One row per text.
#[derive(Debug, Default)]
pub(crate) struct TextRows {
    /// As given.
    pub(crate) texts: Vec<String>,
    /// `[M, dim]`, unit length.
    pub(crate) embeds: Vec<f32>,
    /// `[M, positions]`, padding included: exactly what the model read.
    pub(crate) ids: Vec<i32>,
    /// Tokens of each text.
    pub(crate) positions: usize,
}

impl Embeddings {
    /// Writes the file, old or new: a failure leaves what was there before.
    pub(crate) fn write(&self, format: Format, file: PendingFile) -> Result<()> {
        match format {
            Format::Safetensors => return safetensors::write(self, file),
            // `Format::check` has made sure that the rows are of one kind.
            Format::Npy => file.commit(|writer| {
                let rows: Vec<&[f32]> = self.rows().map(|row| row.embedding).collect();
                write_npy(writer, &[rows.len(), self.dim], &rows)
            }),
            Format::Parquet => file.commit(|writer| parquet::write(self, writer).map_err(std::io::Error::other)),
            Format::JsonLines => file.commit(|writer| jsonl::write(self, writer)),
        }?;
        Ok(())
    }

    /// Images before texts, each as (kind, name, grid, embedding).
    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let images = self.images.iter().flat_map(|images| {
            let grids = images.grids.iter().copied().map(Some).chain(std::iter::repeat(None));
            let rows = images.names.iter().zip(grids).zip(images.embeds.chunks_exact(self.dim.max(1)));
            rows.map(|((name, grid), embedding)| Row { kind: "image", name, grid, embedding })
        });
        let texts = self.texts.iter().flat_map(|texts| {
            let rows = texts.texts.iter().zip(texts.embeds.chunks_exact(self.dim.max(1)));
            rows.map(|(name, embedding)| Row { kind: "text", name, grid: None, embedding })
        });
        images.chain(texts)
    }
}

/// One embedding with what it is of.
struct Row<'a> {
    kind: &'static str,
    name: &'a str,
    grid: Option<Grid>,
    embedding: &'a [f32],
}
