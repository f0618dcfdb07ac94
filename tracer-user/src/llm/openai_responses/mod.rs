//! OpenAI Responses.
//!
//! - Request and response: <https://platform.openai.com/docs/api-reference/responses>
//! - Events of a stream: <https://platform.openai.com/docs/api-reference/responses-streaming>
//! - Over a WebSocket, where `proto` tells the responses apart: <https://developers.openai.com/api/docs/guides/websocket-mode>
//! - Compaction: <https://platform.openai.com/docs/api-reference/responses/compact>

mod request;
mod response;

use super::{
    Claim, Dialect,
    background::retrieved,
    call::Operation,
    decode::{CallLimits, Decoder, JsonDecoder},
    recognise::{Target, ends_with},
    request::Draft,
};
use crate::{
    content::{Form, forms::RESPONSES},
    proto::RequestHead,
};
use request::REQUEST;
use response::ResponsesResponse;

pub struct OpenAiResponses;

impl Dialect for OpenAiResponses {
    fn name(&self) -> &'static str {
        "openai_responses"
    }

    fn claim(&self, head: &RequestHead, target: Option<&Target<'_>>) -> Claim {
        let ends = |last: &[&str]| ends_with(&head.path, last);
        let known = || target.is_some_and(|target| target.is_known());
        let creates = || ["v1", "openai", "codex"].iter().any(|api| ends(&[api, "responses"]));
        // Compaction is done by the model, and its tokens are billed.
        let compacts = || ends(&["responses", "compact"]);
        let retrieves = || head.method == "GET" && retrieved(&head.path).is_some();
        if retrieves() || creates() || compacts() || (ends(&["responses"]) && known()) {
            Claim::Sure
        } else if ends(&["responses"]) || head.is_websocket() {
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

    fn over_websocket(&self) -> bool {
        true
    }

    fn content(&self) -> Option<&'static Form> {
        Some(&RESPONSES)
    }

    fn decoder(&self, target: &Target<'_>, limits: CallLimits) -> Box<dyn Decoder> {
        // Over a WebSocket the answer is a stream always: requests need not say so.
        let stream = target.head.is_websocket().then_some(true);
        let request = Draft::new(&REQUEST, limits).with_stream(stream);
        Box::new(JsonDecoder::new(request, ResponsesResponse::new(limits)))
    }
}
