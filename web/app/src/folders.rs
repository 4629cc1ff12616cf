//! Folders that are dropped on the page: egui hears of files only.

use js_sys::{Array, Promise};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{DragEvent, File, FileSystemDirectoryEntry, FileSystemEntry, FileSystemFileEntry, window};

/// Files of a drop; somebody's whole disk takes minutes to look through.
const MOST_FILES: usize = 100_000;

/// Keeps listening as long as it lives.
pub(crate) type Listener = Closure<dyn FnMut(DragEvent)>;

/// Files by their paths.
pub(crate) type Files = Vec<(String, File)>;

/// Hears of drops with a folder among them, before egui does, and hands over all files in it.
pub(crate) fn listen(take: impl Fn(Result<Files, String>) + Clone + 'static) -> Option<Listener> {
    let listener = Closure::<dyn FnMut(DragEvent)>::new(move |event: DragEvent| {
        // What was dropped can be asked for during the event only.
        let Some(entries) = entries(&event).filter(|entries| entries.iter().any(FileSystemEntry::is_directory)) else { return };
        event.prevent_default();
        event.stop_propagation();
        let take = take.clone();
        spawn_local(async move { take(files(entries).await) });
    });
    let document = window()?.document()?;
    let captures = true;
    document.add_event_listener_with_callback_and_bool("drop", listener.as_ref().unchecked_ref(), captures).ok()?;
    Some(listener)
}

fn entries(event: &DragEvent) -> Option<Vec<FileSystemEntry>> {
    let items = event.data_transfer()?.items();
    Some((0..items.length()).filter_map(|index| items.get(index)?.webkit_get_as_entry().ok()?).collect())
}

/// All files below these entries, in the order of their paths.
async fn files(mut open: Vec<FileSystemEntry>) -> Result<Files, String> {
    let unreadable = |error: JsValue| format!("the folder cannot be read: {error:?}");
    let mut found = Vec::new();
    while let Some(entry) = open.pop() {
        if found.len() + open.len() > MOST_FILES {
            return Err(format!("the folder has more than {MOST_FILES} files; drop one of those in it"));
        }
        // Chromium does not name these classes, so that they cannot be asked for.
        if entry.is_directory() {
            let reader = entry.unchecked_ref::<FileSystemDirectoryEntry>().create_reader();
            loop {
                // It gives them in pieces, an empty one last.
                let read = |resolve, reject| reader.read_entries_with_callback_and_callback(&resolve, &reject);
                let piece: Array = promised(read).await.map_err(unreadable)?.unchecked_into();
                if piece.length() == 0 {
                    break;
                }
                open.extend(piece.iter().map(|entry| entry.unchecked_into::<FileSystemEntry>()));
            }
        } else {
            let file = entry.unchecked_ref::<FileSystemFileEntry>();
            let read = |resolve, reject| {
                file.file_with_callback_and_callback(&resolve, &reject);
                Ok(())
            };
            found.push((entry.full_path(), promised(read).await.map_err(unreadable)?.unchecked_into::<File>()));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

/// The answer of a function that takes two callbacks.
async fn promised(call: impl Fn(js_sys::Function, js_sys::Function) -> Result<(), JsValue>) -> Result<JsValue, JsValue> {
    let promise = Promise::new(&mut |resolve, reject: js_sys::Function| {
        if let Err(error) = call(resolve, reject.clone()) {
            // It is the promise that fails.
            let _ = reject.call1(&JsValue::NULL, &error);
        }
    });
    JsFuture::from(promise).await
}
