// weight_f16 — a weight matrix stored as f16, two values in a u32, so that no adapter needs shader-f16
//
// in    weight: f16[n, k], both padded with zeros to multiples of 4

@group(0) @binding(3) var<storage, read> weight: array<vec2<u32>>;

// Four neighbouring values of one row; `index` counts them from the start of the matrix.
fn load_weight(index: u32) -> vec4<f32> {
    let packed = weight[index];
    return vec4<f32>(unpack2x16float(packed.x), unpack2x16float(packed.y));
}
