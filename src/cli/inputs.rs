//! From what was typed to the pictures to read: files, folders (recursively) and patterns.
//!
//! Nothing is skipped silently. Whatever a folder or pattern holds that cannot be decoded is counted by extension in [`LeftOut`],
//! with advice on how to convert it. A file named outright must be a picture: otherwise the command fails before a model is loaded.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use polyglance::index::disk::{Listing, kind, read_picture};
use polyglance::index::{FileKind, LeftOut};

use super::UsageError;
use super::console;

/// One picture to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    /// As typed, or as found under the folder that was typed.
    pub(crate) path: PathBuf,
    /// Whether the file was named outright. If it cannot be decoded the command fails; a file that was merely found is reported and skipped.
    pub(crate) named: bool,
    /// The picture itself, if it is part of this program.
    built_in: Option<&'static [u8]>,
}

impl Picture {
    fn file(path: PathBuf, named: bool) -> Self {
        Self { path, named, built_in: None }
    }

    /// A picture that is part of this program.
    #[cfg(feature = "demo-model")]
    pub(crate) fn built_in(name: &str, bytes: &'static [u8]) -> Self {
        Self { path: PathBuf::from(name), named: true, built_in: Some(bytes) }
    }

    /// The encoded picture.
    ///
    /// # Errors
    /// The file cannot be read, or is larger than a picture may be.
    pub(crate) fn read(&self) -> Result<Cow<'static, [u8]>> {
        match self.built_in {
            Some(bytes) => Ok(Cow::Borrowed(bytes)),
            None => Ok(Cow::Owned(read_picture(&self.path)?)),
        }
    }
}

/// All pictures, in the order of the arguments; those of one folder or pattern are sorted by path.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    /// What to encode.
    pub(crate) pictures: Vec<Picture>,
    /// What was found besides.
    pub(crate) left_out: LeftOut,
}

/// Finds the pictures that the arguments stand for.
///
/// # Errors
/// A named file that is missing or in a format that cannot be decoded, a pattern without a match, or no picture at all.
pub(crate) fn expand(arguments: &[PathBuf]) -> Result<Inputs> {
    let mut inputs = Inputs::default();
    for argument in arguments {
        inputs.add(argument)?;
    }
    if inputs.pictures.is_empty() && !arguments.is_empty() {
        console::report(&inputs.left_out);
        let names: Vec<String> = arguments.iter().map(|path| path.display().to_string()).collect();
        bail!("no picture that can be decoded in {}; supported are JPEG, PNG, WebP, GIF, BMP and TIFF", names.join(", "));
    }
    Ok(inputs)
}

/// The picture that an argument stands for.
///
/// # Errors
/// As [`expand`], or more than one.
pub(crate) fn single(argument: &Path) -> Result<Picture> {
    let mut pictures = expand(&[argument.to_owned()])?.pictures;
    match pictures.pop() {
        Some(only) if pictures.is_empty() => Ok(only),
        _ => Err(UsageError(format!("{} holds {} pictures; name one of them", argument.display(), pictures.len() + 1)).into()),
    }
}

impl Inputs {
    /// A path that exists is taken literally, so that a file called `cat[1].jpg` can be named.
    fn add(&mut self, argument: &Path) -> Result<()> {
        match std::fs::metadata(argument) {
            Ok(metadata) if metadata.is_dir() => self.add_folder(argument),
            Ok(metadata) if metadata.is_file() => self.add_named(argument),
            Ok(_) => bail!("{} is neither a file nor a folder", argument.display()),
            Err(_) if is_pattern(argument) => self.add_pattern(argument),
            Err(error) => Err(error).with_context(|| format!("cannot read picture {}", argument.display())),
        }
    }

    /// A file named outright: refused now if it is known that it cannot be decoded.
    fn add_named(&mut self, path: &Path) -> Result<()> {
        if let FileKind::Undecodable(format) = kind(path) {
            bail!("{}: {} files cannot be read; {}", path.display(), format.name, format.advice);
        }
        self.pictures.push(Picture::file(path.to_owned(), true));
        Ok(())
    }

    /// Every file of a folder and of the folders below it.
    fn add_folder(&mut self, folder: &Path) -> Result<()> {
        self.add_found(Listing::of(folder).with_context(|| format!("cannot read folder {}", folder.display()))?);
        Ok(())
    }

    /// Every file that a pattern matches. Folders that match are not searched: `**` does that.
    fn add_pattern(&mut self, pattern: &Path) -> Result<()> {
        let text = pattern.to_str().with_context(|| format!("pattern {} is not valid Unicode", pattern.display()))?;
        // As in a shell: `*` stays within a folder, `**` does not, and neither matches a leading dot.
        let options = glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
        let matches = glob::glob_with(text, options).with_context(|| format!("bad pattern {text:?}"))?;
        let (mut listing, mut files) = (Listing::default(), Vec::new());
        for path in matches {
            match path {
                Ok(path) if path.is_file() => files.push(path),
                Ok(_) => {}
                Err(error) => listing.left_out.trouble(error.path(), &error.error().to_string()),
            }
        }
        if files.is_empty() {
            bail!("no file matches {text:?}");
        }
        listing.add(files);
        self.add_found(listing);
        Ok(())
    }

    fn add_found(&mut self, Listing { pictures, left_out, .. }: Listing) {
        self.pictures.extend(pictures.into_iter().map(|path| Picture::file(path, false)));
        self.left_out.merge(left_out);
    }
}

/// Whether the path could be meant as a pattern.
fn is_pattern(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '['])
}
