//! `scores_top_k` on the GPU: tables in chunks that fit a binding, queries in groups whose hits fit the readback.

use super::dispatch::{self, Dispatch, Input};
use super::pipelines::Variant;
use super::uniforms::{Counts, RANKED_ROWS, ScoresTopKShape};
use super::weight::{GpuWeight, padded};
use super::{GpuBackend, GpuError};
use crate::kernels::{Hit, ScoresTopK};

/// Multiply-adds of one group of queries: less than a tenth of a second on an integrated GPU, which its watchdog allows.
const GROUP_WORK: u64 = 4 << 30;
/// Bytes of hits that are read at once; at least one query's.
const READBACK_BYTES: usize = 16 << 20;
/// Bytes of a hit: score and row.
const HIT_BYTES: usize = 8;
/// The row that `shaders/scores_top_k.wgsl` writes where there is none.
const NO_ROW: u32 = u32::MAX;

impl GpuBackend {
    /// For each query the best hits among all rows of `chunks`, the best first: [`ScoresTopK::run`] on the GPU. The chunks come from
    /// [`upload_table`](Self::upload_table), of one or several tables; rows are counted through all of them.
    ///
    /// # Errors
    /// Queries or chunks that are not of the shape's `dim`, no memory, a lost device.
    pub async fn scores_top_k(&self, shape: ScoresTopK, queries: &[f32], chunks: &[GpuWeight]) -> Result<Vec<Vec<Hit>>, GpuError> {
        let ScoresTopK { dim, k } = shape;
        let rows: usize = chunks.iter().map(|chunk| chunk.shape.0).sum();
        let fits = dim > 0 && queries.len().is_multiple_of(dim) && chunks.iter().all(|chunk| chunk.shape.1 == dim);
        if !fits || rows >= NO_ROW as usize {
            let shapes: Vec<_> = chunks.iter().map(|chunk| chunk.shape).collect();
            return Err(GpuError::Unsupported(format!("{shape:?} of {} query values and chunks of {shapes:?}", queries.len())));
        }
        if rows == 0 || k == 0 {
            return Ok(vec![Vec::new(); queries.len() / dim]);
        }
        let hits_per_query: usize = chunks.iter().map(|chunk| Search::new(shape, chunk).hits()).sum();
        let by_work = usize::try_from(GROUP_WORK / (rows * dim) as u64).unwrap_or(usize::MAX);
        let group = (READBACK_BYTES / (hits_per_query * HIT_BYTES)).min(by_work).max(1);
        let mut found = Vec::with_capacity(queries.len() / dim);
        for queries in queries.chunks(group * dim) {
            found.extend(self.search_group(shape, queries, chunks).await?);
        }
        Ok(found)
    }

    async fn search_group(&self, shape: ScoresTopK, queries: &[f32], chunks: &[GpuWeight]) -> Result<Vec<Vec<Hit>>, GpuError> {
        let count = queries.len() / shape.dim;
        let queries = padded(queries, count, shape.dim);
        let searches: Vec<Search> = chunks.iter().map(|chunk| Search::new(shape, chunk)).collect();
        let dispatch = |(chunk, search)| Search::dispatch(search, count, bytemuck::cast_slice(&queries), chunk);
        let dispatches: Vec<Dispatch<'_>> = chunks.iter().zip(&searches).map(dispatch).collect();
        let outputs = dispatch::run(&self.device, &self.pipelines, &dispatches).await?;
        let mut lists = vec![Vec::with_capacity(chunks.len()); count];
        let mut first_row = 0;
        for ((search, chunk), output) in searches.iter().zip(chunks).zip(&outputs) {
            for (lists, hits) in lists.iter_mut().zip(output.chunks_exact(search.hits() * HIT_BYTES)) {
                lists.push((first_row, decode(hits)));
            }
            first_row += chunk.shape.0 as u32;
        }
        Ok(lists.into_iter().map(|lists| shape.merge(lists)).collect())
    }
}

/// How one chunk is searched.
struct Search {
    uniform: ScoresTopKShape,
    tiles: usize,
}

impl Search {
    fn new(shape: ScoresTopK, chunk: &GpuWeight) -> Self {
        let (rows, dim) = chunk.shape;
        let kept = shape.k.min(RANKED_ROWS) as u32;
        Self { uniform: ScoresTopKShape { rows: rows as u32, dim4: dim.div_ceil(4) as u32, kept }, tiles: rows.div_ceil(RANKED_ROWS) }
    }

    /// Hits that are written for each query, the places of missing ones included.
    const fn hits(&self) -> usize {
        self.tiles * self.uniform.kept as usize
    }

    fn dispatch<'a>(&'a self, queries: usize, values: &'a [u8], chunk: &'a GpuWeight) -> Dispatch<'a> {
        Dispatch {
            kernel: Variant::scores_top_k(chunk.precision()),
            uniform: bytemuck::bytes_of(&self.uniform),
            counts: Counts { tokens: 0, segments: queries as u32, query_tiles: 0 },
            inputs: vec![Input::Bytes(values), Input::Buffer(&chunk.buffer)],
            output_bytes: (queries * self.hits() * HIT_BYTES) as u64,
            workgroups: (queries * self.tiles) as u64,
            is_result: true,
        }
    }
}

fn decode(bytes: &[u8]) -> Vec<Hit> {
    let words = bytes.as_chunks::<4>().0.iter().map(|&word| u32::from_ne_bytes(word));
    let pairs: Vec<u32> = words.collect();
    let hits = pairs.as_chunks::<2>().0.iter().map(|&[score, row]| Hit { score: f32::from_bits(score), row });
    hits.filter(|hit| hit.row != NO_ROW).collect()
}
