//! Work that runs ahead on other threads while the encoder is busy, delivered in order.

use std::sync::mpsc::sync_channel;

/// Results that may wait on each thread. Two keep a thread busy while its turn comes; more would only hold memory.
const QUEUE: usize = 2;

/// Makes items `0..count` on `threads` threads and hands them to `consume` in that order.
///
/// Thread `t` makes items `t, t + threads, …` and blocks when its queue is full, so order and back-pressure need no further bookkeeping.
/// Stops early when `consume` returns.
pub(crate) fn in_order<T: Send, R>(
    count: usize,
    threads: usize,
    make: impl Fn(usize) -> T + Sync,
    consume: impl FnOnce(&mut dyn Iterator<Item = T>) -> R,
) -> R {
    let threads = threads.clamp(1, count.max(1));
    std::thread::scope(|scope| {
        let make = &make;
        let mut lanes = Vec::with_capacity(threads);
        for lane in 0..threads {
            let (sender, receiver) = sync_channel(QUEUE);
            scope.spawn(move || {
                for index in (lane..count).step_by(threads) {
                    // The consumer stopped early.
                    if sender.send(make(index)).is_err() {
                        return;
                    }
                }
            });
            lanes.push(receiver);
        }
        let mut items = (0..count).map_while(|index| lanes.get(index % threads)?.recv().ok());
        consume(&mut items)
    })
}

/// Threads to decode on. More than four would hold more memory than they save time: each may have a decoded photo of 70 MB in hand.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |threads| threads.get().min(4))
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
        let items = in_order(20, 3, slow_evens, |items| items.collect::<Vec<_>>());
        assert_eq!(items, (0..20).collect::<Vec<_>>());
        assert_eq!(in_order(0, 3, |index| index, |items| items.count()), 0);
    }

    #[test]
    fn producers_wait_for_the_consumer() {
        let made = AtomicUsize::new(0);
        let count_one = |_| made.fetch_add(1, Ordering::SeqCst);
        in_order(1_000, 2, count_one, |items| {
            items.next();
            std::thread::sleep(Duration::from_millis(50));
        });
        // Two threads: two queued and one in hand each, one taken, and one more made before each notices the end.
        assert!(made.load(Ordering::SeqCst) <= 9, "{made:?} items were made for one taken");
    }
}
