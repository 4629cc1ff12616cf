//! Work that runs ahead on other threads while somebody is busy with what came before, delivered in order.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

/// Results that may wait on each thread. Two keep a thread busy while its turn comes; more would only hold memory.
const QUEUE: usize = 2;
/// Threads at most. More would hold more memory than they save time: each may have a decoded photo of 70 MB in hand.
const THREADS: usize = 4;

/// Items `0..count` of a function, in that order.
///
/// Thread `t` makes items `t, t + threads, …` and blocks when its queue is full, so order and back-pressure need no further bookkeeping. All
/// of them stop when this is dropped.
pub struct ReadAhead<T> {
    lanes: Vec<Receiver<Made<T>>>,
    next: usize,
    count: usize,
}

/// An item, or the panic that came of it.
type Made<T> = Result<T, Box<dyn Any + Send>>;

impl<T: Send + 'static> ReadAhead<T> {
    /// Begins to make items.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn new(count: usize, make: impl Fn(usize) -> T + Send + Sync + 'static) -> std::io::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS).clamp(1, count.max(1));
        Self::on(threads, count, make)
    }

    fn on(threads: usize, count: usize, make: impl Fn(usize) -> T + Send + Sync + 'static) -> std::io::Result<Self> {
        let make = Arc::new(make);
        let start = |lane| {
            let (sender, receiver) = sync_channel(QUEUE);
            let make = Arc::clone(&make);
            super::spawn("read-ahead", move || {
                for index in (lane..count).step_by(threads) {
                    let made = catch_unwind(AssertUnwindSafe(|| make(index)));
                    let is_last = made.is_err();
                    // Nobody wants the rest.
                    if sender.send(made).is_err() || is_last {
                        return;
                    }
                }
            })?;
            Ok(receiver)
        };
        let lanes = (0..threads).map(start).collect::<std::io::Result<_>>()?;
        Ok(Self { lanes, next: 0, count })
    }
}

impl<T> Iterator for ReadAhead<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let lane = self.lanes.get(self.next % self.lanes.len().max(1)).filter(|_| self.next < self.count)?;
        self.next += 1;
        // Panics here, where it is noticed, as it would have without threads.
        lane.recv().ok().map(|made| made.unwrap_or_else(|panic| resume_unwind(panic)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn order_is_kept_though_threads_race() {
        let slow_evens = |index: usize| {
            std::thread::sleep(Duration::from_millis(if index.is_multiple_of(2) { 3 } else { 0 }));
            index
        };
        assert_eq!(ReadAhead::on(3, 20, slow_evens).unwrap().collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
        assert_eq!(ReadAhead::new(0, |index| index).unwrap().count(), 0);
    }

    #[test]
    fn producers_wait_for_the_consumer() {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&made);
        let mut items = ReadAhead::on(2, 1_000, move |_| counter.fetch_add(1, Ordering::SeqCst)).unwrap();
        items.next();
        std::thread::sleep(Duration::from_millis(50));
        drop(items);
        std::thread::sleep(Duration::from_millis(50));
        // Two threads: two queued and one in hand each, one taken, and one more made before each notices the end.
        assert!(made.load(Ordering::SeqCst) <= 9, "{made:?} items were made for one taken");
    }

    #[test]
    fn a_panic_comes_out_where_its_item_is_taken() {
        let mut items = ReadAhead::on(2, 10, |index| if index == 3 { std::panic::panic_any("three") } else { index }).unwrap();
        assert_eq!(items.by_ref().take(3).collect::<Vec<_>>(), [0, 1, 2]);
        let panic = catch_unwind(AssertUnwindSafe(|| items.next())).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"three"));
    }
}
