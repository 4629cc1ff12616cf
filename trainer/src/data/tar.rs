//! Members of a tar shard, one after another, from any stream of bytes.
//!
//! The `tar` crate reads the headers. Its own iterator is not used: it borrows the archive, cannot start in the middle, and reads records
//! with long names into memory whatever their length.

use std::io::{self, Read};

use tar::{EntryType, Header, PaxExtensions};

use super::limits;

const BLOCK: u64 = 512;

/// What one member holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A regular file, read whole.
    File(Vec<u8>),
    /// A regular file above [`limits::MEMBER_BYTES`]: its size.
    TooLarge(u64),
    /// A link, device or anything else that is neither file nor folder.
    NotRegular,
}

/// One member of a shard.
#[derive(Debug)]
pub(super) struct Member {
    /// Where its first header begins, in bytes from the start of the shard. Reading can be taken up again here.
    pub(super) start: u64,
    /// Its path, without a leading `./`.
    pub(super) name: String,
    pub(super) content: Content,
}

/// Why no further member could be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum TarError {
    /// The stream failed, not its content.
    #[error(transparent)]
    Io(io::Error),
    /// The bytes are no tar archive, or end too early.
    #[error("{0}")]
    Damaged(String),
}

impl From<io::Error> for TarError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Damaged("it ends inside a member".to_owned()) } else { Self::Io(error) }
    }
}

/// Reads members from a stream.
pub(super) struct TarReader<R> {
    stream: R,
    /// Bytes from the start of the shard.
    position: u64,
}

impl<R: Read> TarReader<R> {
    /// `stream` gives the shard's bytes from `position` on, where a member's first header begins.
    pub(super) fn new(stream: R, position: u64) -> Self {
        Self { stream, position }
    }

    /// Where the next header begins.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next member that is not a folder; `None` at the end of the archive.
    pub(super) fn next(&mut self) -> Result<Option<Member>, TarError> {
        let mut start = self.position;
        let mut long_name = None;
        while let Some(header) = self.header()? {
            let size = header.entry_size().map_err(|error| TarError::Damaged(error.to_string()))?;
            if size > limits::SHARD_BYTES - self.position.min(limits::SHARD_BYTES) {
                return Err(TarError::Damaged(format!("it is larger than the {} bytes a shard may have", limits::SHARD_BYTES)));
            }
            match header.entry_type() {
                EntryType::GNULongName => long_name = Some(trim_nul(self.name_record(size)?)),
                EntryType::XHeader => long_name = pax_path(&self.name_record(size)?).or(long_name),
                EntryType::XGlobalHeader | EntryType::GNULongLink => self.skip(size)?,
                EntryType::Directory => {
                    self.skip(size)?;
                    (start, long_name) = (self.position, None);
                }
                kind => {
                    let name = long_name.unwrap_or_else(|| header.path_bytes().into_owned());
                    let name = String::from_utf8_lossy(name.strip_prefix(b"./").unwrap_or(&name)).into_owned();
                    return Ok(Some(Member { start, name, content: self.content(kind, size)? }));
                }
            }
        }
        Ok(None)
    }

    /// The next header, unless the archive ends: by a block of zeros, or without one, as some writers leave it.
    fn header(&mut self) -> Result<Option<Header>, TarError> {
        let mut header = Header::new_old();
        let bytes = header.as_mut_bytes();
        let got = read_up_to(&mut self.stream, bytes)?;
        if got == 0 || (got as u64 == BLOCK && bytes.iter().all(|&byte| byte == 0)) {
            return Ok(None);
        }
        // The checksum is summed with its own eight bytes as spaces.
        let sum: u32 = bytes.iter().enumerate().map(|(at, &byte)| if (148..156).contains(&at) { 32 } else { u32::from(byte) }).sum();
        if got as u64 != BLOCK || header.cksum().ok() != Some(sum) {
            return Err(TarError::Damaged(format!("no tar header at byte {}; a shard must be an uncompressed tar archive", self.position)));
        }
        self.position += BLOCK;
        Ok(Some(header))
    }

    fn content(&mut self, kind: EntryType, size: u64) -> Result<Content, TarError> {
        let is_file = matches!(kind, EntryType::Regular | EntryType::Continuous);
        if is_file && size <= limits::MEMBER_BYTES {
            return Ok(Content::File(self.read(size)?));
        }
        self.skip(size)?;
        Ok(if is_file { Content::TooLarge(size) } else { Content::NotRegular })
    }

    fn name_record(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > limits::NAME_BYTES {
            return Err(TarError::Damaged(format!("a member's name has {size} bytes")));
        }
        self.read(size)
    }

    fn read(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        // Grown as bytes arrive: nothing is allocated on a header's word alone.
        let mut bytes = Vec::new();
        if self.stream.by_ref().take(size).read_to_end(&mut bytes)? as u64 != size {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.position += size;
        self.pass(size.next_multiple_of(BLOCK) - size)?;
        Ok(bytes)
    }

    fn skip(&mut self, size: u64) -> Result<(), TarError> {
        self.pass(size.next_multiple_of(BLOCK))
    }

    fn pass(&mut self, bytes: u64) -> Result<(), TarError> {
        if io::copy(&mut self.stream.by_ref().take(bytes), &mut io::sink())? != bytes {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.position += bytes;
        Ok(())
    }
}

/// Fills `buffer` as far as the stream goes.
fn read_up_to(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn trim_nul(mut name: Vec<u8>) -> Vec<u8> {
    name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
    name
}

fn pax_path(record: &[u8]) -> Option<Vec<u8>> {
    let path = PaxExtensions::new(record).flatten().find(|extension| extension.key_bytes() == b"path")?;
    Some(path.value_bytes().to_vec())
}
