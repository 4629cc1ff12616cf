// l2_normalize — y[r,c] = x[r,c] / √(Σ_i x[r,i]²); a row of zeros stays zero
//
// in    x: f32[segments, dim]        out  y: f32[segments, dim]
// grid  one workgroup per row, folded into two dimensions
// math  f32; |gpu - reference| <= 1e-6
// twin  src/kernels/l2_normalize.rs

struct L2NormalizeShape {
    dim: u32,
}

@group(0) @binding(0) var<uniform> shape: L2NormalizeShape;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn l2_normalize(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = workgroup_index(id, grid);
    if row >= counts.segments {
        return;
    }
    let dim4 = (shape.dim + 3u) / 4u;
    let first = row * dim4;
    // Squares of the values as they are could overflow or vanish; divided by the largest they lie in 0 to 1.
    var largest = vec4<f32>();
    for (var c = local; c < dim4; c += WORKGROUP) {
        largest = max(largest, abs(x[first + c]));
    }
    let unit = workgroup_max(local, max(max(largest.x, largest.y), max(largest.z, largest.w)));
    // A row of zeros is scaled by zero instead of by infinity.
    let to_unit = select(0.0, 1.0 / unit, unit > 0.0);
    var squares = 0.0;
    for (var c = local; c < dim4; c += WORKGROUP) {
        let value = x[first + c] * to_unit;
        squares += dot(value, value);
    }
    let sum = workgroup_sum(local, squares);
    let scale = select(0.0, inverseSqrt(sum), sum > 0.0);
    // Two factors, because their product may overflow.
    for (var c = local; c < dim4; c += WORKGROUP) {
        y[first + c] = x[first + c] * to_unit * scale;
    }
}

