//! Which system prompts go with which requests.

use std::collections::{HashMap, VecDeque};

use crate::llm::LlmCall;

/// Requests that are followed, over all services. Past it all are forgotten: a change may then go unseen.
const MAX_ASKED: usize = 2000;
/// Hashes that are remembered of one. A service that goes round among more than these changes all the time.
const MAX_HASHES: usize = 16;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Asked {
    service: String,
    provider: String,
    server: Option<String>,
    model: String,
}

/// The system prompts of each service and request model, by their hashes.
#[derive(Debug, Default)]
pub struct Prompts(HashMap<Asked, VecDeque<String>>);

impl Prompts {
    /// Whether the call is the first with another system prompt than those that the service has sent so far to this
    /// model. Calls without one say nothing.
    pub fn changed(&mut self, service: &str, call: &LlmCall) -> bool {
        let (Some(model), Some(hash)) = (&call.request.model, &call.request.system_prompt_hash) else { return false };
        let asked = Asked {
            service: service.to_owned(),
            provider: call.provider.to_string(),
            server: call.server_address.clone(),
            model: model.clone(),
        };
        if self.0.len() >= MAX_ASKED && !self.0.contains_key(&asked) {
            self.0.clear();
        }
        let known = self.0.entry(asked).or_default();
        if let Some(at) = known.iter().position(|other| other == hash) {
            // What is in use stays; what is not goes first.
            if let Some(hash) = known.remove(at) {
                known.push_back(hash);
            }
            return false;
        }
        if known.len() >= MAX_HASHES {
            known.pop_front();
        }
        known.push_back(hash.clone());
        known.len() > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::samples::full_call;

    fn with(hash: Option<&str>) -> LlmCall {
        let mut call = full_call();
        call.request.system_prompt_hash = hash.map(str::to_owned);
        call
    }

    #[test]
    fn the_first_is_none_and_each_new_one_is_one_change() {
        let mut prompts = Prompts::default();
        let mut changed = |service: &str, hash| prompts.changed(service, &with(hash));
        assert!(!changed("a", Some("1")));
        assert!(!changed("a", Some("1")));
        assert!(changed("a", Some("2")));
        assert!(!changed("a", Some("1")), "it was sent before");
        assert!(!changed("a", None));
        assert!(!changed("b", Some("2")), "another service");
    }

    #[test]
    fn memory_is_bounded() {
        let mut prompts = Prompts::default();
        for number in 0..100 {
            assert_eq!(prompts.changed("a", &with(Some(&number.to_string()))), number > 0);
        }
        assert_eq!(prompts.0.values().map(VecDeque::len).sum::<usize>(), MAX_HASHES);
        for number in 0..2 * MAX_ASKED {
            prompts.changed(&number.to_string(), &with(Some("1")));
        }
        assert!(prompts.0.len() <= MAX_ASKED);
    }
}
