//! Waiting for the GPU without blocking, and reading what it has written.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use super::GpuError;
use super::device::Device;
use crate::platform;

/// Where the callback of a mapping leaves its result for whoever awaits it.
#[derive(Default)]
struct Slot {
    result: Option<bool>,
    waker: Option<Waker>,
}

impl Slot {
    /// Keeps the first result and wakes whoever awaits it.
    fn finish(slot: &Mutex<Self>, mapped: bool) {
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.result.get_or_insert(mapped);
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
    }
}

/// The callback's end. A driver that drops the callback without calling it must not leave anyone waiting.
struct Promise(Arc<Mutex<Slot>>);

impl Drop for Promise {
    fn drop(&mut self) {
        Slot::finish(&self.0, false);
    }
}

/// A buffer whose mapping has been asked for.
pub(super) struct Mapping(Arc<Mutex<Slot>>);

/// Asks for `buffer[..bytes]` to be mapped for reading.
pub(super) fn start_mapping(buffer: &wgpu::Buffer, bytes: u64) -> Mapping {
    let slot = Arc::new(Mutex::new(Slot::default()));
    let promise = Promise(Arc::clone(&slot));
    buffer.slice(..bytes).map_async(wgpu::MapMode::Read, move |result| Slot::finish(&promise.0, result.is_ok()));
    Mapping(slot)
}

impl Mapping {
    /// Whether the buffer is mapped now. On native targets someone has to poll the device, or this never ends.
    pub(super) async fn finished(self) -> bool {
        let check = |cx: &mut std::task::Context<'_>| {
            let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match slot.result {
                Some(mapped) => Poll::Ready(mapped),
                None => {
                    slot.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        };
        poll_fn(check).await
    }
}

/// Work that is in the queue.
pub(super) struct Running {
    /// In order; the last one ends with a copy to `readback`.
    pub(super) submissions: Vec<wgpu::SubmissionIndex>,
    pub(super) readback: wgpu::Buffer,
    pub(super) mapping: Mapping,
}

impl Running {
    /// Waits for the end of the work and shows the first `bytes` of its results to `unpack`. Also returns the buffer, for the next run.
    pub(super) async fn read<T>(self, device: &Device, bytes: u64, unpack: impl FnOnce(&[u8]) -> T) -> Result<(T, wgpu::Buffer), GpuError> {
        // Natively somebody has to poll; one submission at a time, so that the timeout is for a second's work and not for all of it.
        for submission in self.submissions {
            if let Err(error) = platform::wait_for_gpu(&device.raw, submission) {
                device.check_alive()?;
                return Err(GpuError::DeviceLost(error.to_string()));
            }
        }
        let mapped = self.mapping.finished().await;
        device.check_alive()?;
        let unreadable = |reason: String| GpuError::Validation { doing: "reading results".to_owned(), reason };
        if !mapped {
            return Err(unreadable("the buffer could not be mapped".to_owned()));
        }
        let view = self.readback.slice(..bytes).get_mapped_range().map_err(|error| unreadable(error.to_string()))?;
        let result = unpack(&view);
        drop(view);
        self.readback.unmap();
        Ok((result, self.readback))
    }
}
