//! The camera of whoever looks at the page.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Promise;
use polyglance::app::Frame;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    CanvasRenderingContext2d, HtmlCanvasElement, HtmlVideoElement, MediaDevices, MediaStream, MediaStreamConstraints, MediaStreamTrack,
    window,
};

use crate::host::element;

/// Longer side of a frame: more than any default budget of patches shows.
const SIDE: f64 = 512.0;

/// A running camera; it is switched off when this is dropped.
pub(crate) struct Camera {
    video: HtmlVideoElement,
    canvas: HtmlCanvasElement,
    context: CanvasRenderingContext2d,
    /// Shared with the task that waits for the person's permission.
    state: Rc<RefCell<State>>,
}

#[derive(Default)]
struct State {
    stream: Option<MediaStream>,
    is_ended: bool,
}

impl Camera {
    /// Whether the browser lets pages ask for a camera at all: only safe ones may.
    pub(crate) fn is_possible() -> bool {
        devices().is_some()
    }

    /// Asks for the camera. `fail` hears why there is none.
    pub(crate) fn start(fail: impl FnOnce(String) + 'static) -> Option<Self> {
        let canvas: HtmlCanvasElement = element("canvas")?;
        let context = canvas.get_context("2d").ok()??.dyn_into().ok()?;
        let camera = Self { video: element("video")?, canvas, context, state: Rc::default() };
        let (video, state) = (camera.video.clone(), Rc::clone(&camera.state));
        spawn_local(async move {
            if let Err(error) = connect(&video, &state).await {
                let message = js_sys::Reflect::get(&error, &"message".into()).ok().and_then(|message| message.as_string());
                fail(message.unwrap_or_else(|| format!("{error:?}")));
            }
        });
        Some(camera)
    }

    /// What it sees now.
    pub(crate) fn frame(&self) -> Option<Frame> {
        let (width, height) = (f64::from(self.video.video_width()), f64::from(self.video.video_height()));
        if width < 1.0 || height < 1.0 {
            return None;
        }
        let scale = (SIDE / width.max(height)).min(1.0);
        let [width, height] = [width, height].map(|side| (side * scale).round().max(1.0));
        // Setting a size clears the canvas, even to the same one.
        if (f64::from(self.canvas.width()), f64::from(self.canvas.height())) != (width, height) {
            self.canvas.set_width(width as u32);
            self.canvas.set_height(height as u32);
        }
        self.context.draw_image_with_html_video_element_and_dw_and_dh(&self.video, 0.0, 0.0, width, height).ok()?;
        let image = self.context.get_image_data(0.0, 0.0, width, height).ok()?;
        let pixels = image.data().chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
        Some(Frame { height: height as usize, width: width as usize, pixels })
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        let mut state = self.state.borrow_mut();
        state.is_ended = true;
        if let Some(stream) = state.stream.take() {
            stop(&stream);
        }
        self.video.set_src_object(None);
    }
}

async fn connect(video: &HtmlVideoElement, state: &RefCell<State>) -> Result<(), JsValue> {
    let devices = devices().ok_or_else(|| JsValue::from("this page may not use one; open it over https or on localhost"))?;
    let constraints = MediaStreamConstraints::new();
    constraints.set_video(&JsValue::TRUE);
    let stream = JsFuture::from(Promise::from(JsValue::from(devices.get_user_media_with_constraints(&constraints)?))).await?;
    let stream: MediaStream = stream.dyn_into()?;
    if state.borrow().is_ended {
        // Switched off before the person agreed.
        stop(&stream);
        return Ok(());
    }
    video.set_muted(true);
    video.set_src_object(Some(&stream));
    state.borrow_mut().stream = Some(stream);
    JsFuture::from(Promise::from(JsValue::from(video.play()?))).await.map(drop)
}

fn stop(stream: &MediaStream) {
    for track in stream.get_tracks() {
        if let Ok(track) = track.dyn_into::<MediaStreamTrack>() {
            track.stop();
        }
    }
}

fn devices() -> Option<MediaDevices> {
    // Absent on pages that are not safe, whatever the bindings' type says.
    let devices = window()?.navigator().media_devices().ok()?;
    (!JsValue::from(devices.clone()).is_undefined()).then_some(devices)
}
