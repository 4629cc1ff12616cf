//! The kernels that run outside a plan: search against the f64 reference, patches against the CPU twin, which torchvision has judged.

use half::f16;
use half::slice::HalfFloatSliceExt;
use image::RgbImage;
use polyglance::config::Filter;
use polyglance::gpu::{GpuBackend, GpuError, GpuWeight};
use polyglance::kernels::{Hit, ImageToPatches, ScoresTopK, Size, Table};
use polyglance::platform::block_on;

use super::any_backend;
use crate::reference::{self, SEARCH_SIZES, assert_best, coarse_rows, noise, unit_rows};

fn search(backend: &GpuBackend, shape: ScoresTopK, queries: &[f32], table: Table<'_>) -> Vec<Vec<Hit>> {
    let chunks = block_on(backend.upload_table(table, shape.dim)).unwrap();
    block_on(backend.scores_top_k(shape, queries, &chunks)).unwrap()
}

fn halves(values: &[f32]) -> Vec<f16> {
    values.iter().copied().map(f16::from_f32).collect()
}

#[test]
fn scores_top_k_survives_every_size() {
    let Some(backend) = any_backend() else { return };
    for (queries, rows, dim, k) in SEARCH_SIZES {
        let shape = ScoresTopK { dim, k };
        let (queries, table) = (unit_rows(30, queries, dim), unit_rows(31, rows, dim));
        assert_best(&shape, &queries, &table, &search(backend, shape, &queries, Table::F32(&table)), 2e-6);
        let halves = halves(&table);
        assert_best(&shape, &queries, &halves.to_f32_vec(), &search(backend, shape, &queries, Table::F16(&halves)), 2e-6);
    }
}

/// Exact scores, many of them equal: the CPU twin must agree in every hit.
#[test]
fn scores_top_k_ranks_equal_scores_by_row() {
    let Some(backend) = any_backend() else { return };
    for (count, rows, dim, k) in SEARCH_SIZES {
        let shape = ScoresTopK { dim, k };
        let (queries, table) = (coarse_rows(32, count, dim), coarse_rows(33, rows, dim));
        for (query, hits) in queries.chunks_exact(dim).zip(search(backend, shape, &queries, Table::F32(&table))) {
            let expected = reference::scores_top_k(&shape, query, &table).into_iter().take(k);
            assert_eq!(hits, expected.map(|(row, score)| Hit { score: score as f32, row }).collect::<Vec<_>>(), "{shape:?} of {rows}");
        }
    }
}

/// 65,536 workgroups need the grid's second dimension.
#[test]
fn scores_top_k_folds_its_grid() {
    let Some(backend) = any_backend() else { return };
    let (shape, queries) = (ScoresTopK { dim: 4, k: 1 }, noise(36, 65_536 * 4, 1.0));
    assert_best(&shape, &queries, &[0.5; 4], &search(backend, shape, &queries, Table::F32(&[0.5; 4])), 2e-6);
}

#[test]
fn a_table_beyond_one_binding_is_searched_in_chunks() {
    let Some(backend) = any_backend() else { return };
    let shape = ScoresTopK { dim: 1024, k: 5 };
    let rows = backend.max_buffer_bytes().min(128 << 20) / (shape.dim * 4) + 6;
    let mut table = vec![0.0; rows * shape.dim];
    for (row, score) in [(0, 0.25), (rows - 1, 0.75), (rows - 6, 0.5), (rows - 7, 0.5)] {
        table[row * shape.dim] = score;
    }
    let mut query = vec![0.0; shape.dim];
    query[0] = 1.0;
    let chunks = block_on(backend.upload_table(Table::F32(&table), shape.dim)).unwrap();
    assert!(chunks.len() == 2 || backend.max_buffer_bytes() > 128 << 20);
    let found = block_on(backend.scores_top_k(shape, &query, &chunks)).unwrap();
    assert_eq!(found, shape.run(&query, Table::F32(&table)));
    assert_eq!(found[0].iter().map(|hit| hit.row as usize).collect::<Vec<_>>(), [rows - 1, rows - 7, rows - 6, 0, 1]);
}

#[test]
fn rows_count_through_all_chunks() {
    let Some(backend) = any_backend() else { return };
    let (shape, table, queries) = (ScoresTopK { dim: 3, k: 40 }, coarse_rows(34, 1000, 3), coarse_rows(35, 2, 3));
    let upload =
        |rows: std::ops::Range<usize>| block_on(backend.upload_table(Table::F32(&table[rows.start * 3..rows.end * 3]), 3)).unwrap();
    let chunks: Vec<GpuWeight> = [0..10, 10..700, 700..1000].into_iter().flat_map(upload).collect();
    assert_eq!(block_on(backend.scores_top_k(shape, &queries, &chunks)).unwrap(), shape.run(&queries, Table::F32(&table)));
    assert_eq!(block_on(backend.scores_top_k(shape, &queries, &[])).unwrap(), vec![Vec::new(); 2]);
    assert_eq!(block_on(backend.scores_top_k(ScoresTopK { dim: 3, k: 0 }, &queries, &chunks)).unwrap(), vec![Vec::new(); 2]);
}

#[test]
fn a_damaged_row_hides_itself_only() {
    let Some(backend) = any_backend() else { return };
    let found = search(backend, ScoresTopK { dim: 1, k: 9 }, &[1.0], Table::F32(&[0.5, f32::NAN, -0.0, 0.0, 0.75]));
    assert_eq!(found[0].iter().map(|hit| hit.row).collect::<Vec<_>>(), [4, 0, 2, 3]);
}

fn patches(backend: &GpuBackend, shape: &ImageToPatches, image: &RgbImage) -> Result<Vec<f32>, GpuError> {
    // Alpha is noise, which must not matter.
    let pixel = |[r, g, b]: [u8; 3]| u32::from_le_bytes([r, g, b, r ^ b]);
    let pixels: Vec<u32> = image.pixels().map(|image::Rgb(rgb)| pixel(*rgb)).collect();
    block_on(backend.image_to_patches(shape, &pixels))
}

fn picture(height: u32, width: u32) -> RgbImage {
    let values = noise(u64::from(height * 7 + width), (height * width * 3) as usize, 100.0);
    // Many values at both ends of the range, where bicubic sums overshoot.
    RgbImage::from_raw(width, height, values.iter().map(|v| (v + 127.5).clamp(0.0, 255.0) as u8).collect()).unwrap()
}

#[test]
fn image_to_patches_equals_the_cpu_for_every_size() {
    let Some(backend) = any_backend() else { return };
    let sizes = [(1, 1), (9, 5), (4000, 300), (300, 4000), (1, 777), (224, 224), (240, 32), (123, 457), (2000, 1500)];
    for (index, (height, width)) in sizes.into_iter().enumerate() {
        let image = picture(height, width);
        let source = Size { height: height as usize, width: width as usize };
        for (rows, cols, patch_size) in [(1, 1, 16), (14, 3, 14), (3, 11, 16), (16, 16, 16), (2, 5, 3)] {
            let filter = if (index + rows) % 2 == 0 { Filter::Bilinear } else { Filter::Bicubic };
            // Some targets reach beyond their patches, as a side that is no multiple of the patch size does.
            let beyond = (index + cols) % 3;
            let target = Size { height: rows * patch_size + beyond, width: cols * patch_size + 2 * beyond };
            let shape = ImageToPatches { source, target, rows, cols, patch_size, filter };
            assert!(patches(backend, &shape, &image).unwrap() == shape.run(image.as_raw()), "{shape:?}");
        }
    }
}

/// 65,536 workgroups of 64 pixels need the grid's second dimension.
#[test]
fn image_to_patches_folds_its_grid() {
    let Some(backend) = any_backend() else { return };
    let (source, target) = (Size { height: 5, width: 7 }, Size { height: 2048, width: 2048 });
    let shape = ImageToPatches { source, target, rows: 32, cols: 32, patch_size: 64, filter: Filter::Bilinear };
    let image = picture(5, 7);
    assert!(patches(backend, &shape, &image).unwrap() == shape.run(image.as_raw()));
}

#[test]
fn what_a_lone_kernel_cannot_run_is_refused() {
    let Some(backend) = any_backend() else { return };
    let size = Size { height: 16, width: 16 };
    let shape = ImageToPatches { source: size, target: size, rows: 1, cols: 1, patch_size: 16, filter: Filter::Bilinear };
    let refused = |shape: ImageToPatches, pixels: &[u32]| block_on(backend.image_to_patches(&shape, pixels)).unwrap_err();
    for (shape, pixels) in [
        (shape, 255),
        (ImageToPatches { rows: 2, ..shape }, 256),
        (ImageToPatches { cols: 0, ..shape }, 256),
        (ImageToPatches { rows: usize::MAX, ..shape }, 256),
    ] {
        assert!(matches!(refused(shape, &vec![0; pixels]), GpuError::Unsupported(_)));
    }
    if let Some(pixels) = (backend.max_buffer_bytes() < 1 << 30).then(|| backend.max_buffer_bytes() / 4 + 1) {
        let source = Size { height: 1, width: pixels };
        assert!(matches!(refused(ImageToPatches { source, ..shape }, &vec![0; pixels]), GpuError::TooLarge { .. }));
    }
    let chunks = block_on(backend.upload_table(Table::F32(&[1.0; 6]), 3)).unwrap();
    for (dim, queries) in [(3, 4), (2, 4), (0, 0)] {
        let error = block_on(backend.scores_top_k(ScoresTopK { dim, k: 1 }, &vec![1.0; queries], &chunks)).unwrap_err();
        assert!(matches!(error, GpuError::Unsupported(_)), "{error}");
    }
    assert!(matches!(block_on(backend.upload_table(Table::F32(&[1.0; 7]), 3)), Err(GpuError::Unsupported(_))));
}
