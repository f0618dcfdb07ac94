//! Anthropic Messages, and the older Complete, at its own host, behind gateways, and where cloud services offer it under paths of their own.
//!
//! - Request and response: <https://docs.claude.com/en/api/messages>
//! - Events of a stream: <https://docs.claude.com/en/docs/build-with-claude/streaming>

mod request;
mod response;

pub use request::REQUEST;
pub use response::AnthropicResponse;

use super::{
    Claim, Dialect,
    call::Operation,
    decode::{CallLimits, Decoder, JsonDecoder},
    recognise::{Target, VertexModel, ends_with, segments, vertex_model},
    request::Draft,
};
use crate::{
    content::{Form, forms::ANTHROPIC},
    proto::RequestHead,
};
use request::{COMPLETE, MESSAGES};

/// One of the API's endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anthropic {
    Messages,
    /// The older API that continues a prompt: <https://docs.claude.com/en/api/complete>
    Complete,
}

impl Dialect for Anthropic {
    fn name(&self) -> &'static str {
        match self {
            Self::Messages => "anthropic",
            Self::Complete => "anthropic_complete",
        }
    }

    fn claim(&self, head: &RequestHead, target: Option<&Target<'_>>) -> Claim {
        let last = match self {
            Self::Messages if own_model(&head.path).is_some() => return Claim::Sure,
            Self::Messages => "messages",
            Self::Complete => "complete",
        };
        if !ends_with(&head.path, &[last]) {
            return Claim::None;
        }
        let full = ends_with(&head.path, &["v1", last]);
        let versioned = head.headers.has("anthropic-version");
        let known = || {
            target.is_some_and(|target| target.service.is_some_and(|service| service.provider == "anthropic"))
            // Gateways and clouds that offer several APIs put its name before it.
            || segments(&head.path).nth(2).is_some_and(|segment| segment.eq_ignore_ascii_case("anthropic"))
        };
        match (full, versioned) {
            (true, true) => Claim::Sure,
            (true, false) if known() => Claim::Sure,
            // Other services have paths like these, too.
            (true, false) | (false, true) => Claim::ByBody,
            (false, false) => Claim::None,
        }
    }

    fn provider(&self) -> &'static str {
        "anthropic"
    }

    fn operation(&self) -> Operation {
        match self {
            Self::Messages => Operation::Chat,
            Self::Complete => Operation::TextCompletion,
        }
    }

    fn content(&self) -> Option<&'static Form> {
        Some(&ANTHROPIC)
    }

    fn decoder(&self, target: &Target<'_>, limits: CallLimits) -> Box<dyn Decoder> {
        let (model, stream) = own_model(&target.head.path).map(|vertex| (vertex.model, vertex.stream)).unzip();
        let shape = match self {
            Self::Messages => &MESSAGES,
            Self::Complete => &COMPLETE,
        };
        let request = Draft::new(shape, limits).with_model(model).with_stream(stream);
        Box::new(JsonDecoder::new(request, AnthropicResponse::new(limits)))
    }
}

/// The model that a path of Vertex AI names.
fn own_model(path: &str) -> Option<VertexModel> {
    vertex_model(path).filter(|vertex| vertex.publisher == "anthropic")
}
