// image_to_patches — an image resized with antialiasing, cut into patches, each byte v replaced by levels[v]
//
// in    pixels: u32[height, width], red in the lowest byte, alpha ignored   taps: (first, begin, end, shift)[columns, then rows]
//       weights: i32, of all taps   levels: f32[256]
// out   patches: f32[tokens, patch_size * patch_size * 3], inside a patch (y, x, channel)
// grid  one invocation per pixel of the patches, 64 to a workgroup, folded into two dimensions
// math  i32 as torchvision on a CPU: along the row, rounded to a byte, then down the column; |gpu - twin| <= 0
// twin  src/kernels/image_to_patches.rs
//
// Both passes in one: a source pixel is read about four times when reducing, which is less than writing and reading a whole
// image between them.

struct ImageToPatchesShape {
    source_width: u32,
    // Of the resized image, of which the patches may leave out some on the right.
    target_width: u32,
    // Patches from left to right.
    cols: u32,
    patch_size: u32,
}

// Which source pixels make a target pixel of one axis: `first` and those after it, with weights `begin` to `end` in units of
// two to the minus `shift`.
struct Taps {
    first: u32,
    begin: u32,
    end: u32,
    shift: u32,
}

@group(0) @binding(0) var<uniform> shape: ImageToPatchesShape;
@group(0) @binding(2) var<storage, read> pixels: array<u32>;
@group(0) @binding(3) var<storage, read> taps: array<Taps>;
@group(0) @binding(4) var<storage, read> weights: array<i32>;
@group(0) @binding(5) var<storage, read> levels: array<f32>;
@group(0) @binding(6) var<storage, read_write> patches: array<f32>;

@compute @workgroup_size(64)
fn image_to_patches(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_index(id, grid) * 64u + local;
    let per_patch = shape.patch_size * shape.patch_size;
    let token = index / per_patch;
    if token >= counts.tokens {
        return;
    }
    let in_patch = index % per_patch;
    let x = token % shape.cols * shape.patch_size + in_patch % shape.patch_size;
    let y = token / shape.cols * shape.patch_size + in_patch / shape.patch_size;
    let across = taps[x];
    let down = taps[shape.target_width + y];
    var sum = vec3<i32>(half_of(down));
    for (var i = down.begin; i < down.end; i++) {
        sum += weights[i] * row_sum((down.first + i - down.begin) * shape.source_width, across);
    }
    let bytes = to_bytes(sum, down);
    // Rows of patches begin at multiples of 4 values.
    let first = token * ((per_patch * 3u + 3u) / 4u * 4u) + in_patch * 3u;
    patches[first] = levels[bytes.r];
    patches[first + 1u] = levels[bytes.g];
    patches[first + 2u] = levels[bytes.b];
}

// One pixel of the image that is resized in width only, as bytes. `row` is the index of its source row's first pixel.
fn row_sum(row: u32, across: Taps) -> vec3<i32> {
    var sum = vec3<i32>(half_of(across));
    for (var i = across.begin; i < across.end; i++) {
        let pixel = vec3<u32>(pixels[row + across.first + i - across.begin]);
        sum += weights[i] * vec3<i32>((pixel >> vec3<u32>(0u, 8u, 16u)) & vec3<u32>(255u));
    }
    return to_bytes(sum, across);
}

// What a sum starts with, so that `to_bytes` rounds to nearest.
fn half_of(along: Taps) -> i32 {
    return i32(1u << (along.shift - 1u));
}

fn to_bytes(sum: vec3<i32>, along: Taps) -> vec3<i32> {
    return clamp(sum >> vec3<u32>(along.shift), vec3<i32>(0), vec3<i32>(255));
}
