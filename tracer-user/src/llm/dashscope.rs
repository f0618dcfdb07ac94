//! DashScope's own API for Qwen models: generation, also of several modalities, and embeddings. Each event of a stream
//! repeats the whole answer so far, unless `incremental_output` asks for pieces; usage comes with each.
//!
//! - Requests and responses: <https://www.alibabacloud.com/help/en/model-studio/qwen-api-reference>

use super::{
    Claim,
    answer::{Counter, Field as A, Form},
    call::Operation,
    failure::Part,
    json::Shape,
    json_dialect::JsonDialect,
    openai::{LOGPROBS, MESSAGE, MESSAGES, SETTINGS, USAGE},
    recognise::{Target, claim_own, ends_with},
    request::Field as F,
};
use crate::{content::forms, proto::RequestHead};

pub static GENERATION: JsonDialect = JsonDialect::new(
    "dashscope_generation",
    "dashscope",
    Operation::Chat,
    |head, target| claim(head, target, &[&["text-generation", "generation"], &["multimodal-generation", "generation"]]),
    &REQUEST,
    &ANSWER,
)
.with_content(&forms::DASHSCOPE);
pub static EMBEDDINGS: JsonDialect = JsonDialect::new(
    "dashscope_embeddings",
    "dashscope",
    Operation::Embeddings,
    |head, target| {
        claim(head, target, &[&["text-embedding", "text-embedding"], &["multimodal-embedding", "multimodal-embedding"]])
    },
    &REQUEST,
    &EMBEDDINGS_ANSWER,
);

fn claim(head: &RequestHead, target: Option<&Target<'_>>, ends: &[&[&str]]) -> Claim {
    let fits = ends.iter().any(|last| ends_with(&head.path, last));
    if fits { claim_own(target, "dashscope", Claim::ByBody) } else { Claim::None }
}

const INPUT: Shape<F> = Shape::container(F::Prompt).members(&[("messages", MESSAGES)]);
const REQUEST: Shape<F> = Shape::container(F::Root).members(&[
    ("model", Shape::value(F::Model)),
    ("input", INPUT),
    ("parameters", Shape::through().members(SETTINGS).and(&[("dimension", Shape::value(F::Dimensions))])),
]);

const CHOICE: Shape<A> = Shape::container(A::Choice).members(&[
    ("finish_reason", Shape::value(A::FinishReason)),
    ("message", MESSAGE),
    ("logprobs", LOGPROBS),
]);
const OUTPUT: Shape<A> = Shape::container(A::Proof).members(&[
    ("text", Shape::presence(A::Content)),
    ("finish_reason", Shape::value(A::FinishReason)),
    ("choices", Shape::through().items(&CHOICE)),
    ("embeddings", Shape::container(A::Proof)),
]);
const MEMBERS: &[(&str, Shape<A>)] = &[
    ("request_id", Shape::value(A::OwnId)),
    ("output", OUTPUT),
    ("usage", USAGE),
    ("code", Shape::value(A::Failure(Part::TopCode))),
];
const RESPONSE: Shape<A> = Shape::container(A::Root).members(MEMBERS);
static ANSWER: Form = Form::new(&RESPONSE);
/// It states the tokens of the input as the total only, which is the same here.
const EMBEDDINGS_RESPONSE: Shape<A> = Shape::container(A::Root)
    .members(&[("usage", Shape::through().members(&[("total_tokens", Shape::number(A::Count(Counter::Input)))]))])
    .and(MEMBERS);
static EMBEDDINGS_ANSWER: Form = Form::new(&EMBEDDINGS_RESPONSE);
