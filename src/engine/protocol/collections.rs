//! What is said about folders of pictures that were indexed.

use serde::{Deserialize, Serialize};

/// A folder that was indexed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collection {
    /// What other jobs call it.
    pub name: String,
    /// The folder.
    pub root: String,
    /// The model, by the name that opens it; `demo` for the one inside.
    pub model: String,
    /// Pictures in it.
    pub pictures: u64,
    /// Bytes that it takes on the disk.
    pub bytes: u64,
    /// Why it cannot be used; then the rest but its name is unknown, and it can only be deleted or made anew from its folder.
    pub damage: Option<String>,
}

/// An index that is up to date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Indexed {
    /// As it is now.
    pub collection: Collection,
    /// Pictures that were new or had changed.
    pub added: usize,
    /// Files that were taken out, since they are gone.
    pub gone: usize,
    /// Paths of files that cannot be read, and why.
    pub unreadable: Vec<(String, String)>,
    /// What the folder holds besides pictures, for people; empty if nothing.
    pub left_out: String,
    /// What was wrong with the index before, so that it was made anew.
    pub rebuilt: Option<String>,
}

/// See [`Job::Search`](super::Job::Search).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Name of the collection.
    pub collection: String,
    /// As [`Query`](crate::index::Query) reads it. Paths of pictures may be relative to the collection's folder. Empty for all pictures, in
    /// the order of their paths.
    pub query: String,
    /// Most results.
    pub count: usize,
    /// Leaves out what stands out less than this share of how far the best result does.
    pub within: Option<f32>,
}

/// Pictures that were found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hits {
    /// The best first.
    pub hits: Vec<Hit>,
    /// Pictures that were compared.
    pub compared: usize,
    /// Milliseconds for what the query is made of.
    pub query_millis: f64,
    /// Milliseconds for the search.
    pub search_millis: f64,
    /// How many of the hits belong together, group by group; empty where they are not in groups.
    pub groups: Vec<usize>,
}

/// A picture that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// Below the collection's folder.
    pub path: String,
    /// Cosine of the angle between query and picture; none without a query.
    pub score: Option<f32>,
    /// Height and width in pixels.
    pub size: [u32; 2],
}

/// A picture on a plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spot {
    /// Below the collection's folder.
    pub path: String,
    /// In no unit: what counts is how far pictures are from each other.
    pub place: [f32; 2],
    /// Height and width in pixels.
    pub size: [u32; 2],
}
