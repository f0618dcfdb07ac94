//! Which response models answer for which request models.

use super::store::Service;
use crate::{
    changes::{Asked, Changes},
    llm::LlmCall,
};

/// Request models that are followed, over all services.
const MAX_ASKED: usize = 2000;
/// Response models that are remembered of one. A router that goes round among more than these changes all the time.
const MAX_ANSWERED: usize = 8;

#[derive(Debug)]
pub struct Models(Changes<Service>);

impl Default for Models {
    fn default() -> Self {
        Self(Changes::new(MAX_ASKED, MAX_ANSWERED))
    }
}

impl Models {
    /// Whether the call is the first that another model answered than those that have answered so far.
    pub fn changed(&mut self, service: Service, call: &LlmCall) -> bool {
        let (Some(asked), Some(answered)) = (Asked::of(service, call), &call.response.model) else { return false };
        self.0.is_change(&asked, answered)
    }
}
