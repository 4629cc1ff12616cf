// gemm — y[r,c] = Σ_i x[r,i] W[c,i] + b[c], then the epilogue
//
// in    x: f32[rows, k]   W: f32 or f16[n, k]   b: f32[n]        out  y: f32[rows, n]
// grid  one workgroup per 64 x 64 tile of y, tiles of one row of tiles first, folded into two dimensions
// math  f32 accumulators; |gpu - reference| <= 2e-5 max(1, |y|) for |x| ~ 1, |W| ~ k^-½; with f16 weights the reference has them rounded
// twin  src/kernels/gemm.rs

// Both tiles lie transposed in workgroup memory, [k][row / 4], so that one step of the inner loop reads whole vec4s of rows.
// 8 KiB together, so that several workgroups fit one compute unit even at the baseline of 16 KiB.
const TILE_K = 16u;
const TILE_QUADS = 16u;
var<workgroup> x_tile: array<array<vec4<f32>, TILE_QUADS>, TILE_K>;
var<workgroup> w_tile: array<array<vec4<f32>, TILE_QUADS>, TILE_K>;

@compute @workgroup_size(64)
fn gemm(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tiles_across = (shape.n4 + TILE_QUADS - 1u) / TILE_QUADS;
    let tile = workgroup_index(id, grid);
    let first_row = tile / tiles_across * TILE_QUADS * 4u;
    let first_col = tile % tiles_across * TILE_QUADS * 4u;
    // The whole workgroup leaves or stays, so the barriers below are reached by all.
    if first_row >= live_rows(shape.rows_of) {
        return;
    }
    // While loading, an invocation moves one 4 x 4 block of each operand: 16 groups of rows by 4 quads of k.
    let block_row = local / 4u;
    let block_k4 = local % 4u;
    // While multiplying, it owns 8 x 8 values of y as four 4 x 4 blocks, 32 rows or columns apart so that neighbours read neighbours.
    let quad_row = local / 8u;
    let quad_col = local % 8u;
    var upper_left = mat4x4<f32>();
    var upper_right = mat4x4<f32>();
    var lower_left = mat4x4<f32>();
    var lower_right = mat4x4<f32>();
    for (var k4 = 0u; k4 < shape.k4; k4 += TILE_K / 4u) {
        let x_block = transpose(x_rows(first_row + block_row * 4u, k4 + block_k4));
        let w_block = transpose(w_rows(first_col + block_row * 4u, k4 + block_k4));
        x_tile[block_k4 * 4u][block_row] = x_block[0];
        x_tile[block_k4 * 4u + 1u][block_row] = x_block[1];
        x_tile[block_k4 * 4u + 2u][block_row] = x_block[2];
        x_tile[block_k4 * 4u + 3u][block_row] = x_block[3];
        w_tile[block_k4 * 4u][block_row] = w_block[0];
        w_tile[block_k4 * 4u + 1u][block_row] = w_block[1];
        w_tile[block_k4 * 4u + 2u][block_row] = w_block[2];
        w_tile[block_k4 * 4u + 3u][block_row] = w_block[3];
        // No invocation may multiply before all have loaded…
        workgroupBarrier();
        for (var k = 0u; k < TILE_K; k++) {
            let upper = x_tile[k][quad_row];
            let lower = x_tile[k][quad_row + 8u];
            let left = w_tile[k][quad_col];
            let right = w_tile[k][quad_col + 8u];
            upper_left += outer(upper, left);
            upper_right += outer(upper, right);
            lower_left += outer(lower, left);
            lower_right += outer(lower, right);
        }
        // …or load the next tile before all have multiplied.
        workgroupBarrier();
    }
    let row = first_row + quad_row * 4u;
    let col4 = first_col / 4u + quad_col;
    store_block(row, col4, upper_left);
    store_block(row, col4 + 8u, upper_right);
    store_block(row + 32u, col4, lower_left);
    store_block(row + 32u, col4 + 8u, lower_right);
}

// One quad of k from four rows of x. Rows and quads beyond the ends are zero, so tails need no care elsewhere.
fn x_rows(row: u32, k4: u32) -> mat4x4<f32> {
    return mat4x4<f32>(x_quad(row, k4), x_quad(row + 1u, k4), x_quad(row + 2u, k4), x_quad(row + 3u, k4));
}

// The same from four rows of W, of which there is a multiple of four.
fn w_rows(col: u32, k4: u32) -> mat4x4<f32> {
    if col >= shape.n4 * 4u || k4 >= shape.k4 {
        return mat4x4<f32>();
    }
    let index = col * shape.k4 + k4;
    return mat4x4<f32>(
        load_weight(index),
        load_weight(index + shape.k4),
        load_weight(index + 2u * shape.k4),
        load_weight(index + 3u * shape.k4),
    );
}

// Rows are stored one by one because the last tile may have fewer.
fn store_block(row: u32, col4: u32, block: mat4x4<f32>) {
    store(row, col4, block[0]);
    store(row + 1u, col4, block[1]);
    store(row + 2u, col4, block[2]);
    store(row + 3u, col4, block[3]);
}

