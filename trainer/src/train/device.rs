//! Devices by name.

use burn::tensor::Device;

use super::TrainError;
use crate::recipe::DeviceKind;

/// Opens a device, without automatic differentiation. A GPU is preferred; a software adapter is taken if there is nothing else.
///
/// # Errors
/// The program was built without this kind, or the machine lacks it.
pub fn open_device(kind: DeviceKind) -> Result<Device, TrainError> {
    match kind {
        DeviceKind::Flex => Ok(Device::flex()),
        #[cfg(feature = "wgpu")]
        DeviceKind::Wgpu => adapter(burn::tensor::wgpu::WgpuBackend::Auto),
        #[cfg(feature = "vulkan")]
        DeviceKind::Vulkan => adapter(burn::tensor::wgpu::WgpuBackend::Vulkan),
        #[cfg(feature = "metal")]
        DeviceKind::Metal => adapter(burn::tensor::wgpu::WgpuBackend::Metal),
        #[cfg(feature = "cuda")]
        DeviceKind::Cuda => Ok(Device::cuda(0)),
        #[cfg(not(all(feature = "wgpu", feature = "vulkan", feature = "metal", feature = "cuda")))]
        other => {
            let feature = format!("{other:?}").to_lowercase();
            Err(TrainError::Device(format!("this program was built without {feature}; build it with --features {feature}")))
        }
    }
}

#[cfg(feature = "wgpu")]
fn adapter(api: burn::tensor::wgpu::WgpuBackend) -> Result<Device, TrainError> {
    use burn::tensor::DeviceKind as Adapter;

    let kinds = [Adapter::DiscreteGpu(0), Adapter::IntegratedGpu(0), Adapter::VirtualGpu(0), Adapter::Cpu];
    let open = |kind| Device::wgpu_options().device_kind(kind).graphics_api(api).init().ok();
    kinds.into_iter().find_map(open).ok_or_else(|| TrainError::Device(format!("no {api:?} adapter was found; use device.kind = \"flex\"")))
}
