//! OpenAI chat completions, spoken by most services and local servers.
//!
//! - Request, response and chunks: <https://platform.openai.com/docs/api-reference/chat>

use super::{
    Claim, Dialect,
    call::Operation,
    decode::{CallLimits, Decoder, JsonDecoder},
    openai::{Body, OpenAiRequest, OpenAiResponse, Prompt},
    openai_compatible::Reasoning,
    recognise::{Target, ends_with},
};
use crate::proto::RequestHead;

pub struct OpenAiChat;

impl Dialect for OpenAiChat {
    fn name(&self) -> &'static str {
        "openai_chat"
    }

    fn claim(&self, head: &RequestHead, target: Option<&Target<'_>>) -> Claim {
        if ends_with(&head.path, &["chat", "completions"]) {
            return Claim::Sure;
        }
        if !ends_with(&head.path, &["chat"]) {
            return Claim::None;
        }
        let service = target.and_then(|target| target.service);
        match service {
            Some(service) if service.chat_paths.contains(&head.path.as_str()) => Claim::Sure,
            // A known service's other chat API is not this one.
            Some(_) => Claim::None,
            None => Claim::ByBody,
        }
    }

    fn provider(&self) -> &'static str {
        "openai"
    }

    fn operation(&self) -> Operation {
        Operation::Chat
    }

    fn api_type(&self) -> Option<&'static str> {
        Some("chat_completions")
    }

    fn decoder(&self, target: &Target<'_>, limits: CallLimits) -> Box<dyn Decoder> {
        let reasoning = target.service.map_or(Reasoning::Included, |service| service.reasoning);
        let request = OpenAiRequest::new(Prompt::Messages, limits).with_path_model(&target.head.path);
        Box::new(JsonDecoder::new(request, OpenAiResponse::new(Body::Choices, reasoning, limits)))
    }
}
