//! A static file server on 127.0.0.1, for the page and its tests.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Component, Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

use crate::policy::content_security_policy;

/// Cross-origin isolation, and no caching, so that a rebuilt page is seen at once.
const HEADERS: &str = "\
Cross-Origin-Opener-Policy: same-origin\r\n\
Cross-Origin-Embedder-Policy: require-corp\r\n\
X-Content-Type-Options: nosniff\r\n\
Cache-Control: no-store\r\n\
Connection: close\r\n";

/// A request line and its headers; a browser sends less than a tenth of it.
const REQUEST_BYTES: u64 = 64 << 10;

/// Serves `folder` until the process is stopped.
pub(crate) fn forever(folder: &Path, port: u16) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).with_context(|| format!("port {port} of 127.0.0.1 is not free"))?;
    println!("http://{}/ serves {}", listener.local_addr()?, folder.display());
    accept(&listener, folder);
    Ok(())
}

/// Serves `folder` on a free port from a background thread, for as long as the process lives. Returns the address of the page.
pub(crate) fn in_background(folder: PathBuf) -> Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let url = format!("http://{}/", listener.local_addr()?);
    thread::spawn(move || accept(&listener, &folder));
    Ok(url)
}

fn accept(listener: &TcpListener, folder: &Path) {
    for stream in listener.incoming().flatten() {
        let folder = folder.to_owned();
        thread::spawn(move || {
            if let Err(error) = answer(&stream, &folder) {
                eprintln!("request failed: {error}");
            }
        });
    }
}

fn answer(mut stream: &TcpStream, folder: &Path) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(stream.take(REQUEST_BYTES)).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    // The headers are read to their end, since closing a socket with unread bytes resets the connection.
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let file = request.strip_prefix("GET ").and_then(|rest| resolve(folder, rest.split([' ', '?']).next()?));
    let (status, mime, body) = match file.and_then(|file| Some((mime(&file), fs::read(&file).ok()?))) {
        Some((mime, body)) => ("200 OK", mime, body),
        None => ("404 Not Found", "text/plain", b"not found".to_vec()),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Type: {mime}\r\nContent-Length: {}\r\n", body.len())?;
    // With every file, because a worker does not inherit a page's own policy.
    write!(stream, "Content-Security-Policy: {}\r\n{HEADERS}\r\n", content_security_policy())?;
    stream.write_all(&body)
}

/// The file behind a request path; `None` for a path that would leave the folder.
fn resolve(folder: &Path, request: &str) -> Option<PathBuf> {
    let relative = Path::new(request.strip_prefix('/')?);
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    plain.then(|| if request.ends_with('/') { folder.join(relative).join("index.html") } else { folder.join(relative) })
}

fn mime(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("webmanifest") => "application/manifest+json",
        // Browsers compile WASM while it streams in only under this type.
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(url: &str, path: &str) -> String {
        let address = url.trim_start_matches("http://").trim_end_matches('/');
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    #[test]
    fn only_files_inside_the_folder_are_served() {
        let folder = std::env::temp_dir().join(format!("xtask-serve-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("index.html"), "page").unwrap();
        fs::write(folder.join("a.wasm"), "module").unwrap();
        let url = in_background(folder.clone()).unwrap();

        let page = get(&url, "/");
        assert!(page.starts_with("HTTP/1.1 200") && page.contains("text/html") && page.ends_with("page"), "{page}");
        assert!(page.contains("Cross-Origin-Opener-Policy: same-origin") && page.contains("Content-Security-Policy: default-src 'none'"));
        assert!(get(&url, "/a.wasm?v=1").contains("application/wasm"));
        for outside in ["/../Cargo.toml", "//etc/passwd", "/missing", "etc/passwd"] {
            assert!(get(&url, outside).starts_with("HTTP/1.1 404"), "{outside}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
