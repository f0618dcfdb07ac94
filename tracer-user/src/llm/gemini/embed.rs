//! Embeddings: embedContent and batchEmbedContents, and Vertex AI's `:predict` of models that embed. What else `:predict`
//! serves (pictures, video, speech, models of one's own) is no language model's work.

use super::{generate::USAGE, model_and_method, path_facts};
use crate::llm::{
    Claim,
    answer::{Counter, ERROR, Field as A, Form},
    call::Operation,
    json::Shape,
    json_dialect::JsonDialect,
    request::Field as F,
};

pub static EMBED: JsonDialect = JsonDialect {
    path: path_facts,
    ..JsonDialect::new(
        "gemini_embed",
        "gcp.gemini",
        Operation::Embeddings,
        |head, _| match model_and_method(&head.path) {
            Some((_, "embedContent" | "batchEmbedContents" | "embedText" | "batchEmbedText")) => Claim::Sure,
            Some((model, "predict")) if model.contains("embed") || model.contains("gecko") => Claim::Sure,
            _ => Claim::None,
        },
        &REQUEST,
        &ANSWER,
    )
};

const DIMENSIONS: Shape<F> = Shape::value(F::Dimensions);
const ENTRY: Shape<F> =
    Shape::through().members(&[("outputDimensionality", DIMENSIONS), ("output_dimensionality", DIMENSIONS)]);
const REQUEST: Shape<F> = Shape::container(F::Root).members(&[
    ("content", Shape::presence(F::Prompt)),
    ("text", Shape::presence(F::Prompt)),
    ("texts", Shape::container(F::Prompt)),
    ("requests", Shape::container(F::Prompt).items(&ENTRY)),
    ("instances", Shape::container(F::Prompt)),
    ("outputDimensionality", DIMENSIONS),
    ("output_dimensionality", DIMENSIONS),
    ("parameters", Shape::through().members(&[("outputDimensionality", DIMENSIONS), ("dimension", DIMENSIONS)])),
    ("embedContentConfig", ENTRY),
]);

const STATISTICS: Shape<A> = Shape::through().members(&[("token_count", Shape::number(A::Count(Counter::InputPart)))]);
const PREDICTION: Shape<A> =
    Shape::through().members(&[("embeddings", Shape::through().members(&[("statistics", STATISTICS)]))]);
const RESPONSE: Shape<A> = Shape::container(A::Root).members(&[
    ("embedding", Shape::container(A::Proof)),
    ("embeddings", Shape::container(A::Proof)),
    ("predictions", Shape::container(A::Proof).items(&PREDICTION)),
    ("usageMetadata", USAGE),
    ("error", ERROR),
]);
static ANSWER: Form = Form::new(&RESPONSE);
