//! Batches: what is in them, in which order, from where, and what happens when the data is bad.

mod bad;
mod http;
mod order;
mod shapes;
pub(crate) mod world;
