//! Which response models answer for which request models.

use std::collections::{HashMap, VecDeque};

use super::store::Service;
use crate::llm::LlmCall;

/// Request models that are followed, over all services. Past it all are forgotten: a change may then go unseen.
const MAX_ASKED: usize = 2000;
/// Response models that are remembered of one. A router that goes round among more than these changes all the time.
const MAX_ANSWERED: usize = 8;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Asked {
    service: Service,
    provider: String,
    server: Option<String>,
    model: String,
}

#[derive(Debug, Default)]
pub struct Models(HashMap<Asked, VecDeque<String>>);

impl Models {
    /// Whether the call is the first that another model answered than those that have answered so far.
    pub fn changed(&mut self, service: Service, call: &LlmCall) -> bool {
        let (Some(asked), Some(answered)) = (&call.request.model, &call.response.model) else { return false };
        let asked = Asked {
            service,
            provider: call.provider.to_string(),
            server: call.server_address.clone(),
            model: asked.clone(),
        };
        if self.0.len() >= MAX_ASKED && !self.0.contains_key(&asked) {
            self.0.clear();
        }
        let known = self.0.entry(asked).or_default();
        if known.contains(answered) {
            return false;
        }
        if known.len() >= MAX_ANSWERED {
            known.pop_front();
        }
        known.push_back(answered.clone());
        known.len() > 1
    }
}
