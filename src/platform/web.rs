//! The browser's event loop and its clock.

use js_sys::Promise;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::MessageChannel;

/// Lets the event loop go round once, so that messages which have come in are heard. By a message of its own, because a timer would sleep
/// for 4 ms.
pub async fn yield_now() {
    // Without a channel nothing is lost but promptness.
    let Ok(channel) = MessageChannel::new() else { return };
    let (sender, receiver) = (channel.port1(), channel.port2());
    let turn = Promise::new(&mut |resolve, _| {
        receiver.set_onmessage(Some(&resolve));
        if sender.post_message(&JsValue::NULL).is_err() {
            let _ = resolve.call0(&JsValue::NULL);
        }
    });
    let _ = JsFuture::from(turn).await;
    // An open pair is never collected.
    receiver.close();
}

/// Nothing to wait for: the browser polls its GPU and resolves the promises that the caller awaits.
#[cfg(feature = "gpu")]
pub(crate) fn wait_for_gpu(_device: &wgpu::Device, _submission: wgpu::SubmissionIndex) -> Result<(), wgpu::PollError> {
    Ok(())
}

/// Measures elapsed time.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(f64);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self(js_sys::Date::now())
    }

    /// Seconds since the start.
    pub fn elapsed_secs(&self) -> f64 {
        (js_sys::Date::now() - self.0) / 1000.0
    }
}
