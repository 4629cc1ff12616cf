//! Jobs in, answers out: what runs behind a transport.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use image::RgbImage;

use super::cache::Cache;
#[cfg(feature = "index")]
use super::collections::Collections;
use super::protocol::{
    AddImage, Classify, EmbedImage, Failure, FailureKind, ImageForm, ImageInfo, Job, ModelInfo, ModelSource, News, OpenModel, Progress,
    Scores, Stage, Stored, Table, TextInfo, ViewJob, ViewOf,
};
use crate::config::VisionGeometry;
use crate::encoder::{DeviceDescription, Encoder, EncoderOptions, HiddenLayer, ImageOutputs};
use crate::image::{PatchBatch, Resampling, decode, patching, preprocess, preview};
#[cfg(feature = "index")]
use crate::index::Shelf;
use crate::kernels::Size;
use crate::limits::Limits;
use crate::platform::{Stopwatch, yield_now};
use crate::tasks::Classifier;
use crate::tasks::dense::{Components, Map, PatchFeatures, View};
use crate::text::{TextOptions, Tokenizer, ensemble};
use crate::weights::Checkpoint;

/// Where models come from, which differs between a process and a browser tab.
pub trait Loader {
    /// Opens a model, and tells where its token table is.
    fn open(&mut self, source: &ModelSource, report: &mut Report<'_>) -> impl Future<Output = Result<(Checkpoint, Table), Failure>>;

    /// Where indexes of folders are kept; nowhere if this says nothing.
    #[cfg(feature = "index")]
    fn shelf(&self) -> Option<Box<dyn Shelf>> {
        None
    }

    /// Lets go of the model that was opened last: nobody uses it.
    fn close(&mut self) {}

    /// Brings the token table of the model that was opened last, if that was opened without. Goes on where it was stopped.
    fn fetch_table(&mut self, _report: &mut Report<'_>) -> impl Future<Output = Result<(), Failure>> {
        async { Ok(()) }
    }

    /// Models that were downloaded. None, unless a loader keeps some.
    fn stored(&mut self) -> impl Future<Output = Result<Stored, Failure>> {
        async { Ok(Stored::default()) }
    }

    /// Deletes a model that was downloaded. Refused, unless a loader keeps some.
    fn delete(&mut self, name: &str) -> impl Future<Output = Result<(), Failure>> {
        let refused = Failure::new(FailureKind::Input, format!("{name} is not this app's to delete"));
        async { Err(refused) }
    }
}

/// Tells an app how a job gets on, and learns whether it wants no more of it.
pub struct Report<'a> {
    say: &'a mut dyn FnMut(Progress),
    is_cancelled: &'a dyn Fn() -> bool,
    last: Option<(Stage, Stopwatch)>,
}

/// Between two reports of one stage: an app cannot show more.
const REPORT_SECS: f64 = 0.05;

impl<'a> Report<'a> {
    /// `say` hears of progress, `is_cancelled` is asked between steps.
    pub fn new(say: &'a mut dyn FnMut(Progress), is_cancelled: &'a dyn Fn() -> bool) -> Self {
        Self { say, is_cancelled, last: None }
    }

    /// As [`step`](Self::step), after the event loop had its turn: only then can an engine without a thread of its own have heard that
    /// the job is no longer wanted. To be awaited before work of more than some milliseconds.
    ///
    /// # Errors
    /// The job was cancelled.
    pub async fn pause(&mut self, stage: Stage, done: u64, total: u64) -> Result<(), Failure> {
        yield_now().await;
        self.step(stage, done, total)
    }

    /// A step is done.
    ///
    /// # Errors
    /// The job was cancelled.
    pub fn step(&mut self, stage: Stage, done: u64, total: u64) -> Result<(), Failure> {
        if (self.is_cancelled)() {
            return Err(Failure::new(FailureKind::Cancelled, "stopped"));
        }
        let is_news = self.last.as_ref().is_none_or(|(last, watch)| *last != stage || watch.elapsed_secs() >= REPORT_SECS || done == total);
        if is_news {
            (self.say)(Progress { stage, done, total });
            self.last = Some((stage, Stopwatch::start()));
        }
        Ok(())
    }
}

/// What a job came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// In words and numbers.
    pub news: News,
    /// In bulk.
    pub bulk: Vec<u8>,
}

impl From<News> for Answer {
    fn from(news: News) -> Self {
        Self { news, bulk: Vec::new() }
    }
}

/// A model, pictures, and what is known of them.
pub struct Service<L> {
    loader: L,
    pub(super) open: Option<Open>,
    images: HashMap<u64, RgbImage>,
    #[cfg(feature = "index")]
    pub(super) collections: Option<Collections>,
}

/// Bytes of embeddings and features that are kept.
const CACHE_BYTES: usize = 64 << 20;

pub(super) struct Open {
    pub(super) info: ModelInfo,
    checkpoint: Arc<Checkpoint>,
    pub(super) encoder: Encoder,
    tokenizer: Option<Tokenizer>,
    texts: Cache<String, Vec<f32>>,
    embeds: Cache<(u64, Option<usize>), Vec<f32>>,
    features: Cache<FeatureKey, (PatchFeatures, Vec<usize>)>,
    /// Embeddings of pictures that were looked for, by the digests of their files.
    #[cfg(feature = "index")]
    pub(super) files: Cache<[u8; 32], Vec<f32>>,
}

/// What features are of.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct FeatureKey {
    image: u64,
    max_num_patches: Option<usize>,
    layer: Option<usize>,
    masked: bool,
}

impl<L: Loader> Service<L> {
    /// Without a model.
    pub fn new(loader: L) -> Self {
        Self {
            #[cfg(feature = "index")]
            collections: loader.shelf().map(Collections::new),
            loader,
            open: None,
            images: HashMap::new(),
        }
    }

    /// Lets go of what the last job left for the next time, since that is not wanted: files stay locked by it.
    pub fn stop(&mut self) {
        #[cfg(feature = "index")]
        if let Some(collections) = &mut self.collections {
            collections.stop();
        }
    }

    /// Does a job.
    ///
    /// # Errors
    /// What went wrong, for the app. The service can do other jobs after it.
    pub async fn run(&mut self, job: Job, bulk: Vec<u8>, report: &mut Report<'_>) -> Result<Answer, Failure> {
        match job {
            Job::Open(request) => Ok(News::Opened(Box::new(self.open(request, report).await?)).into()),
            Job::FetchTable => self.fetch_table(report).await.map(|()| News::Done.into()),
            Job::AddImage(request) => self.add_image(request, bulk),
            Job::DropImage { image } => {
                self.images.remove(&image);
                self.forget(image);
                Ok(News::Done.into())
            }
            Job::Classify(request) => self.classify(&request, report).await.map(|scores| News::Scores(scores).into()),
            Job::EmbedImage(request) => self.embed_image(request, report).await,
            Job::EmbedTexts { texts } => self.embed_texts(&texts, report).await,
            Job::View(request) => self.view(&request, report).await,
            Job::Tokenize { texts } => self.tokenize(&texts).await.map(|infos| News::Texts(infos).into()),
            Job::Stored => Ok(News::Stored(self.loader.stored().await?).into()),
            Job::DeleteStored { name } => self.loader.delete(&name).await.map(|()| News::Done.into()),
            job @ (Job::Collections
            | Job::Index { .. }
            | Job::Search(_)
            | Job::Alike { .. }
            | Job::Plane { .. }
            | Job::Arrange { .. }
            | Job::Thumbnails { .. }
            | Job::Look { .. }
            | Job::DeleteCollection { .. }) => self.retrieve(job, report).await,
            // Whoever runs the service looks at these before it does.
            Job::Cancel { .. } => Ok(News::Done.into()),
        }
    }

    /// No folder can be indexed here.
    #[cfg(not(feature = "index"))]
    async fn retrieve(&mut self, _job: Job, _report: &mut Report<'_>) -> Result<Answer, Failure> {
        Err(input("this build does not index folders; the desktop program does"))
    }

    async fn open(&mut self, request: OpenModel, report: &mut Report<'_>) -> Result<ModelInfo, Failure> {
        // Two models at once may not fit.
        self.open = None;
        let opened = self.try_open(request, report).await;
        if opened.is_err() {
            self.loader.close();
        }
        opened
    }

    async fn try_open(&mut self, request: OpenModel, report: &mut Report<'_>) -> Result<ModelInfo, Failure> {
        report.step(Stage::Load, 0, 1)?;
        let (checkpoint, table) = self.loader.open(&request.source, report).await?;
        let checkpoint = Arc::new(checkpoint);
        let Ok(device) = request.device.parse();
        let options = EncoderOptions { device, precision: request.precision.parse().map_err(input)? };
        let encoder = Encoder::new(Arc::clone(&checkpoint), options).await.map_err(model)?;
        report.step(Stage::Load, 1, 1)?;
        let mut open = Open {
            info: describe(request.source, table, &encoder),
            checkpoint,
            encoder,
            tokenizer: None,
            texts: Cache::new(CACHE_BYTES),
            embeds: Cache::new(CACHE_BYTES),
            features: Cache::new(CACHE_BYTES),
            #[cfg(feature = "index")]
            files: Cache::new(CACHE_BYTES),
        };
        open.warm_up(report).await?;
        // Only now is it sure where it runs.
        (open.info.device, open.info.device_reason) = device_line(&open.encoder);
        let info = open.info.clone();
        self.open = Some(open);
        Ok(info)
    }

    async fn fetch_table(&mut self, report: &mut Report<'_>) -> Result<(), Failure> {
        let open = self.open.as_mut().ok_or_else(no_model)?;
        if open.info.table == Table::Here {
            return Ok(());
        }
        let fetched = self.loader.fetch_table(report).await;
        match fetched {
            Ok(()) => {
                open.info.table = Table::Here;
                open.warm_up_texts(report).await
            }
            Err(failure) => {
                if failure.kind == FailureKind::Damaged {
                    self.open = None;
                    self.loader.close();
                }
                Err(failure)
            }
        }
    }

    fn add_image(&mut self, AddImage { image, form, preview_side }: AddImage, bulk: Vec<u8>) -> Result<Answer, Failure> {
        let (pixels, warnings) = match form {
            ImageForm::File => {
                let decoded = decode(&bulk, &Limits::current()).map_err(input)?;
                (decoded.pixels, decoded.warnings)
            }
            ImageForm::Pixels { height, width } => {
                let sides = u32::try_from(width).ok().zip(u32::try_from(height).ok()).filter(|(width, height)| *width > 0 && *height > 0);
                let pixels =
                    sides.filter(|_| bulk.len() == height * width * 3).and_then(|(width, height)| RgbImage::from_raw(width, height, bulk));
                let wrong = || Failure::new(FailureKind::Input, format!("the pixels are not those of a picture of {width} × {height}"));
                (pixels.ok_or_else(wrong)?, Vec::new())
            }
        };
        let side = u32::try_from(preview_side).ok().filter(|side| *side > 0);
        let preview = side.map(|side| preview(&pixels, side).into_owned());
        let (height, width) = (pixels.height() as usize, pixels.width() as usize);
        self.forget(image);
        self.images.insert(image, pixels);
        let sides = preview.as_ref().map_or([0, 0], |preview| [preview.height() as usize, preview.width() as usize]);
        let news = News::Image(ImageInfo { height, width, preview: sides, warnings });
        Ok(Answer { news, bulk: preview.map(RgbImage::into_raw).unwrap_or_default() })
    }

    /// Drops what is known of a picture.
    fn forget(&mut self, image: u64) {
        if let Some(open) = &mut self.open {
            open.embeds.retain(|(known, _)| *known != image);
            open.features.retain(|known| known.image != image);
        }
    }

    async fn classify(&mut self, request: &Classify, report: &mut Report<'_>) -> Result<Scores, Failure> {
        let Self { open, images, .. } = self;
        let open = open.as_mut().ok_or_else(no_model)?;
        let watch = Stopwatch::start();
        let knew_texts = request.labels.iter().flatten().all(|text| open.texts.contains(text));
        let classifier = open.classifier(&request.labels, report).await?;
        let text_millis = if knew_texts { 0.0 } else { 1e3 * watch.elapsed_secs() };
        let picture = picture(images, request.image)?;
        let size = Size { height: picture.height() as usize, width: picture.width() as usize };
        let shape = patching(size, &open.encoder.config().vision, request.max_num_patches).map_err(input)?;
        let key = (request.image, request.max_num_patches);
        let knew_image = open.embeds.contains(&key);
        let watch = Stopwatch::start();
        let embed = open.embed_picture(key, picture, report).await?;
        let image_millis = if knew_image { 0.0 } else { 1e3 * watch.elapsed_secs() };
        let logits = classifier.scores(embed).map_err(model)?.iter().map(|score| score.logit).collect();
        Ok(Scores { logits, grid: [shape.rows, shape.cols], image_millis, text_millis })
    }

    async fn embed_image(&mut self, EmbedImage { image, max_num_patches }: EmbedImage, report: &mut Report<'_>) -> Result<Answer, Failure> {
        let Self { open, images, .. } = self;
        let open = open.as_mut().ok_or_else(no_model)?;
        let embed = open.embed_picture((image, max_num_patches), picture(images, image)?, report).await?;
        Ok(embeddings(embed, embed.len()))
    }

    async fn embed_texts(&mut self, texts: &[String], report: &mut Report<'_>) -> Result<Answer, Failure> {
        let open = self.open.as_mut().ok_or_else(no_model)?;
        let embeds = open.embed_texts(texts, report).await?;
        Ok(embeddings(&embeds, open.encoder.config().embedding_dim()))
    }

    async fn view(&mut self, request: &ViewJob, report: &mut Report<'_>) -> Result<Answer, Failure> {
        let Self { open, images, .. } = self;
        let open = open.as_mut().ok_or_else(no_model)?;
        let classifier = match &request.view {
            ViewOf::Phrases(labels) => Some(open.classifier(labels, report).await?),
            _ => None,
        };
        let &ViewJob { image, max_num_patches, layer, mask_outliers, .. } = request;
        // Phrases and attention are of the features as they are, whatever is masked for other views.
        let masked = mask_outliers && !matches!(request.view, ViewOf::Phrases(_) | ViewOf::Attention);
        let key = FeatureKey { image, max_num_patches, layer, masked };
        let components = match &request.view {
            ViewOf::Components { count, with, foreground } => {
                // Copies: the cache may forget some while it takes others.
                let mut pictures = Vec::with_capacity(1 + with.len());
                for &image in std::iter::once(&image).chain(with) {
                    pictures.push(open.features_of(FeatureKey { image, ..key }, images, report).await?.clone());
                }
                Some(Components::fit(&pictures.iter().collect::<Vec<_>>(), *count, *foreground).map_err(input)?)
            }
            _ => None,
        };
        let query = match request.view {
            ViewOf::Similar { of, place } => {
                let other = open.features_of(FeatureKey { image: of, ..key }, images, report).await?;
                other.patch_at(place.map(f64::from)).map_err(input)?.to_vec()
            }
            _ => Vec::new(),
        };
        open.features_of(key, images, report).await?;
        let Some((features, outliers)) = open.features.get(&key) else { return Err(no_model()) };
        let view = match (&request.view, &classifier, &components) {
            (ViewOf::Phrases(_), Some(classifier), _) => {
                features.embed(&mut open.encoder).await.map_err(model)?;
                View::Phrases(classifier)
            }
            (ViewOf::Components { .. }, _, Some(components)) => View::Components(components),
            (ViewOf::Similar { .. }, ..) => View::Similar(&query),
            (ViewOf::Groups(count), ..) => View::Groups(*count),
            (ViewOf::Attention, ..) => View::Attention,
            _ => View::Features,
        };
        let Map { grid, channels, values, ranges } = features.map(view).map_err(input)?;
        let news = News::Map { rows: grid.rows, cols: grid.cols, channels, ranges, outliers: outliers.clone() };
        Ok(Answer { news, bulk: bytemuck::cast_slice(&values).to_vec() })
    }

    async fn tokenize(&mut self, texts: &[String]) -> Result<Vec<TextInfo>, Failure> {
        let tokenizer = self.open.as_mut().ok_or_else(no_model)?.tokenizer().await?;
        let info =
            |text: &String| tokenizer.encode(text).map(|tokens| TextInfo { tokens: tokenizer.used(&tokens), truncated: tokens.truncated });
        texts.iter().map(info).collect::<Result<_, _>>().map_err(input)
    }
}

/// Texts encoded between two looks at whether they are still wanted.
const TEXTS_AT_ONCE: usize = 16;

impl Open {
    /// Loads both towers, as far as they are there, so that the first job takes no longer than the next.
    async fn warm_up(&mut self, report: &mut Report<'_>) -> Result<(), Failure> {
        report.pause(Stage::VisionTower, 0, 1).await?;
        let vision = self.encoder.config().vision;
        let pixel = RgbImage::new(1, 1);
        let budget = matches!(vision.geometry, VisionGeometry::NaFlex { .. }).then_some(1);
        let patches = preprocess(&pixel, &vision, budget, Resampling::default()).map_err(model)?;
        self.encoder.encode_images(&PatchBatch::pack(&[patches]), ImageOutputs::default()).await.map_err(model)?;
        if self.info.table == Table::Coming { Ok(()) } else { self.warm_up_texts(report).await }
    }

    async fn warm_up_texts(&mut self, report: &mut Report<'_>) -> Result<(), Failure> {
        report.pause(Stage::TextTower, 0, 1).await?;
        self.embed_texts(&[String::new()], report).await.map(drop)
    }

    async fn tokenizer(&mut self) -> Result<&Tokenizer, Failure> {
        Ok(match &mut self.tokenizer {
            Some(tokenizer) => tokenizer,
            empty => {
                let json = self.checkpoint.tokenizer_json().await.map_err(model)?;
                empty.insert(Tokenizer::from_json(&json, &self.checkpoint.config().text, TextOptions::default()).map_err(model)?)
            }
        })
    }

    /// Labels ready to be compared.
    async fn classifier(&mut self, labels: &[Vec<String>], report: &mut Report<'_>) -> Result<Classifier, Failure> {
        let texts: Vec<String> = labels.iter().flatten().cloned().collect();
        let dim = self.encoder.config().embedding_dim();
        let all = self.embed_texts(&texts, report).await?;
        let (mut embeds, mut rest) = (Vec::with_capacity(labels.len() * dim), all.as_slice());
        for label in labels {
            let (own, others) = rest.split_at_checked(label.len() * dim).unwrap_or_default();
            embeds.extend(ensemble(own, dim, label.len()).map_err(input)?);
            rest = others;
        }
        Classifier::new(embeds, dim, self.info.logit_scale, self.info.logit_bias).map_err(input)
    }

    /// A picture's embedding, `[dim]`. A known one is not computed again.
    async fn embed_picture(&mut self, key: (u64, Option<usize>), picture: &RgbImage, report: &mut Report<'_>) -> Result<&[f32], Failure> {
        if !self.embeds.contains(&key) {
            report.pause(Stage::Image, 0, 1).await?;
            let patches = preprocess(picture, &self.encoder.config().vision, key.1, Resampling::default()).map_err(input)?;
            let batch = PatchBatch::pack(&[patches]);
            let embeds = self.encoder.encode_images(&batch, ImageOutputs::default()).await.map_err(model)?.embeds;
            let bytes = size_of_val(embeds.as_slice());
            self.embeds.insert(key, embeds, bytes);
        }
        Ok(self.embeds.get(&key).map(|embed| embed.as_slice()).unwrap_or_default())
    }

    /// Features of a picture's patches. Known ones are not computed again.
    async fn features_of(
        &mut self,
        key: FeatureKey,
        images: &HashMap<u64, RgbImage>,
        report: &mut Report<'_>,
    ) -> Result<&PatchFeatures, Failure> {
        if !self.features.contains(&key) {
            report.pause(Stage::Image, 0, 1).await?;
            let picture = picture(images, key.image)?;
            let vision = self.encoder.config().vision;
            let patches = preprocess(picture, &vision, key.max_num_patches, Resampling::default()).map_err(input)?;
            let layer = key.layer.map_or(HiddenLayer::Last, HiddenLayer::Block);
            let mut features = PatchFeatures::encode(&mut self.encoder, patches, layer).await.map_err(model)?;
            let outliers = features.outliers().map_err(model)?;
            if key.masked {
                features.mask(&outliers);
            }
            let bytes = features.grid().patches() * self.info.width * 2 * size_of::<f32>();
            self.features.insert(key, (features, outliers), bytes);
        }
        self.features.get(&key).map(|(features, _)| &*features).ok_or_else(no_model)
    }

    /// Embeddings of texts, `[texts, dim]`. Only texts that are new are encoded.
    pub(super) async fn embed_texts(&mut self, texts: &[String], report: &mut Report<'_>) -> Result<Vec<f32>, Failure> {
        // Beside the cache, which may forget some while others are encoded.
        let mut known: HashMap<&String, Vec<f32>> = HashMap::new();
        let mut missing = Vec::new();
        for text in texts {
            match self.texts.get(text) {
                Some(embed) => drop(known.insert(text, embed.clone())),
                None => missing.push(text),
            }
        }
        if !missing.is_empty() && self.info.table == Table::Coming {
            return Err(model("the table of words is still being downloaded; until it is here, pictures can be looked at without words"));
        }
        missing.sort_unstable();
        missing.dedup();
        let dim = self.encoder.config().embedding_dim();
        for (index, batch) in missing.chunks(TEXTS_AT_ONCE).enumerate() {
            report.pause(Stage::Texts, (index * TEXTS_AT_ONCE) as u64, missing.len() as u64).await?;
            let tokenizer = self.tokenizer().await?;
            let tokens = batch.iter().map(|text| tokenizer.encode(text)).collect::<Result<Vec<_>, _>>().map_err(input)?;
            let embeds = self.encoder.encode_texts(&tokens).await.map_err(model)?.embeds;
            for (text, embed) in batch.iter().zip(embeds.chunks_exact(dim)) {
                self.texts.insert((*text).clone(), embed.to_vec(), size_of_val(embed) + text.len());
                known.insert(text, embed.to_vec());
            }
        }
        Ok(texts.iter().filter_map(|text| known.get(text)).flatten().copied().collect())
    }
}

/// Embeddings of `dim` values each, one after another.
fn embeddings(values: &[f32], dim: usize) -> Answer {
    let news = News::Embeddings { rows: values.len() / dim.max(1), dim };
    Answer { news, bulk: bytemuck::cast_slice(values).to_vec() }
}

fn picture(images: &HashMap<u64, RgbImage>, image: u64) -> Result<&RgbImage, Failure> {
    images.get(&image).ok_or_else(|| Failure::new(FailureKind::UnknownImage, format!("there is no picture {image}; add it first")))
}

fn describe(source: ModelSource, table: Table, encoder: &Encoder) -> ModelInfo {
    let config = encoder.config();
    let (max_num_patches, image_size) = match config.vision.geometry {
        VisionGeometry::NaFlex { .. } => (Some(config.vision.preprocessing.max_num_patches), None),
        VisionGeometry::Fixed { image_size } => (None, Some(image_size)),
    };
    let (device, device_reason) = device_line(encoder);
    ModelInfo {
        source,
        patch_size: config.vision.patch_size,
        max_num_patches,
        image_size,
        depth: config.vision.tower.depth,
        width: config.vision.tower.width,
        positions: config.text.positions,
        parameters: config.parameters(),
        logit_scale: encoder.logit_scale(),
        logit_bias: encoder.logit_bias(),
        table,
        device,
        device_reason,
    }
}

fn device_line(encoder: &Encoder) -> (String, Option<String>) {
    let device = encoder.device();
    (DeviceDescription { reason: None, ..device.clone() }.to_string(), device.reason.clone())
}

pub(super) fn no_model() -> Failure {
    Failure::new(FailureKind::NoModel, "no model is open; open one first")
}

pub(super) fn input(error: impl ToString) -> Failure {
    Failure::new(FailureKind::Input, error)
}

pub(super) fn model(error: impl ToString) -> Failure {
    Failure::new(FailureKind::Model, error)
}
