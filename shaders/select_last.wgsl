// select_last — y[s,c] = x[offsets[s+1] - 1, c]
//
// in    offsets: u32[segments + 1]   x: f32[tokens, dim]        out  y: f32[segments, dim]
// grid  one invocation per 4 columns of y, 64 to a workgroup, folded into two dimensions
// math  a copy; |gpu - reference| <= 0
// twin  src/kernels/select_last.rs

struct SelectLastShape {
    dim: u32,
}

@group(0) @binding(0) var<uniform> shape: SelectLastShape;
@group(0) @binding(2) var<storage, read> offsets: array<u32>;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn select_last(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let dim4 = (shape.dim + 3u) / 4u;
    let index = workgroup_index(id, grid) * 64u + local;
    let segment = index / dim4;
    if segment < counts.segments {
        y[index] = x[(offsets[segment + 1u] - 1u) * dim4 + index % dim4];
    }
}

