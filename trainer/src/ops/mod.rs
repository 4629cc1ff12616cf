//! Operations that burn composes of many passes over memory. On flex each is one kernel forward and one backward; on other devices it is
//! burn's composition, which their fusion compiles.
//!
//! flex runs elementwise operations on one thread and takes exp and tanh from libm, so that a GELU cost more than the product before it.

mod attention;
mod autocast;
mod gelu;
mod kernel;
mod layer_norm;
mod linear;
mod packing;
mod vector;

pub(crate) use attention::attention;
pub use autocast::Products;
pub(crate) use gelu::gelu_tanh;
pub(crate) use layer_norm::layer_norm;
pub(crate) use linear::linear;
pub(crate) use packing::Packing;
