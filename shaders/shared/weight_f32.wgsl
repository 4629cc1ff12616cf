// weight_f32 — a weight matrix stored as f32
//
// in    weight: f32[n, k], both padded with zeros to multiples of 4

@group(0) @binding(3) var<storage, read> weight: array<vec4<f32>>;

// Four neighbouring values of one row; `index` counts them from the start of the matrix.
fn load_weight(index: u32) -> vec4<f32> {
    return weight[index];
}
