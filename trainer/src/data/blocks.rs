//! The order of one source's examples.
//!
//! Every epoch reads all shards in an order of its own. What they hold is cut into blocks, and each block is shuffled: a permutation that follows
//! from the seed and from where the block begins. So a place in the order is a few counters, and going on from it means
//! reading one block again. (A shuffle buffer that swaps one example at a time would mix slightly farther, but its state is its content.)
//! A block may span shards, but not epochs.

use serde::{Deserialize, Serialize};

use super::draw::shuffle;
use super::example::{Bad, Example};
use super::http::HttpOptions;
use super::location::{OpenShard, Shard};
use super::pool::{Pool, until_error};
use super::{Cancel, DataError, limits};
use crate::random::Stream;

/// Where a block begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub(super) epoch: u64,
    /// Rank in the epoch's order of shards.
    pub(super) shard: u64,
    /// Bytes from the start of that shard.
    pub(super) byte: u64,
}

/// A place in a source's order: how many examples of which block were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) block: Cursor,
    pub(super) taken: u64,
}

/// One example in its order, good or bad, and the place after it.
pub(super) struct Taken {
    pub(super) example: Result<Example, Bad>,
    pub(super) after: Place,
}

/// Examples that are shuffled together.
struct Block {
    begin: Cursor,
    next: Cursor,
    /// In shuffled order.
    examples: Vec<Result<Example, Bad>>,
    bytes: usize,
}

/// What decides a source's order, besides its shards.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) seed: u64,
    /// Sources differ in their order, even of equal shards.
    pub(super) source: usize,
    /// The source's pattern, for messages.
    pub(super) pattern: String,
    /// Examples shuffled together.
    pub(super) block_examples: usize,
}

/// Examples of a source in its order, without end; the next block is read while one is used up.
pub(super) struct Examples {
    pattern: String,
    blocks: Pool<Result<Block, DataError>>,
    block: std::vec::IntoIter<Result<Example, Bad>>,
    /// Examples of `block` in all, and those taken.
    count: u64,
    place: Place,
    next: Cursor,
}

impl Examples {
    /// Goes on from `place`.
    pub(super) fn start(shards: Vec<Shard>, order: Order, place: Place, http: HttpOptions, cancel: Cancel) -> Result<Self, DataError> {
        let pattern = order.pattern.clone();
        let mut reader = BlockReader { shards, order, http, cancel, cursor: place.block, ranks: Vec::new(), ranks_epoch: None, open: None };
        let blocks = Pool::start("shards", 1, 1, until_error(move || reader.next()), |block| block).map_err(DataError::Threads)?;
        Ok(Self { pattern, blocks, block: Vec::new().into_iter(), count: 0, place, next: place.block })
    }

    /// The next example.
    pub(super) fn next(&mut self) -> Result<Taken, DataError> {
        loop {
            if let Some(example) = self.block.next() {
                self.place.taken += 1;
                if self.place.taken >= self.count {
                    self.place = Place { block: self.next, taken: 0 };
                }
                return Ok(Taken { example, after: self.place });
            }
            let block = self.blocks.next().unwrap_or(Err(DataError::Stopped))?;
            (self.count, self.place.block, self.next) = (block.examples.len() as u64, block.begin, block.next);
            if self.place.taken >= self.count {
                return Err(DataError::Changed { pattern: self.pattern.clone() });
            }
            self.block = block.examples.into_iter();
            self.block.by_ref().take(self.place.taken as usize).for_each(drop);
        }
    }
}

/// Reads block after block.
struct BlockReader {
    shards: Vec<Shard>,
    order: Order,
    http: HttpOptions,
    cancel: Cancel,
    cursor: Cursor,
    /// Order of the shards in an epoch.
    ranks: Vec<u32>,
    ranks_epoch: Option<u64>,
    open: Option<OpenShard>,
}

impl BlockReader {
    fn next(&mut self) -> Result<Block, DataError> {
        let mut block = self.fill()?;
        if block.examples.is_empty() {
            // Nothing but empty shards was left of the epoch.
            block = self.fill()?;
        }
        if block.examples.is_empty() {
            return Err(DataError::Empty { pattern: self.order.pattern.clone() });
        }
        let Cursor { epoch, shard, byte } = block.begin;
        shuffle(&mut block.examples, Stream::new(self.order.seed, &format!("data/{}/block/{epoch}/{shard}/{byte}", self.order.source)));
        Ok(block)
    }

    /// Reads on until the block is full or the epoch ends.
    fn fill(&mut self) -> Result<Block, DataError> {
        let mut block = Block { begin: self.cursor, next: self.cursor, examples: Vec::new(), bytes: 0 };
        while block.examples.len() < self.order.block_examples && block.bytes < limits::BLOCK_BYTES {
            if self.cancel.is_set() {
                return Err(DataError::Stopped);
            }
            let Some(shard) = self.current_shard() else { break };
            let name = shard.name();
            let mut open = match self.open.take() {
                Some(open) => open,
                None => shard.open(self.cursor.byte, &self.http, &self.cancel)?,
            };
            let example = open.next().map_err(|source| DataError::Read { name, source })?;
            if let Some(example) = example {
                block.bytes += example.as_ref().map_or(0, Example::size_bytes);
                block.examples.push(example);
            }
            if open.ended() {
                self.cursor = Cursor { shard: self.cursor.shard + 1, byte: 0, ..self.cursor };
            } else {
                self.cursor.byte = open.position();
                self.open = Some(open);
            }
        }
        if self.current_shard().is_none() {
            self.cursor = Cursor { epoch: self.cursor.epoch + 1, shard: 0, byte: 0 };
        }
        block.next = self.cursor;
        Ok(block)
    }

    /// The shard under the cursor; `None` at the end of the epoch.
    fn current_shard(&mut self) -> Option<Shard> {
        let epoch = self.cursor.epoch;
        if self.ranks_epoch != Some(epoch) {
            self.ranks = (0..self.shards.len() as u32).collect();
            shuffle(&mut self.ranks, Stream::new(self.order.seed, &format!("data/{}/shards/{epoch}", self.order.source)));
            self.ranks_epoch = Some(epoch);
        }
        let index = self.ranks.get(usize::try_from(self.cursor.shard).ok()?)?;
        self.shards.get(*index as usize).cloned()
    }
}
