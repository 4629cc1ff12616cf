//! The camera of this machine, which ffmpeg reads.
//!
//! A program, not a library: the libraries that know cameras on every system need libclang to build and parse the camera's pictures in this process.

use std::env;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use polyglance::app::Frame;
use polyglance::platform::spawn;

/// What ffmpeg shall read instead of the first camera, as its own arguments.
const VARIABLE: &str = "POLYGLANCE_CAMERA";
/// Longer side of a frame: more than any default budget of patches shows.
const SIDE: usize = 512;

/// A running camera; it is switched off when this is dropped.
pub(super) struct Camera {
    ffmpeg: Child,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// The newest frame that nobody has seen. What comes too fast is overwritten, so that nothing piles up.
    latest: Mutex<Option<Frame>>,
    is_switched_off: AtomicBool,
}

impl Camera {
    /// Starts it. `fail` hears why it ended, unless it was switched off.
    pub(super) fn start(fail: impl FnOnce(String) + Send + 'static) -> Result<Self> {
        let shrink = format!("scale=w='min({SIDE},iw)':h='min({SIDE},ih)':force_original_aspect_ratio=decrease");
        let mut command = Command::new("ffmpeg");
        command.args(["-hide_banner", "-nostdin", "-loglevel", "error", "-fflags", "nobuffer"]).args(input()?);
        command.args(["-an", "-vf", &shrink, "-c:v", "ppm", "-f", "image2pipe", "-"]);
        let ffmpeg = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut ffmpeg = ffmpeg.map_err(|error| match error.kind() {
            ErrorKind::NotFound => anyhow::anyhow!("it is read by ffmpeg, which is not installed: see https://ffmpeg.org/download.html"),
            _ => error.into(),
        })?;
        let (frames, errors) = (ffmpeg.stdout.take().context("no output")?, ffmpeg.stderr.take().context("no errors")?);
        let camera = Self { ffmpeg, state: Arc::default() };
        let state = Arc::clone(&camera.state);
        // Ends with the first thing that is no frame, by which ffmpeg's pipe is closed and it ends, too.
        spawn("camera", move || {
            let mut frames = BufReader::new(frames);
            while let Ok(frame) = read_frame(&mut frames) {
                *state.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(frame);
            }
        })?;
        let state = Arc::clone(&camera.state);
        spawn("camera", move || {
            let last = BufReader::new(errors).lines().map_while(Result::ok).last();
            if !state.is_switched_off.load(Ordering::Relaxed) {
                fail(last.unwrap_or_else(|| "it sends no more pictures".to_owned()));
            }
        })?;
        Ok(camera)
    }

    /// What it sees now, if that is new.
    pub(super) fn frame(&self) -> Option<Frame> {
        self.state.latest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.state.is_switched_off.store(true, Ordering::Relaxed);
        // It may have ended by itself.
        let _ = self.ffmpeg.kill();
        let _ = self.ffmpeg.wait();
    }
}

/// A binary PPM as ffmpeg writes it: `P6`, width and height, 255, each on a line, then the pixels.
fn read_frame(stream: &mut impl BufRead) -> Result<Frame, Error> {
    let wrong = || Error::new(ErrorKind::InvalidData, "ffmpeg sent something that is not a picture");
    let mut line = || -> Result<String, Error> {
        let mut bytes = Vec::new();
        // The sides that are asked for fit, and what is no header has no end of a line.
        stream.by_ref().take(32).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Err(Error::new(ErrorKind::UnexpectedEof, "ffmpeg has ended"));
        }
        String::from_utf8(bytes).map_err(|_| wrong())
    };
    let (magic, sides, depth) = (line()?, line()?, line()?);
    let mut sides = sides.split_whitespace().map(|side| side.parse().ok().filter(|side| (1..=SIDE).contains(side)));
    let (Some(Some(width)), Some(Some(height)), None) = (sides.next(), sides.next(), sides.next()) else { return Err(wrong()) };
    if (magic.trim_end(), depth.trim_end()) != ("P6", "255") {
        return Err(wrong());
    }
    let mut pixels = vec![0; height * width * 3];
    stream.read_exact(&mut pixels)?;
    Ok(Frame { height, width, pixels })
}

/// The first camera in the words of ffmpeg for this system, or what people chose instead.
fn input() -> Result<Vec<String>> {
    if let Ok(chosen) = env::var(VARIABLE) {
        return Ok(chosen.split_whitespace().map(str::to_owned).collect());
    }
    let (format, name) = if cfg!(windows) {
        let listed = Command::new("ffmpeg").args(["-hide_banner", "-f", "dshow", "-list_devices", "true", "-i", "dummy"]).output();
        let listed = listed.map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).unwrap_or_default();
        ("dshow", format!("video={}", first_camera(&listed).context("no camera was found")?))
    } else if cfg!(target_os = "macos") {
        ("avfoundation", "0".to_owned())
    } else {
        ("v4l2", "/dev/video0".to_owned())
    };
    Ok(["-f", format, "-i", &name].map(str::to_owned).to_vec())
}

/// The first camera in ffmpeg's list of what DirectShow has: `[dshow @ …] "Name" (video)`.
fn first_camera(listed: &str) -> Option<&str> {
    let line = listed.lines().find(|line| line.trim_end().ends_with("(video)"))?;
    line.split('"').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_one_after_another_and_nothing_else_is() {
        let mut stream: &[u8] = b"P6\n2 1\n255\nabcdefP6\n1 1\n255\nxyz";
        let frame = read_frame(&mut stream).unwrap();
        assert_eq!((frame.height, frame.width, &frame.pixels[..]), (1, 2, &b"abcdef"[..]));
        assert_eq!(read_frame(&mut stream).unwrap().pixels, b"xyz");
        assert_eq!(read_frame(&mut stream).unwrap_err().to_string(), "ffmpeg has ended");
        let huge: &[u8] = b"P6\n100000 100000\n255\n";
        for wrong in [huge, b"P5\n1 1\n255\nxyz", b"P6\n1 1\n65535\nxyzxyz", b"P6\n1\n255\nxyz", b"P6\n0 1\n255\n", &[b'a'; 100]] {
            assert_eq!(read_frame(&mut { wrong }).unwrap_err().kind(), ErrorKind::InvalidData, "{wrong:?}");
        }
        assert_eq!(read_frame(&mut &b"P6\n2 1\n255\nabc"[..]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn the_first_camera_is_found_among_microphones() {
        let listed = "[dshow @ 1] \"Microphone (USB)\" (audio)\n[dshow @ 1]   Alternative name \"@device_1\"\n[dshow @ 1] \"HD Webcam\" (video)\r\n[dshow @ 1] \"Other\" (video)\n";
        assert_eq!(first_camera(listed), Some("HD Webcam"));
        assert_eq!(first_camera("[dshow @ 1] Could not enumerate video devices"), None);
    }
}
