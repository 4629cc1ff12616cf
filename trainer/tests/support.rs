//! What several test modules need: fixtures and devices.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use polyglance::image::{Grid, PatchBatch, Patches};
use polyglance::platform::block_on;
use polyglance::text::Tokens;
use polyglance::weights::Checkpoint;
use polyglance_trainer::model::Siglip;
use safetensors::SafeTensors;

/// `tests/oracle/fixtures/…`.
pub(crate) fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/fixtures").join(path)
}

/// A fixture's checkpoint as a model that records gradients.
pub(crate) fn model(name: &str, device: &Device) -> Siglip {
    let checkpoint = block_on(Checkpoint::open(&fixture(name))).expect("the fixture opens");
    Siglip::load(&checkpoint, device).expect("the fixture loads")
}

/// The CPU.
pub(crate) fn flex() -> Device {
    Device::flex().autodiff()
}

/// Whether the long tests were asked for (`cargo xtask test --full`).
pub(crate) fn full() -> bool {
    std::env::var_os("POLYGLANCE_FULL").is_some()
}

/// A wgpu device. Without a GPU, full tests take a software adapter, which has to be asked for by kind and compiles this model's kernels
/// for minutes. Otherwise prints why and returns `None`: such a test is skipped, visibly.
#[cfg(feature = "wgpu")]
pub(crate) fn wgpu() -> Option<Device> {
    use std::sync::OnceLock;

    use burn::tensor::DeviceKind;

    static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
    let open = || {
        let mut kinds = vec![DeviceKind::DiscreteGpu(0), DeviceKind::IntegratedGpu(0), DeviceKind::VirtualGpu(0)];
        kinds.extend(full().then_some(DeviceKind::Cpu));
        kinds.into_iter().find_map(|kind| Device::wgpu_options().device_kind(kind).init().ok())
    };
    let device = DEVICE.get_or_init(open).clone();
    if device.is_none() {
        println!("SKIPPED: no GPU here; POLYGLANCE_FULL=1 runs this on a software adapter, if there is one");
    }
    device.map(Device::autodiff)
}

/// A fixture's tensors.
pub(crate) struct Numbers(Vec<u8>);

impl Numbers {
    pub(crate) fn open(path: &str) -> Self {
        Self(std::fs::read(fixture(path)).unwrap())
    }

    pub(crate) fn f32s(&self, name: &str) -> Vec<f32> {
        bytemuck::pod_collect_to_vec(SafeTensors::deserialize(&self.0).unwrap().tensor(name).unwrap().data())
    }

    fn i32s(&self, name: &str) -> Vec<i32> {
        bytemuck::pod_collect_to_vec(SafeTensors::deserialize(&self.0).unwrap().tensor(name).unwrap().data())
    }

    /// The batch whose keys end in `suffix`.
    pub(crate) fn batch(&self, suffix: &str) -> (PatchBatch, Vec<Tokens>) {
        let sides = self.i32s(&format!("grids{suffix}"));
        let grids: Vec<Grid> = sides.chunks_exact(2).map(|side| Grid { rows: side[0] as usize, cols: side[1] as usize }).collect();
        let values = self.f32s(&format!("patches{suffix}"));
        let patch_dim = values.len() / grids.iter().map(|grid| grid.patches()).sum::<usize>();
        let mut rest = values.as_slice();
        let patches = grids.into_iter().map(|grid| {
            let (values, after) = rest.split_at(grid.patches() * patch_dim);
            rest = after;
            Patches { grid, values: values.to_vec() }
        });
        let images = PatchBatch::pack(&patches.collect::<Vec<_>>());
        let ids = self.i32s(&format!("input_ids{suffix}"));
        let texts = ids.chunks_exact(64).map(|ids| Tokens { ids: ids.iter().map(|&id| id as u32).collect(), truncated: false });
        (images, texts.collect())
    }
}

/// ‖a − b‖₂ and ‖b‖₂.
pub(crate) fn norms(got: &[f32], want: &[f32]) -> (f64, f64) {
    assert_eq!(got.len(), want.len(), "numbers of values differ");
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let difference = norm(&mut got.iter().zip(want).map(|(&a, &b)| f64::from(a) - f64::from(b)));
    (difference, norm(&mut want.iter().map(|&value| f64::from(value))))
}
