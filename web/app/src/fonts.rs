//! Letters that join, which the page fetches when somebody first writes them.
//!
//! Scripts that are in no font of the page are drawn by the browser, letter by letter. That is right for most of them, but Arabic is written in
//! words, and of Devanagari's letters egui 0.37 has parts drawn twice: both need a font of ours. It comes from beside the page, so what its server can
//! learn is that such letters were shown, once; and not even that after the first visit, when the service worker has them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eframe::egui::epaint::text::InsertFontFamily;
use eframe::egui::{Context, FallbackRequest, FontData, FontFamily, FontInsert, FontPriority};
use js_sys::Uint8Array;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{Response, window};

/// A script with a font of its own.
struct Script {
    file: &'static str,
    has: fn(char) -> bool,
    /// Whether the font has been asked for.
    is_asked: AtomicBool,
}

static SCRIPTS: [Script; 2] = [
    Script {
        file: "fonts/NotoSansArabic-Regular.ttf",
        has: |letter| matches!(letter, '\u{600}'..='\u{6ff}' | '\u{750}'..='\u{77f}' | '\u{fdf2}' | '\u{fdfc}' | '\u{fdfd}'),
        is_asked: AtomicBool::new(false),
    },
    Script {
        file: "fonts/NotoSansDevanagari-Regular.ttf",
        has: |letter| matches!(letter, '\u{900}'..='\u{97f}'),
        is_asked: AtomicBool::new(false),
    },
];

/// Fetches a font as soon as `context` has to draw a letter that it has. Until it is there, and where it is missing, letters do not join.
pub(crate) fn install(context: &Context) {
    let wanting = context.clone();
    context.add_font_provider(Arc::new(move |request: &FallbackRequest<'_>| {
        let script = SCRIPTS.iter().find(|script| request.cluster.chars().next().is_some_and(script.has))?;
        if !script.is_asked.swap(true, Ordering::Relaxed) {
            let context = wanting.clone();
            spawn_local(async move {
                match fetch(script.file).await {
                    Ok(font) => add(&context, script.file, font),
                    // The next letter that is new tries again.
                    Err(_) => script.is_asked.store(false, Ordering::Relaxed),
                }
            });
        }
        None
    }));
}

fn add(context: &Context, name: &str, font: Vec<u8>) {
    let families = [FontFamily::Proportional, FontFamily::Monospace];
    let families = families.map(|family| InsertFontFamily { family, priority: FontPriority::Lowest }).to_vec();
    context.add_font(FontInsert::new(name, FontData::from_owned(font), families));
    context.request_repaint();
}

async fn fetch(file: &str) -> Result<Vec<u8>, JsValue> {
    let window = window().ok_or("there is no window")?;
    let response: Response = JsFuture::from(window.fetch_with_str(file)).await?.dyn_into()?;
    if !response.ok() {
        return Err(JsValue::from(response.status()));
    }
    Ok(Uint8Array::new(&JsFuture::from(response.array_buffer()?).await?).to_vec())
}
