//! OpenAI embeddings, spoken by many services.
//!
//! - Request and response: <https://platform.openai.com/docs/api-reference/embeddings>

use super::{
    Claim, Dialect,
    call::Operation,
    decode::{CallLimits, Decoder, JsonDecoder},
    openai::{Body, OpenAiRequest, OpenAiResponse, Prompt},
    openai_compatible::Reasoning,
    recognise::{Target, azure_deployment, ends_with},
};
use crate::proto::RequestHead;

pub struct OpenAiEmbeddings;

impl Dialect for OpenAiEmbeddings {
    fn name(&self) -> &'static str {
        "openai_embeddings"
    }

    fn claim(&self, head: &RequestHead, _: Option<&Target<'_>>) -> Claim {
        let path = &head.path;
        if !ends_with(path, &["embeddings"]) {
            Claim::None
        } else if ends_with(path, &["v1", "embeddings"]) || azure_deployment(path).is_some() {
            Claim::Sure
        } else {
            Claim::ByBody
        }
    }

    fn provider(&self) -> &'static str {
        "openai"
    }

    fn operation(&self) -> Operation {
        Operation::Embeddings
    }

    fn decoder(&self, target: &Target<'_>, limits: CallLimits) -> Box<dyn Decoder> {
        let request = OpenAiRequest::new(Prompt::Input, limits).with_path_model(&target.head.path);
        Box::new(JsonDecoder::new(request, OpenAiResponse::new(Body::Data, Reasoning::Included, limits)))
    }
}
