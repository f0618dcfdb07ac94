//! Which system prompts go with which requests.

use crate::{
    changes::{Asked, Changes},
    llm::LlmCall,
};

/// Requests that are followed, over all services.
const MAX_ASKED: usize = 2000;
/// Hashes that are remembered of one. A service that goes round among more than these changes all the time.
const MAX_HASHES: usize = 16;

/// The system prompts of each service and request model, by their hashes.
#[derive(Debug)]
pub struct Prompts(Changes<String>);

impl Default for Prompts {
    fn default() -> Self {
        Self(Changes::new(MAX_ASKED, MAX_HASHES))
    }
}

impl Prompts {
    /// Whether the call is the first with another system prompt than those that the service has sent so far to this
    /// model. Calls without one say nothing.
    pub fn changed(&mut self, service: &str, call: &LlmCall) -> bool {
        let (Some(asked), Some(hash)) = (Asked::of(service, call), &call.request.system_prompt_hash) else {
            return false;
        };
        self.0.is_change(&asked, hash)
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
    fn each_service_has_its_own() {
        let mut prompts = Prompts::default();
        let mut changed = |service: &str, hash| prompts.changed(service, &with(hash));
        assert!(!changed("a", Some("1")));
        assert!(changed("a", Some("2")));
        assert!(!changed("a", None));
        assert!(!changed("b", Some("2")), "another service");
    }
}
