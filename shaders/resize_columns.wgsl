// resize_columns — y[r,x] = Σ_i w[i] p[r, first_x + i], each channel rounded to a byte
//
// in    pixels: u32[tokens, source_width], red in the lowest byte, the highest ignored   taps, weights: of each target column
// out   resized: u32[tokens, target_width]
// grid  one invocation per target pixel, 64 to a workgroup, folded into two dimensions
// math  i32 as torchvision on a CPU; |gpu - twin| <= 0
// twin  src/kernels/resize.rs

struct ResizeColumnsShape {
    source_width: u32,
    target_width: u32,
}

@group(0) @binding(0) var<uniform> shape: ResizeColumnsShape;
@group(0) @binding(2) var<storage, read> pixels: array<u32>;
@group(0) @binding(5) var<storage, read_write> resized: array<u32>;

@compute @workgroup_size(64)
fn resize_columns(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_index(id, grid) * 64u + local;
    let row = index / shape.target_width;
    if row >= counts.tokens {
        return;
    }
    let bytes = vec3<u32>(filtered(taps[index % shape.target_width], row * shape.source_width, 1u));
    resized[index] = bytes.r | (bytes.g << 8u) | (bytes.b << 16u);
}
