// attention — per segment and head: y = softmax(scale Q Kᵀ) V, keys taken in tiles with a running maximum and sum (online softmax)
//
// in    tiles: (first query, begin, end)[query_tiles], token ranges   qkv: f32[tokens, 3 * heads * head_dim], queries, keys, values
// out   y: f32[tokens, heads * head_dim]
// grid  one workgroup per head of a tile of 32 queries of one segment, heads first, folded into two dimensions
// math  f32; |gpu - reference| <= 5e-5 max(1, |y|) for logits up to ±50
// twin  src/kernels/attention.rs
//
// Online softmax: Milakov and Gimelshein, arXiv 1805.02867; in tiles: Dao et al., arXiv 2205.14135.

struct AttentionShape {
    heads: u32,
    // head_dim^-½
    scale: f32,
}

// Queries `first` to `first` + 31 that lie before `end`; their segment's tokens are `begin` to `end`.
struct QueryTile {
    first: u32,
    begin: u32,
    end: u32,
}

@group(0) @binding(0) var<uniform> shape: AttentionShape;
@group(0) @binding(2) var<storage, read> tiles: array<QueryTile>;
@group(0) @binding(3) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

// Size of a head in vec4s; known when the pipeline is made, so that accumulators can stay in registers.
override head4: u32 = 16u;

// Queries and keys in a tile, and columns in a chunk of a head: 12 KiB of workgroup memory, the weights included.
const TILE = 32u;
const QUADS = 8u;
// Chunks of 32 columns that the largest head (128) has.
const MAX_CHUNKS = 4u;
// Far below any logit, yet finite: the difference of two infinities would be NaN.
const MASKED = -1e30;

// 32 columns of the queries and keys, transposed: [column][token / 4]. `k_or_v` later holds values: [token][column / 4].
var<workgroup> q_chunk: array<array<vec4<f32>, QUADS>, TILE>;
var<workgroup> k_or_v: array<array<vec4<f32>, QUADS>, TILE>;
// Unnormalised weights: [key][query / 4].
var<workgroup> weights: array<array<vec4<f32>, QUADS>, TILE>;
// One value per four queries from each of eight invocations.
var<workgroup> partial: array<array<vec4<f32>, QUADS>, QUADS>;

@compute @workgroup_size(64)
fn attention(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_index(id, grid);
    if index / shape.heads >= counts.query_tiles {
        return;
    }
    let tile = tiles[index / shape.heads];
    let head = index % shape.heads;
    // An invocation owns four queries, and of each key tile four keys; of y, the columns in vec4s `quad_col` + 0, 8, 16, 24.
    let quad_row = local / QUADS;
    let quad_col = local % QUADS;
    // Sums of weight times value so far, all relative to `largest`, the largest logit so far of each query.
    var values: array<mat4x4<f32>, MAX_CHUNKS>;
    var largest = vec4<f32>(MASKED);
    var sum = vec4<f32>();
    for (var first_key = tile.begin; first_key < tile.end; first_key += TILE) {
        let logits = tile_logits(local, tile, first_key, head);
        let tile_largest = row_max(quad_row, quad_col, column_max(logits));
        let new_largest = max(largest, tile_largest);
        // What earlier tiles have summed up was relative to a smaller maximum.
        let rescale = exp(largest - new_largest);
        largest = new_largest;
        let exponentials = mat4x4<f32>(
            exp(logits[0] - largest), exp(logits[1] - largest), exp(logits[2] - largest), exp(logits[3] - largest),
        );
        // Each invocation sums its own keys; the eight that share a query are added up at the end.
        sum = sum * rescale + exponentials[0] + exponentials[1] + exponentials[2] + exponentials[3];
        weights[quad_col * 4u][quad_row] = exponentials[0];
        weights[quad_col * 4u + 1u][quad_row] = exponentials[1];
        weights[quad_col * 4u + 2u][quad_row] = exponentials[2];
        weights[quad_col * 4u + 3u][quad_row] = exponentials[3];
        for (var chunk = 0u; chunk * QUADS < head4; chunk++) {
            // This overwrites the keys, which nobody reads after `row_max`.
            load_values(local, tile, first_key, head, chunk);
            workgroupBarrier();
            var product = mat4x4<f32>(
                rescale.x * values[chunk][0], rescale.y * values[chunk][1], rescale.z * values[chunk][2], rescale.w * values[chunk][3],
            );
            for (var key = 0u; key < TILE; key++) {
                product += outer(weights[key][quad_row], k_or_v[key][quad_col]);
            }
            values[chunk] = product;
            workgroupBarrier();
        }
    }
    // At least one term of each sum is exp(0), so nothing divides by zero.
    let scale = 1.0 / row_sum(quad_row, quad_col, sum);
    for (var chunk = 0u; chunk * QUADS < head4; chunk++) {
        let column = chunk * QUADS + quad_col;
        for (var i = 0u; i < 4u; i++) {
            let query = tile.first + quad_row * 4u + i;
            if query < tile.end && column < head4 {
                y[(query * shape.heads + head) * head4 + column] = values[chunk][i] * scale[i];
            }
        }
    }
}

// Logits of the invocation's four keys (columns) for its four queries (components). Keys beyond the segment are masked.
fn tile_logits(local: u32, tile: QueryTile, first_key: u32, head: u32) -> mat4x4<f32> {
    let quad_row = local / QUADS;
    let quad_col = local % QUADS;
    var logits = mat4x4<f32>();
    for (var chunk = 0u; chunk * QUADS < head4; chunk++) {
        // Here an invocation moves a 4 x 4 block: four tokens by one vec4 of columns.
        let column = chunk * QUADS + quad_col;
        let queries = transpose(four_tokens(tile.first + quad_row * 4u, tile.end, head, column));
        let keys = transpose(four_tokens(first_key + quad_row * 4u, tile.end, shape.heads + head, column));
        for (var i = 0u; i < 4u; i++) {
            q_chunk[quad_col * 4u + i][quad_row] = queries[i] * shape.scale;
            k_or_v[quad_col * 4u + i][quad_row] = keys[i];
        }
        workgroupBarrier();
        for (var d = 0u; d < TILE; d++) {
            logits += outer(k_or_v[d][quad_col], q_chunk[d][quad_row]);
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i++) {
        if first_key + quad_col * 4u + i >= tile.end {
            logits[i] = vec4<f32>(MASKED);
        }
    }
    return logits;
}

// One vec4 of columns from four tokens. `part` counts heads through queries, keys and values. Tokens beyond the segment repeat its
// last, which keeps them finite; columns beyond the head are zero.
fn four_tokens(token: u32, end: u32, part: u32, column: u32) -> mat4x4<f32> {
    if column >= head4 {
        return mat4x4<f32>();
    }
    return mat4x4<f32>(
        qkv[qkv_index(min(token, end - 1u), part) + column],
        qkv[qkv_index(min(token + 1u, end - 1u), part) + column],
        qkv[qkv_index(min(token + 2u, end - 1u), part) + column],
        qkv[qkv_index(min(token + 3u, end - 1u), part) + column],
    );
}

// Values of a key tile, 32 columns of them, go to workgroup memory as they are.
fn load_values(local: u32, tile: QueryTile, first_key: u32, head: u32, chunk: u32) {
    let key = local / QUADS * 4u;
    let block = four_tokens(first_key + key, tile.end, 2u * shape.heads + head, chunk * QUADS + local % QUADS);
    for (var i = 0u; i < 4u; i++) {
        k_or_v[key + i][local % QUADS] = block[i];
    }
}

// Where a token's part of one head begins, in vec4s.
fn qkv_index(token: u32, part: u32) -> u32 {
    return (token * 3u * shape.heads + part) * head4;
}

// Largest logit of each of the four queries among the invocation's own keys.
fn column_max(m: mat4x4<f32>) -> vec4<f32> {
    return max(max(m[0], m[1]), max(m[2], m[3]));
}

// Maximum over the eight invocations that share four queries.
fn row_max(quad_row: u32, quad_col: u32, value: vec4<f32>) -> vec4<f32> {
    partial[quad_col][quad_row] = value;
    workgroupBarrier();
    var result = partial[0][quad_row];
    for (var i = 1u; i < QUADS; i++) {
        result = max(result, partial[i][quad_row]);
    }
    return result;
}

// Sum over the eight invocations that share four queries. `partial` is free: barriers of the value chunks lie between.
fn row_sum(quad_row: u32, quad_col: u32, value: vec4<f32>) -> vec4<f32> {
    partial[quad_col][quad_row] = value;
    workgroupBarrier();
    var result = partial[0][quad_row];
    for (var i = 1u; i < QUADS; i++) {
        result += partial[i][quad_row];
    }
    return result;
}

