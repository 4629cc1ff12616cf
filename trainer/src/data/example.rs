//! Examples of a shard in img2dataset's layout: members that share a key, next to each other: `key.jpg`, `key.txt`, `key.json`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use serde::{Deserialize, Serialize};

use super::tar::{Content, Member, TarError, TarReader};

/// One example as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// The shard and the key in it, for messages.
    pub name: String,
    /// Encoded image.
    pub image: Vec<u8>,
    /// `key.txt`.
    pub text: Option<Vec<u8>>,
    /// `key.json`.
    pub metadata: Option<Vec<u8>>,
}

impl Example {
    /// Bytes it holds.
    pub(super) fn size_bytes(&self) -> usize {
        let optional = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        self.image.len() + optional(&self.text) + optional(&self.metadata)
    }
}

/// Why an example was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A member is above the size limit.
    MemberTooLarge,
    /// A member is a link, a device or the like.
    NotRegular,
    /// No image under this key.
    NoImage,
    /// No caption, or none in a language that is asked for.
    NoCaption,
    /// The `.json` is not what the layout says.
    Metadata,
    /// The image cannot be decoded within the limits.
    Image,
    /// The caption cannot be tokenised.
    Text,
    /// Decoding panicked.
    Panic,
    /// The shard is no tar archive from here on; the rest of it is lost.
    DamagedShard,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MemberTooLarge => "member too large",
            Self::NotRegular => "not a regular file",
            Self::NoImage => "no image",
            Self::NoCaption => "no caption",
            Self::Metadata => "unreadable metadata",
            Self::Image => "unreadable image",
            Self::Text => "unreadable caption",
            Self::Panic => "decoder panicked",
            Self::DamagedShard => "damaged shard",
        })
    }
}

/// An example that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// The shard and the key or member in it.
    pub name: String,
    /// What kind of problem.
    pub reason: Reason,
    /// The problem in words.
    pub detail: String,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.name, self.reason, self.detail)
    }
}

/// File-name extensions that mean an image.
pub(super) const IMAGE_EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"];

/// Reads examples from a shard.
pub(super) struct ExampleReader {
    tar: TarReader<Box<dyn Read + Send>>,
    /// Name of the shard.
    shard: String,
    /// The first member of the next example.
    waiting: Option<Member>,
    ended: bool,
}

impl ExampleReader {
    /// `stream` gives the bytes of `shard` from `position` on, where an example's first header begins.
    pub(super) fn new(shard: String, stream: Box<dyn Read + Send>, position: u64) -> Self {
        Self { tar: TarReader::new(stream, position), shard, waiting: None, ended: false }
    }

    /// Whether no example is left.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Where the next example begins, in bytes from the start of the shard.
    pub(super) fn position(&self) -> u64 {
        self.waiting.as_ref().map_or(self.tar.position(), |member| member.start)
    }

    /// The next example; `None` at the end of the shard. Damage ends the shard with one last, bad example.
    ///
    /// # Errors
    /// The stream failed: what follows is unknown.
    pub(super) fn next(&mut self) -> std::io::Result<Option<Result<Example, Bad>>> {
        let mut group: Option<Group> = None;
        while !self.ended {
            let member = match self.waiting.take().map_or_else(|| self.tar.next(), |member| Ok(Some(member))) {
                Ok(Some(member)) => member,
                Ok(None) => break,
                Err(TarError::Io(error)) => return Err(error),
                Err(TarError::Damaged(detail)) => {
                    // The example before it may lack members: it goes with the rest.
                    self.ended = true;
                    return Ok(Some(Err(Bad { name: self.shard.clone(), reason: Reason::DamagedShard, detail })));
                }
            };
            let (key, extension) = split_key(&member.name);
            // Members of other kinds (`.cls`, `.npy`, a README) are not ours to judge.
            let Some(kind) = kind(extension) else { continue };
            if group.as_ref().is_some_and(|group| group.key != key) {
                self.waiting = Some(member);
                return Ok(group.map(|group| group.finish(&self.shard)));
            }
            let key = key.to_owned();
            group.get_or_insert_with(|| Group::new(key)).add(kind, member.content);
        }
        self.ended = true;
        Ok(group.map(|group| group.finish(&self.shard)))
    }
}

/// Members that share a key.
struct Group {
    key: String,
    files: BTreeMap<&'static str, Vec<u8>>,
    problem: Option<(Reason, String)>,
}

impl Group {
    fn new(key: String) -> Self {
        Self { key, files: BTreeMap::new(), problem: None }
    }

    /// Keeps the first file of each kind.
    fn add(&mut self, kind: &'static str, content: Content) {
        match content {
            Content::File(bytes) => {
                self.files.entry(kind).or_insert(bytes);
            }
            Content::TooLarge(size) => self.problem = Some((Reason::MemberTooLarge, format!("its {kind} has {size} bytes"))),
            Content::NotRegular => self.problem = Some((Reason::NotRegular, format!("its {kind} is a link or a device"))),
        }
    }

    fn finish(mut self, shard: &str) -> Result<Example, Bad> {
        let name = format!("{shard}: {}", self.key);
        let bad = |name, (reason, detail)| Err(Bad { name, reason, detail });
        if let Some(problem) = self.problem {
            return bad(name, problem);
        }
        let Some(image) = self.files.remove("image") else {
            return bad(name, (Reason::NoImage, format!("it needs one of .{}", IMAGE_EXTENSIONS.join(", ."))));
        };
        let (text, metadata) = (self.files.remove("text"), self.files.remove("metadata"));
        Ok(Example { name, image, text, metadata })
    }
}

fn kind(extension: &str) -> Option<&'static str> {
    match extension.to_ascii_lowercase().as_str() {
        "txt" => Some("text"),
        "json" => Some("metadata"),
        other => IMAGE_EXTENSIONS.contains(&other).then_some("image"),
    }
}

/// Key and extension: an extension is all that follows the first dot of the file name, as in webdataset.
fn split_key(name: &str) -> (&str, &str) {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = name.get(file..).and_then(|file| file.find('.')).map(|dot| file + dot);
    dot.map_or((name, ""), |dot| (name.get(..dot).unwrap_or(name), name.get(dot + 1..).unwrap_or_default()))
}
