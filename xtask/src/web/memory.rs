//! The engine's module in two forms: over a memory that threads share, and over one of its own, for pages that browsers do not let share memory
//! because they are served without the headers of cross-origin isolation.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use wasmparser::{Parser, Payload, TypeRef};

/// The bit of a memory's limits that says it is shared.
const SHARED: u8 = 0b10;

/// Writes `MODULE_unshared.wasm` beside `MODULE_bg.wasm`, and lets the bindings make the memory that the page may have. Atomic operations work in
/// both; nothing waits in a module of one thread.
pub(super) fn write_unshared(dist: &Path, module: &str) -> Result<()> {
    let mut bytes = fs::read(dist.join(format!("{module}_bg.wasm")))?;
    let place = limits(&bytes)?.with_context(|| format!("{module} imports no shared memory"))?;
    bytes[place] &= !SHARED;
    fs::write(dist.join(format!("{module}_unshared.wasm")), bytes)?;

    let bindings = dist.join(format!("{module}.js"));
    let script = fs::read_to_string(&bindings)?;
    let Some((before, after)) = script.split_once("shared:true") else { bail!("the bindings of {module} make no shared memory") };
    fs::write(&bindings, format!("{before}shared:self.crossOriginIsolated===true{after}"))?;
    Ok(())
}

/// Where the limits of the imported shared memory begin.
fn limits(wasm: &[u8]) -> Result<Option<usize>> {
    for payload in Parser::new(0).parse_all(wasm) {
        let Payload::ImportSection(imports) = payload? else { continue };
        for import in imports.into_imports_with_offsets() {
            let (offset, import) = import?;
            if matches!(import.ty, TypeRef::Memory(memory) if memory.shared) {
                // Two names with their lengths, which are below 128 and so one byte each, and the kind of the import.
                return Ok(Some(offset + 1 + import.module.len() + 1 + import.name.len() + 1));
            }
        }
    }
    Ok(None)
}
