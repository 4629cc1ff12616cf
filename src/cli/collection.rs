//! Indexes by name: files as they are, and copies in a vector database by their address.
//!
//! The only file of the command line that knows whether this build has the feature `chroma`.

use std::path::Path;

use anyhow::Result;
use polyglance::index::{Reader, Results, Stamp};

pub(crate) use self::feature::Target;

/// An index, wherever it is.
pub(crate) trait Searched {
    /// How it was made.
    fn stamp(&self) -> &Stamp;

    /// The embedding of a picture, by its path below the folder.
    fn embedding(&self, picture: &str) -> Result<Option<Vec<f32>>>;

    /// The pictures that are nearest to a query of unit length.
    fn search(&self, query: &[f32], count: usize) -> Result<Results>;
}

/// Opens what is called `name`.
pub(crate) fn open(name: &Path) -> Result<Box<dyn Searched>> {
    let address = name.to_str().filter(|name| ["http://", "https://"].iter().any(|scheme| name.starts_with(scheme)));
    match address {
        Some(address) => feature::open(address),
        None => Ok(Box::new(Reader::open(name)?)),
    }
}

impl Searched for Reader {
    fn stamp(&self) -> &Stamp {
        self.stamp()
    }

    fn embedding(&self, picture: &str) -> Result<Option<Vec<f32>>> {
        Ok(self.embedding(picture)?)
    }

    fn search(&self, query: &[f32], count: usize) -> Result<Results> {
        Ok(self.search(query, count)?)
    }
}

#[cfg(feature = "chroma")]
mod feature {
    use std::ops::ControlFlow;

    use anyhow::Result;
    use polyglance::index::chroma::{Collection, Copied};
    use polyglance::index::{Reader, Results, Stamp, plural};

    use super::super::console::note;
    use super::super::progress::Progress;
    use super::super::signals::Interrupt;
    use super::Searched;

    pub(super) fn open(address: &str) -> Result<Box<dyn Searched>> {
        Ok(Box::new(Collection::open(address)?))
    }

    impl Searched for Collection {
        fn stamp(&self) -> &Stamp {
            self.stamp()
        }

        fn embedding(&self, picture: &str) -> Result<Option<Vec<f32>>> {
            Ok(self.embedding(picture)?)
        }

        fn search(&self, query: &[f32], count: usize) -> Result<Results> {
            Ok(self.search(query, count)?)
        }
    }

    /// A collection that an index is copied into.
    pub(crate) struct Target(Collection);

    impl Target {
        /// Finds the collection, or makes it, for an index with this stamp.
        pub(crate) fn new(address: &str, stamp: &Stamp) -> Result<Self> {
            Ok(Self(Collection::make(address, stamp)?))
        }

        /// Makes the collection hold what the index holds.
        pub(crate) fn copy(&self, reader: &Reader, interrupt: &Interrupt) -> Result<()> {
            let progress = Progress::new(0, "copied");
            let copied = self.0.copy(reader, &mut |done, total| {
                progress.show(done, total);
                if interrupt.check().is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            drop(progress);
            interrupt.check()?;
            let Copied { written, unchanged, gone } = copied.unwrap_or_default();
            note(&format!("{}: {} written, {unchanged} unchanged, {gone} gone", self.0.address(), plural(written, "picture")));
            Ok(())
        }
    }
}

#[cfg(not(feature = "chroma"))]
mod feature {
    use std::convert::Infallible;

    use anyhow::Result;
    use polyglance::index::{Reader, Stamp};

    use super::super::UsageError;
    use super::super::signals::Interrupt;
    use super::Searched;

    pub(super) fn open(address: &str) -> Result<Box<dyn Searched>> {
        Err(absent(address))
    }

    /// There is none.
    pub(crate) struct Target(Infallible);

    impl Target {
        pub(crate) fn new(address: &str, _: &Stamp) -> Result<Self> {
            Err(absent(address))
        }

        pub(crate) fn copy(&self, _: &Reader, _: &Interrupt) -> Result<()> {
            match self.0 {}
        }
    }

    fn absent(address: &str) -> anyhow::Error {
        UsageError(format!("{address}: this build knows no vector databases; build it with `--features chroma`")).into()
    }
}
