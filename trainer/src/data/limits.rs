//! Limits on shards, which come from outside.

/// Encoded size of one member of a shard, in bytes.
pub const MEMBER_BYTES: u64 = 64 << 20;
/// Size of a shard, in bytes.
pub const SHARD_BYTES: u64 = 4 << 30;
/// A record that gives a member a long name, in bytes.
pub(super) const NAME_BYTES: u64 = 64 << 10;
/// Shards that one pattern may stand for.
pub(super) const SHARDS: usize = 1 << 22;
/// Encoded bytes of the examples that are shuffled together. A block of examples ends early when it holds more.
pub(super) const BLOCK_BYTES: usize = 256 << 20;
/// The share of bad examples, and of damaged shards, that stops a run: one in this many.
pub const BAD_ONE_IN: u64 = 100;
/// Bad examples that say nothing yet about the share, unless an epoch is over.
pub(super) const BAD_TOLERATED: u64 = 10;
