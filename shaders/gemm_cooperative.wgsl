// gemm_cooperative — gemm on matrix units: a subgroup multiplies whole matrices of f16 and adds them up in f32
//
// in    x: f32[rows, k]   W: f16[n, k]   b: f32[n]        out  y: f32[rows, n]
// grid  one workgroup per 64 x 64 tile of y, tiles of one row of tiles first, folded into two dimensions
// math  x rounded to f16, f32 accumulators; |gpu - reference| <= 1e-4 max(1, |y|) for |x| ~ 1, |W| ~ k^-½, both rounded in the reference
// twin  src/kernels/gemm.rs

enable f16;
enable wgpu_cooperative_matrix;

// Both tiles lie in workgroup memory as their matrices do in storage, [row][k]. Rows are 8 values apart from each other, so that
// the rows of one matrix begin in different banks.
const TILE = 64u;
const TILE_K = 32u;
const STRIDE = TILE_K + 8u;
var<workgroup> x_tile: array<f16, TILE * STRIDE>;
var<workgroup> w_tile: array<f16, TILE * STRIDE>;

// A tile of y is 2 x 2 blocks, one for each subgroup where these have 32 invocations; more subgroups idle, fewer take several turns.
const WORKGROUP = 128u;
const BLOCK = 32u;
const BLOCKS = 4u;
// Matrices on each side of a block.
const SPAN = BLOCK / SIDE;
// One matrix of each block on its way to the epilogue.
var<workgroup> sum_tile: array<f32, BLOCKS * SIDE * SIDE>;

@compute @workgroup_size(WORKGROUP)
fn gemm_cooperative(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let tiles_across = (shape.n4 + TILE / 4u - 1u) / (TILE / 4u);
    let tile = workgroup_index(id, grid);
    let first_row = tile / tiles_across * TILE;
    let first_col = tile % tiles_across * TILE;
    // The whole workgroup leaves or stays, so the barriers below are reached by all.
    if first_row >= live_rows(shape.rows_of) {
        return;
    }
    for (var first_block = 0u; first_block < BLOCKS; first_block += subgroups) {
        let block = first_block + subgroup;
        var sums: array<Sum, SPAN * SPAN>;
        for (var k4 = 0u; k4 < shape.k4; k4 += TILE_K / 4u) {
            load_tiles(first_row, first_col, k4, local);
            // No subgroup may multiply before all have loaded…
            workgroupBarrier();
            if block < BLOCKS {
                multiply(block, &sums);
            }
            // …or load the next tile before all have multiplied.
            workgroupBarrier();
        }
        for (var matrix = 0u; matrix < SPAN * SPAN; matrix++) {
            if block < BLOCKS {
                coopStoreT(sums[matrix], &sum_tile[block * SIDE * SIDE], SIDE);
            }
            workgroupBarrier();
            store_matrices(first_row, first_col, first_block, min(first_block + subgroups, BLOCKS), matrix, local);
            workgroupBarrier();
        }
    }
}

// Rows and quads beyond the ends are zero, so tails need no care elsewhere. A row is contiguous: neighbours read neighbours.
fn load_tiles(first_row: u32, first_col: u32, first_k4: u32, local: u32) {
    for (var quad = local; quad < TILE * TILE_K / 4u; quad += WORKGROUP) {
        let row = quad / (TILE_K / 4u);
        let k4 = quad % (TILE_K / 4u);
        let x_values = to_f16(x_quad(first_row + row, first_k4 + k4));
        let w_values = vec4<f16>(w_quad(first_col + row, first_k4 + k4));
        let at = row * STRIDE + k4 * 4u;
        for (var i = 0u; i < 4u; i++) {
            x_tile[at + i] = x_values[i];
            w_tile[at + i] = w_values[i];
        }
    }
}

// W is padded to a multiple of four rows, but not to a whole tile.
fn w_quad(col: u32, k4: u32) -> vec4<f32> {
    if col >= shape.n4 * 4u || k4 >= shape.k4 {
        return vec4<f32>();
    }
    return load_weight(col * shape.k4 + k4);
}

// What f16 cannot hold becomes infinite, which the host finds in the result. Some drivers would make it 65,504.
fn to_f16(v: vec4<f32>) -> vec4<f16> {
    return vec4<f16>(v * select(vec4<f32>(1.0), vec4<f32>(3e38), abs(v) > vec4<f32>(65504.0)));
}

// Adds the tiles' product to one block's sums. W's rows are the columns of the right-hand matrices.
fn multiply(block: u32, sums: ptr<function, array<Sum, SPAN * SPAN>>) {
    let row = block / 2u * BLOCK;
    let col = block % 2u * BLOCK;
    for (var k = 0u; k < TILE_K; k += SIDE) {
        var right: array<Right, SPAN>;
        for (var j = 0u; j < SPAN; j++) {
            right[j] = coopLoad<Right>(&w_tile[(col + j * SIDE) * STRIDE + k], STRIDE);
        }
        for (var i = 0u; i < SPAN; i++) {
            let left = coopLoadT<Left>(&x_tile[(row + i * SIDE) * STRIDE + k], STRIDE);
            for (var j = 0u; j < SPAN; j++) {
                sums[i * SPAN + j] = coopMultiplyAdd(left, right[j], sums[i * SPAN + j]);
            }
        }
    }
}

// Stores one matrix of each block from `first_block` on; all invocations share the work.
fn store_matrices(first_row: u32, first_col: u32, first_block: u32, end_block: u32, matrix: u32, local: u32) {
    let quads = SIDE * SIDE / 4u;
    for (var quad = first_block * quads + local; quad < end_block * quads; quad += WORKGROUP) {
        let block = quad / quads;
        let row = block / 2u * BLOCK + matrix / SPAN * SIDE + quad % quads / (SIDE / 4u);
        let col4 = (block % 2u * BLOCK + matrix % SPAN * SIDE) / 4u + quad % (SIDE / 4u);
        let at = quad * 4u;
        store(first_row + row, first_col / 4u + col4, vec4<f32>(sum_tile[at], sum_tile[at + 1u], sum_tile[at + 2u], sum_tile[at + 3u]));
    }
}

