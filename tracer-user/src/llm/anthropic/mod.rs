//! Anthropic Messages, and the older Complete, at its own host, behind gateways, and where cloud services offer it under paths of their own.
//!
//! - Request and response: <https://docs.claude.com/en/api/messages>
//! - Events of a stream: <https://docs.claude.com/en/docs/build-with-claude/streaming>

mod request;
mod response;

pub use request::AnthropicRequest;
pub use response::AnthropicResponse;

use super::{
    Claim, Dialect,
    call::Operation,
    decode::{CallLimits, Decoder, JsonDecoder},
    recognise::{Target, ends_with, has_header, percent_decoded, segments},
};
use crate::proto::RequestHead;

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
            Self::Messages if vertex_model(&head.path).is_some() => return Claim::Sure,
            Self::Messages => "messages",
            Self::Complete => "complete",
        };
        let full = ends_with(&head.path, &["v1", last]);
        let versioned = has_header(&head.headers, "anthropic-version");
        let known = target.is_some_and(|target| target.service.is_some_and(|service| service.provider == "anthropic"));
        match (full, versioned) {
            (true, true) => Claim::Sure,
            (true, false) if known => Claim::Sure,
            // Other services have paths like these, too.
            (true, false) => Claim::ByBody,
            (false, true) if ends_with(&head.path, &[last]) => Claim::ByBody,
            (false, _) => Claim::None,
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

    fn decoder(&self, target: &Target<'_>, limits: CallLimits) -> Box<dyn Decoder> {
        let request = AnthropicRequest::new(vertex_model(&target.head.path), limits);
        Box::new(JsonDecoder::new(request, AnthropicResponse::new(limits)))
    }
}

/// `{model}` of `…/publishers/anthropic/models/{model}:rawPredict` or `:streamRawPredict` (Vertex AI).
fn vertex_model(path: &str) -> Option<String> {
    let mut last = segments(path);
    let (model, method) = last.next()?.split_once(':')?;
    let fits = matches!(method, "rawPredict" | "streamRawPredict")
        && last.next() == Some("models")
        && last.next() == Some("anthropic")
        && last.next() == Some("publishers");
    fits.then(|| percent_decoded(model))
}
