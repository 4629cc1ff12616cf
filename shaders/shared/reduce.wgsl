// reduce — sum and maximum over the 64 invocations of a workgroup, as a tree in workgroup memory
//
// in    one value per invocation        out  the result, the same in every invocation

const WORKGROUP = 64u;
var<workgroup> partial: array<f32, WORKGROUP>;

fn workgroup_sum(local: u32, value: f32) -> f32 {
    partial[local] = value;
    workgroupBarrier();
    // Halves the number of terms in each round; additions in a tree lose less than in a row.
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        if local < half {
            partial[local] += partial[local + half];
        }
        workgroupBarrier();
    }
    let sum = partial[0];
    // The next reduction overwrites `partial`.
    workgroupBarrier();
    return sum;
}

fn workgroup_max(local: u32, value: f32) -> f32 {
    partial[local] = value;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        if local < half {
            partial[local] = max(partial[local], partial[local + half]);
        }
        workgroupBarrier();
    }
    let maximum = partial[0];
    workgroupBarrier();
    return maximum;
}
