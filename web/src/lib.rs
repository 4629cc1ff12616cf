//! The engine in a Web Worker. `worker.js` is its only caller.
//!
//! Natively this crate is empty.
#![cfg(target_family = "wasm")]

use std::sync::OnceLock;

use js_sys::Reflect;
use wasm_bindgen::prelude::wasm_bindgen;
use web_sys::BroadcastChannel;

mod files;
mod folder;
mod hub;
mod indexes;
mod lock;
mod opfs;
#[cfg(feature = "probe")]
pub mod probe;
mod source;
pub mod worker;

/// Starts rayon's threads.
#[cfg(feature = "threads")]
pub use wasm_bindgen_rayon::init_thread_pool;

/// Where panics are told, for all threads.
static DEATHS: OnceLock<String> = OnceLock::new();

/// Names the channel on which the page hears of panics: a thread that dies leaves the engine waiting for it, deaf and dumb.
#[wasm_bindgen(js_name = tellDeaths)]
pub fn tell_deaths(channel: String) {
    // A worker starts once.
    let _ = DEATHS.set(channel);
}

/// Runs when the module starts, in each thread. A panic is shown in the console, told to the page, and kept where `worker.js` finds it after the
/// module has trapped.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|panic| {
        console_error_panic_hook::hook(panic);
        let reason = panic.to_string();
        // If one of these fails, the page is told of a trap without the reason.
        let _ = Reflect::set(&js_sys::global(), &"lastPanic".into(), &reason.as_str().into());
        if let Some(channel) = DEATHS.get().and_then(|name| BroadcastChannel::new(name).ok()) {
            let _ = channel.post_message(&reason.into());
        }
    }));
}
