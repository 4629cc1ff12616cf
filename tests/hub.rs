//! Models by name: references, the shared cache, and downloads from a hub that misbehaves.

pub(crate) mod server;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use polyglance::weights::hub::{
    CHUNK, DEFAULT_ENDPOINT, Digest, HOSTS, Hasher, Hub, HubError, HubId, HubOptions, Listing, Manifest, ModelRef, Progress,
    is_content_range,
};
use server::*;

const ID: &str = "google/tiny";
const WEIGHTS: &str = "model.safetensors";
/// Path of the weights in the storage behind the hub.
const STORAGE: &str = "/storage/model.safetensors?signature=secret";

fn id(text: &str) -> HubId {
    text.parse().unwrap()
}

fn weights() -> Vec<u8> {
    (0..3_000_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn repository() -> Repository {
    Repository::new(&[
        ("config.json", b"{\"model_type\": \"siglip2\"}".to_vec()),
        ("tokenizer.json", b"{}".to_vec()),
        ("README.md", b"not needed".to_vec()),
        ("pytorch_model.bin", b"not needed".to_vec()),
        (WEIGHTS, weights()),
    ])
}

fn options(cache: &Path, port: u16) -> HubOptions {
    HubOptions {
        endpoint: format!("http://127.0.0.1:{port}"),
        cache: cache.to_owned(),
        stall_timeout: Duration::from_secs(20),
        attempts: 3,
        backoff: Duration::from_millis(1),
        ..HubOptions::from_lookup(|name| (name == "HF_TOKEN").then(|| "hf_secret".to_owned()))
    }
}

/// A hub, its cache, and the server behind it.
struct World {
    server: Server,
    cache: tempfile::TempDir,
}

impl World {
    /// `handler` may answer in place of the honest repository.
    fn new(handler: impl Fn(&Request, usize) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let honest = repository();
        let server = Server::start(move |request, earlier| handler(request, earlier).unwrap_or_else(|| honest.answer(request)));
        Self { server, cache: tempfile::tempdir().unwrap() }
    }

    fn hub(&self) -> Hub {
        Hub::new(options(self.cache.path(), self.server.port))
    }

    fn fetch(&self) -> Result<PathBuf, HubError> {
        self.hub().fetch(&id(ID), &mut go_on)
    }

    fn blob(&self, suffix: &str) -> PathBuf {
        self.cache.path().join("models--google--tiny/blobs").join(sha256(&weights()) + suffix)
    }

    /// Leaves what an interrupted download would.
    fn leave_partial(&self, bytes: &[u8]) {
        let path = self.blob(".incomplete");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn assert_weights(&self, snapshot: &Path) {
        assert!(std::fs::read(snapshot.join(WEIGHTS)).unwrap() == weights());
        assert!(!self.blob(".incomplete").exists());
    }
}

fn go_on(_: Progress<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn is_weights(request: &Request) -> bool {
    request.method == "GET" && request.path == STORAGE
}

// ---- references and options

#[test]
fn an_existing_path_wins_over_a_hub_id() {
    assert_eq!(ModelRef::parse("src/weights").unwrap(), ModelRef::Local("src/weights".into()));
    assert_eq!(id("src/weights").repository(), "src/weights");
    let hub = id("google/siglip2-base-patch16-naflex@v1.0");
    assert_eq!(ModelRef::parse("google/siglip2-base-patch16-naflex@v1.0").unwrap(), ModelRef::Hub(hub.clone()));
    assert_eq!((hub.repository().as_str(), hub.revision()), ("google/siglip2-base-patch16-naflex", "v1.0"));
    assert_eq!(id("a/b").revision(), "main");
    assert_eq!(id("a/b@refs/pr/3").revision(), "refs/pr/3");
}

#[test]
fn names_that_could_leave_the_cache_are_refused() {
    for text in ["", "model", "a/b/c", "../b", "a/..", "a/b@", "a/b@../x", "a/b@/x", "a b/c", "a/b?c", "/no/such/folder", "a/b@x/../y"] {
        let error = ModelRef::parse(text).unwrap_err();
        assert!(matches!(&error, HubError::NotAModel(_)), "{text}: {error}");
        assert!(error.to_string().contains("google/siglip2-base-patch16-naflex"));
    }
}

fn from_variables(variables: &[(&str, &str)]) -> HubOptions {
    HubOptions::from_lookup(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
}

#[test]
fn the_environment_is_read_as_the_python_tools_read_it() {
    let home = ("HOME", "/u");
    assert_eq!(from_variables(&[home]).cache, Path::new("/u/.cache/huggingface/hub"));
    assert_eq!(from_variables(&[home, ("XDG_CACHE_HOME", "/x")]).cache, Path::new("/x/huggingface/hub"));
    assert_eq!(from_variables(&[home, ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "~/hf")]).cache, Path::new("/u/hf/hub"));
    assert_eq!(from_variables(&[("HF_HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/old")]).cache, Path::new("/old"));
    assert_eq!(from_variables(&[("HF_HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "/c")]).cache, Path::new("/c"));
    assert_eq!(from_variables(&[home]).endpoint, DEFAULT_ENDPOINT);
    assert_eq!(from_variables(&[("HF_ENDPOINT", "http://mirror/ ")]).endpoint, "http://mirror");
    for (value, offline) in [("1", true), ("on", true), ("True", true), ("0", false), ("", false), ("no", false)] {
        assert_eq!(from_variables(&[("HF_HUB_OFFLINE", value)]).offline, offline, "{value}");
    }
}

#[test]
fn tokens_come_from_the_environment_or_the_token_file_and_never_show() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("token"), "from_file\n").unwrap();
    let home = ("HF_HOME", home.path().to_str().unwrap());
    let token = |variables: &[(&str, &str)]| from_variables(variables).token;
    assert!(token(&[home]).is_some());
    assert_ne!(token(&[home]), token(&[home, ("HF_TOKEN", "from_env")]));
    assert_eq!(token(&[home]), token(&[home, ("HF_TOKEN", " "), ("HUGGING_FACE_HUB_TOKEN", "from_file")]));
    assert_eq!(token(&[home, ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
    assert!(!format!("{:?}", from_variables(&[("HF_TOKEN", "hf_secret")])).contains("secret"));
}

// ---- the cache

#[cfg(unix)]
#[test]
fn a_download_has_the_layout_of_the_python_tools() {
    let world = World::new(|_, _| None);
    let snapshot = world.fetch().unwrap();
    let root = world.cache.path().join("models--google--tiny");
    assert_eq!(snapshot, root.join("snapshots").join(COMMIT));
    assert_eq!(std::fs::read_to_string(root.join("refs/main")).unwrap(), COMMIT);
    let link = std::fs::read_link(snapshot.join(WEIGHTS)).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(sha256(&weights())));
    let config_etag = &sha256(b"{\"model_type\": \"siglip2\"}")[..40];
    assert_eq!(std::fs::read_link(snapshot.join("config.json")).unwrap(), Path::new("../../blobs").join(config_etag));
    let mut names: Vec<_> = std::fs::read_dir(&snapshot).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["config.json", "model.safetensors", "tokenizer.json"]);
    assert!(world.cache.path().join(".locks/models--google--tiny").join(sha256(&weights()) + ".lock").exists());
    world.assert_weights(&snapshot);
}

#[test]
fn what_the_python_tools_downloaded_is_found_offline() {
    let cache = tempfile::tempdir().unwrap();
    let root = cache.path().join("models--google--tiny");
    let snapshot = root.join("snapshots").join(COMMIT);
    std::fs::create_dir_all(root.join("refs")).unwrap();
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::write(root.join("refs/main"), COMMIT).unwrap();
    let hub = Hub::new(HubOptions { offline: true, ..options(cache.path(), 1) });
    let write = |name: &str, bytes: &[u8]| std::fs::write(snapshot.join(name), bytes).unwrap();

    write("config.json", b"{}");
    let error = hub.resolve(ID, &mut go_on).unwrap_err();
    assert!(matches!(&error, HubError::Offline { .. }) && error.to_string().contains("--offline"), "{error}");
    write("model.safetensors.index.json", br#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#);
    write("model-1.safetensors", b"");
    assert!(hub.locate(&id(ID)).is_none());
    write("model-2.safetensors", b"");
    assert_eq!(hub.resolve(ID, &mut go_on).unwrap(), snapshot);
    assert_eq!(hub.locate(&id(&format!("{ID}@{COMMIT}"))).unwrap(), snapshot);
    assert!(hub.locate(&id("google/tiny@other")).is_none());
    assert!(hub.locate(&id("google/other")).is_none());
    assert_eq!(hub.resolve("src", &mut go_on).unwrap(), Path::new("src"));
}

#[test]
fn a_cached_model_is_not_asked_for_again() {
    let world = World::new(|_, _| None);
    let first = world.hub().resolve(ID, &mut go_on).unwrap();
    let requests = world.server.requests().len();
    assert_eq!(world.hub().resolve(ID, &mut go_on).unwrap(), first);
    assert_eq!(world.server.requests().len(), requests);
    // An explicit fetch asks what the branch means today, but downloads nothing that is there.
    world.fetch().unwrap();
    assert_eq!(world.server.downloads(STORAGE), [None]);
}

#[cfg(unix)]
#[test]
fn a_complete_cache_is_not_written_to() {
    let world = World::new(|_, _| None);
    let snapshot = world.fetch().unwrap();
    let inode = |name: &str| std::os::unix::fs::MetadataExt::ino(&std::fs::symlink_metadata(snapshot.join(name)).unwrap());
    let reference = world.cache.path().join("models--google--tiny/refs/main");
    let before = (inode(WEIGHTS), std::fs::metadata(&reference).unwrap().modified().unwrap());
    world.fetch().unwrap();
    assert_eq!((inode(WEIGHTS), std::fs::metadata(&reference).unwrap().modified().unwrap()), before);
}

#[test]
fn an_unusable_cache_folder_is_named() {
    let world = World::new(|_, _| None);
    let file = world.cache.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = Hub::new(options(&file, world.server.port)).fetch(&id(ID), &mut go_on).unwrap_err();
    assert!(matches!(&error, HubError::Io { .. }) && error.to_string().contains("HF_HUB_CACHE"), "{error}");
}

#[test]
fn progress_counts_up_to_the_total() {
    let world = World::new(|_, _| None);
    let mut seen = Vec::new();
    let mut record = |progress: Progress<'_>| {
        seen.push((progress.done, progress.total));
        ControlFlow::Continue(())
    };
    world.hub().fetch(&id(ID), &mut record).unwrap();
    let downloads: Vec<_> = seen.iter().filter(|(_, total)| *total > 0).collect();
    assert!(downloads.is_sorted() && downloads.len() > 3);
    let total = (weights().len() + r#"{"model_type": "siglip2"}"#.len() + "{}".len()) as u64;
    assert_eq!(**downloads.last().unwrap(), (total, total));
}

#[test]
fn a_listing_names_files_with_their_digests() {
    let json = format!(
        r#"{{"sha":"{COMMIT}","siblings":[{{"rfilename":"a","size":3,"blobId":"b1"}},{{"rfilename":"w","lfs":{{"sha256":"ab","size":9}}}},{{"rfilename":"x"}}]}}"#
    );
    let listing = Listing::parse(json.as_bytes()).unwrap();
    let files: Vec<_> = listing.files.into_iter().map(|file| (file.name, file.size, file.digest)).collect();
    let (git, sha256) = (Digest::GitSha1("b1".to_owned()), Digest::Sha256("ab".to_owned()));
    assert_eq!(files, [("a".to_owned(), Some(3), Some(git)), ("w".to_owned(), Some(9), Some(sha256)), ("x".to_owned(), None, None)]);
    for wrong in ["", "[]", r#"{"siblings":[]}"#, r#"{"sha":"main","siblings":[]}"#] {
        assert!(Listing::parse(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn a_manifest_says_which_chunks_differ() {
    let bytes = vec![7; CHUNK as usize + 5];
    let manifest = |bytes: &[u8]| {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish().1
    };
    let (whole, rotten) = (manifest(&bytes), manifest(&[&bytes[..CHUNK as usize], &[8; 5]].concat()));
    assert!(whole.damage(&rotten).into_iter().eq(std::iter::once(CHUNK..CHUNK + 5)));
    assert_eq!(whole.damage(&manifest(&bytes[..3])), [0..CHUNK, CHUNK..CHUNK + 5]);
    assert_eq!(whole.chunks().map(|(range, _)| range).collect::<Vec<_>>(), [0..CHUNK, CHUNK..CHUNK + 5]);
    let json = serde_json::to_vec(&whole).unwrap();
    assert_eq!(Manifest::from_json(&json), Some(whole));
    assert_eq!(Manifest::from_json(&json[..json.len() - 1]), None);
}

#[test]
fn only_the_range_that_was_asked_for_is_taken() {
    let is_right = |value| is_content_range(value, 5, Some(9), Some(20));
    assert!(is_right("bytes 5-8/20") && is_right("bytes 5-8/*"));
    for wrong in
        ["", "bytes", "bytes 4-8/20", "bytes 5-9/20", "bytes 5-8/21", "bytes 5-8", "items 5-8/20", "bytes 5-18446744073709551615/20"]
    {
        assert!(!is_right(wrong), "{wrong}");
    }
    assert!(HOSTS.contains(&DEFAULT_ENDPOINT));
}

// ---- a hub that misbehaves

#[test]
fn the_token_never_follows_a_redirect_to_another_host() {
    let storage = Server::start(|request, _| ranged(request, &weights()));
    let mut hub = repository();
    hub.storage = Some(format!("http://localhost:{}", storage.port));
    let hub = Server::start(move |request, _| hub.answer(request));
    let cache = tempfile::tempdir().unwrap();
    let snapshot = Hub::new(options(cache.path(), hub.port)).fetch(&id(ID), &mut go_on).unwrap();
    assert!(std::fs::read(snapshot.join(WEIGHTS)).unwrap() == weights());
    let credential = |request: &Request| request.headers.get("authorization").cloned();
    assert!(hub.requests().iter().all(|request| credential(request).as_deref() == Some("Bearer hf_secret")));
    assert_eq!(storage.requests().len(), 1);
    assert!(storage.requests().iter().all(|request| credential(request).is_none()));
}

#[test]
fn the_token_does_not_come_back_after_leaving() {
    // Away and back again: the second visit to the hub could be the other host's doing.
    let hub_port = std::sync::Arc::new(std::sync::OnceLock::new());
    let port = std::sync::Arc::clone(&hub_port);
    let away = Server::start(move |_, _| Reply::redirect(format!("http://127.0.0.1:{}/back/model.safetensors", port.get().unwrap())));
    let mut honest = repository();
    honest.storage = Some(format!("http://127.0.0.1:{}", away.port));
    let hub = Server::start(move |request, _| match request.path.as_str() {
        "/back/model.safetensors" => ranged(request, &weights()),
        _ => honest.answer(request),
    });
    hub_port.set(hub.port).unwrap();
    let cache = tempfile::tempdir().unwrap();
    Hub::new(options(cache.path(), hub.port)).fetch(&id(ID), &mut go_on).unwrap();
    let back = hub.requests().into_iter().find(|request| request.path.starts_with("/back/")).unwrap();
    assert!(!back.headers.contains_key("authorization"));
}

#[test]
fn redirect_loops_end() {
    let world = World::new(|request, _| request.path.starts_with("/api/").then(|| Reply::redirect(request.path.clone())));
    let error = world.fetch().unwrap_err();
    assert!(error.to_string().contains("redirects"), "{error}");
}

#[test]
fn a_partial_download_resumes() {
    let world = World::new(|_, _| None);
    world.leave_partial(&weights()[..1_000_000]);
    let snapshot = world.fetch().unwrap();
    assert_eq!(world.server.downloads(STORAGE), [Some(1_000_000)]);
    world.assert_weights(&snapshot);
}

#[test]
fn a_complete_partial_download_is_checked_and_kept() {
    let world = World::new(|_, _| None);
    world.leave_partial(&weights());
    let snapshot = world.fetch().unwrap();
    assert_eq!(world.server.downloads(STORAGE), []);
    world.assert_weights(&snapshot);
}

#[test]
fn a_server_that_ignores_the_range_starts_over() {
    let world = World::new(|request, _| is_weights(request).then(|| Reply::Full(200, vec![], weights())));
    world.leave_partial(&weights()[..1_000_000]);
    let snapshot = world.fetch().unwrap();
    assert_eq!(world.server.downloads(STORAGE), [Some(1_000_000)]);
    world.assert_weights(&snapshot);
}

#[test]
fn a_wrong_content_range_starts_over() {
    for wrong in ["bytes 0-2999999/3000000", "bytes 1000000-2999999/3000001", "bytes 1000000-2999998/3000000", "nonsense"] {
        let world = World::new(move |request, _| {
            let resumes = is_weights(request) && request.range_start().is_some();
            resumes.then(|| Reply::Full(206, vec![("Content-Range".into(), wrong.into())], weights()[1_000_000..].to_vec()))
        });
        world.leave_partial(&weights()[..1_000_000]);
        let snapshot = world.fetch().unwrap();
        assert_eq!(world.server.downloads(STORAGE), [Some(1_000_000), None], "{wrong}");
        world.assert_weights(&snapshot);
    }
}

#[test]
fn an_unsatisfiable_range_starts_over() {
    let world = World::new(|request, _| (is_weights(request) && request.range_start().is_some()).then(|| Reply::status(416)));
    world.leave_partial(&weights()[..1_000_000]);
    let snapshot = world.fetch().unwrap();
    assert_eq!(world.server.downloads(STORAGE), [Some(1_000_000), None]);
    world.assert_weights(&snapshot);
}

#[test]
fn a_partial_download_that_is_too_long_or_rotten_starts_over() {
    let world = World::new(|_, _| None);
    world.leave_partial(&vec![7; weights().len() + 1]);
    world.assert_weights(&world.fetch().unwrap());
    assert_eq!(world.server.downloads(STORAGE), [None]);

    let world = World::new(|_, _| None);
    world.leave_partial(&[0; 1_000_000]);
    world.assert_weights(&world.fetch().unwrap());
    assert_eq!(world.server.downloads(STORAGE), [Some(1_000_000), None]);
}

#[test]
fn a_short_body_is_continued() {
    let world = World::new(|request, earlier| {
        let cut = Reply::Full(200, vec![("Content-Length".into(), "3000000".into())], weights()[..500_000].to_vec());
        (is_weights(request) && earlier == 0).then_some(cut)
    });
    let snapshot = world.fetch().unwrap();
    assert_eq!(world.server.downloads(STORAGE), [None, Some(500_000)]);
    world.assert_weights(&snapshot);
}

#[test]
fn a_body_shorter_than_the_published_size_is_never_accepted() {
    let world = World::new(|request, _| is_weights(request).then(|| Reply::Full(200, vec![], weights()[..10].to_vec())));
    let error = world.fetch().unwrap_err();
    assert!(matches!(&error, HubError::Length { got: 10, expected: 3_000_000, .. }), "{error}");
    assert!(!world.blob("").exists());
    assert_eq!(world.server.downloads(STORAGE).len(), 3);
}

#[test]
fn a_body_longer_than_the_published_size_is_never_accepted() {
    let world = World::new(|request, _| is_weights(request).then(|| Reply::Full(200, vec![], [weights(), vec![0]].concat())));
    let error = world.fetch().unwrap_err();
    assert!(matches!(&error, HubError::Length { .. }), "{error}");
    assert!(!world.blob("").exists());
}

#[test]
fn a_wrong_hash_is_never_accepted() {
    let world = World::new(|request, _| is_weights(request).then(|| Reply::Full(200, vec![], vec![1; weights().len()])));
    let error = world.fetch().unwrap_err();
    assert!(matches!(&error, HubError::Corrupt { .. }) && error.to_string().contains("SHA-256"), "{error}");
    assert!(!world.blob("").exists());
    assert_eq!(std::fs::metadata(world.blob(".incomplete")).unwrap().len(), 0);
    assert!(world.hub().locate(&id(ID)).is_none());
}

#[test]
fn a_stall_is_noticed_and_the_download_continues() {
    let world = World::new(|request, earlier| {
        (is_weights(request) && earlier == 0).then(|| Reply::Stall(weights().len(), weights()[..500_000].to_vec()))
    });
    let stall_timeout = Duration::from_secs(1);
    let hub = Hub::new(HubOptions { stall_timeout, ..options(world.cache.path(), world.server.port) });
    let snapshot = hub.fetch(&id(ID), &mut go_on).unwrap();
    assert_eq!(world.server.downloads(STORAGE), [None, Some(500_000)]);
    world.assert_weights(&snapshot);
}

#[test]
fn a_cancelled_download_resumes() {
    let world = World::new(|_, _| None);
    let mut stop = |progress: Progress<'_>| if progress.done > 1_000_000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let error = world.hub().fetch(&id(ID), &mut stop).unwrap_err();
    assert!(matches!(error, HubError::Cancelled));
    assert!(world.hub().locate(&id(ID)).is_none());
    let partial = std::fs::metadata(world.blob(".incomplete")).unwrap().len() as usize;
    assert!((1_000_000..3_000_000).contains(&partial));
    let snapshot = world.fetch().unwrap();
    assert_eq!(world.server.downloads(STORAGE), [None, Some(partial)]);
    world.assert_weights(&snapshot);
}

#[test]
fn transient_failures_are_retried_and_lasting_ones_are_not() {
    for status in [500, 503, 429] {
        let world = World::new(move |request, earlier| (request.path.starts_with("/api/") && earlier < 2).then(|| Reply::status(status)));
        world.fetch().unwrap();
        let world = World::new(move |request, _| request.path.starts_with("/api/").then(|| Reply::status(status)));
        let error = world.fetch().unwrap_err();
        assert!(matches!(error, HubError::Status { .. }), "{error}");
        assert_eq!(world.server.requests().len(), 3);
    }
    for (status, code) in [(401, ""), (403, "GatedRepo"), (404, "RepoNotFound")] {
        let world = World::new(move |_, _| Some(Reply::status(status).with("X-Error-Code", &code)));
        let error = world.fetch().unwrap_err();
        let message = error.to_string();
        match status {
            404 => assert!(matches!(error, HubError::NotFound { .. }) && message.contains("google/tiny"), "{message}"),
            _ => assert!(matches!(error, HubError::Refused { .. }) && message.contains("accept its terms"), "{message}"),
        }
        assert_eq!(world.server.requests().len(), 1);
    }
}

#[test]
fn an_unknown_model_without_a_token_says_how_to_send_one() {
    let world = World::new(|_, _| Some(Reply::status(401)));
    let options = HubOptions { token: None, ..options(world.cache.path(), world.server.port) };
    let error = Hub::new(options).fetch(&id(ID), &mut go_on).unwrap_err();
    assert!(matches!(&error, HubError::NotFound { .. }) && error.to_string().contains("HF_TOKEN"), "{error}");
    assert!(!world.server.requests()[0].headers.contains_key("authorization"));
}

#[test]
fn an_unreachable_hub_is_a_network_error() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let cache = tempfile::tempdir().unwrap();
    let error = Hub::new(options(cache.path(), free)).fetch(&id(ID), &mut go_on).unwrap_err();
    assert!(matches!(&error, HubError::Network { .. }), "{error}");
}

#[test]
fn answers_that_are_no_hubs_are_refused() {
    let listings = [
        "<html>captive portal</html>".to_owned(),
        "{}".to_owned(),
        r#"{"sha": "../../evil", "siblings": []}"#.to_owned(),
        format!(r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "README.md"}}]}}"#),
        format!(r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "../../evil.npz"}}]}}"#),
    ];
    for listing in listings {
        let body = listing.clone().into_bytes();
        let world = World::new(move |request, _| request.path.starts_with("/api/").then(|| Reply::Full(200, vec![], body.clone())));
        let error = world.fetch().unwrap_err();
        assert!(matches!(error, HubError::NotAHub { .. } | HubError::NoWeights { .. }), "{listing}: {error}");
    }
    for etag in ["", "../../../evil", "a/b", ".hidden"] {
        let world = World::new(move |request, _| (request.method == "HEAD").then(|| Reply::status(200).with("ETag", &etag)));
        let error = world.fetch().unwrap_err();
        assert!(matches!(error, HubError::NotAHub { .. }), "{etag}: {error}");
    }
}

#[test]
fn signatures_do_not_show_in_errors() {
    let world = World::new(|request, _| is_weights(request).then(|| Reply::status(500)));
    let message = world.fetch().unwrap_err().to_string();
    assert!(!message.contains("secret"), "{message}");
}

#[test]
fn only_one_process_downloads_a_blob() {
    let world = World::new(|_, _| None);
    let locks = world.cache.path().join(".locks/models--google--tiny");
    std::fs::create_dir_all(&locks).unwrap();
    let lock = std::fs::File::create(locks.join(sha256(&weights()) + ".lock")).unwrap();
    lock.lock().unwrap();
    // While another process holds the lock the download waits, and can be stopped.
    let mut waits = 0;
    let mut stop = |progress: Progress<'_>| {
        waits += usize::from(progress.file == WEIGHTS);
        if waits > 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    assert!(matches!(world.hub().fetch(&id(ID), &mut stop), Err(HubError::Cancelled)));
    assert_eq!(world.server.downloads(STORAGE), []);
    // When the other process has finished, its blob is used.
    std::fs::write(world.blob(""), weights()).unwrap();
    lock.unlock().unwrap();
    world.assert_weights(&world.fetch().unwrap());
    assert_eq!(world.server.downloads(STORAGE), []);
}

#[test]
fn sharded_weights_are_fetched_whole() {
    let index = br#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
    let files = [
        ("config.json", b"{}".to_vec()),
        ("model.safetensors.index.json", index.to_vec()),
        ("model-00001-of-00002.safetensors", vec![1; 10]),
        ("model-00002-of-00002.safetensors", vec![2; 20]),
    ];
    let honest = Repository::new(&files);
    let server = Server::start(move |request, _| honest.answer(request));
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::new(options(cache.path(), server.port));
    let snapshot = hub.fetch(&id("google/tiny@v1"), &mut go_on).unwrap();
    for (name, bytes) in files {
        assert_eq!(std::fs::read(snapshot.join(name)).unwrap(), bytes);
    }
    assert_eq!(server.requests()[0].path, "/api/models/google/tiny/revision/v1");
    assert_eq!(hub.locate(&id("google/tiny@v1")), Some(snapshot));
    assert_eq!(hub.locate(&id(ID)), None);
}

// ---- rot

#[test]
fn rotten_chunks_are_found_and_only_they_are_fetched_again() {
    let large: Vec<u8> = (0..20_000_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
    let honest = Repository::new(&[("config.json", b"{}".to_vec()), (WEIGHTS, large.clone())]);
    let server = Server::start(move |request, _| honest.answer(request));
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::new(options(cache.path(), server.port));
    let snapshot = hub.fetch(&id(ID), &mut go_on).unwrap();
    assert_eq!(hub.verify(&snapshot).unwrap(), []);

    let blob = snapshot.join(WEIGHTS).canonicalize().unwrap();
    let mut rotten = large.clone();
    rotten[9_000_000] ^= 1;
    rotten.truncate(19_000_000);
    std::fs::write(&blob, &rotten).unwrap();
    let damage = hub.verify(&snapshot).unwrap();
    const CHUNK: u64 = 8 << 20;
    assert_eq!(damage.len(), 1);
    assert_eq!((&damage[0].file, &damage[0].ranges[..]), (&snapshot.join(WEIGHTS), &[CHUNK..2 * CHUNK, 2 * CHUNK..20_000_000][..]));
    hub.repair(&id(ID), &damage).unwrap();
    assert_eq!(hub.verify(&snapshot).unwrap(), []);
    assert!(std::fs::read(&blob).unwrap() == large);
    assert_eq!(server.downloads(STORAGE), [None, Some(CHUNK as usize), Some(2 * CHUNK as usize)]);
}
