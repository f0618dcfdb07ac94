//! Cohere: chat (versions 1 and 2), generate, embed.
//!
//! - Requests and responses: <https://docs.cohere.com/reference/chat>

mod request;
mod response;

pub use request::CohereRequest;
pub use response::CohereResponse;

use super::{
    Claim, Dialect,
    call::Operation,
    decode::{CallLimits, Decoder, JsonDecoder},
    recognise::{Target, ends_with},
};
use crate::proto::RequestHead;

/// One of the API's endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cohere {
    Chat,
    Generate,
    Embed,
}

impl Dialect for Cohere {
    fn name(&self) -> &'static str {
        match self {
            Self::Chat => "cohere_chat",
            Self::Generate => "cohere_generate",
            Self::Embed => "cohere_embed",
        }
    }

    fn claim(&self, head: &RequestHead, target: Option<&Target<'_>>) -> Claim {
        let last = match self {
            Self::Chat => "chat",
            Self::Generate => "generate",
            Self::Embed => "embed",
        };
        let fits = ["v1", "v2"].iter().any(|version| ends_with(&head.path, &[version, last]));
        let service = target.and_then(|target| target.service).map(|service| service.provider);
        match (fits, service) {
            (true, Some("cohere")) => Claim::Sure,
            (true, None) => Claim::ByBody,
            _ => Claim::None,
        }
    }

    fn provider(&self) -> &'static str {
        "cohere"
    }

    fn operation(&self) -> Operation {
        match self {
            Self::Chat => Operation::Chat,
            Self::Generate => Operation::TextCompletion,
            Self::Embed => Operation::Embeddings,
        }
    }

    fn decoder(&self, _: &Target<'_>, limits: CallLimits) -> Box<dyn Decoder> {
        Box::new(JsonDecoder::new(CohereRequest::new(*self, limits), CohereResponse::new(*self, limits)))
    }
}
