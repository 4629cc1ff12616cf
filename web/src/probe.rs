//! For the browser tests: ways to crash.

use polyglance::platform::for_each_chunk;
use wasm_bindgen::prelude::wasm_bindgen;

/// Panics.
#[wasm_bindgen]
#[expect(clippy::panic, reason = "a test wants to see what comes of it")]
pub fn crash(message: &str) {
    panic!("{message}");
}

/// Panics in a thread that the caller waits for.
#[wasm_bindgen(js_name = crashThread)]
#[expect(clippy::panic, reason = "a test wants to see what comes of it")]
pub fn crash_thread(message: &str) {
    for_each_chunk(&mut [0_u8; 64], 1, |_, _| panic!("{message}"));
}
