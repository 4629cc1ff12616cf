//! Letters that join, which the page fetches when somebody first writes them.
//!
//! Scripts that are in no font of the page are drawn by the browser, letter by letter. That is right for most of them, but Arabic is written in
//! words: it needs a font of ours. That comes from beside the page, so what its server can learn is that Arabic was shown, once; and not even that
//! after the first visit, when the service worker has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eframe::egui::epaint::text::InsertFontFamily;
use eframe::egui::{Context, FallbackRequest, FontData, FontFamily, FontInsert, FontPriority};
use js_sys::Uint8Array;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{Response, window};

const ARABIC: &str = "fonts/NotoSansArabic-Regular.ttf";

/// Whether the font has been asked for.
static IS_ASKED: AtomicBool = AtomicBool::new(false);

/// Fetches the font as soon as `context` has to draw an Arabic letter. Until it is there, and where it is missing, letters do not join.
pub(crate) fn install(context: &Context) {
    let wanting = context.clone();
    context.add_font_provider(Arc::new(move |request: &FallbackRequest<'_>| {
        if request.cluster.chars().next().is_some_and(is_arabic) && !IS_ASKED.swap(true, Ordering::Relaxed) {
            let context = wanting.clone();
            spawn_local(async move {
                match fetch(ARABIC).await {
                    Ok(font) => add(&context, font),
                    // The next letter that is new tries again.
                    Err(_) => IS_ASKED.store(false, Ordering::Relaxed),
                }
            });
        }
        None
    }));
}

/// The letters that the font has.
fn is_arabic(letter: char) -> bool {
    matches!(letter, '\u{600}'..='\u{6ff}' | '\u{750}'..='\u{77f}')
}

fn add(context: &Context, font: Vec<u8>) {
    let families = [FontFamily::Proportional, FontFamily::Monospace];
    let families = families.map(|family| InsertFontFamily { family, priority: FontPriority::Lowest }).to_vec();
    context.add_font(FontInsert::new("arabic", FontData::from_owned(font), families));
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
