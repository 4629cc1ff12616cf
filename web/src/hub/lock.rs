//! Web Locks of models: many tabs read one, one writes.

use std::cell::RefCell;

use js_sys::Function;
use polyglance::engine::{Failure, FailureKind, Report, Stage};
use polyglance::weights::hub::HubId;
use wasm_bindgen::{JsCast, JsValue};

use super::model::folder_name;
use super::request::tick;
use crate::files::in_words;
use crate::worker::Host;

/// What an open model holds: the lock of a writer until all of it is there, that of a reader from then on.
pub(crate) type Held = RefCell<Option<Lock>>;

/// A Web Lock of a model: shared while it is read, exclusive while it is written. The browser returns it if the worker dies.
pub(crate) struct Lock(Function);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.call0(&JsValue::NULL);
    }
}

impl Lock {
    async fn take(host: &Host, id: &HubId, mode: &str) -> Result<Option<Self>, Failure> {
        let taken = host.lock(&format!("polyglance model {}", folder_name(id)), mode).await;
        let taken = taken.map_err(|error| Failure::new(FailureKind::Storage, format!("the browser has no locks: {}", in_words(&error))))?;
        Ok(taken.dyn_into().ok().map(Self))
    }

    /// A lock that is free within a second: one that was just returned is not free at once.
    pub(crate) async fn soon(host: &Host, id: &HubId, mode: &str) -> Result<Option<Self>, Failure> {
        for _ in 0..5 {
            if let Some(lock) = Self::take(host, id, mode).await? {
                return Ok(Some(lock));
            }
            tick().await;
        }
        Ok(None)
    }

    /// A lock, once other tabs are done.
    pub(crate) async fn wait(host: &Host, id: &HubId, mode: &str, report: &mut Report<'_>) -> Result<Self, Failure> {
        loop {
            if let Some(lock) = Self::soon(host, id, mode).await? {
                return Ok(lock);
            }
            report.step(Stage::Wait, 0, 1)?;
        }
    }
}
