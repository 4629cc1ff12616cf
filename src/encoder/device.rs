//! Choosing where a model runs, and keeping it running there.

use std::fmt;
use std::str::FromStr;

use super::EncoderError;
use super::backend::Loaded;
#[cfg(feature = "gpu")]
use super::backend::{Gpu, Mode};
use super::job::Job;
use crate::cpu::CpuBackend;
#[cfg(feature = "gpu")]
use crate::gpu::{AdapterChoice, Fault, GemmVariant, GpuError, WeightPrecision};
use crate::weights::Checkpoint;

/// Where to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A hardware GPU that passes the known-answer check, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// Any GPU; an error if there is none.
    Gpu,
    /// The first adapter whose name contains this.
    Named(String),
}

impl FromStr for DeviceChoice {
    type Err = std::convert::Infallible;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Ok(match name {
            "auto" => Self::Auto,
            "cpu" => Self::Cpu,
            "gpu" => Self::Gpu,
            adapter => Self::Named(adapter.to_owned()),
        })
    }
}

/// How weights are stored; sums are f32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// f32, which is exact.
    #[default]
    Auto,
    /// f32.
    F32,
    /// f16 on a GPU, at half the memory and on matrix units where they are faster. The CPU backend computes in f32 whatever is asked.
    F16,
}

impl FromStr for Precision {
    type Err = EncoderError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            other => Err(EncoderError::Precision(other.to_owned())),
        }
    }
}

/// How to open an [`Encoder`](super::Encoder).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncoderOptions {
    /// Where to run.
    pub device: DeviceChoice,
    /// How to store weights.
    pub precision: Precision,
}

/// Where a model runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceDescription {
    /// "CPU" or "GPU".
    pub backend: &'static str,
    /// Adapter, or instruction set and threads.
    pub name: String,
    /// "f32" or "f16".
    pub precision: &'static str,
    /// Why it is not what one would expect, if it is not.
    pub reason: Option<String>,
}

impl fmt::Display for DeviceDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}), {}", self.backend, self.name, self.precision)?;
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, "; {reason}"))
    }
}

/// A backend with a model, and what happens when it fails.
pub(super) struct Device {
    loaded: OnDevice,
    description: DeviceDescription,
}

enum OnDevice {
    Cpu(Loaded<CpuBackend>),
    #[cfg(feature = "gpu")]
    Gpu(Box<Loaded<Gpu>>),
}

impl Device {
    pub(super) async fn open(options: &EncoderOptions, checkpoint: &Checkpoint) -> Result<Self, EncoderError> {
        #[cfg(feature = "gpu")]
        {
            let choice = match &options.device {
                DeviceChoice::Cpu => return Ok(Self::cpu(None)),
                DeviceChoice::Auto => AdapterChoice::Auto,
                DeviceChoice::Gpu => AdapterChoice::Any,
                DeviceChoice::Named(name) => AdapterChoice::Named(name.clone()),
            };
            let precision = if options.precision == Precision::F16 { WeightPrecision::F16 } else { WeightPrecision::F32 };
            match Self::gpu(choice, Mode { precision, plain: false }, checkpoint).await {
                Err(EncoderError::Gpu(GpuError::NoAdapter { .. })) if options.device == DeviceChoice::Auto => {
                    // No hardware GPU is nothing to explain. A browser may hide the one that there is.
                    Ok(Self::cpu(cfg!(target_family = "wasm").then(|| "this browser gives pages no WebGPU".to_owned())))
                }
                Err(EncoderError::Gpu(error)) if options.device == DeviceChoice::Auto => Ok(Self::cpu(Some(error.to_string()))),
                other => other,
            }
        }
        #[cfg(not(feature = "gpu"))]
        {
            let _ = checkpoint;
            match options.device {
                DeviceChoice::Auto | DeviceChoice::Cpu => Ok(Self::cpu(None)),
                DeviceChoice::Gpu | DeviceChoice::Named(_) => Err(EncoderError::NoGpuBackend),
            }
        }
    }

    pub(super) const fn description(&self) -> &DeviceDescription {
        &self.description
    }

    fn cpu(reason: Option<String>) -> Self {
        if let Some(reason) = &reason {
            tracing::warn!("running on the CPU: {reason}");
        }
        let description = DeviceDescription { backend: "CPU", name: CpuBackend::description(), precision: "f32", reason };
        Self { loaded: OnDevice::Cpu(Loaded::new(CpuBackend::default())), description }
    }

    /// Runs a job in pieces that fit and recovers from what can be recovered from: each piece is replayed until it succeeds, on a device
    /// that is reopened once, then on the CPU.
    pub(super) async fn run(&mut self, checkpoint: &Checkpoint, job: &Job<'_>) -> Result<Vec<Vec<f32>>, EncoderError> {
        let max_tokens = match &self.loaded {
            OnDevice::Cpu(cpu) => cpu.max_tokens(&job.tower),
            #[cfg(feature = "gpu")]
            OnDevice::Gpu(gpu) => gpu.max_tokens(&job.tower),
        };
        let mut pending = job.ranges(max_tokens);
        pending.reverse();
        let mut results = vec![Vec::new(); job.outputs.len()];
        #[cfg(feature = "gpu")]
        let mut reopened = false;
        while let Some(segments) = pending.pop() {
            let attempt = match &mut self.loaded {
                OnDevice::Cpu(cpu) => cpu.run(checkpoint, job, &segments).await,
                #[cfg(feature = "gpu")]
                OnDevice::Gpu(gpu) => gpu.run(checkpoint, job, &segments).await,
            };
            match attempt {
                Ok(outputs) => results.iter_mut().zip(outputs).for_each(|(all, part)| all.extend(part)),
                #[cfg(feature = "gpu")]
                Err(error) => match self.recover(checkpoint, job, error, segments.len(), &mut reopened).await? {
                    Retry::Whole => pending.push(segments),
                    Retry::Halves => {
                        let middle = segments.start + segments.len() / 2;
                        pending.extend([middle..segments.end, segments.start..middle]);
                    }
                },
                #[cfg(not(feature = "gpu"))]
                Err(error) => return Err(error),
            }
        }
        Ok(results)
    }
}

/// How to go on after a failure.
#[cfg(feature = "gpu")]
enum Retry {
    Whole,
    Halves,
}

#[cfg(feature = "gpu")]
impl Device {
    /// Largest relative error that the known-answer check accepts. Sums run in another order than on the CPU; f16 keeps 11 bits.
    const fn tolerance(precision: WeightPrecision) -> f32 {
        match precision {
            WeightPrecision::F32 => 1e-4,
            WeightPrecision::F16 => 1e-2,
        }
    }

    async fn gpu(choice: AdapterChoice, mode: Mode, checkpoint: &Checkpoint) -> Result<Self, EncoderError> {
        Self::checked(Gpu::open(choice, mode).await?, checkpoint).await
    }

    /// Opens any GPU in f16 with this gemm, makes it fail, and goes on as if nothing had happened.
    pub(super) async fn faulty(gemm: GemmVariant, faults: &[Fault], checkpoint: &Checkpoint) -> Result<Self, EncoderError> {
        let mut gpu = Gpu::open(AdapterChoice::Any, Mode { precision: WeightPrecision::F16, plain: false }).await?;
        gpu.backend.set_gemm_variant(gemm);
        faults.iter().for_each(|fault| gpu.backend.inject(*fault));
        Self::checked(gpu, checkpoint).await
    }

    /// Checks a GPU: as it is, then with the plain gemm, then in f32. One that fails all of them leaves the CPU.
    async fn checked(mut gpu: Gpu, checkpoint: &Checkpoint) -> Result<Self, EncoderError> {
        let mut reason = None;
        loop {
            let answer = super::check::relative_error(&mut gpu, checkpoint).await;
            // The check's plan would keep its weights in memory.
            gpu.backend.release_plans();
            let (name, precision) = (gpu.backend.info().to_string(), name_of(gpu.mode.precision));
            let gemm = gpu.backend.gemm_variant().name();
            // After an error the device may be lost.
            let reopen = answer.is_err();
            let failure = match answer {
                Ok(error) if error <= Self::tolerance(gpu.mode.precision) => {
                    let description = DeviceDescription { backend: "GPU", name, precision, reason };
                    return Ok(Self { loaded: OnDevice::Gpu(Box::new(Loaded::new(gpu))), description });
                }
                Ok(error) => format!("{name} computes wrongly in {precision} with gemm {gemm} (relative error {error:.1e})"),
                Err(EncoderError::Gpu(error)) if gpu.is_special() => format!("{name} fails with gemm {gemm}: {error}"),
                Err(error) => return Err(error),
            };
            tracing::warn!("{failure}");
            let Some(mode) = gpu.simpler() else { return Ok(Self::cpu(Some(failure))) };
            if reopen {
                gpu = Gpu::open(gpu.choice, mode).await?;
            } else {
                gpu.set_mode(mode);
            }
            reason = Some(failure);
        }
    }

    async fn recover(
        &mut self,
        checkpoint: &Checkpoint,
        job: &Job<'_>,
        error: EncoderError,
        segments: usize,
        reopened: &mut bool,
    ) -> Result<Retry, EncoderError> {
        let OnDevice::Gpu(gpu) = &self.loaded else { return Err(error) };
        let (choice, mode) = (gpu.backend.choice.clone(), gpu.backend.mode);
        let next = match &error {
            EncoderError::Gpu(GpuError::OutOfMemory { .. }) if segments > 1 && gpu.has(&job.tower) => return Ok(Retry::Halves),
            EncoderError::Gpu(GpuError::DeviceLost(_)) if !std::mem::replace(reopened, true) => Some(mode),
            // f16 may be what overflowed: in the weights, or in what the matrix units are fed.
            EncoderError::NonFinite { .. } => gpu.backend.simpler(),
            EncoderError::Gpu(_) => None,
            _ => return Err(error),
        };
        tracing::warn!("{error}; trying again");
        *self = match next {
            Some(mode) => match Self::gpu(choice, mode, checkpoint).await {
                Ok(device) => device,
                Err(EncoderError::Gpu(reopening)) => Self::cpu(Some(format!("{error}; then {reopening}"))),
                Err(other) => return Err(other),
            },
            None => Self::cpu(Some(error.to_string())),
        };
        Ok(Retry::Whole)
    }

    pub(super) fn inject(&self, fault: Fault) {
        if let OnDevice::Gpu(gpu) = &self.loaded {
            gpu.backend.backend.inject(fault);
        }
    }
}

#[cfg(feature = "gpu")]
const fn name_of(precision: WeightPrecision) -> &'static str {
    match precision {
        WeightPrecision::F32 => "f32",
        WeightPrecision::F16 => "f16",
    }
}
