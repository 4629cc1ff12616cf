//! The questions of an evaluation, by language, and the marking of answers. Whose embeddings are marked makes no difference here.

use polyglance::text::Tokenizer;
use serde::Serialize;

use super::EvaluationError;
use super::classes::{ClassList, Prompts};
use super::embedder::{Embedder, embed_classes, embed_texts};
use super::held_out::HeldOut;
use super::interval::Estimate;
use super::ranking::{Embeddings, Recall, ranks, share};
use crate::random::Stream;

/// Which images, classes and captions belong together.
#[derive(Clone, Debug, Default)]
pub struct Exam {
    /// One part per language.
    pub parts: Vec<Part>,
    /// Images in all.
    pub images: usize,
}

/// The questions in one language.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// The language.
    pub language: String,
    /// Prompts of the classes.
    pub prompts: Prompts,
    /// Images that have one of the classes: their index and the class.
    pub classified: Vec<(usize, usize)>,
    /// Captions, and the index of the image that each belongs to.
    pub captions: Vec<(String, usize)>,
}

/// Embeddings of one [`Part`]'s texts.
#[derive(Clone, Debug, Default)]
pub struct PartEmbeddings {
    /// `[classes, dim]`; empty to leave classification out.
    pub classes: Vec<f32>,
    /// `[captions, dim]`; empty to leave retrieval out.
    pub captions: Vec<f32>,
}

/// Zero-shot classification in one language.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ZeroShot {
    /// Candidates.
    pub classes: usize,
    /// Images with a class among them.
    pub images: usize,
    /// Share of images whose own class is the most similar.
    pub top_1: Estimate,
    /// What guessing would reach.
    pub chance: f64,
}

/// Retrieval in one language.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Retrieval {
    /// Images to choose from: those with a caption in the language.
    pub images: usize,
    /// Captions to choose from.
    pub captions: usize,
    /// The image of each caption.
    pub text_to_image: Recall,
    /// A caption of each image.
    pub image_to_text: Recall,
}

/// Marks in one language.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartMarks {
    /// The language.
    pub language: String,
    /// Classification, if there are classes.
    pub zero_shot: Option<ZeroShot>,
    /// Retrieval, if there are captions.
    pub retrieval: Option<Retrieval>,
}

/// Marks in every language.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Marks {
    /// One entry per language.
    pub parts: Vec<PartMarks>,
    /// Each image's mean over its questions of one kind, to compare two candidates image by image.
    #[serde(skip)]
    pub per_image: PerImage,
}

/// Shares of an image's questions that were answered right; `None` where there were none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PerImage {
    /// Zero-shot top-1.
    pub zero_shot: Vec<Option<f64>>,
    /// Recall@1 of its captions.
    pub text_to_image: Vec<Option<f64>>,
    /// Recall@1 of the image.
    pub image_to_text: Vec<Option<f64>>,
}

impl Exam {
    /// Questions on `held_out`: classification if there are classes, retrieval among the first `retrieval_images` images with captions
    /// (none if that is 0).
    ///
    /// # Errors
    /// A template without exactly one `{}`, or a language that neither classes nor captions have.
    pub fn new(
        held_out: &HeldOut,
        classes: Option<&ClassList>,
        languages: &[String],
        retrieval_images: usize,
    ) -> Result<Self, EvaluationError> {
        let mut known = held_out.languages();
        known.extend(classes.into_iter().flat_map(ClassList::languages));
        known.sort();
        known.dedup();
        if let Some(unknown) = languages.iter().find(|language| !known.contains(language)) {
            let known = known.join(", ");
            return Err(EvaluationError::Input(format!("there is nothing to ask in the language {unknown:?}; the data has {known}")));
        }
        let chosen = if languages.is_empty() { known } else { languages.to_vec() };
        let parts = chosen.into_iter().map(|language| Part::new(language, held_out, classes, retrieval_images));
        Ok(Self { parts: parts.collect::<Result<_, _>>()?, images: held_out.images.len() })
    }

    /// The texts of every part, embedded by a model.
    ///
    /// # Errors
    /// A text that cannot be tokenised, or a model that fails.
    pub fn embed_texts(&self, model: &mut dyn Embedder, tokenizer: &Tokenizer) -> Result<Vec<PartEmbeddings>, EvaluationError> {
        let embed = |part: &Part| {
            let captions: Vec<_> = part.captions.iter().map(|(caption, _)| caption.clone()).collect();
            let classes = if part.classified.is_empty() { Vec::new() } else { embed_classes(model, tokenizer, &part.prompts)? };
            Ok(PartEmbeddings { classes, captions: embed_texts(model, tokenizer, &captions)? })
        };
        self.parts.iter().map(embed).collect()
    }

    /// Marks embeddings of the images, `[images, dim]`, and of the texts of every part. `seed` is for the bootstrap only.
    ///
    /// # Errors
    /// Embeddings that do not fit the exam, or are not finite.
    pub fn mark(&self, images: &[f32], dim: usize, texts: &[PartEmbeddings], seed: u64) -> Result<Marks, EvaluationError> {
        let images = Embeddings::new(images, dim)?;
        if images.rows() != self.images || texts.len() != self.parts.len() {
            let problem =
                format!("{} of {} images and {} of {} languages are embedded", images.rows(), self.images, texts.len(), self.parts.len());
            return Err(EvaluationError::Input(problem));
        }
        let mut tallies = Tallies::new(self.images);
        let mark =
            |(part, texts): (&Part, &PartEmbeddings)| part.mark(images, texts, &mut tallies, Stream::new(seed, "evaluate/bootstrap"));
        let parts = self.parts.iter().zip(texts).map(mark).collect::<Result<_, _>>()?;
        Ok(Marks { parts, per_image: tallies.shares() })
    }
}

impl Part {
    fn new(language: String, held_out: &HeldOut, classes: Option<&ClassList>, retrieval_images: usize) -> Result<Self, EvaluationError> {
        let prompts = classes.map_or(Ok(Prompts::default()), |classes| classes.prompts(&language))?;
        let images = held_out.images.iter().enumerate();
        let class = |(index, image): (usize, &super::HeldOutImage)| Some((index, *prompts.candidates.get(image.class.as_ref()?)?));
        let classified = images.clone().filter_map(class).collect();
        let captioned = images.filter(|(_, image)| !image.captions.is_empty()).take(retrieval_images);
        let captions = captioned.flat_map(|(index, image)| {
            let captions = image.captions.get(&language).map_or(&[][..], Vec::as_slice);
            captions.iter().map(move |caption| (caption.clone(), index))
        });
        Ok(Self { captions: captions.collect(), language, prompts, classified })
    }

    fn mark(
        &self,
        images: Embeddings<'_>,
        texts: &PartEmbeddings,
        tallies: &mut Tallies,
        stream: Stream,
    ) -> Result<PartMarks, EvaluationError> {
        let asks = |embeds: &[f32], questions: bool| questions && !embeds.is_empty();
        let zero_shot = asks(&texts.classes, !self.classified.is_empty()).then(|| self.classify(images, &texts.classes, tallies, stream));
        let retrieval = asks(&texts.captions, !self.captions.is_empty()).then(|| self.retrieve(images, &texts.captions, tallies, stream));
        Ok(PartMarks { language: self.language.clone(), zero_shot: zero_shot.transpose()?, retrieval: retrieval.transpose()? })
    }

    fn classify(
        &self,
        images: Embeddings<'_>,
        classes: &[f32],
        tallies: &mut Tallies,
        stream: Stream,
    ) -> Result<ZeroShot, EvaluationError> {
        let classes = Embeddings::new(classes, images.dim())?;
        let (asked, right): (Vec<_>, Vec<_>) = self.classified.iter().map(|&(image, class)| (image, vec![class])).unzip();
        let ranks = ranks(images.select(&asked).borrow(), classes, &right)?;
        let hits: Vec<_> = ranks.iter().map(|&rank| rank == 0).collect();
        Tallies::add(&mut tallies.zero_shot, &asked, &hits);
        Ok(ZeroShot {
            classes: classes.rows(),
            images: asked.len(),
            top_1: share(&hits, &asked, stream),
            chance: 1.0 / classes.rows() as f64,
        })
    }

    fn retrieve(
        &self,
        images: Embeddings<'_>,
        captions: &[f32],
        tallies: &mut Tallies,
        stream: Stream,
    ) -> Result<Retrieval, EvaluationError> {
        let captions = Embeddings::new(captions, images.dim())?;
        let owners: Vec<usize> = self.captions.iter().map(|(_, image)| *image).collect();
        // Captions come image by image, so each image's are next to each other.
        let mut gallery = owners.clone();
        gallery.dedup();
        let place = |image: &usize| gallery.binary_search(image).unwrap_or_default();
        let to_image: Vec<_> = owners.iter().map(|image| vec![place(image)]).collect();
        let mut to_text = vec![Vec::new(); gallery.len()];
        for (caption, image) in owners.iter().enumerate() {
            if let Some(captions) = to_text.get_mut(place(image)) {
                captions.push(caption);
            }
        }
        let shown = images.select(&gallery);
        let by_text = ranks(captions, shown.borrow(), &to_image)?;
        let by_image = ranks(shown.borrow(), captions, &to_text)?;
        let first = |ranks: &[usize]| ranks.iter().map(|&rank| rank == 0).collect::<Vec<_>>();
        Tallies::add(&mut tallies.text_to_image, &owners, &first(&by_text));
        Tallies::add(&mut tallies.image_to_text, &gallery, &first(&by_image));
        Ok(Retrieval {
            images: gallery.len(),
            captions: owners.len(),
            text_to_image: Recall::new(&by_text, &owners, &to_image, gallery.len(), stream),
            image_to_text: Recall::new(&by_image, &gallery, &to_text, owners.len(), stream),
        })
    }
}

/// Hits and questions of each image.
struct Tallies {
    zero_shot: Vec<(f64, f64)>,
    text_to_image: Vec<(f64, f64)>,
    image_to_text: Vec<(f64, f64)>,
}

impl Tallies {
    fn new(images: usize) -> Self {
        let none = vec![(0.0, 0.0); images];
        Self { zero_shot: none.clone(), text_to_image: none.clone(), image_to_text: none }
    }

    fn add(tally: &mut [(f64, f64)], images: &[usize], hits: &[bool]) {
        for (&image, &hit) in images.iter().zip(hits) {
            if let Some((right, asked)) = tally.get_mut(image) {
                *right += f64::from(u8::from(hit));
                *asked += 1.0;
            }
        }
    }

    fn shares(self) -> PerImage {
        let shares = |tally: Vec<(f64, f64)>| tally.into_iter().map(|(right, asked)| (asked > 0.0).then(|| right / asked)).collect();
        PerImage { zero_shot: shares(self.zero_shot), text_to_image: shares(self.text_to_image), image_to_text: shares(self.image_to_text) }
    }
}

impl Marks {
    /// Zero-shot top-1 by language.
    pub fn zero_shot(&self) -> impl Iterator<Item = (&str, &ZeroShot)> {
        self.parts.iter().filter_map(|part| Some((part.language.as_str(), part.zero_shot.as_ref()?)))
    }

    /// Retrieval by language.
    pub fn retrieval(&self) -> impl Iterator<Item = (&str, &Retrieval)> {
        self.parts.iter().filter_map(|part| Some((part.language.as_str(), part.retrieval.as_ref()?)))
    }
}
