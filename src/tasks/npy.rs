//! NumPy's `.npy`, version 1.0 (numpy `lib/format.py`): a header that is a Python dictionary, then the values. Names are not stored.

use std::io::{self, Write};

const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
/// Values start at a multiple of this many bytes.
const ALIGNMENT: usize = 64;

/// Writes an array of this shape, of two dimensions or more, whose values come in pieces.
///
/// # Errors
/// The writer's own.
pub fn write_npy(mut writer: impl Write, shape: &[usize], pieces: &[&[f32]]) -> io::Result<()> {
    let shape = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    // Two length bytes follow the magic, and a line feed ends the header.
    let unpadded = MAGIC.len() + 2 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(ALIGNMENT) - unpadded));
    header.push('\n');
    writer.write_all(MAGIC)?;
    writer.write_all(&u16::try_from(header.len()).map_err(io::Error::other)?.to_le_bytes())?;
    writer.write_all(header.as_bytes())?;
    pieces.iter().try_for_each(|piece| writer.write_all(bytemuck::cast_slice(piece)))
}
