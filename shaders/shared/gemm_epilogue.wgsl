// gemm_epilogue — operands that all variants of gemm share, and what happens to a sum before it is stored
//
// in    sum: f32[4], neighbouring values of x Wᵀ        out  y = sum + b | gelu(sum + b) | y + sum + b

struct GemmShape {
    // 0: x and y have a row per token; 1: per segment.
    rows_of: u32,
    // Columns of y and of x, in vec4s.
    n4: u32,
    k4: u32,
}

@group(0) @binding(0) var<uniform> shape: GemmShape;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

// Four neighbouring values of one row of x; zero beyond the live rows and the columns.
fn x_quad(row: u32, k4: u32) -> vec4<f32> {
    if row >= live_rows(shape.rows_of) || k4 >= shape.k4 {
        return vec4<f32>();
    }
    return x[row * shape.k4 + k4];
}

// Which epilogue: known when the pipeline is made, so that the others cost nothing.
const STORE = 0u;
const GELU = 1u;
const ACCUMULATE = 2u;
override epilogue: u32 = STORE;

// Stores four neighbouring columns of one row, unless they lie beyond the live rows or the columns.
fn store(row: u32, col4: u32, sum: vec4<f32>) {
    if row >= live_rows(shape.rows_of) || col4 >= shape.n4 {
        return;
    }
    let index = row * shape.n4 + col4;
    let value = sum + bias[col4];
    if epilogue == GELU {
        y[index] = gelu_tanh(value);
    } else if epilogue == ACCUMULATE {
        y[index] += value;
    } else {
        y[index] = value;
    }
}

// 0.5 v (1 + tanh(√(2/π) (v + 0.044715 v³))). Some drivers compute tanh from exponentials that overflow to NaN, hence the clamp;
// beyond ±10 tanh is ±1 in f32. The cubed value is clamped too, as it overflows for |v| > 7e12.
fn gelu_tanh(v: vec4<f32>) -> vec4<f32> {
    let c = clamp(v, vec4<f32>(-20.0), vec4<f32>(20.0));
    let inner = 0.7978845608 * (c + 0.044715 * c * c * c);
    return 0.5 * v * (1.0 + tanh(clamp(inner, vec4<f32>(-10.0), vec4<f32>(10.0))));
}
