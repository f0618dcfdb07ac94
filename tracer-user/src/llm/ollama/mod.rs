//! Ollama's own API: chat, generate, and its two embeddings endpoints. It also speaks OpenAI's and Anthropic's, which
//! their dialects read.
//!
//! - Requests and responses: <https://docs.ollama.com/api>

mod request;
mod response;

use super::{
    Claim, Dialect,
    call::Operation,
    decode::{CallLimits, Decoder, JsonDecoder},
    recognise::{Target, ends_with},
};
use crate::proto::RequestHead;
use request::OllamaRequest;
use response::OllamaResponse;

/// One of the API's endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ollama {
    Chat,
    Generate,
    Embed,
}

impl Dialect for Ollama {
    fn name(&self) -> &'static str {
        match self {
            Self::Chat => "ollama_chat",
            Self::Generate => "ollama_generate",
            Self::Embed => "ollama_embed",
        }
    }

    fn claim(&self, head: &RequestHead, target: Option<&Target<'_>>) -> Claim {
        let is_path = |last| ends_with(&head.path, &["api", last]);
        let fits = match self {
            Self::Chat => is_path("chat"),
            Self::Generate => is_path("generate"),
            Self::Embed => is_path("embed") || is_path("embeddings"),
        };
        match fits {
            true if target.is_some_and(|target| target.provider() == Some("ollama")) => Claim::Sure,
            // Many applications have paths like these.
            true => Claim::ByBody,
            false => Claim::None,
        }
    }

    fn provider(&self) -> &'static str {
        "ollama"
    }

    fn operation(&self) -> Operation {
        match self {
            Self::Chat => Operation::Chat,
            Self::Generate => Operation::TextCompletion,
            Self::Embed => Operation::Embeddings,
        }
    }

    fn decoder(&self, _: &Target<'_>, limits: CallLimits) -> Box<dyn Decoder> {
        Box::new(JsonDecoder::new(OllamaRequest::new(*self, limits), OllamaResponse::new(*self, limits)))
    }
}
