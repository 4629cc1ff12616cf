//! The engine in a Web Worker. `worker.js` is its only caller.
//!
//! Natively this crate is empty.
#![cfg(target_family = "wasm")]

use js_sys::Reflect;
use wasm_bindgen::prelude::wasm_bindgen;

mod download;
mod files;
mod hub;
mod opfs;
#[cfg(debug_assertions)]
pub mod probe;
pub mod worker;

/// Runs once when the module starts. A panic is shown in the console, and kept where `worker.js` finds it after the module has trapped.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|panic| {
        console_error_panic_hook::hook(panic);
        // If this fails, the page is told of a trap without the reason.
        let _ = Reflect::set(&js_sys::global(), &"lastPanic".into(), &panic.to_string().into());
    }));
}
