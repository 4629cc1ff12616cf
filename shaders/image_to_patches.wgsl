// image_to_patches — an image that resize_columns has made as wide as the patches: resized in height, cut into patches,
//                    each byte v replaced by levels[v]
//
// in    pixels: u32[height, cols * patch_size], red in the lowest byte   taps, weights: of each target row   levels: f32[256]
// out   patches: f32[tokens, patch_size * patch_size * 3], inside a patch (y, x, channel)
// grid  one invocation per pixel of the patches, 64 to a workgroup, folded into two dimensions
// math  i32 as torchvision on a CPU, then a table; |gpu - twin| <= 0
// twin  src/kernels/image_to_patches.rs

struct ImageToPatchesShape {
    // Patches from left to right.
    cols: u32,
    patch_size: u32,
}

@group(0) @binding(0) var<uniform> shape: ImageToPatchesShape;
@group(0) @binding(2) var<storage, read> pixels: array<u32>;
@group(0) @binding(5) var<storage, read> levels: array<f32>;
@group(0) @binding(6) var<storage, read_write> patches: array<f32>;

@compute @workgroup_size(64)
fn image_to_patches(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let per_patch = shape.patch_size * shape.patch_size;
    let index = workgroup_index(id, grid) * 64u + local;
    let token = index / per_patch;
    if token >= counts.tokens {
        return;
    }
    let in_patch = index % per_patch;
    let x = token % shape.cols * shape.patch_size + in_patch % shape.patch_size;
    let y = token / shape.cols * shape.patch_size + in_patch / shape.patch_size;
    let bytes = filtered(taps[y], x, shape.cols * shape.patch_size);
    // Rows of every matrix begin at multiples of 4 values.
    let first = token * ((per_patch * 3u + 3u) / 4u * 4u) + in_patch * 3u;
    patches[first] = levels[bytes.r];
    patches[first + 1u] = levels[bytes.g];
    patches[first + 2u] = levels[bytes.b];
}
