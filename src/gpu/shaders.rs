//! The table of shaders: each kernel's WGSL as it goes to the driver.

/// One assembled shader. It has one entry point, whose uniform is at binding 0 and whose [`Counts`](super::uniforms::Counts) at 1.
pub(super) struct Shader {
    /// Kernel and variant; unique.
    pub(super) name: &'static str,
    /// The kernel's file, then the files it includes.
    pub(super) wgsl: &'static str,
}

/// Names a shader and joins its files. WGSL does not care about the order of declarations, so the kernel, with its header, comes first.
macro_rules! shader {
    ($name:literal = $kernel:literal $(+ $shared:literal)*) => {
        Shader {
            name: $name,
            wgsl: concat!(
                include_str!(concat!("../../shaders/", $kernel, ".wgsl")),
                $(include_str!(concat!("../../shaders/shared/", $shared, ".wgsl")),)*
            ),
        }
    };
}

// One line a shader; files are in `shaders/` and, after the first, in `shaders/shared/`.
pub(super) static GEMM_F32: Shader = shader!("gemm.f32" = "gemm" + "gemm_epilogue" + "weight_f32" + "outer" + "batch");
pub(super) static GEMM_F16: Shader = shader!("gemm.f16" = "gemm" + "gemm_epilogue" + "weight_f16" + "outer" + "batch");
pub(super) static GEMM_DIRECT_F32: Shader = shader!("gemm_direct.f32" = "gemm_direct" + "gemm_epilogue" + "weight_f32" + "batch");
pub(super) static GEMM_DIRECT_F16: Shader = shader!("gemm_direct.f16" = "gemm_direct" + "gemm_epilogue" + "weight_f16" + "batch");
pub(super) static GEMM_COOPERATIVE_8: Shader =
    shader!("gemm_cooperative.8" = "gemm_cooperative" + "cooperative_8" + "gemm_epilogue" + "weight_f16" + "batch");
pub(super) static GEMM_COOPERATIVE_16: Shader =
    shader!("gemm_cooperative.16" = "gemm_cooperative" + "cooperative_16" + "gemm_epilogue" + "weight_f16" + "batch");
pub(super) static LAYER_NORM: Shader = shader!("layer_norm" = "layer_norm" + "reduce" + "batch");
pub(super) static ATTENTION: Shader = shader!("attention" = "attention" + "outer" + "batch");
pub(super) static POOLING_ATTENTION: Shader = shader!("pooling_attention" = "pooling_attention" + "reduce" + "batch");
pub(super) static SELECT_LAST: Shader = shader!("select_last" = "select_last" + "batch");
pub(super) static L2_NORMALIZE: Shader = shader!("l2_normalize" = "l2_normalize" + "reduce" + "batch");

pub(super) static SCORES_TOP_K_F32: Shader = shader!("scores_top_k.f32" = "scores_top_k" + "weight_f32" + "batch");
pub(super) static SCORES_TOP_K_F16: Shader = shader!("scores_top_k.f16" = "scores_top_k" + "weight_f16" + "batch");
pub(super) static IMAGE_TO_PATCHES: Shader = shader!("image_to_patches" = "image_to_patches" + "taps" + "batch");
pub(super) static RESIZE_COLUMNS: Shader = shader!("resize_columns" = "resize_columns" + "taps" + "batch");

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use naga::valid::{Capabilities, ValidationFlags, Validator};

    use super::*;
    use crate::gpu::uniforms;

    static ALL: [&Shader; 15] = [
        &GEMM_F32,
        &GEMM_F16,
        &GEMM_DIRECT_F32,
        &GEMM_DIRECT_F16,
        &GEMM_COOPERATIVE_8,
        &GEMM_COOPERATIVE_16,
        &LAYER_NORM,
        &ATTENTION,
        &POOLING_ATTENTION,
        &SELECT_LAST,
        &L2_NORMALIZE,
        &SCORES_TOP_K_F32,
        &SCORES_TOP_K_F16,
        &IMAGE_TO_PATCHES,
        &RESIZE_COLUMNS,
    ];

    /// Parses what the driver will get, and shows the offending line if it cannot be parsed.
    fn parse(shader: &Shader) -> naga::Module {
        naga::front::wgsl::parse_str(shader.wgsl)
            .unwrap_or_else(|error| panic!("{}", error.emit_to_string_with_path(shader.wgsl, shader.name)))
    }

    #[test]
    fn every_shader_is_valid_and_needs_no_more_than_it_may() {
        // naga counts `unpack2x16float` as optional because old OpenGL lacks it; in WebGPU it is not.
        let baseline = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
        let cooperative = baseline | Capabilities::COOPERATIVE_MATRIX | Capabilities::SHADER_FLOAT16 | Capabilities::SUBGROUP;
        for shader in ALL {
            let module = parse(shader);
            let allowed = if shader.name.starts_with("gemm_cooperative") { cooperative } else { baseline };
            let valid = Validator::new(ValidationFlags::all(), allowed).validate(&module);
            valid.unwrap_or_else(|error| panic!("{}: {}", shader.name, error.emit_to_string(shader.wgsl)));
            let [entry] = module.entry_points.as_slice() else { panic!("{} has several entry points", shader.name) };
            assert_eq!(shader.name.split('.').next(), Some(entry.name.as_str()));
            assert!(entry.workgroup_size.iter().product::<u32>() <= 256, "{}", shader.name);
        }
    }

    #[test]
    fn every_shader_keeps_to_baseline_limits_and_binds_in_order() {
        for shader in ALL {
            let module = parse(shader);
            let mut layouter = naga::proc::Layouter::default();
            layouter.update(module.to_ctx()).unwrap();
            let bytes_in = |space| {
                let variables = module.global_variables.iter().filter(move |(_, variable)| variable.space == space);
                variables.map(|(_, variable)| layouter[variable.ty].size).sum::<u32>()
            };
            assert!(bytes_in(naga::AddressSpace::WorkGroup) <= 16 << 10, "{}", shader.name);
            let mut bindings: Vec<u32> = module.global_variables.iter().filter_map(|(_, v)| v.binding.map(|b| b.binding)).collect();
            bindings.sort_unstable();
            assert_eq!(bindings, (0..bindings.len() as u32).collect::<Vec<_>>(), "{}", shader.name);
            assert!(bindings.len() <= 2 + 8, "{} binds more than 8 storage buffers", shader.name);
        }
    }

    /// Compares a struct with the WGSL struct of the same name: size, and each field's name and offset.
    macro_rules! assert_layout {
        ($shader:expr, $ty:ident { $($field:ident),* }) => {
            let module = parse($shader);
            let (_, ty) = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some(stringify!($ty))).unwrap();
            let naga::TypeInner::Struct { members, span } = &ty.inner else { panic!("{} is no struct", stringify!($ty)) };
            let theirs: Vec<_> = members.iter().map(|member| (member.name.as_deref().unwrap(), member.offset as usize)).collect();
            assert_eq!(theirs, [$((stringify!($field), offset_of!(uniforms::$ty, $field))),*]);
            assert_eq!(*span as usize, size_of::<uniforms::$ty>());
        };
    }

    #[test]
    fn uniforms_are_laid_out_as_the_shaders_read_them() {
        assert_layout!(&SELECT_LAST, Counts { tokens, segments, query_tiles });
        assert_layout!(&GEMM_F32, GemmShape { rows_of, n4, k4 });
        assert_layout!(&LAYER_NORM, LayerNormShape { rows_of, dim, eps });
        assert_layout!(&ATTENTION, AttentionShape { heads, scale });
        assert_layout!(&ATTENTION, QueryTile { first, begin, end });
        assert_layout!(&POOLING_ATTENTION, PoolingAttentionShape { heads, head4, scale });
        assert_layout!(&SELECT_LAST, SelectLastShape { dim });
        assert_layout!(&L2_NORMALIZE, L2NormalizeShape { dim });
        assert_layout!(&SCORES_TOP_K_F32, ScoresTopKShape { rows, dim4, kept });
        assert_layout!(&IMAGE_TO_PATCHES, ImageToPatchesShape { cols, patch_size });
        assert_layout!(&RESIZE_COLUMNS, ResizeColumnsShape { source_width, target_width });
        assert_layout!(&IMAGE_TO_PATCHES, Taps { first, begin, end, shift });
    }

    #[test]
    fn tiles_match_the_host() {
        for (shader, tile) in [(&ATTENTION, uniforms::QUERY_TILE), (&SCORES_TOP_K_F32, uniforms::RANKED_ROWS)] {
            let declared = format!("const TILE = {tile}u;");
            assert!(shader.wgsl.contains(&declared), "{}: {declared} is missing", shader.name);
        }
    }
}
