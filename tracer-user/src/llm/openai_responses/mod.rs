//! OpenAI Responses.
//!
//! - Request and response: <https://platform.openai.com/docs/api-reference/responses>
//! - Events of a stream: <https://platform.openai.com/docs/api-reference/responses-streaming>

mod request;
mod response;

use super::{
    Claim, Dialect,
    call::Operation,
    decode::{CallLimits, Decoder, JsonDecoder},
    recognise::{Target, ends_with},
    request::Draft,
};
use crate::proto::RequestHead;
use request::REQUEST;
use response::ResponsesResponse;

pub struct OpenAiResponses;

impl Dialect for OpenAiResponses {
    fn name(&self) -> &'static str {
        "openai_responses"
    }

    fn claim(&self, head: &RequestHead, _: Option<&Target<'_>>) -> Claim {
        if ends_with(&head.path, &["v1", "responses"]) || ends_with(&head.path, &["openai", "responses"]) {
            Claim::Sure
        } else if ends_with(&head.path, &["responses"]) {
            Claim::ByBody
        } else {
            Claim::None
        }
    }

    fn provider(&self) -> &'static str {
        "openai"
    }

    fn operation(&self) -> Operation {
        Operation::Chat
    }

    fn api_type(&self) -> Option<&'static str> {
        Some("responses")
    }

    fn decoder(&self, _: &Target<'_>, limits: CallLimits) -> Box<dyn Decoder> {
        Box::new(JsonDecoder::new(Draft::new(&REQUEST, limits), ResponsesResponse::new(limits)))
    }
}
