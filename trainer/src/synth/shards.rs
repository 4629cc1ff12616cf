//! Members in `.tar` shards: `KEY.jpg`, `KEY.txt`, `KEY.json`, as img2dataset and webdataset lay them out.

use std::io;
use std::path::Path;

use polyglance::weights::replace_file;

use super::SynthError;

/// A scene as files.
pub(super) struct Member {
    pub key: String,
    pub jpeg: Vec<u8>,
    /// The first caption of the first language.
    pub text: String,
    pub json: Vec<u8>,
}

/// Writes a shard; the file is whole or absent. Times and owners are zero, so that equal members give equal bytes.
pub(super) fn write(path: &Path, members: &[Member]) -> Result<(), SynthError> {
    Ok(replace_file(path, |writer| {
        let mut archive = tar::Builder::new(writer);
        for member in members {
            for (extension, bytes) in [("jpg", member.jpeg.as_slice()), ("txt", member.text.as_bytes()), ("json", &member.json)] {
                append(&mut archive, &format!("{}.{extension}", member.key), bytes)?;
            }
        }
        archive.finish()
    })?)
}

fn append(archive: &mut tar::Builder<impl io::Write>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    archive.append_data(&mut header, name, bytes)
}
