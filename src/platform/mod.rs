//! What differs between a native process and a browser tab: threads, clocks, blocking. Nothing else in the crate knows.

#[cfg(not(target_family = "wasm"))]
#[path = "native.rs"]
mod imp;
#[cfg(target_family = "wasm")]
#[path = "web.rs"]
mod imp;

pub use imp::{Stopwatch, for_each, for_each_chunk, threads, yield_now};

#[cfg(feature = "gpu")]
pub(crate) use imp::wait_for_gpu;
#[cfg(not(target_family = "wasm"))]
pub use imp::{block_on, spawn};
#[cfg(all(feature = "gpu", not(target_family = "wasm")))]
pub(crate) use imp::{cache_folder, read_small_file};
