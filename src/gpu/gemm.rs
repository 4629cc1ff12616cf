//! The ways to multiply matrices, as data: one table, from which pipelines, grids and the choice for an adapter follow.

use super::device::AdapterSummary;
use super::shaders::{self, Shader};
use super::weight::WeightPrecision;

/// How matrices are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GemmVariant {
    /// Straight from storage, without barriers; for software adapters.
    Direct,
    /// Tiles in workgroup memory; for hardware.
    Tiled,
    /// Matrix units that take 8 × 8 values, for f16 weights; f32 weights as [`Tiled`](Self::Tiled).
    Cooperative8,
    /// Matrix units that take 16 × 16 values, for f16 weights; f32 weights as [`Tiled`](Self::Tiled).
    Cooperative16,
}

/// What is known about a variant.
struct Traits {
    variant: GemmVariant,
    /// As in logs and in the file of choices.
    name: &'static str,
    f32: &'static Shader,
    f16: &'static Shader,
    /// Rows and columns of y that belong together, and how many such tiles a workgroup computes.
    tile: u64,
    tiles_per_workgroup: u64,
    /// Side of the matrices that the adapter's units must multiply.
    matrix_side: Option<u32>,
}

const TILED: Traits = Traits {
    variant: GemmVariant::Tiled,
    name: "tiled",
    f32: &shaders::GEMM_F32,
    f16: &shaders::GEMM_F16,
    tile: 64,
    tiles_per_workgroup: 1,
    matrix_side: None,
};

/// The likely fastest on hardware first.
static VARIANTS: [Traits; 4] = [
    Traits {
        variant: GemmVariant::Cooperative16,
        name: "cooperative_16",
        f16: &shaders::GEMM_COOPERATIVE_16,
        matrix_side: Some(16),
        ..TILED
    },
    Traits { variant: GemmVariant::Cooperative8, name: "cooperative_8", f16: &shaders::GEMM_COOPERATIVE_8, matrix_side: Some(8), ..TILED },
    TILED,
    Traits {
        variant: GemmVariant::Direct,
        name: "direct",
        f32: &shaders::GEMM_DIRECT_F32,
        f16: &shaders::GEMM_DIRECT_F16,
        tile: 4,
        tiles_per_workgroup: 64,
        ..TILED
    },
];

impl GemmVariant {
    /// Whether `adapter` has what this variant needs.
    pub fn runs_on(self, adapter: &AdapterSummary) -> bool {
        self.traits().matrix_side.is_none_or(|side| adapter.matrix_sides.contains(&side))
    }

    /// The one that needs nothing optional, which `adapter` runs until another has shown to be faster.
    ///
    /// Software adapters stay with it: barriers cost them more than anything they could win.
    pub fn plain(adapter: &AdapterSummary) -> Self {
        if adapter.is_software() { Self::Direct } else { Self::Tiled }
    }

    /// Those that are worth measuring on `adapter`. One alone needs no measuring.
    pub fn candidates(adapter: &AdapterSummary) -> Vec<Self> {
        let plain = Self::plain(adapter);
        let worthwhile = |variant: &Self| *variant == plain || (*variant != Self::Direct && !adapter.is_software());
        VARIANTS.iter().map(|traits| traits.variant).filter(|variant| variant.runs_on(adapter)).filter(worthwhile).collect()
    }

    /// Its name in logs and in the file of choices.
    pub fn name(self) -> &'static str {
        self.traits().name
    }

    /// The variant called `name`.
    #[cfg(not(target_family = "wasm"))]
    pub(super) fn named(name: &str) -> Option<Self> {
        VARIANTS.iter().find(|traits| traits.name == name).map(|traits| traits.variant)
    }

    /// The shader for weights of this precision.
    pub(super) fn shader(self, precision: WeightPrecision) -> &'static Shader {
        match precision {
            WeightPrecision::F32 => self.traits().f32,
            WeightPrecision::F16 => self.traits().f16,
        }
    }

    /// Workgroups that compute `rows` × `n` values of y: the `grid` line of the shader's header.
    pub(super) fn workgroups(self, rows: u64, n: u64) -> u64 {
        let Traits { tile, tiles_per_workgroup, .. } = self.traits();
        (rows.div_ceil(*tile) * n.div_ceil(*tile)).div_ceil(*tiles_per_workgroup)
    }

    fn traits(self) -> &'static Traits {
        let [cooperative16, cooperative8, tiled, direct] = &VARIANTS;
        match self {
            Self::Cooperative16 => cooperative16,
            Self::Cooperative8 => cooperative8,
            Self::Tiled => tiled,
            Self::Direct => direct,
        }
    }
}
