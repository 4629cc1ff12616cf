// scores_top_k — per query and tile of 512 rows: s[r] = Σ_i q[i] W[r,i], the highest first, of equal ones the lower row first
//
// in    queries: f32[segments, dim]   weight: f32 or f16[rows, dim]
// out   hits: (score: f32, row: u32)[segments, tiles, kept]; row is 2^32 - 1 where a tile has fewer
// grid  one workgroup per query of a tile, queries first, folded into two dimensions
// math  f32; |gpu - reference| <= 2e-6 for vectors of unit length; with f16 rows the reference has them rounded
// twin  src/kernels/scores_top_k.rs
//
// The host merges the tiles' hits, as it must merge those of several tables anyway.

struct ScoresTopKShape {
    rows: u32,
    // Size of a vector, in vec4s.
    dim4: u32,
    // Hits per tile: k or a whole tile.
    kept: u32,
}

@group(0) @binding(0) var<uniform> shape: ScoresTopKShape;
@group(0) @binding(2) var<storage, read> queries: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> hits: array<vec2<u32>>;

const WORKGROUP = 256u;
const TILE = 512u;
// Invocations that share a row, so that they read neighbouring memory, and rows that are scored together: four per such group.
const LANES = 16u;
const STRIP_QUADS = WORKGROUP / LANES;
const STRIP = STRIP_QUADS * 4u;
// Below any score, yet finite: drivers need not honour infinities.
const LOWEST = -3.4e38;
const NO_ROW = 0xffffffffu;

// 8 KiB: part of each dot product of a strip from each lane, [lane][row / 4]; then the ranking.
var<workgroup> partial: array<array<vec4<f32>, STRIP_QUADS>, LANES>;
var<workgroup> scores: array<f32, TILE>;
var<workgroup> rows: array<u32, TILE>;

@compute @workgroup_size(256)
fn scores_top_k(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_index(id, grid);
    // Neighbours share a tile, which the second of them finds in the cache.
    let segment = index % counts.segments;
    let tile = index / counts.segments;
    let first_row = tile * TILE;
    if first_row >= shape.rows {
        return;
    }
    let count = min(TILE, shape.rows - first_row);
    for (var strip = 0u; strip < count; strip += STRIP) {
        score_strip(local, segment, first_row, strip);
    }
    // As many places as the sorting network needs: a power of two, at least one strip.
    var places = STRIP;
    for (; places < count; places *= 2u) {}
    // What lies beyond the last strip that was scored ranks last.
    for (var place = (count + STRIP - 1u) / STRIP * STRIP + local; place < places; place += WORKGROUP) {
        scores[place] = LOWEST;
        rows[place] = NO_ROW;
    }
    sort(local, places);
    let tiles = (shape.rows + TILE - 1u) / TILE;
    let first_hit = (segment * tiles + tile) * shape.kept;
    for (var place = local; place < shape.kept; place += WORKGROUP) {
        let exists = place < places;
        let hit = vec2<u32>(bitcast<u32>(scores[min(place, TILE - 1u)]), rows[min(place, TILE - 1u)]);
        hits[first_hit + place] = select(vec2<u32>(0u, NO_ROW), hit, exists);
    }
}

// Scores the rows of one strip.
fn score_strip(local: u32, segment: u32, first_row: u32, strip: u32) {
    let lane = local % LANES;
    let quad = local / LANES;
    let row = first_row + strip + quad * 4u;
    var sums = vec4<f32>();
    // The table is padded to a multiple of four rows.
    if row < shape.rows {
        let first = row * shape.dim4;
        for (var c = lane; c < shape.dim4; c += LANES) {
            // A row vector times this matrix is its dot product with each of four rows.
            let block = mat4x4<f32>(
                load_weight(first + c),
                load_weight(first + shape.dim4 + c),
                load_weight(first + 2u * shape.dim4 + c),
                load_weight(first + 3u * shape.dim4 + c),
            );
            sums += queries[segment * shape.dim4 + c] * block;
        }
    }
    partial[lane][quad] = sums;
    workgroupBarrier();
    if local < STRIP {
        var score = 0.0;
        for (var i = 0u; i < LANES; i++) {
            score += partial[i][local / 4u][local % 4u];
        }
        // NaN is told by its bits, because comparisons may be compiled as if there were none.
        let exists = first_row + strip + local < shape.rows && (bitcast<u32>(score) & 0x7fffffffu) <= 0x7f800000u;
        scores[strip + local] = select(LOWEST, score, exists);
        rows[strip + local] = select(NO_ROW, first_row + strip + local, exists);
    }
    // The next strip overwrites `partial`.
    workgroupBarrier();
}

// Batcher's bitonic network: sequences of `size`, alternately falling and rising, are merged until one is left, which falls.
fn sort(local: u32, places: u32) {
    for (var size = 2u; size <= places; size *= 2u) {
        for (var step = size / 2u; step > 0u; step /= 2u) {
            workgroupBarrier();
            if local < places / 2u {
                let a = local / step * step * 2u + local % step;
                let b = a + step;
                let falls = (a & size) == 0u;
                if is_better(b, a) == falls {
                    let score = scores[a];
                    scores[a] = scores[b];
                    scores[b] = score;
                    let row = rows[a];
                    rows[a] = rows[b];
                    rows[b] = row;
                }
            }
        }
    }
    workgroupBarrier();
}

// Places hold different rows, except those without any, whose order does not matter.
fn is_better(a: u32, b: u32) -> bool {
    return scores[a] > scores[b] || (scores[a] == scores[b] && rows[a] < rows[b]);
}
