//! IBM watsonx.ai: generation and embeddings. Its chat is read as OpenAI's, which it resembles.
//!
//! - Requests and responses: <https://cloud.ibm.com/apidocs/watsonx-ai>

use super::{
    Claim,
    answer::{Counter, Field as A, Form},
    call::Operation,
    json::Shape,
    json_dialect::JsonDialect,
    openai::TOP_ERRORS,
    recognise::{Target, claim_own, ends_with},
    request::{Field as F, SAMPLING},
};
use crate::{content::forms::TEXT, proto::RequestHead};

pub static GENERATION: JsonDialect = JsonDialect::new(
    "watsonx_generation",
    "ibm.watsonx.ai",
    Operation::TextCompletion,
    |head, target| {
        claim(
            head,
            target,
            &[
                &["text", "generation"],
                &["text", "generation_stream"],
                &["generation", "text"],
                &["generation", "text_stream"],
            ],
        )
    },
    &GENERATION_REQUEST,
    &GENERATION_ANSWER,
)
.with_content(&TEXT);
pub static EMBEDDINGS: JsonDialect = JsonDialect::new(
    "watsonx_embeddings",
    "ibm.watsonx.ai",
    Operation::Embeddings,
    |head, target| claim(head, target, &[&["text", "embeddings"]]),
    &EMBEDDINGS_REQUEST,
    &EMBEDDINGS_ANSWER,
);

fn claim(head: &RequestHead, target: Option<&Target<'_>>, ends: &[&[&str]]) -> Claim {
    let fits = ends.iter().any(|last| ends_with(&head.path, last));
    if fits { claim_own(target, "ibm.watsonx.ai", Claim::ByBody) } else { Claim::None }
}

const GENERATION_REQUEST: Shape<F> = Shape::container(F::Root).members(&[
    ("model_id", Shape::value(F::Model)),
    ("input", Shape::presence(F::Prompt)),
    ("parameters", Shape::through().members(SAMPLING)),
]);
const EMBEDDINGS_REQUEST: Shape<F> =
    Shape::container(F::Root).members(&[("model_id", Shape::value(F::Model)), ("inputs", Shape::container(F::Prompt))]);

const RESULT: Shape<A> = Shape::container(A::Choice).members(&[
    ("generated_text", Shape::presence(A::OwnContent)),
    ("stop_reason", Shape::value(A::FinishReason)),
    // The output is counted up event by event; the input stands in the first one only, and is 0 in others.
    ("generated_token_count", Shape::number(A::Count(Counter::Output))),
    ("input_token_count", Shape::number(A::Count(Counter::InputPart))),
    ("generated_tokens", Shape::through().items(&Shape::through().members(&[("logprob", Shape::number(A::Logprob))]))),
]);
const GENERATION_RESPONSE: Shape<A> = Shape::container(A::Root)
    .members(&[("model_id", Shape::value(A::Model)), ("results", Shape::through().items(&RESULT))])
    .and(TOP_ERRORS);
static GENERATION_ANSWER: Form = Form::new(&GENERATION_RESPONSE);
const EMBEDDING: Shape<A> = Shape::through().members(&[("embedding", Shape::container(A::Proof))]);
const EMBEDDINGS_RESPONSE: Shape<A> = Shape::container(A::Root)
    .members(&[
        ("model_id", Shape::value(A::Model)),
        ("results", Shape::through().items(&EMBEDDING)),
        ("input_token_count", Shape::number(A::Count(Counter::Input))),
    ])
    .and(TOP_ERRORS);
static EMBEDDINGS_ANSWER: Form = Form::new(&EMBEDDINGS_RESPONSE);
