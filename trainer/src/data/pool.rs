//! Threads that work ahead and give their results in order.
//!
//! One thread at a time takes a job from the feed, so jobs are numbered as they come; results leave by number. How many threads there are
//! and how fast each is cannot be seen in the results.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

/// Results in order, computed ahead by threads. Dropping it stops them and waits until they are gone.
pub(super) struct Pool<T> {
    window: Arc<Window<T>>,
    threads: Vec<JoinHandle<()>>,
}

/// The jobs that are under way or done but not taken.
struct Window<T> {
    state: Mutex<State<T>>,
    /// Signalled when a place becomes free, or work should stop.
    room: Condvar,
    /// Signalled when a result is there, or none will come.
    ready: Condvar,
}

struct State<T> {
    /// Number of the first slot's job.
    first: u64,
    slots: VecDeque<Option<T>>,
    /// The feed has ended.
    ended: bool,
    /// Nobody wants results, or a thread died.
    stopped: bool,
}

impl<T: Send + 'static> Pool<T> {
    /// Starts `threads` threads called `name`, which run `work` on what `feed` gives until it gives `None`. At most `ahead` jobs are under
    /// way or waiting: past that, threads wait until results are taken.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(super) fn start<J: 'static>(
        name: &str,
        threads: usize,
        ahead: usize,
        feed: impl FnMut() -> Option<J> + Send + 'static,
        work: impl Fn(J) -> T + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let state = State { first: 0, slots: VecDeque::new(), ended: false, stopped: false };
        let window = Arc::new(Window { state: Mutex::new(state), room: Condvar::new(), ready: Condvar::new() });
        let (feed, work) = (Arc::new(Mutex::new(feed)), Arc::new(work));
        let mut pool = Self { window, threads: Vec::with_capacity(threads) };
        for _ in 0..threads.max(1) {
            let (window, feed, work) = (Arc::clone(&pool.window), Arc::clone(&feed), Arc::clone(&work));
            let thread = Builder::new().name(name.to_owned()).spawn(move || {
                let _stop = StopOnPanic(&window);
                while let Some((number, job)) = window.next_job(&feed, ahead.max(1)) {
                    window.finish(number, work(job));
                }
            })?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// The next result in order. `None` when the feed has ended and everything was taken, or a thread died.
    pub(super) fn next(&self) -> Option<T> {
        let mut state = self.window.lock();
        loop {
            if state.stopped || (state.ended && state.slots.is_empty()) {
                return None;
            }
            if let Some(result) = state.slots.front_mut().and_then(Option::take) {
                state.slots.pop_front();
                state.first += 1;
                self.window.room.notify_one();
                return Some(result);
            }
            state = self.window.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A feed that gives what `next` gives, its first error included, and then ends.
pub(super) fn until_error<T, E>(mut next: impl FnMut() -> Result<T, E>) -> impl FnMut() -> Option<Result<T, E>> {
    let mut failed = false;
    move || {
        let item = (!failed).then(&mut next)?;
        failed = item.is_err();
        Some(item)
    }
}

impl<T> Drop for Pool<T> {
    fn drop(&mut self) {
        self.window.stop();
        for thread in self.threads.drain(..) {
            // A thread that panicked has printed why; there is nothing to add.
            let _ = thread.join();
        }
    }
}

impl<T> Window<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.room.notify_all();
        self.ready.notify_all();
    }

    /// Waits for room, then takes a job. Holding the feed while waiting keeps numbers in the feed's order.
    fn next_job<J>(&self, feed: &Mutex<impl FnMut() -> Option<J>>, ahead: usize) -> Option<(u64, J)> {
        let mut feed = feed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.lock();
        while state.slots.len() >= ahead && !state.stopped {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.stopped || state.ended {
            return None;
        }
        // The feed may take long, and results must not wait for it.
        drop(state);
        let job = feed();
        let mut state = self.lock();
        let Some(job) = job else {
            state.ended = true;
            self.ready.notify_all();
            return None;
        };
        state.slots.push_back(None);
        Some((state.first + state.slots.len() as u64 - 1, job))
    }

    fn finish(&self, number: u64, result: T) {
        let mut state = self.lock();
        let index = (number - state.first) as usize;
        if let Some(slot) = state.slots.get_mut(index) {
            *slot = Some(result);
        }
        if index == 0 {
            self.ready.notify_all();
        }
    }
}

/// A thread that dies takes its job along, so nobody may wait for it.
struct StopOnPanic<'a, T>(&'a Window<T>);

impl<T> Drop for StopOnPanic<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_come_in_order_whatever_each_costs() {
        let mut jobs = 0..200_u64;
        let work = |job: u64| {
            std::thread::sleep(Duration::from_micros(job * 7 % 300));
            job * job
        };
        let pool = Pool::start("test", 5, 8, move || jobs.next(), work).unwrap();
        let results: Vec<_> = std::iter::from_fn(|| pool.next()).collect();
        assert_eq!(results, (0..200).map(|job| job * job).collect::<Vec<_>>());
        assert_eq!(pool.next(), None);
    }

    #[test]
    fn threads_stop_where_nobody_takes_results() {
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&taken);
        let pool = Pool::start("test", 3, 4, move || Some(counter.fetch_add(1, Ordering::SeqCst)), |job| job).unwrap();
        assert_eq!([pool.next(), pool.next()], [Some(0), Some(1)]);
        std::thread::sleep(Duration::from_millis(50));
        // Two were taken and four may wait.
        assert_eq!(taken.load(Ordering::SeqCst), 6);
        drop(pool);
        assert_eq!(taken.load(Ordering::SeqCst), 6);
    }

    #[test]
    fn a_thread_that_dies_leaves_nobody_waiting() {
        let mut jobs = 0..10;
        let pool = Pool::start("test", 2, 4, move || jobs.next(), |job| if job == 3 { panic!("on purpose") } else { job }).unwrap();
        assert!(std::iter::from_fn(|| pool.next()).count() <= 3);
    }
}
