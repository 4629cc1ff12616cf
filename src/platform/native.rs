//! Blocking by pollster, and the folder for what can be made again.

#[cfg(any(feature = "gpu", feature = "index"))]
use std::{env, path::PathBuf};
#[cfg(feature = "gpu")]
use std::{fs, io::Read, path::Path};

use std::time::Instant;

/// `Send + Sync` where threads exist; nothing in WASM, where browser handles are bound to their thread.
pub trait Shareable: Send + Sync {}
impl<T: Send + Sync + ?Sized> Shareable for T {}

/// Starts a thread with a name of its own.
///
/// # Errors
/// The system has no more threads.
pub fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}

/// Runs a future to its end on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    pollster::block_on(future)
}

/// Nothing to do: other threads do not wait for this one.
pub async fn yield_now() {}

/// Waits until the GPU has finished a submission. Two minutes without an answer are an error: submissions are cut to take a second.
#[cfg(feature = "gpu")]
pub(crate) fn wait_for_gpu(device: &wgpu::Device, submission: wgpu::SubmissionIndex) -> Result<(), wgpu::PollError> {
    let timeout = Some(std::time::Duration::from_secs(120));
    device.poll(wgpu::PollType::Wait { submission_index: Some(submission), timeout }).map(|_| ())
}

/// `polyglance` in the user's cache folder, made if it is missing. `None` if it cannot be, or nothing says where that is.
#[cfg(feature = "gpu")]
pub(crate) fn cache_folder() -> Option<PathBuf> {
    let own = user_folder("Library/Caches", "XDG_CACHE_HOME", ".cache")?;
    fs::create_dir_all(&own).ok().map(|()| own)
}

/// `polyglance` in the folder for what programs keep for the user, whether it is there or not. `None` if nothing says where that is.
#[cfg(feature = "index")]
pub(crate) fn data_folder() -> Option<PathBuf> {
    user_folder("Library/Application Support", "XDG_DATA_HOME", ".local/share")
}

#[cfg(any(feature = "gpu", feature = "index"))]
fn user_folder(on_macos: &str, variable: &str, otherwise: &str) -> Option<PathBuf> {
    let folder = |variable| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = |below| folder("HOME").map(|home| home.join(below));
    let user = if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        home(on_macos)
    } else {
        folder(variable).or_else(|| home(otherwise))
    };
    Some(user?.join("polyglance"))
}

/// The bytes of a regular file of at most `limit` of them; `None` if it is larger, missing or unreadable.
#[cfg(feature = "gpu")]
pub(crate) fn read_small_file(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let size = fs::metadata(path).ok().filter(fs::Metadata::is_file)?.len();
    let mut bytes = Vec::new();
    fs::File::open(path).ok().filter(|_| size <= limit)?.take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Measures elapsed time.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since the start.
    pub fn elapsed_secs(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}
