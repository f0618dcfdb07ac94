//! OpenAI completions: the older API that continues a prompt.
//!
//! - Request, response and chunks: <https://platform.openai.com/docs/api-reference/completions>

use super::{
    Claim, Dialect,
    call::Operation,
    decode::{CallLimits, Decoder, JsonDecoder},
    openai::{Body, OpenAiRequest, OpenAiResponse, Prompt},
    openai_compatible::Reasoning,
    recognise::{Target, ends_with, path_model},
};
use crate::proto::RequestHead;

pub struct OpenAiCompletions;

impl Dialect for OpenAiCompletions {
    fn name(&self) -> &'static str {
        "openai_completions"
    }

    fn claim(&self, head: &RequestHead, _: Option<&Target<'_>>) -> Claim {
        let path = &head.path;
        if !ends_with(path, &["completions"]) || ends_with(path, &["chat", "completions"]) {
            Claim::None
        } else if ends_with(path, &["v1", "completions"]) || path_model(path).is_some() {
            Claim::Sure
        } else {
            Claim::ByBody
        }
    }

    fn provider(&self) -> &'static str {
        "openai"
    }

    fn operation(&self) -> Operation {
        Operation::TextCompletion
    }

    fn decoder(&self, target: &Target<'_>, limits: CallLimits) -> Box<dyn Decoder> {
        let request = OpenAiRequest::new(Prompt::Text, limits).with_path_model(&target.head.path);
        Box::new(JsonDecoder::new(request, OpenAiResponse::new(Body::Choices, Reasoning::Included, limits)))
    }
}
