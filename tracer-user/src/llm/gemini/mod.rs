//! Gemini, at Google AI and on Vertex AI: generateContent, embeddings, interactions.
//!
//! - generateContent: <https://ai.google.dev/api/generate-content>. A stream is Server-Sent Events (`?alt=sse`, as the
//!   SDKs ask for) or one JSON array that grows.
//! - Code Assist, which Gemini CLI uses, wraps the same (`{"model", "project", "request": {…}}`, `{"response": {…}}`):
//!   `google-gemini/gemini-cli`, `packages/core/src/code_assist/converter.ts`
//! - Embeddings: <https://ai.google.dev/api/embeddings>; on Vertex AI `:predict`,
//!   <https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api>
//! - Interactions: <https://ai.google.dev/api/interactions-api>

mod embed;
mod generate;
mod interactions;
mod numbers;

pub use embed::EMBED;
pub use generate::GENERATE;
pub use interactions::INTERACTIONS;

use super::{
    json_dialect::PathFacts,
    recognise::{percent_decoded, segments, split_method},
};

/// Where Gemini Code Assist has its methods: `/v1internal:generateContent`. The body states the model.
const CODE_ASSIST: &str = "v1internal";

/// `{model}` of `…/{model}:method`, and the method.
fn model_and_method(path: &str) -> Option<(&str, &str)> {
    split_method(segments(path).next()?)
}

fn path_facts(path: &str) -> PathFacts {
    let (model, method) = model_and_method(path).unzip();
    let stream = match method {
        Some("streamGenerateContent") => Some(true),
        Some("generateContent") => Some(false),
        _ => None,
    };
    PathFacts { model: model.filter(|model| *model != CODE_ASSIST).map(percent_decoded), stream }
}
