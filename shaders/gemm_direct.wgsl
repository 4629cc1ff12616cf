// gemm_direct — gemm for software adapters: no workgroup memory and no barriers, which cost them more than repeated loads
//
// in    x: f32[rows, k]   W: f32 or f16[n, k]   b: f32[n]        out  y: f32[rows, n]
// grid  one invocation per 4 x 4 block of y, 64 to a workgroup, folded into two dimensions
// math  f32 accumulators; |gpu - reference| <= 2e-5 max(1, |y|) for |x| ~ 1, |W| ~ k^-½; with f16 weights the reference has them rounded
// twin  src/kernels/gemm.rs

@compute @workgroup_size(64)
fn gemm_direct(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let block = workgroup_index(id, grid) * 64u + local;
    let rows = live_rows(shape.rows_of);
    let row = block / shape.n4 * 4u;
    let col4 = block % shape.n4;
    if row >= rows {
        return;
    }
    // Rows beyond the last repeat it; their sums are not stored.
    let x0 = row * shape.k4;
    let x1 = min(row + 1u, rows - 1u) * shape.k4;
    let x2 = min(row + 2u, rows - 1u) * shape.k4;
    let x3 = min(row + 3u, rows - 1u) * shape.k4;
    let w0 = col4 * 4u * shape.k4;
    let w1 = w0 + shape.k4;
    let w2 = w1 + shape.k4;
    let w3 = w2 + shape.k4;
    var sums = mat4x4<f32>();
    for (var k4 = 0u; k4 < shape.k4; k4++) {
        // A row vector times this matrix is its dot product with each of four rows of W.
        let w = mat4x4<f32>(load_weight(w0 + k4), load_weight(w1 + k4), load_weight(w2 + k4), load_weight(w3 + k4));
        sums += mat4x4<f32>(x[x0 + k4] * w, x[x1 + k4] * w, x[x2 + k4] * w, x[x3 + k4] * w);
    }
    store(row, col4, sums[0]);
    store(row + 1u, col4, sums[1]);
    store(row + 2u, col4, sums[2]);
    store(row + 3u, col4, sums[3]);
}

