//! One JSON object a line: `{"kind", "name", "grid", "embedding"}`, `grid` for images only.

use std::io::{self, Write};

use serde::Serialize;

use super::Embeddings;

#[derive(Serialize)]
struct Line<'a> {
    kind: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    grid: Option<[usize; 2]>,
    embedding: &'a [f32],
}

pub(super) fn write(embeddings: &Embeddings, mut writer: impl Write) -> io::Result<()> {
    for row in embeddings.rows() {
        let grid = row.grid.map(|grid| [grid.rows, grid.cols]);
        serde_json::to_writer(&mut writer, &Line { kind: row.kind, name: row.name, grid, embedding: row.embedding })?;
        writer.write_all(b"\n")?;
    }
    Ok(())
}
