//! Names of the network's hosts: no other file of this project has any. The task runner reads this file too, so it stands alone.

/// The public hub.
pub const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// What a page may connect to beside its own origin, as sources of a content security policy: the hub, and the storage that it redirects to,
/// whose hosts differ by region and by year.
pub const HOSTS: [&str; 3] = [DEFAULT_ENDPOINT, "https://*.hf.co", "https://*.huggingface.co"];
