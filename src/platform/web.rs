//! The browser's event loop and its clock.

use js_sys::Promise;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::MessageChannel;

/// `Send + Sync` where threads exist; nothing in WASM, where browser handles are bound to their thread.
pub trait Shareable {}
impl<T: ?Sized> Shareable for T {}

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

/// Items `0..count` of a function, in that order, each made when it is wanted: what they are made of is bound to this thread.
#[cfg(feature = "index")]
pub struct ReadAhead<T> {
    make: Box<dyn Fn(usize) -> T>,
    rest: std::ops::Range<usize>,
}

#[cfg(feature = "index")]
impl<T> ReadAhead<T> {
    /// Begins to make items.
    ///
    /// # Errors
    /// None; elsewhere the system may have no more threads.
    pub fn new(count: usize, make: impl Fn(usize) -> T + 'static) -> std::io::Result<Self> {
        Ok(Self { make: Box::new(make), rest: 0..count })
    }
}

#[cfg(feature = "index")]
impl<T> Iterator for ReadAhead<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.rest.next().map(&self.make)
    }
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
