//! Choosing an adapter, opening its device, and turning every way a driver reports trouble into a [`GpuError`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{GemmVariant, GpuError};

/// Which adapter to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdapterChoice {
    /// The fastest hardware adapter. Never a software one: the CPU backend is 50 times faster than those.
    #[default]
    Auto,
    /// The fastest adapter of any kind.
    Any,
    /// The first adapter whose name contains this, whatever its case. It may be a software one.
    Named(String),
}

/// What is known about an adapter.
#[derive(Clone, Debug)]
pub struct AdapterSummary {
    /// Name, such as "NVIDIA H100"; browsers may hide it.
    pub name: String,
    /// Interface it is driven through.
    pub backend: wgpu::Backend,
    /// Name and version of the driver, if known.
    pub driver: String,
    /// Discrete, integrated, software (`Cpu`) or unknown (`Other`, which is what browsers say of hardware).
    pub device_type: wgpu::DeviceType,
    /// Optional features it has.
    pub features: wgpu::Features,
    /// Limits it supports.
    pub limits: wgpu::Limits,
    /// Sides of the square matrices that its matrix units multiply, f16 × f16 added up in f32. Empty without such units, in browsers,
    /// and on a device that was opened without them.
    pub matrix_sides: Vec<u32>,
}

impl AdapterSummary {
    fn of(adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        let driver = format!("{} {}", info.driver, info.driver_info).trim().to_owned();
        let name = if info.name.is_empty() { "(unnamed)".to_owned() } else { info.name };
        let (features, limits) = (adapter.features(), adapter.limits());
        // Mesa's software driver announces matrices that its own vectors are too short for, and wgpu panics when asked for them.
        let usable = features.contains(COOPERATIVE) && info.subgroup_max_size >= 8;
        let matrix_sides = if usable { matrix_sides(&adapter.cooperative_matrix_properties()) } else { Vec::new() };
        Self { name, backend: info.backend, driver, device_type: info.device_type, features, limits, matrix_sides }
    }

    /// Whether it computes on the CPU.
    pub fn is_software(&self) -> bool {
        self.device_type == wgpu::DeviceType::Cpu
    }

    /// Smaller is better: software last, and the integrated adapter of a laptop after its discrete one.
    fn rank(&self) -> u8 {
        match self.device_type {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::Other => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::IntegratedGpu => 3,
            wgpu::DeviceType::Cpu => 4,
        }
    }
}

/// What `gemm_cooperative` needs of a device.
const COOPERATIVE: wgpu::Features =
    wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(wgpu::Features::SHADER_F16).union(wgpu::Features::SUBGROUP);

fn matrix_sides(shapes: &[wgpu::CooperativeMatrixProperties]) -> Vec<u32> {
    use wgpu::CooperativeScalarType::{F16, F32};
    let usable = |shape: &&wgpu::CooperativeMatrixProperties| {
        shape.ab_type == F16 && shape.cr_type == F32 && shape.m_size == shape.n_size && shape.n_size == shape.k_size
    };
    shapes.iter().filter(usable).map(|shape| shape.m_size).collect()
}

impl std::fmt::Display for AdapterSummary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}, {:?}", self.name, self.backend, self.device_type)?;
        if self.driver.is_empty() { write!(f, ")") } else { write!(f, ", {})", self.driver) }
    }
}

/// Every adapter of this machine, the one that [`AdapterChoice::Any`] takes first. A browser shows at most one.
pub async fn adapters() -> Vec<AdapterSummary> {
    enumerate().await.into_iter().map(|(_, summary)| summary).collect()
}

async fn enumerate() -> Vec<(wgpu::Adapter, AdapterSummary)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = if cfg!(target_family = "wasm") {
        let options = wgpu::RequestAdapterOptions { power_preference: wgpu::PowerPreference::HighPerformance, ..Default::default() };
        instance.request_adapter(&options).await.into_iter().collect()
    } else {
        instance.enumerate_adapters(wgpu::Backends::all()).await
    };
    let with_summary = |adapter: wgpu::Adapter| {
        let summary = AdapterSummary::of(&adapter);
        (adapter, summary)
    };
    let mut adapters: Vec<_> = adapters.into_iter().map(with_summary).collect();
    adapters.sort_by_key(|(_, summary)| summary.rank());
    adapters
}

async fn choose(choice: &AdapterChoice) -> Result<(wgpu::Adapter, AdapterSummary), GpuError> {
    let adapters = enumerate().await;
    let found = adapters.iter().map(|(_, summary)| summary.to_string()).collect();
    let wanted = match choice {
        AdapterChoice::Auto => "that is hardware".to_owned(),
        AdapterChoice::Any => "of any kind".to_owned(),
        AdapterChoice::Named(name) => format!("named \"{name}\""),
    };
    let fits = |summary: &AdapterSummary| match choice {
        AdapterChoice::Auto => !summary.is_software(),
        AdapterChoice::Any => true,
        AdapterChoice::Named(name) => summary.name.to_lowercase().contains(&name.to_lowercase()),
    };
    adapters.into_iter().find(|(_, summary)| fits(summary)).ok_or(GpuError::NoAdapter { wanted, found })
}

/// A failure that tests can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The device is destroyed at once, as a driver reset would.
    DeviceLost,
    /// The next upload or run finds no memory.
    OutOfMemory,
    /// From now on plans that run with this variant compute nonsense, as if the driver had miscompiled it.
    Miscompiled(GemmVariant),
}

/// An open device with its queue and its health.
pub(super) struct Device {
    pub(super) raw: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) summary: AdapterSummary,
    lost: Arc<Mutex<Option<String>>>,
    starved: AtomicBool,
    miscompiled: Mutex<Vec<GemmVariant>>,
}

impl Device {
    /// Opens the chosen adapter's device with the adapter's own limits on memory and WebGPU's defaults for everything else, except for
    /// its matrix units if they are asked for.
    pub(super) async fn open(choice: &AdapterChoice, matrix_units: bool) -> Result<Self, GpuError> {
        let (adapter, mut summary) = choose(choice).await?;
        let required_limits = wgpu::Limits {
            max_buffer_size: summary.limits.max_buffer_size,
            max_storage_buffer_binding_size: summary.limits.max_storage_buffer_binding_size,
            ..wgpu::Limits::default()
        };
        let mut descriptor = wgpu::DeviceDescriptor { label: Some("polyglance"), required_limits, ..Default::default() };
        if !matrix_units {
            summary.matrix_sides.clear();
        } else if !summary.matrix_sides.is_empty() {
            descriptor.required_features = COOPERATIVE;
            // SAFETY: the experiment that is used is cooperative matrices, in `gemm_cooperative.wgsl` alone. Its loads and stores stay
            // within workgroup memory, whose sizes follow from the matrices' side, and all invocations of a subgroup take part in each.
            descriptor.experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
        }
        let opened = adapter.request_device(&descriptor).await;
        let (raw, queue) = opened.map_err(|error| GpuError::Open { adapter: summary.to_string(), reason: error.to_string() })?;
        let lost = Arc::new(Mutex::new(None));
        let report = Arc::clone(&lost);
        raw.set_device_lost_callback(move |reason, message| {
            let message = if message.is_empty() { format!("{reason:?}") } else { message };
            report.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(message);
        });
        // The default handler panics. What no scope of `guarded` catches concerns no call, so it is only logged.
        raw.on_uncaptured_error(Arc::new(|error| tracing::error!("uncaptured GPU error: {error}")));
        Ok(Self { raw, queue, summary, lost, starved: AtomicBool::new(false), miscompiled: Mutex::default() })
    }

    /// Bytes of the largest buffer that a shader can see.
    pub(super) fn max_buffer_bytes(&self) -> u64 {
        let limits = self.raw.limits();
        limits.max_storage_buffer_binding_size.min(limits.max_buffer_size)
    }

    /// An error if the device is lost.
    pub(super) fn check_alive(&self) -> Result<(), GpuError> {
        // Native drivers tell of a loss only when asked. This does not wait; whether work is pending does not matter here.
        let _ = self.raw.poll(wgpu::PollType::Poll);
        match self.lost.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(reason) => Err(GpuError::DeviceLost(reason.clone())),
            None => Ok(()),
        }
    }

    /// Runs `work` and then waits until the driver has said whether it minded. `doing` completes "while …" in messages.
    ///
    /// The scopes open and close within one poll, because wgpu keeps them per thread and browsers per device.
    pub(super) async fn guarded<T>(&self, doing: &str, work: impl FnOnce() -> T) -> Result<T, GpuError> {
        self.check_alive()?;
        if self.starved.swap(false, Ordering::Relaxed) {
            return Err(GpuError::OutOfMemory { doing: doing.to_owned() });
        }
        let validation = self.raw.push_error_scope(wgpu::ErrorFilter::Validation);
        let internal = self.raw.push_error_scope(wgpu::ErrorFilter::Internal);
        let memory = self.raw.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let result = work();
        let scopes = [memory.pop(), internal.pop(), validation.pop()];
        for scope in scopes {
            if let Some(error) = scope.await {
                // A lost device makes every later call invalid: report the cause.
                self.check_alive()?;
                return Err(typed(doing, &error));
            }
        }
        self.check_alive()?;
        Ok(result)
    }

    pub(super) fn inject(&self, fault: Fault) {
        match fault {
            Fault::DeviceLost => self.raw.destroy(),
            Fault::OutOfMemory => self.starved.store(true, Ordering::Relaxed),
            Fault::Miscompiled(gemm) => self.miscompiled.lock().unwrap_or_else(PoisonError::into_inner).push(gemm),
        }
    }

    /// Whether [`Fault::Miscompiled`] was asked for.
    pub(super) fn miscompiles(&self, gemm: GemmVariant) -> bool {
        self.miscompiled.lock().unwrap_or_else(PoisonError::into_inner).contains(&gemm)
    }
}

fn typed(doing: &str, error: &wgpu::Error) -> GpuError {
    let doing = doing.to_owned();
    match error {
        wgpu::Error::OutOfMemory { .. } => GpuError::OutOfMemory { doing },
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            GpuError::Validation { doing, reason: description.clone() }
        }
    }
}
