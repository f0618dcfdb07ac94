//! Llm: tells model calls from other traffic and reads each API's dialect into one [`LlmCall`].
//!
//! A dialect is one file (or folder) and one line in [`ALL`]; a service that speaks a known dialect is one row in
//! [`openai_compatible`]. `docs/adding-a-provider.md` walks through both.

mod answer;
mod anthropic;
mod background;
mod bedrock;
mod bedrock_converse;
mod bedrock_invoke;
pub mod call;
mod calls;
mod cohere;
mod dashscope;
pub(crate) mod decode;
pub(crate) mod facts;
pub(crate) mod failure;
mod fuzz;
mod gemini;
mod instructions;
mod json_dialect;
mod local;
mod mistral;
mod ollama;
mod open;
mod openai;
mod openai_compatible;
mod openai_responses;
mod pace;
pub(crate) mod recognise;
mod repeat;
mod request;
mod rerank;
pub(crate) mod trace_context;
mod watsonx;

#[cfg(test)]
pub(crate) mod tests;

pub use call::{EndedCall, LlmCall};
pub use calls::{Calls, Counts, Limits};
pub use decode::CallLimits;
pub use fuzz::fuzz;
pub use open::Active;
pub use openai_compatible::is_model_host;
pub use recognise::Options;

use crate::{content::Form, json, proto::RequestHead};
use call::Operation;
use decode::Decoder;
use recognise::Target;

/// One API's way of asking a model and of answering.
trait Dialect: Send + Sync {
    /// Names its folder of fixtures.
    fn name(&self) -> &'static str;

    /// Whether a request is one of this dialect, as far as its head tells. Without a target the claim must be at least
    /// as strong as with any: what is not claimed then is never looked at again.
    fn claim(&self, head: &RequestHead, target: Option<&Target<'_>>) -> Claim;

    /// `gen_ai.provider.name` where neither host nor configuration tell it.
    fn provider(&self) -> &'static str;

    fn operation(&self) -> Operation;

    /// `openai.api.type`.
    fn api_type(&self) -> Option<&'static str> {
        None
    }

    /// Whether it is spoken over WebSockets, too.
    fn over_websocket(&self) -> bool {
        false
    }

    /// Whether an array of objects in answer is a stream of them.
    fn streams_arrays(&self) -> bool {
        false
    }

    fn decoder(&self, target: &Target<'_>, limits: CallLimits) -> Box<dyn Decoder>;

    /// How its answers say what they say; `None`: its content is not read.
    fn content(&self) -> Option<&'static Form> {
        None
    }
}

/// How sure the head of a request makes it that it is a model call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    None,
    /// The head was not captured: what is there of the bodies has to be of the dialect's shape.
    Unseen,
    /// The path is used by others, too: both bodies have to be of the dialect's shape.
    ByBody,
    /// The same; but a request of the dialect's shape that names its model may also be refused with an error.
    ByBodyOrError,
    /// Only models have the path, but models of several dialects: the request has to be of the dialect's shape.
    ByRequest,
    /// The path is the API's own: it takes a body of another shape to refute it.
    Sure,
}

/// Every dialect, in the order in which they are asked.
static ALL: &[&dyn Dialect] = &[
    &openai::CHAT,
    &anthropic::Anthropic::Messages,
    &anthropic::Anthropic::Complete,
    &openai_responses::OpenAiResponses,
    &openai::COMPLETIONS,
    &openai::EMBEDDINGS,
    &openai::IMAGES,
    &openai::TRANSCRIPTIONS,
    &openai::SPEECH,
    &gemini::GENERATE,
    &gemini::EMBED,
    &gemini::INTERACTIONS,
    &bedrock_converse::BedrockConverse,
    &bedrock_invoke::BedrockInvoke,
    &cohere::CHAT,
    &cohere::GENERATE,
    &cohere::EMBED,
    &ollama::CHAT,
    &ollama::GENERATE,
    &ollama::EMBED,
    &mistral::CONVERSATIONS,
    &rerank::RERANK,
    &watsonx::GENERATION,
    &watsonx::EMBEDDINGS,
    &dashscope::GENERATION,
    &dashscope::EMBEDDINGS,
    &local::TGI,
    &local::SGLANG,
    &local::LLAMA_CPP,
    &local::LM_STUDIO,
];

/// Whether a request's bodies are worth reading: by its method and path it could be a model call. It misses none, and
/// the path of most other traffic is refused here.
pub fn could_be_model_call(head: &RequestHead) -> bool {
    match head.method.as_str() {
        "POST" => ALL.iter().any(|dialect| dialect.claim(head, None) != Claim::None),
        "GET" if background::retrieved(&head.path).is_some() => true,
        // What a WebSocket carries, its messages tell.
        _ => head.is_websocket(),
    }
}

/// Names of all dialects, in the order in which they are asked.
pub fn dialects() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|dialect| dialect.name())
}
