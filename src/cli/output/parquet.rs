//! Parquet with the columns kind, name and embedding, the last a list of floats in the three-level layout all readers know.

use std::io::Write;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::{Embeddings, Row};

const SCHEMA: &str = "
message polyglance {
  REQUIRED BYTE_ARRAY kind (STRING);
  REQUIRED BYTE_ARRAY name (STRING);
  REQUIRED group embedding (LIST) { REPEATED group list { REQUIRED FLOAT element; } }
}";

/// Rows written at a time; bounds the copy in memory.
const ROWS_PER_GROUP: usize = 8_192;

pub(super) fn write(embeddings: &Embeddings, writer: impl Write + Send) -> Result<()> {
    let about = embeddings.about.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone())).collect();
    // Embeddings look random: a dictionary or an encoding would only cost time.
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_column_dictionary_enabled("embedding.list.element".into(), false)
        .set_key_value_metadata(Some(about));
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let mut file = SerializedFileWriter::new(writer, schema, Arc::new(properties.build()))?;
    let rows: Vec<Row<'_>> = embeddings.rows().collect();
    for chunk in rows.chunks(ROWS_PER_GROUP) {
        let mut group = file.next_row_group()?;
        let kinds: Vec<ByteArray> = chunk.iter().map(|row| row.kind.into()).collect();
        let names: Vec<ByteArray> = chunk.iter().map(|row| row.name.into()).collect();
        write_column::<ByteArrayType>(&mut group, &kinds, None)?;
        write_column::<ByteArrayType>(&mut group, &names, None)?;
        let values: Vec<f32> = chunk.iter().flat_map(|row| row.embedding).copied().collect();
        write_column::<FloatType>(&mut group, &values, Some(&list_levels(chunk)))?;
        group.close()?;
    }
    file.close()?;
    Ok(())
}

/// Repetition levels: 0 where a row's list starts, 1 inside it. Embeddings are never empty, so every definition level is 1.
fn list_levels(rows: &[Row<'_>]) -> Vec<i16> {
    rows.iter().flat_map(|row| (0..row.embedding.len()).map(|index| i16::from(index > 0))).collect()
}

/// Writes the next column of a row group; `repetition` is for lists only.
fn write_column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
    values: &[T::T],
    repetition: Option<&[i16]>,
) -> Result<()> {
    let mut column =
        group.next_column()?.ok_or_else(|| ParquetError::General("the schema has fewer columns than are written".to_owned()))?;
    let definition = repetition.map(|levels| vec![1; levels.len()]);
    column.typed::<T>().write_batch(values, definition.as_deref(), repetition)?;
    column.close()?;
    Ok(())
}
