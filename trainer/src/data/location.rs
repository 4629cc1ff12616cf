//! Where examples are: shards and image files behind a pattern.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::example::{Bad, Example, ExampleReader, IMAGE_EXTENSIONS, Reason};
use super::http::{HttpOptions, HttpReader};
use super::pool::until_error;
use super::{Cancel, DataError, limits};

/// A unit that is read from front to back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shard {
    /// A tar archive on disk.
    File(PathBuf),
    /// A tar archive on a web server.
    Url(String),
    /// An image file with `.txt` or `.json` beside it: a shard of one example.
    Pair(PathBuf),
}

/// Every shard behind `pattern`, in a fixed order.
///
/// The pattern is a tar file, a folder of tar files or, if it holds none, of images with `.txt` or `.json` beside them (folders inside
/// included), a glob, or an http(s) address; `{00..31}` and `{a,b}` stand for several of any of these.
pub(super) fn list(pattern: &str) -> Result<Vec<Shard>, DataError> {
    let mut shards = Vec::new();
    let mut patterns = Vec::new();
    expand_braces(pattern, &mut patterns)?;
    for one in patterns {
        if one.starts_with("http://") || one.starts_with("https://") {
            shards.push(Shard::Url(one));
        } else {
            list_local(&one, &mut shards)?;
        }
    }
    if shards.is_empty() {
        return Err(DataError::Pattern { pattern: pattern.to_owned(), problem: "it stands for no shard and no image".to_owned() });
    }
    Ok(shards)
}

fn list_local(pattern: &str, shards: &mut Vec<Shard>) -> Result<(), DataError> {
    let bad = |problem: String| DataError::Pattern { pattern: pattern.to_owned(), problem };
    let path = Path::new(pattern);
    if path.is_dir() {
        return list_folder(path, shards);
    }
    // A file whose name has brackets is that file.
    if path.exists() || !pattern.contains(['*', '?', '[']) {
        fs::metadata(path).map_err(|source| DataError::Read { name: pattern.to_owned(), source })?;
        shards.push(Shard::File(path.to_owned()));
        return Ok(());
    }
    for path in glob::glob(pattern).map_err(|error| bad(error.to_string()))? {
        let path = path.map_err(|error| bad(error.to_string()))?;
        if path.is_dir() {
            list_folder(&path, shards)?;
        } else if has_extension(&path, &IMAGE_EXTENSIONS) {
            shards.push(Shard::Pair(path));
        } else {
            shards.push(Shard::File(path));
        }
    }
    Ok(())
}

fn list_folder(folder: &Path, shards: &mut Vec<Shard>) -> Result<(), DataError> {
    let mut files = Vec::new();
    walk(folder, 0, &mut files)?;
    files.sort();
    let (tars, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|path| has_extension(path, &["tar"]));
    if tars.is_empty() {
        shards.extend(others.into_iter().filter(|path| has_extension(path, &IMAGE_EXTENSIONS)).map(Shard::Pair));
    } else {
        shards.extend(tars.into_iter().map(Shard::File));
    }
    Ok(())
}

/// Folders inside one another, at most; a loop of links ends here.
const DEPTH: usize = 16;

fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), DataError> {
    let read = |source| DataError::Read { name: folder.display().to_string(), source };
    for entry in fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.is_dir() {
            if depth < DEPTH {
                walk(&path, depth + 1, files)?;
            }
        } else if path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    extension.is_some_and(|extension| extensions.contains(&extension.as_str()))
}

/// Expands the first braces and, for each of their meanings, the others.
fn expand_braces(pattern: &str, expanded: &mut Vec<String>) -> Result<(), DataError> {
    let bad = |problem: &str| DataError::Pattern { pattern: pattern.to_owned(), problem: problem.to_owned() };
    if expanded.len() >= limits::SHARDS {
        return Err(bad("it stands for too many shards"));
    }
    let Some((before, rest)) = pattern.split_once('{') else {
        expanded.push(pattern.to_owned());
        return Ok(());
    };
    let (inside, after) = rest.split_once('}').ok_or_else(|| bad("a brace is not closed"))?;
    let mut choose = |choice: &str| expand_braces(&format!("{before}{choice}{after}"), expanded);
    let Some((first, last)) = inside.split_once("..") else {
        return inside.split(',').try_for_each(choose);
    };
    // Leading zeros count, as in a shell: {00..10} begins with 00.
    let (Ok(from), Ok(to)) = (first.parse::<u64>(), last.parse::<u64>()) else {
        return Err(bad("a range in braces is two numbers, as in {000..127}"));
    };
    (from..=to).try_for_each(|number| choose(&format!("{number:0width$}", width = first.len())))
}

impl Shard {
    /// For messages: a path, or an address without its query, which may be a signature that grants access.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) | Self::Pair(path) => path.display().to_string(),
            Self::Url(url) => super::http::public(url).to_owned(),
        }
    }

    /// What identifies it wherever its folder or server may have moved to.
    pub(super) fn file_name(&self) -> String {
        let name = self.name();
        name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned()
    }

    /// Opens it at `position`, where an example begins.
    pub(super) fn open(&self, position: u64, http: &HttpOptions, cancel: &Cancel) -> Result<OpenShard, DataError> {
        let read = |source| DataError::Read { name: self.name(), source };
        let stream: Box<dyn Read + Send> = match self {
            Self::File(path) => Box::new(open_file(path, position, limits::SHARD_BYTES).map_err(read)?),
            Self::Url(url) => Box::new(BufReader::with_capacity(BUFFER, HttpReader::new(url, position, http, cancel.clone()))),
            Self::Pair(path) => return Ok(OpenShard::Pair(Some(path.clone()))),
        };
        Ok(OpenShard::Tar(ExampleReader::new(self.name(), stream, position)))
    }
}

/// A shard while it is read.
pub(super) enum OpenShard {
    Tar(ExampleReader),
    /// Until it is read.
    Pair(Option<PathBuf>),
}

impl OpenShard {
    /// As [`ExampleReader::position`]. A pair has no inside to stop in.
    pub(super) fn position(&self) -> u64 {
        match self {
            Self::Tar(reader) => reader.position(),
            Self::Pair(_) => 0,
        }
    }

    /// As [`ExampleReader::ended`].
    pub(super) fn ended(&self) -> bool {
        match self {
            Self::Tar(reader) => reader.ended(),
            Self::Pair(path) => path.is_none(),
        }
    }

    /// As [`ExampleReader::next`].
    pub(super) fn next(&mut self) -> io::Result<Option<Result<Example, Bad>>> {
        match self {
            Self::Tar(reader) => reader.next(),
            Self::Pair(path) => Ok(path.take().map(|path| read_pair(&path))),
        }
    }
}

/// Bytes read at once.
const BUFFER: usize = 1 << 20;

fn open_file(path: &Path, position: u64, limit: u64) -> io::Result<BufReader<File>> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if metadata.len() > limit {
        return Err(io::Error::other(format!("it has {} bytes, more than the {limit} allowed; split it", metadata.len())));
    }
    file.seek(SeekFrom::Start(position))?;
    Ok(BufReader::with_capacity(BUFFER, file))
}

fn read_pair(path: &Path) -> Result<Example, Bad> {
    let name = path.display().to_string();
    let read = |path: &Path| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        open_file(path, 0, limits::MEMBER_BYTES)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let optional = |extension: &str| match read(&path.with_extension(extension)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    };
    let bad = |reason| move |error: io::Error| Bad { name: path.display().to_string(), reason, detail: error.to_string() };
    Ok(Example {
        image: read(path).map_err(bad(Reason::Image))?,
        text: optional("txt").map_err(bad(Reason::Text))?,
        metadata: optional("json").map_err(bad(Reason::Metadata))?,
        name,
    })
}

/// Every example behind `pattern` once, shard after shard in the order of their names; the good and the bad.
///
/// # Errors
/// The pattern stands for nothing; later, as an item: a shard cannot be read, which ends the iteration.
pub fn examples(pattern: &str, http: &HttpOptions) -> Result<impl Iterator<Item = Result<Result<Example, Bad>, DataError>>, DataError> {
    let mut shards = list(pattern)?.into_iter();
    let http = http.clone();
    let mut open: Option<(String, OpenShard)> = None;
    let next = move || {
        loop {
            if let Some((name, shard)) = &mut open {
                match shard.next().map_err(|source| DataError::Read { name: name.clone(), source })? {
                    Some(example) => return Ok(Some(example)),
                    None => open = None,
                }
            }
            let Some(shard) = shards.next() else { return Ok(None) };
            open = Some((shard.name(), shard.open(0, &http, &Cancel::default())?));
        }
    };
    let mut next = until_error(next);
    Ok(std::iter::from_fn(move || next().and_then(Result::transpose)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(pattern: &str) -> Vec<String> {
        let mut all = Vec::new();
        expand_braces(pattern, &mut all).unwrap();
        all
    }

    #[test]
    fn braces_stand_for_ranges_and_choices() {
        assert_eq!(expanded("a-{08..11}.tar"), ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]);
        assert_eq!(expanded("{x,y}/{0..1}"), ["x/0", "x/1", "y/0", "y/1"]);
        assert_eq!(expanded("plain"), ["plain"]);
        for broken in ["a{", "a{1..x}", "{0..99999999999}"] {
            assert!(list(broken).is_err(), "{broken}");
        }
    }
}
