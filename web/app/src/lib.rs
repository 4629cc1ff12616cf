//! The app on a page: a canvas for its interface, a worker for its engine.
//!
//! Natively this crate is empty.
#![cfg(target_family = "wasm")]

use eframe::{WebOptions, WebRunner};
use js_sys::{Array, Uint8Array};
use polyglance::app::{App, Assets, SAMPLES};
use polyglance::engine::worker::WorkerTransport;
use polyglance::platform::yield_now;
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};
use web_sys::HtmlCanvasElement;

mod camera;
mod folders;
mod fonts;
mod host;
mod mirror;
#[cfg(feature = "probe")]
pub mod probe;

use host::Page;

/// Starts the app on a canvas. `files` are the contents of both fonts, the palette, its names, the captions in two languages and the samples, as `Uint8Array`s in this order.
///
/// # Errors
/// The browser has no WebGL 2.
#[wasm_bindgen]
pub async fn start(canvas: HtmlCanvasElement, files: Array) -> Result<(), JsValue> {
    console_error_panic_hook::set_once();
    let assets = assets(&files).ok_or_else(|| JsValue::from("the page's files are incomplete; reload it"))?;
    // Two short tasks instead of a long one.
    yield_now().await;
    let create = move |creation: &eframe::CreationContext<'_>| {
        let context = creation.egui_ctx.clone();
        let wake = context.clone();
        mirror::install(&context);
        fonts::install(&context);
        let transport = WorkerTransport::new(move || wake.request_repaint());
        let page = Page::new(context.clone(), transport.clone());
        Ok(Box::new(App::new(&context, Box::new(transport), Box::new(page), assets)) as Box<dyn eframe::App>)
    };
    let runner = WebRunner::new();
    let started = runner.start(canvas, WebOptions::default(), Box::new(create)).await;
    // The page is the app: the runner lives as long as it does.
    std::mem::forget(runner);
    started
}

/// Leaked: they are needed for as long as the page is.
fn assets(files: &Array) -> Option<Assets> {
    let mut files = files.iter().map(|file| -> &'static [u8] { Uint8Array::from(file).to_vec().leak() });
    let fonts = [files.next()?, files.next()?];
    let (palette, palette_names) = (files.next()?, files.next()?);
    let captions = [std::str::from_utf8(files.next()?).ok()?, std::str::from_utf8(files.next()?).ok()?];
    let samples: Vec<(&'static str, &'static [u8])> = SAMPLES.into_iter().zip(files).collect();
    Some(Assets { fonts, joined: &[], palette: Assets::sheet(palette), palette_names, captions, samples: samples.leak() })
}
