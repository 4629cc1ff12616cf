//! What can go wrong between this library and a graphics driver.

/// Why the GPU backend could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// No adapter is acceptable.
    #[error("no GPU adapter {wanted}; found {}; choose one of them by name, or the CPU", list(found))]
    NoAdapter {
        /// What was asked for, as an adjective: "that is hardware", "named \"radeon\"".
        wanted: String,
        /// Every adapter there is, software ones included.
        found: Vec<String>,
    },
    /// The adapter refused to open a device.
    #[error("adapter {adapter} cannot be opened: {reason}; update its driver or choose another device")]
    Open {
        /// The adapter's name.
        adapter: String,
        /// What the driver said.
        reason: String,
    },
    /// The device is gone: reset, unplugged, or taken away by its watchdog. Open a new backend and upload the weights again.
    #[error("the GPU device was lost: {0}; it must be opened again")]
    DeviceLost(String),
    /// An allocation failed. Smaller batches, f16 weights or the CPU need less.
    #[error("the GPU ran out of memory while {doing}; use a smaller batch, f16 weights or the CPU")]
    OutOfMemory {
        /// What needed the memory.
        doing: String,
    },
    /// A buffer exceeds what the adapter can bind. Batches must be split by [`max_buffer_bytes`](super::GpuBackend::max_buffer_bytes).
    #[error("{name} needs {bytes} bytes, but this adapter binds {limit} at most; split the batch")]
    TooLarge {
        /// The buffer or weight.
        name: String,
        /// Its size.
        bytes: u64,
        /// The adapter's limit.
        limit: u64,
    },
    /// A plan, weight or batch that no shader can take, or that contradict each other.
    #[error("the GPU backend cannot run this: {0}")]
    Unsupported(String),
    /// The driver rejected what it was given; a bug of this library or of the driver.
    #[error("the GPU driver rejected {doing}: {reason}")]
    Validation {
        /// What was being done.
        doing: String,
        /// What the driver said.
        reason: String,
    },
}

fn list(found: &[String]) -> String {
    if found.is_empty() { "none".to_owned() } else { found.join(", ") }
}
