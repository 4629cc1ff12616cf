//! `polyglance doctor`: what this machine has to run models on, whether it computes rightly, and how fast.

mod checkup;

use anyhow::{Result, ensure};
use checkup::Checkup;
use clap::Args;
use polyglance::encoder::DeviceChoice;

use super::console::print;
use super::exit::Outcome;
use super::hub;

const HELP: &str = "\
The self-check runs one block and the pooling head of a base model with made-up weights on every
device, and compares the result with numbers computed by transformers. The speed figure comes from
the same run and so is rough.

Examples:
  polyglance doctor
  polyglance doctor --list";

/// Show devices, their features and limits, check that they compute rightly, and measure them briefly.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(crate) struct DoctorArgs {
    /// List devices only, without running anything on them.
    #[arg(long)]
    list: bool,
}

/// Pictures in one measured batch: 4,096 tokens. Software adapters, far slower than the CPU backend, get one.
const BATCH: usize = 16;

/// Prints device after device, because a check takes seconds on a slow one; fails if one computes wrongly.
pub(crate) fn run(args: &DoctorArgs) -> Result<Outcome> {
    print(&format!("polyglance {} on {} {}\n", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH))?;
    print(&format!("models are kept in {}\n\n", hub::cache()))?;
    let mut devices = vec![Device { choice: DeviceChoice::Cpu, software: false, description: "CPU\n".to_owned() }];
    devices.extend(adapters());
    if devices.len() == 1 {
        print("No GPU adapter, or a build without the feature `gpu`.\n")?;
    }
    let checkup = if args.list { None } else { Some(Checkup::new(BATCH)?) };
    let mut failed = 0;
    for device in &devices {
        print(&device.description)?;
        if let Some(checkup) = &checkup {
            let (line, passed) = device.check(checkup);
            print(&format!("  {line}\n"))?;
            failed += usize::from(!passed);
        }
    }
    ensure!(failed == 0, "{failed} of {} devices did not pass the self-check: choose another with --device", devices.len());
    Ok(Outcome::Done)
}

/// Something to run on.
struct Device {
    choice: DeviceChoice,
    software: bool,
    description: String,
}

impl Device {
    /// The line about the self-check, and whether it passed.
    fn check(&self, checkup: &Checkup) -> (String, bool) {
        let count = if self.software { 1 } else { BATCH };
        match checkup.run(self.choice.clone(), count) {
            // After a failed check of its own the encoder falls back to the CPU and says why.
            Ok(measured) if measured.device.backend == "CPU" && self.choice != DeviceChoice::Cpu => {
                (format!("self-check FAILED: {}", measured.device.reason.unwrap_or_default()), false)
            }
            Ok(measured) => (format!("{}\n  {}", measured.device, checkup.describe(&measured)), measured.passed()),
            Err(error) => (format!("self-check FAILED: {error:#}"), false),
        }
    }
}

/// Parts of the names of features that matter to compute shaders; the rest is about drawing.
#[cfg(feature = "gpu")]
const COMPUTE_FEATURES: [&str; 7] = ["atomic", "cooperative", "immediates", "pipeline_cache", "shader_", "subgroup", "timestamp"];

#[cfg(feature = "gpu")]
fn adapters() -> impl Iterator<Item = Device> {
    polyglance::platform::block_on(polyglance::gpu::adapters()).into_iter().map(|adapter| Device {
        choice: DeviceChoice::Named(adapter.name.clone()),
        software: adapter.is_software(),
        description: describe(&adapter),
    })
}

#[cfg(not(feature = "gpu"))]
fn adapters() -> impl Iterator<Item = Device> {
    std::iter::empty()
}

#[cfg(feature = "gpu")]
fn describe(adapter: &polyglance::gpu::AdapterSummary) -> String {
    let limits = &adapter.limits;
    let names = adapter.features.iter_names().map(|(name, _)| name.to_lowercase());
    let features: Vec<String> = names.filter(|name| COMPUTE_FEATURES.iter().any(|part| name.contains(part))).collect();
    let software =
        if adapter.is_software() { "  a software adapter: used only when named, because the CPU backend is faster\n" } else { "" };
    format!(
        "\n{adapter}\n{software}  limits: buffers of {} MiB, bindings of {} MiB, {} storage buffers a stage, {} KiB of workgroup memory, \
         {} invocations\n  features for computing: {}\n",
        limits.max_buffer_size >> 20,
        limits.max_storage_buffer_binding_size >> 20,
        limits.max_storage_buffers_per_shader_stage,
        limits.max_compute_workgroup_storage_size >> 10,
        limits.max_compute_invocations_per_workgroup,
        if features.is_empty() { "none".to_owned() } else { features.join(", ") },
    )
}
