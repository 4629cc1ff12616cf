//! Ctrl-C while a file is being made, and the signal of a file-size limit.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use super::console::note;
use super::exit;

/// Set by Ctrl-C (or SIGTERM) and looked at between batches.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    raised: Arc<AtomicBool>,
    stopped: Interrupted,
}

/// The run was stopped by the user.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("stopped; {0}")]
pub(crate) struct Interrupted(&'static str);

impl Interrupt {
    /// Installs the handler. The first signal asks the run to stop; a second one removes `temporary`, if there is such a file, and ends the process at once.
    /// Without one, what was written so far stays.
    ///
    /// Commands that write no file install nothing: there, the default of ending at once is right.
    pub(crate) fn install(temporary: Option<PathBuf>) -> Result<Self> {
        let stopped = Interrupted(if temporary.is_some() { "no file was written" } else { "what was done so far is kept" });
        let flag = Arc::new(AtomicBool::new(false));
        let raised = Arc::clone(&flag);
        ctrlc::set_handler(move || {
            if raised.swap(true, Ordering::SeqCst) {
                // It may be gone already; nothing else can be done about it here.
                let _ = temporary.as_ref().map(std::fs::remove_file);
                #[expect(clippy::disallowed_methods, reason = "the user insists, and what a destructor would remove is gone")]
                std::process::exit(i32::from(exit::INTERRUPTED));
            }
            note("stopping after this batch; press Ctrl-C again to stop at once");
        })
        .context("cannot handle Ctrl-C")?;
        Ok(Self { raised: flag, stopped })
    }

    /// # Errors
    /// [`Interrupted`] after a signal.
    pub(crate) fn check(&self) -> Result<(), Interrupted> {
        if self.raised.load(Ordering::SeqCst) { Err(self.stopped) } else { Ok(()) }
    }
}

/// Turns a write past `ulimit -f` into an ordinary error, which can name the file and clean up, instead of a silent death.
pub(crate) fn ignore_file_size_signal() {
    #[cfg(unix)]
    // SAFETY: called first in `main`, before any other thread exists; SIG_IGN installs no code that could run in a signal handler.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}
