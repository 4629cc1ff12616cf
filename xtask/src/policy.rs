//! The content security policy of the page: in its files, and in the header with which they are served.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

/// The library's, which names the network's hosts in one place.
#[expect(unreachable_pub, reason = "it is a module of the library")]
#[path = "../../src/weights/hub/hosts.rs"]
mod hosts;

/// Pages with a policy of their own, for servers that send none.
const PAGES: [&str; 2] = ["index.html", "example.html"];
const PLACE: &str = "@CONTENT_SECURITY_POLICY@";

/// Nothing but what lies beside the page, and models from the hub. wasm-bindgen-rayon starts its workers from blobs of a file that lies beside.
pub(crate) fn content_security_policy() -> String {
    format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; connect-src 'self' {}; style-src 'self'; \
         img-src 'self' blob: data:; manifest-src 'self'; base-uri 'none'; form-action 'none'",
        hosts::HOSTS.join(" ")
    )
}

/// Writes the policy into the pages of `dist`.
///
/// # Errors
/// A page has no place for it.
pub(crate) fn write(dist: &Path) -> Result<()> {
    PAGES.iter().try_for_each(|page| {
        let file = dist.join(page);
        let text = fs::read_to_string(&file).with_context(|| format!("{} could not be read", file.display()))?;
        if !text.contains(&format!("http-equiv=\"Content-Security-Policy\" content=\"{PLACE}\"")) {
            bail!("{page} has no place for its content security policy");
        }
        Ok(fs::write(&file, text.replace(PLACE, &content_security_policy()))?)
    })
}
