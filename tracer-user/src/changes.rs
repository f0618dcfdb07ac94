//! What has gone with what before: the models that answer for one that is asked for, the system prompts that a service
//! sends. A leaf of those who tell that one of them is new.

use std::{collections::VecDeque, hash::Hash};

use hashbrown::{Equivalent, HashMap};

use crate::llm::LlmCall;

/// Who asks whom for which model.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Asked<S, T> {
    service: S,
    provider: T,
    server: Option<T>,
    model: T,
}

impl<'a, S> Asked<S, &'a str> {
    /// `None` when the call names no model.
    pub fn of(service: S, call: &'a LlmCall) -> Option<Self> {
        let model = call.request.model.as_deref()?;
        Some(Self { service, provider: &call.provider, server: call.server_address.as_deref(), model })
    }
}

impl<S, Q: PartialEq<S> + Hash> Equivalent<Asked<S, String>> for Asked<Q, &str> {
    fn equivalent(&self, key: &Asked<S, String>) -> bool {
        self.service == key.service
            && self.model == key.model
            && self.provider == key.provider
            && self.server == key.server.as_deref()
    }
}

impl<S, Q: Copy + Into<S>> From<&Asked<Q, &str>> for Asked<S, String> {
    fn from(asked: &Asked<Q, &str>) -> Self {
        Self {
            service: asked.service.into(),
            provider: asked.provider.to_owned(),
            server: asked.server.map(str::to_owned),
            model: asked.model.to_owned(),
        }
    }
}

/// The values that go with what each service asks, in bounded memory.
#[derive(Debug)]
pub struct Changes<S> {
    known: HashMap<Asked<S, String>, VecDeque<String>>,
    keys: usize,
    values: usize,
}

impl<S: Eq + Hash> Changes<S> {
    /// Follows so many that ask: past it all are forgotten, and a change may go unseen. Remembers so many values of each:
    /// what goes round among more changes all the time.
    pub fn new(keys: usize, values: usize) -> Self {
        Self { known: HashMap::new(), keys, values }
    }

    /// Whether `value` is another one than those that `asked` is known to have. The first is no change.
    pub fn is_change<Q: Copy + Hash + PartialEq<S> + Into<S>>(&mut self, asked: &Asked<Q, &str>, value: &str) -> bool {
        let Some(known) = self.known.get_mut(asked) else {
            if self.known.len() >= self.keys {
                self.known.clear();
            }
            self.known.insert(asked.into(), VecDeque::from([value.to_owned()]));
            return false;
        };
        // What is in use stays; what is not goes first.
        if known.back().is_some_and(|last| last == value) {
            return false;
        }
        if let Some(value) = known.iter().position(|other| other == value).and_then(|at| known.remove(at)) {
            known.push_back(value);
            return false;
        }
        if known.len() >= self.values {
            known.pop_front();
        }
        known.push_back(value.to_owned());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(service: &str) -> Asked<&str, &str> {
        Asked { service, provider: "openai", server: None, model: "gpt-4o" }
    }

    #[test]
    fn the_first_is_none_and_each_new_one_is_one_change() {
        let mut changes: Changes<String> = Changes::new(8, 4);
        assert!(!changes.is_change(&asked("a"), "1"));
        assert!(!changes.is_change(&asked("a"), "1"));
        assert!(changes.is_change(&asked("a"), "2"));
        assert!(!changes.is_change(&asked("a"), "1"), "it was there before");
        assert!(!changes.is_change(&asked("b"), "2"), "another key");
        for other in [
            Asked { provider: "azure.ai.openai", ..asked("a") },
            Asked { server: Some("localhost"), ..asked("a") },
            Asked { model: "o3", ..asked("a") },
        ] {
            assert!(!changes.is_change(&other, "3"), "{other:?} is another key");
            assert!(changes.is_change(&other, "4"));
        }
    }

    #[test]
    fn memory_is_bounded_and_what_is_in_use_stays() {
        let mut changes: Changes<String> = Changes::new(8, 4);
        for number in 0..100 {
            assert_eq!(changes.is_change(&asked("0"), &number.to_string()), number > 0);
            assert!(!changes.is_change(&asked("0"), "0") || number == 0, "0 is asked for all the time");
        }
        assert_eq!(changes.known.values().map(VecDeque::len).sum::<usize>(), 4);
        for key in 0..100 {
            changes.is_change(&asked(&key.to_string()), "1");
        }
        assert!(changes.known.len() <= 8);
    }
}
