//! Interactions. The events of a stream carry the whole interaction under `interaction`, first and last; between them its
//! steps begin (`step.start`) and grow (`step.delta`). Before May 2026 steps were called contents, and came under `outputs`.

use crate::{
    content::forms::ENTRIES,
    llm::{
        Claim,
        answer::{Counter, ERROR, Field as A, Form, Kind, Side},
        call::Operation,
        failure::Part,
        json::Shape,
        json_dialect::JsonDialect,
        openai_compatible::Reasoning,
        recognise::{Target, claim_own, ends_with},
        request::{Field as F, STOP, TOOLS},
    },
    proto::RequestHead,
};

pub static INTERACTIONS: JsonDialect =
    JsonDialect::new("gemini_interactions", "gcp.gemini", Operation::GenerateContent, claim, &REQUEST, &ANSWER)
        .with_content(&ENTRIES);

fn claim(head: &RequestHead, target: Option<&Target<'_>>) -> Claim {
    match ends_with(&head.path, &["interactions"]) {
        true if target.and_then(Target::provider) == Some("gcp.vertex_ai") => Claim::Sure,
        true => claim_own(target, "gcp.gemini", Claim::ByBody),
        false => Claim::None,
    }
}

const STEP: Shape<F> = Shape::container(F::Entry).members(&[
    ("type", Shape::value(F::EntryType)),
    ("role", Shape::value(F::Role)),
    ("call_id", Shape::value(F::EntryCallId)),
]);
const CONFIG: Shape<F> = Shape::through().members(&[
    ("temperature", Shape::value(F::Temperature)),
    ("top_p", Shape::value(F::TopP)),
    ("seed", Shape::value(F::Seed)),
    ("stop_sequences", STOP),
    ("max_output_tokens", Shape::value(F::MaxTokens)),
    ("thinking_level", Shape::value(F::ReasoningLevel)),
]);
const REQUEST: Shape<F> = Shape::container(F::Root).members(&[
    ("model", Shape::value(F::Model)),
    ("agent", Shape::value(F::Model)),
    ("input", Shape::presence(F::Messages).items(&STEP)),
    ("system_instruction", Shape::text(F::System)),
    ("generation_config", CONFIG),
    ("stream", Shape::value(F::Stream)),
    ("tools", TOOLS),
    ("response_mime_type", Shape::value(F::Format)),
    ("response_modalities", Shape::through().items(&Shape::value(F::Modality))),
    ("previous_interaction_id", Shape::value(F::PreviousResponse)),
    ("service_tier", Shape::value(F::ServiceTier)),
]);

const PART: Shape<A> = Shape::through().members(&[
    ("text", Shape::presence(A::Content)),
    ("data", Shape::presence(A::Content)),
    ("uri", Shape::presence(A::Content)),
]);
/// A step, a content, or what one grows by. Fragments of arguments come without a name.
const GROWING: Shape<A> = Shape::container(A::RepeatedCall).members(&[
    ("type", Shape::value(A::CallKind)),
    ("id", Shape::value(A::CallId)),
    ("name", Shape::value(A::CallName)),
    ("text", Shape::presence(A::Content)),
    ("data", Shape::presence(A::Content)),
    ("arguments", Shape::presence(A::Content)),
    ("partial_arguments", Shape::presence(A::Content)),
    ("content", PART.items(&PART)),
    ("summary", PART.items(&PART)),
]);
const BY_MODALITY: &[(&str, Shape<A>)] =
    &[("modality", Shape::value(A::DetailModality)), ("tokens", Shape::value(A::DetailCount))];
const USAGE: Shape<A> = Shape::container(A::Usage).members(&[
    ("total_tokens", Shape::number(A::Count(Counter::Total))),
    ("total_input_tokens", Shape::number(A::Count(Counter::Input))),
    ("total_cached_tokens", Shape::number(A::Count(Counter::CacheRead))),
    ("total_output_tokens", Shape::number(A::Count(Counter::Output))),
    ("total_tool_use_tokens", Shape::number(A::Count(Counter::ToolInput))),
    ("total_thought_tokens", Shape::number(A::Count(Counter::Reasoning))),
    ("total_reasoning_tokens", Shape::number(A::Count(Counter::Reasoning))),
    (
        "input_tokens_by_modality",
        Shape::through().items(&Shape::container(A::Detail(Side::Input)).members(BY_MODALITY)),
    ),
    (
        "cached_tokens_by_modality",
        Shape::through().items(&Shape::container(A::Detail(Side::Cached)).members(BY_MODALITY)),
    ),
    (
        "output_tokens_by_modality",
        Shape::through().items(&Shape::container(A::Detail(Side::Output)).members(BY_MODALITY)),
    ),
]);
const STEPS: Shape<A> = Shape::container(A::Proof).items(&GROWING);
const WHOLE: &[(&str, Shape<A>)] = &[
    ("id", Shape::value(A::Id)),
    ("model", Shape::value(A::Model)),
    ("agent", Shape::value(A::Model)),
    ("status", Shape::value(A::Status)),
    ("steps", STEPS),
    ("outputs", STEPS),
    ("usage", USAGE),
    ("service_tier", Shape::value(A::ServiceTier)),
];
const RESPONSE: Shape<A> = Shape::container(A::Root).members(WHOLE).and(&[
    ("object", Shape::value(A::Kind)),
    ("event_type", Shape::value(A::Kind)),
    ("interaction", Shape::through().members(WHOLE)),
    ("step", GROWING),
    ("content", GROWING),
    ("delta", GROWING),
    ("error", ERROR),
    ("code", Shape::value(A::Failure(Part::TopCode))),
]);
static ANSWER: Form = Form {
    kinds: &[
        ("interaction", Kind::Proof),
        ("interaction.created", Kind::Proof),
        ("interaction.start", Kind::Proof),
        ("step.delta", Kind::Proof),
        ("content.delta", Kind::Proof),
        ("interaction.completed", Kind::End),
        ("interaction.complete", Kind::End),
        ("error", Kind::Error),
    ],
    calls: &["function_call"],
    reasoning: Reasoning::Apart,
    ..Form::new(&RESPONSE)
};
