// layer_norm — y[r,c] = (x[r,c] - mean_r) * inverseSqrt(var_r + eps) * gamma[c] + beta[c]
//
// in    x: f32[rows, dim]   gamma, beta: f32[dim]        out  y: f32[rows, dim]
// grid  one workgroup per row, folded into two dimensions
// math  f32, two passes; |gpu - reference| <= 2e-5 max(1, |y|)
// twin  src/kernels/layer_norm.rs

struct LayerNormShape {
    // 0: a row per token; 1: per segment.
    rows_of: u32,
    dim: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> shape: LayerNormShape;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> beta: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn layer_norm(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = workgroup_index(id, grid);
    if row >= live_rows(shape.rows_of) {
        return;
    }
    let dim4 = (shape.dim + 3u) / 4u;
    let first = row * dim4;
    var sum = vec4<f32>();
    for (var c = local; c < dim4; c += WORKGROUP) {
        sum += x[first + c];
    }
    let mean = workgroup_sum(local, dot(sum, vec4<f32>(1.0))) / f32(shape.dim);
    var squares = vec4<f32>();
    for (var c = local; c < dim4; c += WORKGROUP) {
        // Columns that only pad the row to a multiple of 4 are zero and take no part.
        let is_column = c * 4u + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(shape.dim);
        let deviation = select(vec4<f32>(), x[first + c] - mean, is_column);
        squares += deviation * deviation;
    }
    // The mean is known by now, so nothing cancels as in E[x²] − E[x]².
    let variance = workgroup_sum(local, dot(squares, vec4<f32>(1.0))) / f32(shape.dim);
    let scale = inverseSqrt(variance + shape.eps);
    // gamma and beta are padded with zeros, and so is y therefore.
    for (var c = local; c < dim4; c += WORKGROUP) {
        y[first + c] = (x[first + c] - mean) * scale * gamma[c] + beta[c];
    }
}

