//! Where the hub is, who asks, and where its files are kept: the environment variables of the Python tools.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::DEFAULT_ENDPOINT;

/// An access token. Its `Debug` form shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub(super) String);

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(hidden)")
    }
}

/// Settings of a [`super::Hub`].
#[derive(Clone, Debug)]
pub struct HubOptions {
    /// Base address, without a slash at its end.
    pub endpoint: String,
    /// Sent to `endpoint` and to nobody else.
    pub token: Option<Token>,
    /// The folder that holds `models--owner--name` folders.
    pub cache: PathBuf,
    /// Never use the network.
    pub offline: bool,
    /// A connection that yields nothing for this long has failed.
    pub stall_timeout: Duration,
    /// Failures in a row, without progress between them, after which a download is given up.
    pub attempts: u32,
    /// Pause after the first failure; doubles with each further one.
    pub backoff: Duration,
}

impl HubOptions {
    /// The settings that this process's environment asks for.
    pub fn from_env() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// The settings that an environment asks for: `HF_ENDPOINT`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HOME`, `HF_HUB_CACHE`,
    /// `HF_HUB_OFFLINE`, and the older names and `XDG_CACHE_HOME` as `huggingface_hub` 2.4 reads them.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let folder = |name: &str| variable(name).map(|value| expand_home(&value, variable("HOME")));
        let user_cache = folder("XDG_CACHE_HOME").unwrap_or_else(|| expand_home("~/.cache", variable("HOME")));
        let home = folder("HF_HOME").unwrap_or_else(|| user_cache.join("huggingface"));
        let is_set = |name: &str| variable(name).is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str()));
        let from_file = || {
            let path = folder("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
            let allowed = !is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN");
            std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| allowed && !text.is_empty())
        };
        Self {
            endpoint: variable("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned()).trim_end_matches('/').to_owned(),
            token: variable("HF_TOKEN").or_else(|| variable("HUGGING_FACE_HUB_TOKEN")).or_else(from_file).map(Token),
            cache: folder("HF_HUB_CACHE").or_else(|| folder("HUGGINGFACE_HUB_CACHE")).unwrap_or_else(|| home.join("hub")),
            offline: is_set("HF_HUB_OFFLINE") || is_set("TRANSFORMERS_OFFLINE"),
            stall_timeout: Duration::from_secs(30),
            attempts: 5,
            backoff: Duration::from_millis(500),
        }
    }
}

/// `~/` stands for the home folder, as in a shell.
fn expand_home(path: &str, home: Option<String>) -> PathBuf {
    let home = || home.map(PathBuf::from).or_else(std::env::home_dir).unwrap_or_default();
    match path.strip_prefix("~/") {
        Some(rest) => home().join(rest),
        None if path == "~" => home(),
        None => PathBuf::from(path),
    }
}
