//! Web Locks: many tabs read something, one writes it.

use std::cell::RefCell;

use js_sys::Function;
use polyglance::engine::{Failure, FailureKind, Report, Stage};
use wasm_bindgen::{JsCast, JsValue};

use crate::files::in_words;
use crate::hub::tick;
use crate::worker::Host;

/// What an open model holds: the lock of a writer until all of it is there, that of a reader from then on.
pub(crate) type Held = RefCell<Option<Lock>>;

/// A Web Lock by its name: shared while something is read, exclusive while it is written. The browser returns it if the worker dies.
pub(crate) struct Lock(Function);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.call0(&JsValue::NULL);
    }
}

impl Lock {
    async fn take(host: &Host, name: &str, mode: &str) -> Result<Option<Self>, Failure> {
        let taken = host.lock(name, mode).await;
        let taken = taken.map_err(|error| Failure::new(FailureKind::Storage, format!("the browser has no locks: {}", in_words(&error))))?;
        Ok(taken.dyn_into().ok().map(Self))
    }

    /// A lock that is free within a second: one that was just returned is not free at once.
    pub(crate) async fn soon(host: &Host, name: &str, mode: &str) -> Result<Option<Self>, Failure> {
        for _ in 0..5 {
            if let Some(lock) = Self::take(host, name, mode).await? {
                return Ok(Some(lock));
            }
            tick().await;
        }
        Ok(None)
    }

    /// A lock, once other tabs are done.
    pub(crate) async fn wait(host: &Host, name: &str, mode: &str, report: &mut Report<'_>) -> Result<Self, Failure> {
        loop {
            if let Some(lock) = Self::soon(host, name, mode).await? {
                return Ok(lock);
            }
            report.step(Stage::Wait, 0, 1)?;
        }
    }
}
