//! What differs between a native process and a browser tab: clocks, blocking, where threads come from. Nothing else in the crate knows.
//!
//! Threads are rayon's. In a browser whoever starts the module gives rayon its workers; without any, it does everything on the calling thread.

use rayon::prelude::*;

#[cfg(not(target_family = "wasm"))]
#[path = "native.rs"]
mod imp;
#[cfg(target_family = "wasm")]
#[path = "web.rs"]
mod imp;

pub use imp::{Shareable, Stopwatch, yield_now};

#[cfg(feature = "gpu")]
pub(crate) use imp::wait_for_gpu;
#[cfg(not(target_family = "wasm"))]
mod read_ahead;

#[cfg(all(feature = "index", target_family = "wasm"))]
pub use imp::ReadAhead;
#[cfg(all(feature = "index", not(target_family = "wasm")))]
pub(crate) use imp::data_folder;
#[cfg(not(target_family = "wasm"))]
pub use imp::{block_on, spawn};
#[cfg(all(feature = "gpu", not(target_family = "wasm")))]
pub(crate) use imp::{cache_folder, read_small_file};
#[cfg(not(target_family = "wasm"))]
pub use read_ahead::ReadAhead;

/// Calls `run(index, chunk)` for each chunk of `len` elements of `data` (the last may be shorter), on all threads.
pub fn for_each_chunk<T: Send>(data: &mut [T], len: usize, run: impl Fn(usize, &mut [T]) + Sync + Send) {
    data.par_chunks_mut(len).enumerate().for_each(|(index, chunk)| run(index, chunk));
}

/// Calls `run(scratch, task)` for each task, on all threads; each thread keeps its own `scratch`.
pub fn for_each<T: Send, S: Default>(tasks: Vec<T>, run: impl Fn(&mut S, T) + Sync + Send) {
    tasks.into_par_iter().with_max_len(1).for_each_init(S::default, run);
}

/// Threads that [`for_each`] uses.
pub fn threads() -> usize {
    rayon::current_num_threads()
}
