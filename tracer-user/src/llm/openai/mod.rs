//! What the OpenAI dialects share: the members of their requests and responses. Services that speak these APIs add
//! members and leave some out; what they state under OpenAI's names means the same.

mod audio;
mod chat;
mod completions;
mod embeddings;
mod images;
mod request;
mod response;

pub use audio::{SPEECH, TRANSCRIPTIONS};
pub use chat::{CHAT, MESSAGES};
pub use completions::COMPLETIONS;
pub use embeddings::EMBEDDINGS;
pub use images::IMAGES;
pub use request::SETTINGS;
pub use response::{LOGPROBS, LOGPROBS_LIST, MESSAGE, TOP_ERRORS, USAGE};

use super::{
    Claim,
    json_dialect::PathFacts,
    recognise::{Target, azure_deployment, databricks_endpoint, ends_with, percent_decoded, segments, vertex_model},
};

/// Deployments and endpoints that a path names.
fn path_facts(path: &str) -> PathFacts {
    let model = azure_deployment(path).or_else(|| databricks_endpoint(path)).or_else(|| engine(path));
    match vertex_model(path) {
        Some(vertex) => PathFacts { model: Some(vertex.model), stream: Some(vertex.stream) },
        None => PathFacts { model, stream: None },
    }
}

/// `{e}` of `…/engines/{e}/completions`, which GitHub Copilot still asks for.
fn engine(path: &str) -> Option<String> {
    let mut last = segments(path).skip(1);
    let engine = last.next()?;
    (last.next()? == "engines").then(|| percent_decoded(engine))
}

/// The claim of an endpoint by the last segment of its path: the API's own below `/v1`, in Azure's deployments and at
/// hosts that serve models.
fn claim_endpoint(path: &str, target: Option<&Target<'_>>, last: &str) -> Claim {
    if !ends_with(path, &[last]) {
        return Claim::None;
    }
    let known = target.is_some_and(Target::is_known);
    match known || ends_with(path, &["v1", last]) || azure_deployment(path).is_some() {
        true => Claim::Sure,
        false => Claim::ByBody,
    }
}
