//! What a disk refuses, for tests: an error at the n-th operation on files, or at that one and all that follow.

use std::io;

/// Before an operation on a file; an error if a test wants one there.
#[cfg(not(test))]
#[inline(always)]
pub(super) fn check() -> io::Result<()> {
    Ok(())
}

#[cfg(not(test))]
pub(super) use redb::backends::FileBackend as Backend;

#[cfg(test)]
pub(super) use self::tests::{Backend, check};

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;
    use std::fs::File;
    use std::ops::Bound;
    use std::path::Path;

    use redb::backends::FileBackend;
    use redb::{BackendError, DatabaseError, StorageBackend};

    use super::super::super::{Entry, FileState, IndexError, Reader, Stamp, Unreadable, Writer};
    use super::io;
    use crate::platform::block_on;

    thread_local! {
        /// Operations that still succeed, and whether those after the first failure fail as well.
        static LEFT: Cell<Option<(u64, bool)>> = const { Cell::new(None) };
    }

    pub(in super::super) fn check() -> io::Result<()> {
        match LEFT.get() {
            None => Ok(()),
            Some((0, is_dead)) => {
                LEFT.set(is_dead.then_some((0, true)));
                Err(io::Error::other("injected"))
            }
            Some((left, is_dead)) => {
                LEFT.set(Some((left - 1, is_dead)));
                Ok(())
            }
        }
    }

    /// A file as redb uses it.
    #[derive(Debug)]
    pub(in super::super) struct Backend(FileBackend);

    impl Backend {
        pub(in super::super) fn new(file: File) -> Result<Self, DatabaseError> {
            FileBackend::new(file).map(Self)
        }
    }

    impl StorageBackend for Backend {
        fn len(&self) -> Result<u64, io::Error> {
            check()?;
            self.0.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
            check()?;
            self.0.read(offset, out)
        }

        fn set_len(&self, len: u64) -> Result<(), io::Error> {
            check()?;
            self.0.set_len(len)
        }

        fn sync_data(&self) -> Result<(), io::Error> {
            check()?;
            self.0.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
            check()?;
            self.0.write(offset, data)
        }

        fn close(&self) -> Result<(), io::Error> {
            self.0.close()
        }

        fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
            self.0.try_lock_range(start, end)
        }

        fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
            self.0.try_lock_shared_range(start, end)
        }

        fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
            self.0.lock_range(start, end)
        }

        fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
            self.0.lock_shared_range(start, end)
        }

        fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
            self.0.unlock_range(start, end)
        }

        fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
            self.0.query_lock_range(start, end)
        }
    }

    const DIM: usize = 8;

    /// What an index holds: of each picture what its vector and its thumbnail are made of; of each file that cannot be read, nothing.
    type State = BTreeMap<u8, Option<u8>>;

    /// Something that is done to an index. Pictures are told by their number, and what is in them by another.
    enum Step {
        Add(Vec<(u8, u8)>),
        Refuse(Vec<u8>),
        Remove(Vec<u8>),
        Tidy,
    }

    impl Step {
        fn run(&self, writer: &mut Writer) -> Result<(), IndexError> {
            match self {
                Self::Add(pictures) => {
                    let entries: Vec<Entry> = pictures.iter().map(|(number, content)| entry(*number, *content)).collect();
                    let embeds: Vec<f32> = pictures.iter().flat_map(|(_, content)| vector(*content)).collect();
                    block_on(writer.add(&entries, &embeds))
                }
                Self::Refuse(numbers) => {
                    let unreadable = |number: &u8| Unreadable { path: number.to_string(), state: file(99), reason: "torn".to_owned() };
                    block_on(writer.refuse(&numbers.iter().map(unreadable).collect::<Vec<_>>()))
                }
                Self::Remove(numbers) => block_on(writer.remove(numbers.iter().map(u8::to_string))),
                Self::Tidy => block_on(writer.tidy()),
            }
        }

        fn change(&self, state: &mut State) {
            match self {
                Self::Add(pictures) => state.extend(pictures.iter().map(|(number, content)| (*number, Some(*content)))),
                Self::Refuse(numbers) => state.extend(numbers.iter().map(|number| (*number, None))),
                Self::Remove(numbers) => state.retain(|number, _| !numbers.contains(number)),
                // Nothing that can be seen.
                Self::Tidy => {}
            }
        }
    }

    fn stamp() -> Stamp {
        Stamp {
            root: "/pictures".to_owned(),
            model: "demo".to_owned(),
            dim: DIM,
            max_num_patches: None,
            resampling: "hf".to_owned(),
            calibration: [1, 2],
        }
    }

    fn file(content: u8) -> FileState {
        FileState { bytes: u64::from(content), secs: 1, nanos: 0 }
    }

    fn entry(number: u8, content: u8) -> Entry {
        Entry { path: number.to_string(), state: file(content), size: [1, 1], thumbnail: vec![content; usize::from(content)] }
    }

    fn vector(content: u8) -> [f32; DIM] {
        // Exact in f16, and unlike any other.
        [f32::from(content) / 256.0; DIM]
    }

    /// Everything that can be seen of an index, compared with itself on the way.
    fn seen(path: &Path) -> State {
        let reader = Reader::open(path).unwrap();
        let mut state: State = reader.unreadable().unwrap().into_keys().map(|path| (path.parse().unwrap(), None)).collect();
        let results = reader.search(&vector(1), 1_000).unwrap();
        assert_eq!(results.found.len(), results.compared);
        for found in results.found {
            let content = reader.thumbnails(std::slice::from_ref(&found.path)).unwrap()[0][0];
            assert_eq!(reader.embedding(&found.path).unwrap().unwrap(), vector(content), "{}", found.path);
            assert!(state.insert(found.path.parse().unwrap(), Some(content)).is_none(), "{} is there twice", found.path);
        }
        state
    }

    /// Lives until the first failure; gives the steps that succeeded.
    fn live(path: &Path, steps: &[Step]) -> usize {
        let Ok(mut writer) = Writer::open(path, &stamp()) else { return 0 };
        steps.iter().take_while(|step| step.run(&mut writer).is_ok()).count()
    }

    #[test]
    fn an_error_at_any_operation_leaves_the_old_or_the_new_state() {
        let steps = [
            Step::Add((1..20).map(|number| (number, number)).collect()),
            Step::Add((15..25).map(|number| (number, number + 50)).collect()),
            Step::Refuse(vec![3, 30]),
            Step::Remove((5..12).collect()),
            Step::Tidy,
            Step::Add(vec![(40, 140), (3, 141)]),
        ];
        // Before the first step, and after each.
        let mut states = vec![State::new()];
        for step in &steps {
            let mut state = states.last().cloned().unwrap_or_default();
            step.change(&mut state);
            states.push(state);
        }
        for is_dead in [false, true] {
            let mut operations = 0;
            loop {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("pictures.index");
                LEFT.set(Some((operations, is_dead)));
                let done = live(&path, &steps);
                let was_hit = LEFT.replace(None).is_none_or(|(left, _)| left == 0);
                // Whoever comes next finds the state before or after the step that failed,
                drop(Writer::open(&path, &stamp()).unwrap());
                let now = seen(&path);
                assert!(states[done..].iter().take(2).any(|state| *state == now), "operation {operations}, step {done}: {now:?}");
                // and goes on from there.
                for step in &steps[done..] {
                    step.run(&mut Writer::open(&path, &stamp()).unwrap()).unwrap();
                }
                assert_eq!(Some(&seen(&path)), states.last(), "operation {operations}");
                if !was_hit {
                    assert_eq!(done, steps.len());
                    break;
                }
                operations += 1;
            }
            assert!(operations > 50, "only {operations} operations could fail");
        }
    }
}
