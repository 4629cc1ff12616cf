//! NumPy's `.npy`, version 1.0 (numpy `lib/format.py`): a header that is a Python dictionary, then the values. Names are not stored.

use std::io::{self, Write};

use super::Embeddings;

const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
/// Values start at a multiple of this many bytes.
const ALIGNMENT: usize = 64;

/// One array `[rows, dim]`; `Format::check` has made sure that the rows are of one kind.
pub(super) fn write(embeddings: &Embeddings, mut writer: impl Write) -> io::Result<()> {
    let rows = embeddings.rows().count();
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {}), }}", embeddings.dim);
    // Two length bytes follow the magic, and a line feed ends the header.
    let unpadded = MAGIC.len() + 2 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(ALIGNMENT) - unpadded));
    header.push('\n');
    writer.write_all(MAGIC)?;
    writer.write_all(&u16::try_from(header.len()).map_err(io::Error::other)?.to_le_bytes())?;
    writer.write_all(header.as_bytes())?;
    for row in embeddings.rows() {
        writer.write_all(bytemuck::cast_slice(row.embedding))?;
    }
    Ok(())
}
