//! The jobs about collections.

use sha2::{Digest, Sha256};

use super::collections::Part;
use super::protocol::{Failure, FailureKind, Hits, ImageInfo, Job, News, Search};
use super::service::{Answer, Loader, Open, Report, Service, input, model, no_model};
use crate::encoder::ImageOutputs;
use crate::image::{DecodedImage, PatchBatch, Resampling, decode, preprocess, preview};
use crate::index::Query;
use crate::limits::Limits;
use crate::platform::Stopwatch;

impl<L: Loader> Service<L> {
    /// Does a job about collections.
    pub(super) async fn retrieve(&mut self, job: Job, report: &mut Report<'_>) -> Result<Answer, Failure> {
        let nowhere =
            || Failure::new(FailureKind::Input, "nothing says where this system keeps a program's data, so that no folder can be indexed");
        let collections = self.collections.as_mut().ok_or_else(nowhere)?;
        match job {
            Job::Index { root } => {
                let open = self.open.as_mut().ok_or_else(no_model)?;
                let name = open.info.source.known_as().to_owned();
                let indexed = collections.update(&root, &name, &mut open.encoder, report).await?;
                Ok(News::Indexed(Box::new(indexed)).into())
            }
            Job::Search(request) => self.search(&request, report).await.map(|hits| News::Hits(hits).into()),
            Job::Alike { collection, least } => Ok(News::Hits(collections.alike(&collection, least, report).await?).into()),
            Job::Plane { collection } => Ok(News::Plane(collections.plane(&collection).await?).into()),
            Job::Arrange { collection } => Ok(News::Plane(collections.arrange(&collection, report).await?).into()),
            Job::Thumbnails { collection, paths } => {
                let (mut sizes, mut bulk) = (Vec::with_capacity(paths.len()), Vec::new());
                for jpeg in collections.thumbnails(&collection, &paths).await? {
                    // One that cannot be read is none.
                    let pixels = decode(&jpeg, &Limits::current()).map(|decoded| decoded.pixels).unwrap_or_default();
                    sizes.push([pixels.height() as usize, pixels.width() as usize]);
                    bulk.extend_from_slice(&pixels);
                }
                Ok(Answer { news: News::Thumbnails { sizes }, bulk })
            }
            Job::Look { collection, path, preview_side } => {
                let DecodedImage { pixels, warnings, .. } = collections.look(&collection, &path).await?;
                let preview = preview(&pixels, u32::try_from(preview_side).unwrap_or(u32::MAX).max(1)).into_owned();
                let [size, sides] = [&pixels, &preview].map(|picture| [picture.height() as usize, picture.width() as usize]);
                let news = News::Image(ImageInfo { height: size[0], width: size[1], preview: sides, warnings });
                Ok(Answer { news, bulk: preview.into_raw() })
            }
            Job::DeleteCollection { name } => collections.delete(&name).await.map(|()| News::Done.into()),
            _ => Ok(News::Collections(collections.list().await?).into()),
        }
    }

    async fn search(&mut self, request: &Search, report: &mut Report<'_>) -> Result<Hits, Failure> {
        let Some(collections) = &mut self.collections else { return Err(no_model()) };
        if request.query.trim().is_empty() {
            return collections.search(request, None).await;
        }
        let query = Query::parse(&request.query).map_err(input)?;
        let open = self.open.as_mut().ok_or_else(no_model)?;
        let (stamp, name) = (collections.stamp(&request.collection).await?, open.info.source.known_as());
        if stamp.model != name {
            let was = &stamp.model;
            return Err(input(format!(
                "this folder was indexed with {was}, and {name} is open; open that model, or index the folder with this one"
            )));
        }
        if !stamp.fits(&open.encoder) {
            return Err(input(format!("this folder was indexed with another version of {name}; update it, which indexes it anew")));
        }
        let watch = Stopwatch::start();
        let mut embeds = Vec::with_capacity(query.terms.len());
        for term in &query.terms {
            embeds.push(match collections.part(&request.collection, &term.subject).await? {
                Part::Known(embed) => embed,
                Part::Text(text) => open.embed_texts(&[text], report).await?,
                Part::Picture { name, bytes } => open.embed_file(&name, &bytes).await?,
            });
        }
        let direction = query.direction(&embeds).ok_or_else(|| input("the parts of the query cancel each other out"))?;
        let query_millis = 1e3 * watch.elapsed_secs();
        Ok(Hits { query_millis, ..collections.search(request, Some(&direction)).await? })
    }
}

impl Open {
    /// The embedding of an encoded picture, `[dim]`. A known one is not computed again.
    async fn embed_file(&mut self, name: &str, bytes: &[u8]) -> Result<Vec<f32>, Failure> {
        let key: [u8; 32] = Sha256::digest(bytes).into();
        if let Some(embed) = self.files.get(&key) {
            return Ok(embed.clone());
        }
        let picture = decode(bytes, &Limits::current()).map_err(|error| input(format!("{name}: {error}")))?.pixels;
        let patches = preprocess(&picture, &self.encoder.config().vision, None, Resampling::default()).map_err(input)?;
        let embeds = self.encoder.encode_images(&PatchBatch::pack(&[patches]), ImageOutputs::default()).await.map_err(model)?.embeds;
        self.files.insert(key, embeds.clone(), size_of_val(embeds.as_slice()));
        Ok(embeds)
    }
}
