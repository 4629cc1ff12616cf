// batch — what a kernel learns about the live batch, and how its workgroups are numbered
//
// in    counts: written by the host before every run; a plan's buffers may have room for more rows than are live
// twin  src/gpu/uniforms.rs

struct Counts {
    tokens: u32,
    segments: u32,
    // Entries of attention's work list.
    query_tiles: u32,
}

@group(0) @binding(1) var<uniform> counts: Counts;

// Live rows of a matrix: `rows_of` is 0 for one row per token, 1 for one row per segment.
fn live_rows(rows_of: u32) -> u32 {
    return select(counts.tokens, counts.segments, rows_of == 1u);
}

// Grids have two dimensions because one holds only 65,535 workgroups. The last row of the grid may be incomplete, so callers
// compare the result with the amount of work.
fn workgroup_index(id: vec3<u32>, grid: vec3<u32>) -> u32 {
    return id.y * grid.x + id.x;
}
