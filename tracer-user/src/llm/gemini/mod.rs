//! Gemini's generateContent, at Google AI and on Vertex AI. A stream is Server-Sent Events (`?alt=sse`, as the SDKs ask
//! for) or one JSON array that grows.
//!
//! Gemini Code Assist (Gemini CLI) wraps the same: `{"model", "project", "request": {…}}` and `{"response": {…}}`.
//!
//! - Request and response: <https://ai.google.dev/api/generate-content>
//! - Code Assist: `google-gemini/gemini-cli`, `packages/core/src/code_assist/converter.ts`

mod request;
mod response;

use super::{
    Claim, Dialect,
    call::Operation,
    decode::{CallLimits, Decoder, JsonDecoder},
    recognise::{Target, percent_decoded, segments},
};
use crate::proto::RequestHead;
use request::GeminiRequest;
use response::GeminiResponse;

/// Where Gemini Code Assist has its methods: `/v1internal:generateContent`.
const CODE_ASSIST: &str = "v1internal";

pub struct Gemini;

impl Dialect for Gemini {
    fn name(&self) -> &'static str {
        "gemini"
    }

    fn claim(&self, head: &RequestHead, _: Option<&Target<'_>>) -> Claim {
        if model_and_stream(&head.path).is_some() { Claim::Sure } else { Claim::None }
    }

    fn provider(&self) -> &'static str {
        "gcp.gemini"
    }

    fn operation(&self) -> Operation {
        Operation::GenerateContent
    }

    fn decoder(&self, target: &Target<'_>, limits: CallLimits) -> Box<dyn Decoder> {
        let (model, stream) = model_and_stream(&target.head.path).unzip();
        Box::new(JsonDecoder::new(GeminiRequest::new(model.flatten(), stream, limits), GeminiResponse::new(limits)))
    }
}

/// `{model}` of `…/{model}:generateContent`, and whether it is `…:streamGenerateContent`.
fn model_and_stream(path: &str) -> Option<(Option<String>, bool)> {
    let last = segments(path).next()?;
    // Clients encode the colon or do not.
    let (model, method) =
        last.rsplit_once(':').or_else(|| last.rsplit_once("%3A")).or_else(|| last.rsplit_once("%3a"))?;
    let stream = match method {
        "generateContent" => false,
        "streamGenerateContent" => true,
        _ => return None,
    };
    // Code Assist states the model in the body.
    let model = (model != CODE_ASSIST).then(|| percent_decoded(model));
    (model.as_deref() != Some("")).then_some((model, stream))
}
