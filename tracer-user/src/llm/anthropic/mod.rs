//! Anthropic Messages, at its own host, behind gateways, and where cloud services offer it under paths of their own.
//!
//! - Request and response: <https://docs.claude.com/en/api/messages>
//! - Events of a stream: <https://docs.claude.com/en/docs/build-with-claude/streaming>

mod request;
mod response;

use super::{
    Claim, Dialect,
    call::Operation,
    decode::{CallLimits, Decoder, JsonDecoder},
    recognise::{Target, ends_with, has_header, percent_decoded, segments},
};
use crate::proto::RequestHead;
use request::AnthropicRequest;
use response::AnthropicResponse;

pub struct Anthropic;

impl Dialect for Anthropic {
    fn name(&self) -> &'static str {
        "anthropic"
    }

    fn claim(&self, head: &RequestHead, target: Option<&Target<'_>>) -> Claim {
        if vertex_model(&head.path).is_some() {
            return Claim::Sure;
        }
        if !ends_with(&head.path, &["messages"]) {
            return Claim::None;
        }
        let versioned = has_header(&head.headers, "anthropic-version");
        let known = target.is_some_and(|target| target.service.is_some_and(|service| service.provider == "anthropic"));
        match ends_with(&head.path, &["v1", "messages"]) {
            true if versioned || known => Claim::Sure,
            // Other services have paths like this, too.
            _ if versioned || ends_with(&head.path, &["v1", "messages"]) => Claim::ByBody,
            _ => Claim::None,
        }
    }

    fn provider(&self) -> &'static str {
        "anthropic"
    }

    fn operation(&self) -> Operation {
        Operation::Chat
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
