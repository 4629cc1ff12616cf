//! `polyglance-trainer`: the SigLIP 2 recipe as commands.

mod cli;

fn main() -> anyhow::Result<()> {
    keep_freed_memory();
    // The thread that asks for parallel work does its share instead of waking another and waiting for it. A second call is all that can
    // fail, and then the pool is merely the usual one.
    let _ = rayon::ThreadPoolBuilder::new().use_current_thread().build_global();
    cli::run()
}

/// A step frees what the next one allocates again. glibc hands large blocks back to the kernel, which clears their pages each time: a seventh
/// of a small model's step.
fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // The largest that glibc accepts.
        const MAPPED_FROM_BYTES: i32 = 32 << 20;
        // SAFETY: both calls set a number of the allocator, before there are other threads.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM_BYTES);
            libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        }
    }
}
