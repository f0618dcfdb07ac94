//! OpenAI embeddings, spoken by many services.
//!
//! - Request and response: <https://platform.openai.com/docs/api-reference/embeddings>

use super::{
    claim_endpoint, path_facts,
    request::SETTINGS,
    response::{TOP_ERRORS, USAGE},
};
use crate::{
    llm::{
        Claim,
        answer::{Field as A, Form},
        call::Operation,
        json::Shape,
        json_dialect::JsonDialect,
        recognise::{Target, databricks_endpoint, ends_with},
        request::Field as F,
    },
    proto::RequestHead,
};

pub static EMBEDDINGS: JsonDialect = JsonDialect {
    path: path_facts,
    ..JsonDialect::new("openai_embeddings", "openai", Operation::Embeddings, claim, &REQUEST, &ANSWER)
};

fn claim(head: &RequestHead, target: Option<&Target<'_>>) -> Claim {
    let path = &head.path;
    if databricks_endpoint(path).is_some() {
        return Claim::ByRequest;
    }
    let provider = target.and_then(Target::provider);
    match provider {
        // These have embeddings of their own below paths of the same end.
        Some("ollama") if ends_with(path, &["api", "embeddings"]) => Claim::None,
        Some("ibm.watsonx.ai") => Claim::None,
        Some("voyage_ai") if ends_with(path, &["multimodalembeddings"]) => Claim::Sure,
        Some("nomic") if ends_with(path, &["embedding", "text"]) => Claim::Sure,
        None if ends_with(path, &["embedding", "text"]) || ends_with(path, &["multimodalembeddings"]) => Claim::ByBody,
        _ => claim_endpoint(path, target, "embeddings"),
    }
}

const REQUEST: Shape<F> = Shape::container(F::Root).members(SETTINGS).and(&[
    ("input", Shape::presence(F::Prompt)),
    // Voyage's pictures, and Nomic's texts.
    ("inputs", Shape::container(F::Prompt)),
    ("texts", Shape::container(F::Prompt)),
]);

const ENTRY: Shape<A> = Shape::through().members(&[("embedding", Shape::presence(A::Of(Operation::Embeddings)))]);
const RESPONSE: Shape<A> = Shape::container(A::Root)
    .members(&[
        ("id", Shape::value(A::Id)),
        ("model", Shape::value(A::Model)),
        ("data", Shape::container(A::Proof).items(&ENTRY)),
        ("embeddings", Shape::container(A::Proof)),
        ("usage", USAGE),
    ])
    .and(TOP_ERRORS);
static ANSWER: Form = Form::new(&RESPONSE);
