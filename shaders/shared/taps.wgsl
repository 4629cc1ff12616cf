// taps — which source pixels make a target pixel of one axis, with fixed-point weights
//
// in    taps: one per target pixel   weights: i32 of all of them, in units of two to the minus `shift`

// Source pixels `first` and those after it, with weights `begin` to `end`.
struct Taps {
    first: u32,
    begin: u32,
    end: u32,
    shift: u32,
}

@group(0) @binding(3) var<storage, read> taps: array<Taps>;
@group(0) @binding(4) var<storage, read> weights: array<i32>;

// Weighted sum of pixels that lie `stride` apart, rounded to bytes: red, green, blue.
fn filtered(along: Taps, origin: u32, stride: u32) -> vec3<i32> {
    // Half a unit, so that the shift rounds to nearest.
    var sum = vec3<i32>(i32(1u << (along.shift - 1u)));
    for (var i = along.begin; i < along.end; i++) {
        let pixel = vec3<u32>(pixels[origin + (along.first + i - along.begin) * stride]);
        sum += weights[i] * vec3<i32>((pixel >> vec3<u32>(0u, 8u, 16u)) & vec3<u32>(255u));
    }
    return clamp(sum >> vec3<u32>(along.shift), vec3<i32>(0), vec3<i32>(255));
}
