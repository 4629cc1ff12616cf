//! Messages of the engine as the plain objects that travel between a page and its worker: `{id, generation, kind, body, bulk}`.

use js_sys::{Array, ArrayBuffer, JSON, Reflect, Uint8Array};
use serde::{Serialize, de::DeserializeOwned};
use wasm_bindgen::{JsCast, JsValue};

/// The one member that is not JSON: an `ArrayBuffer`, absent when there is nothing in it.
const BULK: &str = "bulk";

/// The object of a message, and what of it moves instead of being copied.
///
/// # Errors
/// None for the engine's messages.
pub fn to_js(message: &impl Serialize, bulk: &[u8]) -> Result<(JsValue, Array), JsValue> {
    let object = JSON::parse(&serde_json::to_string(message).map_err(|error| JsValue::from(error.to_string()))?)?;
    let transfer = Array::new();
    if !bulk.is_empty() {
        let buffer = Uint8Array::from(bulk).buffer();
        Reflect::set(&object, &BULK.into(), &buffer)?;
        transfer.push(&buffer);
    }
    Ok((object, transfer))
}

/// A message and its bulk from an object, which loses its bulk.
///
/// # Errors
/// An object that is no such message, in words.
pub fn from_js<T: DeserializeOwned>(object: &JsValue) -> Result<(T, Vec<u8>), String> {
    let buffer = Reflect::get(object, &BULK.into()).ok().and_then(|bulk| bulk.dyn_into::<ArrayBuffer>().ok());
    let bulk = buffer.map(|buffer| Uint8Array::new(&buffer).to_vec()).unwrap_or_default();
    // JSON leaves out what is undefined. Something that takes no members is no message, and is found out below.
    let _ = Reflect::set(object, &BULK.into(), &JsValue::UNDEFINED);
    let unreadable = || "not a message".to_owned();
    let json = JSON::stringify(object).ok().and_then(|json| json.as_string()).ok_or_else(unreadable)?;
    Ok((serde_json::from_str(&json).map_err(|error| error.to_string())?, bulk))
}
