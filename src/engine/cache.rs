//! What was computed lately, within a budget of bytes.

use std::collections::HashMap;
use std::hash::Hash;

/// Forgets what was not asked for longest. What is added last always stays, even if it is larger than the whole budget.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    budget_bytes: usize,
    used_bytes: usize,
    /// Goes up with every use.
    now: u64,
    entries: HashMap<K, Entry<V>>,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K: Eq + Hash + Clone, V> Cache<K, V> {
    pub(super) fn new(budget_bytes: usize) -> Self {
        Self { budget_bytes, used_bytes: 0, now: 0, entries: HashMap::new() }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<&mut V> {
        self.now += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.now;
        Some(&mut entry.value)
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// Adds or replaces.
    pub(super) fn insert(&mut self, key: K, value: V, bytes: usize) {
        self.retain(|other| *other != key);
        self.now += 1;
        self.used_bytes += bytes;
        self.entries.insert(key, Entry { value, bytes, used: self.now });
        while self.used_bytes > self.budget_bytes && self.entries.len() > 1 {
            let Some(oldest) = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone()) else { break };
            self.retain(|other| *other != oldest);
        }
    }

    /// Forgets all keys but those that `keep` wants.
    pub(super) fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.entries.retain(|key, _| keep(key));
        self.used_bytes = self.entries.values().map(|entry| entry.bytes).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_unused_goes_first() {
        let mut cache = Cache::new(10);
        for key in ["a", "b", "c"] {
            cache.insert(key, key.len(), 3);
        }
        assert_eq!(cache.get(&"a"), Some(&mut 1));
        cache.insert("d", 4, 4);
        assert!(cache.contains(&"a") && !cache.contains(&"b") && cache.contains(&"c") && cache.contains(&"d"));
        cache.insert("huge", 5, 100);
        assert!(cache.contains(&"huge") && !cache.contains(&"a"));
        cache.insert("huge", 6, 1);
        assert_eq!((cache.get(&"huge").copied(), cache.used_bytes), (Some(6), 1));
    }
}
