//! safetensors: every tensor, and the names in the metadata.

use std::collections::BTreeMap;

use anyhow::Result;
use polyglance::weights::{OutputTensor, OutputValues, PendingFile};

use super::Embeddings;

pub(super) fn write(embeddings: &Embeddings, file: PendingFile) -> Result<()> {
    let grids = grid_values(embeddings)?;
    Ok(file.commit_safetensors(&tensors(embeddings, &grids), &metadata(embeddings)?)?)
}

/// Kinds of rows that were not asked for have no tensors, rather than empty ones.
fn tensors<'a>(embeddings: &'a Embeddings, grids: &'a [i32]) -> Vec<OutputTensor<'a>> {
    use OutputValues::{F32, I32};
    let mut tensors = Vec::new();
    let mut add = |name: &str, shape, values| tensors.push(OutputTensor { name: name.to_owned(), shape, values });
    if let Some(images) = &embeddings.images {
        let count = images.names.len();
        add("image_embeds", vec![count, embeddings.dim], F32(&images.embeds));
        if !images.grids.is_empty() {
            add("grid", vec![count, 2], I32(grids));
        }
        for extra in &images.extras {
            add(&extra.name, extra.shape.clone(), F32(&extra.values));
        }
    }
    if let Some(texts) = &embeddings.texts {
        let count = texts.texts.len();
        add("text_embeds", vec![count, embeddings.dim], F32(&texts.embeds));
        add("input_ids", vec![count, texts.positions], I32(&texts.ids));
    }
    tensors
}

/// `[N, 2]`: rows, cols.
fn grid_values(embeddings: &Embeddings) -> Result<Vec<i32>> {
    let grids = embeddings.images.iter().flat_map(|images| &images.grids);
    Ok(grids.flat_map(|grid| [grid.rows, grid.cols]).map(i32::try_from).collect::<Result<_, _>>()?)
}

/// String values only, as the format demands: lists are JSON inside a string.
fn metadata(embeddings: &Embeddings) -> Result<BTreeMap<String, String>> {
    let mut metadata: BTreeMap<String, String> = embeddings.about.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    if let Some(images) = &embeddings.images {
        metadata.insert("images".to_owned(), serde_json::to_string(&images.names)?);
    }
    if let Some(texts) = &embeddings.texts {
        metadata.insert("texts".to_owned(), serde_json::to_string(&texts.texts)?);
    }
    Ok(metadata)
}
