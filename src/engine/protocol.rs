//! What an app and the engine say to each other: `{id, generation, kind, body}`, in JSON where it leaves the process. Bulk data
//! (files, pixels, maps) travels beside a message, never in it.

mod collections;

pub use self::collections::{Collection, Hit, Hits, Indexed, Search, Spot};

use serde::{Deserialize, Serialize};

/// Goes up when a message changes its meaning. A page and a worker of different builds, one from a cache, must not talk.
pub const PROTOCOL: u32 = 7;

/// From the app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the app; replies carry it.
    pub id: u64,
    /// Which start of the engine this is for, counted from 0.
    pub generation: u32,
    /// What to do.
    #[serde(flatten)]
    pub job: Job,
    /// Bulk data.
    #[serde(skip)]
    pub bulk: Vec<u8>,
}

/// From the engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The request's.
    pub id: u64,
    /// The request's.
    pub generation: u32,
    /// What there is to say.
    #[serde(flatten)]
    pub news: News,
    /// Bulk data.
    #[serde(skip)]
    pub bulk: Vec<u8>,
}

/// What the engine can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
pub enum Job {
    /// Loads a model in place of the present one. Answer: [`News::Opened`].
    Open(OpenModel),
    /// Downloads the token table of a model that was opened without ([`Table::Coming`]). It gives way to other jobs: then it answers
    /// [`FailureKind::Cancelled`], and goes on where it stopped when it is asked for again. Answer: [`News::Done`].
    FetchTable,
    /// Takes a picture, which stays until it is dropped. Bulk: as [`ImageForm`] says. Answer: [`News::Image`].
    AddImage(AddImage),
    /// Forgets a picture. Answer: [`News::Done`].
    DropImage {
        /// Its number.
        image: u64,
    },
    /// Compares a picture with labels. Answer: [`News::Scores`].
    Classify(Classify),
    /// Embeds a picture. Answer: [`News::Embeddings`] with one row.
    EmbedImage(EmbedImage),
    /// Embeds texts. Answer: [`News::Embeddings`] with a row for each.
    EmbedTexts {
        /// Any number of texts.
        texts: Vec<String>,
    },
    /// Looks at a picture's patches. Answer: [`News::Map`] with `[rows, cols, channels]` of f32 as bulk.
    View(ViewJob),
    /// Tells what the model will read. Answer: [`News::Texts`].
    Tokenize {
        /// Any number of texts.
        texts: Vec<String>,
    },
    /// Tells which models were downloaded, and what room there is. Answer: [`News::Stored`].
    Stored,
    /// Deletes a downloaded model. Answer: [`News::Done`].
    DeleteStored {
        /// The name that opens it: `owner/name`, and `@revision` unless that is `main`.
        name: String,
    },
    /// Tells which folders were indexed. Answer: [`News::Collections`].
    Collections,
    /// Brings the index of a folder up to date, with the open model; makes one if there is none. It gives way to other jobs: then it answers
    /// [`FailureKind::Cancelled`], and goes on where it stopped when it is asked for again. Answer: [`News::Indexed`].
    Index {
        /// The folder.
        root: String,
    },
    /// Looks for pictures. Answer: [`News::Hits`].
    Search(Search),
    /// Looks for pictures that are nearly the same. Answer: [`News::Hits`], group by group.
    Alike {
        /// Name of the collection.
        collection: String,
        /// Cosine from which two pictures are.
        least: f32,
    },
    /// Lays all pictures out on a plane, those that are alike near each other. Answer: [`News::Plane`].
    Plane {
        /// Name of the collection.
        collection: String,
    },
    /// The same by their neighbours, which takes longer and shows groups better; on a page the same as that. It gives way to other jobs as [`Job::Index`] does.
    Arrange {
        /// Name of the collection.
        collection: String,
    },
    /// Small pictures. Answer: [`News::Thumbnails`] with their RGB pixels, one after another, as bulk.
    Thumbnails {
        /// Name of the collection.
        collection: String,
        /// Paths below its folder.
        paths: Vec<String>,
    },
    /// Reads a picture from the folder of a collection, for people to look at: it is not kept. Answer: [`News::Image`] with the preview's RGB pixels as bulk.
    Look {
        /// Name of the collection.
        collection: String,
        /// Path below its folder.
        path: String,
        /// Side of the square that the preview has to fit into.
        preview_side: usize,
    },
    /// Deletes an index. The pictures stay. Answer: [`News::Done`].
    DeleteCollection {
        /// Its name.
        name: String,
    },
    /// Stops another job as soon as possible; that one answers [`FailureKind::Cancelled`]. No answer of its own.
    Cancel {
        /// The other job's id.
        job: u64,
    },
}

impl Job {
    /// Whether it may take minutes, and makes room for others once it has got on.
    pub fn gives_way(&self) -> bool {
        matches!(self, Self::FetchTable | Self::Index { .. } | Self::Arrange { .. })
    }
}

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelSource {
    /// The small one inside.
    Demo,
    /// A folder, files that a page has handed over, or a repository of the hub: `owner/name[@revision]`.
    Named(String),
    /// A repository of the hub, for pages, without its token table unless that was downloaded before: rows of the table are fetched when a text has
    /// their tokens, so that whoever serves them could infer the words. What is fetched this way is not checked, since the published digest is of
    /// the whole file.
    Light(String),
}

impl ModelSource {
    /// What the small model inside is called where models are told by name.
    pub const DEMO: &'static str = "demo";

    /// The model of this name, as [`known_as`](Self::known_as) gives it.
    pub fn known(name: &str) -> Self {
        if name == Self::DEMO { Self::Demo } else { Self::Named(name.to_owned()) }
    }

    /// What it is called, the small one inside too.
    pub fn known_as(&self) -> &str {
        self.name().unwrap_or(Self::DEMO)
    }

    /// The name of a model that has one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Demo => None,
            Self::Named(name) | Self::Light(name) => Some(name),
        }
    }
}

/// See [`Job::Open`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenModel {
    /// Where from.
    pub source: ModelSource,
    /// `auto`, `cpu`, `gpu` or part of an adapter's name.
    pub device: String,
    /// `auto`, `f32` or `f16`.
    pub precision: String,
}

/// How a picture arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageForm {
    /// An encoded file.
    File,
    /// RGB pixels, three bytes each.
    Pixels {
        /// Rows.
        height: usize,
        /// Pixels of a row.
        width: usize,
    },
}

/// See [`Job::AddImage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddImage {
    /// A number of the app's choice; another picture with it is replaced.
    pub image: u64,
    /// What the bulk is.
    pub form: ImageForm,
    /// Side of the square that a preview has to fit into; the answer's bulk is its RGB pixels. 0 for none.
    pub preview_side: usize,
}

/// See [`Job::Classify`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Classify {
    /// Number of the picture.
    pub image: u64,
    /// Most patches, for a NaFlex model; its own default if absent.
    pub max_num_patches: Option<usize>,
    /// The texts that stand for each label; the average of their embeddings is what counts.
    pub labels: Vec<Vec<String>>,
}

/// See [`Job::EmbedImage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbedImage {
    /// Number of the picture.
    pub image: u64,
    /// Most patches, for a NaFlex model; its own default if absent.
    pub max_num_patches: Option<usize>,
}

/// See [`Job::View`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ViewJob {
    /// Number of the picture.
    pub image: u64,
    /// Most patches, for a NaFlex model; its own default if absent.
    pub max_num_patches: Option<usize>,
    /// The block after which features are taken, counted from 0; after the last LayerNorm if absent.
    pub layer: Option<usize>,
    /// Whether channels that hide the others are left out.
    pub mask_outliers: bool,
    /// What to look at.
    pub view: ViewOf,
}

/// What to look at; [`View`](crate::tasks::dense::View) says what comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewOf {
    /// The features themselves.
    Features,
    /// Principal components.
    Components {
        /// How many.
        count: usize,
        /// Other pictures that they are fitted to.
        with: Vec<u64>,
        /// Whether they are of things alone, without what is behind these.
        foreground: bool,
    },
    /// Similarity to a patch.
    Similar {
        /// The picture that it is in.
        of: u64,
        /// Where it is, as shares of that picture's width and height.
        place: [f32; 2],
    },
    /// A logit for each of these labels, given as in [`Classify::labels`].
    Phrases(Vec<Vec<String>>),
    /// This many groups.
    Groups(usize),
    /// The pooling head's weights.
    Attention,
}

/// What the engine has to say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
pub enum News {
    /// The engine runs. Its first word in every generation.
    Greeting {
        /// [`PROTOCOL`] of its build.
        protocol: u32,
        /// Version of its build.
        version: String,
    },
    /// A job is getting on. At most 20 times a second.
    Progress(Progress),
    /// A model is ready.
    Opened(Box<ModelInfo>),
    /// A picture was taken.
    Image(ImageInfo),
    /// Labels were compared.
    Scores(Scores),
    /// Pictures or texts were embedded. Bulk: `[rows, dim]` of f32, each row of unit length.
    Embeddings {
        /// Embeddings.
        rows: usize,
        /// Values of each.
        dim: usize,
    },
    /// Patches were looked at.
    Map {
        /// Rows of patches.
        rows: usize,
        /// Columns of patches.
        cols: usize,
        /// Values of a patch.
        channels: usize,
        /// From where to where the colours of each value go; empty if as far as the values do.
        ranges: Vec<[f32; 2]>,
        /// Channels of the features that hide the others, the largest first.
        outliers: Vec<usize>,
    },
    /// What the model reads, text by text.
    Texts(Vec<TextInfo>),
    /// What was downloaded.
    Stored(Stored),
    /// Folders that were indexed.
    Collections(Vec<Collection>),
    /// An index is up to date.
    Indexed(Box<Indexed>),
    /// Pictures that were found.
    Hits(Hits),
    /// Pictures on a plane, in the order of their paths.
    Plane(Vec<Spot>),
    /// Small pictures. Bulk: their RGB pixels.
    Thumbnails {
        /// Height and width of each, in the order of the request; zeros for what there is none of.
        sizes: Vec<[usize; 2]>,
    },
    /// Done; there is nothing more to say.
    Done,
    /// It did not work.
    Failed(Failure),
}

impl News {
    /// Whether no more replies follow to the same request.
    pub fn is_last(&self) -> bool {
        !matches!(self, Self::Greeting { .. } | Self::Progress(_))
    }
}

/// What a job is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Another tab downloads the same model.
    Wait,
    /// Fetching files.
    Download,
    /// Comparing a downloaded model with its checksums.
    Check,
    /// Reading a model's files and choosing a device.
    Load,
    /// First use of the vision tower.
    VisionTower,
    /// First use of the text tower.
    TextTower,
    /// Encoding texts.
    Texts,
    /// Encoding a picture.
    Image,
    /// Encoding the pictures of a folder.
    Pictures,
    /// Comparing the pictures of a folder with each other.
    Comparison,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What it is busy with.
    pub stage: Stage,
    /// Bytes of a download or a check, texts, pictures, or steps.
    pub done: u64,
    /// The same when it is finished.
    pub total: u64,
}

/// Where the token table is, without which no text can be embedded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// In the checkpoint, as all of it.
    Here,
    /// Not downloaded yet, to be had by [`Job::FetchTable`]; until then the model is not checked.
    Coming,
    /// At the hub: see [`ModelSource::Light`].
    Remote,
}

/// A model that is ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Where it came from.
    pub source: ModelSource,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// The default budget of a NaFlex model; `None` for one of fixed resolution.
    pub max_num_patches: Option<usize>,
    /// Side of a fixed-resolution model's input in pixels.
    pub image_size: Option<usize>,
    /// Blocks of the vision tower.
    pub depth: usize,
    /// Width of the vision tower.
    pub width: usize,
    /// Tokens of a text.
    pub positions: usize,
    /// Parameters in all.
    pub parameters: u64,
    /// t′: logits are exp(t′)·cos + b.
    pub logit_scale: f32,
    /// b.
    pub logit_bias: f32,
    /// Where its token table is.
    pub table: Table,
    /// What it runs on: backend, adapter, precision.
    pub device: String,
    /// Why not on what one would expect.
    pub device_reason: Option<String>,
}

/// A picture that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// Rows of pixels, upright.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Rows and columns of the preview.
    pub preview: [usize; 2],
    /// What the decoder had to leave aside.
    pub warnings: Vec<String>,
}

/// Labels compared with a picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// For each label, in the order of the request.
    pub logits: Vec<f32>,
    /// Rows and columns of patches.
    pub grid: [usize; 2],
    /// Milliseconds for resizing and the vision tower; 0 if it was known.
    pub image_millis: f64,
    /// Milliseconds for the text tower; 0 if all texts were known.
    pub text_millis: f64,
}

/// What the model reads of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextInfo {
    /// Tokens, the end token included and padding not.
    pub tokens: usize,
    /// Whether its end does not fit.
    pub truncated: bool,
}

/// What was downloaded, and the room for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Complete and incomplete ones.
    pub models: Vec<StoredModel>,
    /// Bytes in use.
    pub usage: u64,
    /// Bytes that may be in use at most, if somebody sets such a limit: a browser does.
    pub quota: Option<u64>,
}

/// A model of the hub that was downloaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredModel {
    /// `owner/name`.
    pub name: String,
    /// Branch, tag or commit.
    pub revision: String,
    /// Bytes that it takes up.
    pub bytes: u64,
    /// Whether all of it is there. If not, opening it resumes the download.
    pub complete: bool,
    /// Whether all but the token table is there: what [`ModelSource::Light`] needs.
    pub light: bool,
}

/// Why a job did not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Failure {
    /// What an app may do about it.
    pub kind: FailureKind,
    /// For people: what was wrong and what to do.
    pub message: String,
}

/// Kinds of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// It was told to stop.
    Cancelled,
    /// The request names a picture that the engine does not have.
    UnknownImage,
    /// No model is open.
    NoModel,
    /// The input is at fault: a damaged picture, a text that is too long.
    Input,
    /// The model or its device is at fault.
    Model,
    /// What was downloaded is not what was published. The model that it belongs to is closed.
    Damaged,
    /// The browser's storage is at fault: it is full, not to be had, or in use by another tab.
    Storage,
    /// The engine crashed twice over this job.
    Crashed,
}

impl Failure {
    /// A failure with any error's message.
    #[expect(clippy::needless_pass_by_value, reason = "an error ends here")]
    pub fn new(kind: FailureKind, error: impl ToString) -> Self {
        Self { kind, message: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_speaks_the_same_protocol() {
        let script = include_str!("../../web/api/polyglance.js");
        assert!(script.contains(&format!("const PROTOCOL = {PROTOCOL};")));
    }
}
