// outer — the outer product of two 4-vectors, which is the inner step of every register-tiled product
//
// out   column i is a[i] * b, so a matrix accumulates 4 rows (a) by 4 columns (b) of a result

fn outer(a: vec4<f32>, b: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(a.x * b, a.y * b, a.z * b, a.w * b);
}
