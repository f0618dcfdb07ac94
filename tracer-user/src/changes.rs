//! What has gone with what before: the models that answer for one that is asked for, the system prompts that a service
//! sends. A leaf of those who tell that one of them is new.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// The values of each key, in bounded memory.
#[derive(Debug)]
pub struct Changes<K> {
    known: HashMap<K, VecDeque<String>>,
    keys: usize,
    values: usize,
}

impl<K: Eq + Hash> Changes<K> {
    /// Follows so many keys: past it all are forgotten, and a change may go unseen. Remembers so many values of each: what
    /// goes round among more changes all the time.
    pub fn new(keys: usize, values: usize) -> Self {
        Self { known: HashMap::new(), keys, values }
    }

    /// Whether `value` is another one than those that `key` is known to have. The first is no change.
    pub fn is_change(&mut self, key: K, value: &str) -> bool {
        if self.known.len() >= self.keys && !self.known.contains_key(&key) {
            self.known.clear();
        }
        let known = self.known.entry(key).or_default();
        if let Some(value) = known.iter().position(|other| other == value).and_then(|at| known.remove(at)) {
            // What is in use stays; what is not goes first.
            known.push_back(value);
            return false;
        }
        if known.len() >= self.values {
            known.pop_front();
        }
        known.push_back(value.to_owned());
        known.len() > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_none_and_each_new_one_is_one_change() {
        let mut changes = Changes::new(8, 4);
        assert!(!changes.is_change("a", "1"));
        assert!(!changes.is_change("a", "1"));
        assert!(changes.is_change("a", "2"));
        assert!(!changes.is_change("a", "1"), "it was there before");
        assert!(!changes.is_change("b", "2"), "another key");
    }

    #[test]
    fn memory_is_bounded_and_what_is_in_use_stays() {
        let mut changes = Changes::new(8, 4);
        for number in 0..100 {
            assert_eq!(changes.is_change(0, &number.to_string()), number > 0);
            assert!(!changes.is_change(0, "0") || number == 0, "0 is asked for all the time");
        }
        assert_eq!(changes.known.values().map(VecDeque::len).sum::<usize>(), 4);
        for key in 0..100 {
            changes.is_change(key, "1");
        }
        assert!(changes.known.len() <= 8);
    }
}
