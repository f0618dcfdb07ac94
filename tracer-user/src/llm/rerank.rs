//! Reranking: documents in the order of their relevance to a query. Cohere's API (versions 1 and 2), which Jina, Together,
//! vLLM, LiteLLM and others speak, too, and Voyage's, whose answer stands under `data`.
//!
//! - Cohere: <https://docs.cohere.com/reference/rerank>
//! - Voyage: <https://docs.voyageai.com/reference/reranker-api>
//! - Jina: <https://jina.ai/reranker/>

use super::{
    Claim,
    answer::{Counter, Field as A, Form},
    call::Operation,
    failure::Part,
    json::Shape,
    json_dialect::JsonDialect,
    recognise::{Target, ends_with},
    request::Field as F,
};
use crate::proto::RequestHead;

pub static RERANK: JsonDialect = JsonDialect {
    needs_model: true,
    ..JsonDialect::new("rerank", "cohere", Operation::Rerank, claim, &REQUEST, &ANSWER)
};

fn claim(head: &RequestHead, target: Option<&Target<'_>>) -> Claim {
    match target.and_then(Target::provider) {
        _ if !ends_with(&head.path, &["rerank"]) => Claim::None,
        Some("cohere" | "voyage_ai" | "jina_ai") => Claim::Sure,
        _ => Claim::ByBody,
    }
}

const REQUEST: Shape<F> = Shape::container(F::Root).members(&[
    ("model", Shape::value(F::Model)),
    ("query", Shape::presence(F::Prompt)),
    ("documents", Shape::container(F::Prompt)),
]);

const INPUT: Shape<A> = Shape::value(A::Count(Counter::Input));
const OUTPUT: Shape<A> = Shape::value(A::Count(Counter::Output));
const SEARCH_UNITS: Shape<A> = Shape::value(A::Count(Counter::SearchUnits));
/// Nothing but input is counted: the total is it.
const USAGE: Shape<A> = Shape::through().members(&[("total_tokens", INPUT)]);
const META: Shape<A> = Shape::through().members(&[
    ("billed_units", Shape::through().members(&[("search_units", SEARCH_UNITS), ("input_tokens", INPUT)])),
    ("tokens", Shape::through().members(&[("input_tokens", INPUT), ("output_tokens", OUTPUT)])),
]);
const RESULT: Shape<A> = Shape::through().members(&[("relevance_score", Shape::presence(A::Of(Operation::Rerank)))]);
const RESULTS: Shape<A> = Shape::container(A::Proof).items(&RESULT);
const RESPONSE: Shape<A> = Shape::container(A::Root).members(&[
    ("id", Shape::value(A::OwnId)),
    ("model", Shape::value(A::Model)),
    ("results", RESULTS),
    ("data", RESULTS),
    ("meta", META),
    ("usage", USAGE),
    ("message", Shape::presence(A::Failure(Part::Message))),
    ("detail", Shape::presence(A::Failure(Part::Message))),
    ("error_type", Shape::value(A::Failure(Part::TopType))),
]);
static ANSWER: Form = Form::new(&RESPONSE);
