// pooling_attention — per segment and head: a = softmax(scale q Kᵀ), y = a V, and a itself
//
// in    offsets: u32[segments + 1]   query: f32[heads * head_dim]   kv: f32[tokens, 2 * heads * head_dim], all keys then all values
// out   y: f32[segments, heads * head_dim]   weights: f32[tokens, heads], rows padded to a multiple of 4
// grid  one workgroup per head of a segment, heads first, folded into two dimensions
// math  f32, largest logit subtracted; |gpu - reference| <= 2e-5 max(1, |y|) for logits up to ±50
// twin  src/kernels/pooling_attention.rs

struct PoolingAttentionShape {
    heads: u32,
    // Size of a head in vec4s, at most 32.
    head4: u32,
    // head_dim^-½
    scale: f32,
}

@group(0) @binding(0) var<uniform> shape: PoolingAttentionShape;
@group(0) @binding(2) var<storage, read> offsets: array<u32>;
@group(0) @binding(3) var<storage, read> query: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> kv: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> weights: array<f32>;

// Sums of weight times value over part of the tokens.
var<workgroup> partial_value: array<vec4<f32>, WORKGROUP>;

@compute @workgroup_size(64)
fn pooling_attention(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_index(id, grid);
    let segment = index / shape.heads;
    let head = index % shape.heads;
    if segment >= counts.segments {
        return;
    }
    let begin = offsets[segment];
    let end = offsets[segment + 1u];
    normalized_weights(local, head, begin, end);
    // Every invocation is about to read weights that others have written.
    storageBarrier();
    weighted_values(local, segment, head, begin, end);
}

// Writes softmax(scale q Kᵀ) for one head. Each invocation only ever touches its own tokens' weights.
fn normalized_weights(local: u32, head: u32, begin: u32, end: u32) {
    let row = weights_row();
    var largest = -3.4e38;
    // The weights' own memory holds first logits, then exponentials: a segment may have any number of tokens.
    for (var token = begin + local; token < end; token += WORKGROUP) {
        let logit = shape.scale * query_dot_key(head, token);
        weights[token * row + head] = logit;
        largest = max(largest, logit);
    }
    largest = workgroup_max(local, largest);
    var sum = 0.0;
    for (var token = begin + local; token < end; token += WORKGROUP) {
        let weight = exp(weights[token * row + head] - largest);
        weights[token * row + head] = weight;
        sum += weight;
    }
    let scale = 1.0 / workgroup_sum(local, sum);
    for (var token = begin + local; token < end; token += WORKGROUP) {
        weights[token * row + head] *= scale;
    }
}

// Four partial sums, added up at the end: shorter chains of additions lose less.
fn query_dot_key(head: u32, token: u32) -> f32 {
    let key = token * 2u * shape.heads * shape.head4 + head * shape.head4;
    var sum = vec4<f32>();
    for (var d = 0u; d < shape.head4; d++) {
        sum += query[head * shape.head4 + d] * kv[key + d];
    }
    return dot(sum, vec4<f32>(1.0));
}

// Writes a V for one head: invocations are spread over the head's columns and, as far as they reach, over its tokens.
fn weighted_values(local: u32, segment: u32, head: u32, begin: u32, end: u32) {
    let row = weights_row();
    let kv_row = 2u * shape.heads * shape.head4;
    let column = local % shape.head4;
    let lanes = WORKGROUP / shape.head4;
    let lane = local / shape.head4;
    var sum = vec4<f32>();
    // Invocations that make no whole lane have nothing to add.
    if lane < lanes {
        for (var token = begin + lane; token < end; token += lanes) {
            sum += weights[token * row + head] * kv[token * kv_row + (shape.heads + head) * shape.head4 + column];
        }
    }
    partial_value[local] = sum;
    workgroupBarrier();
    // The first lane adds up the others.
    if lane == 0u {
        for (var other = 1u; other < lanes; other++) {
            sum += partial_value[other * shape.head4 + column];
        }
        y[(segment * shape.heads + head) * shape.head4 + column] = sum;
    }
}

// Rows of every matrix begin at a multiple of 4 values.
fn weights_row() -> u32 {
    return (shape.heads + 3u) / 4u * 4u;
}

