//! Cohere: chat (versions 1 and 2), generate, embed. Version 2 streams Server-Sent Events whose parts stand under `delta`;
//! version 1 streams lines, the last of which carries the whole response under `response`.
//!
//! - Requests and responses: <https://docs.cohere.com/reference/chat>

use super::{
    Claim,
    answer::{Counter, Field as A, Form, Kind},
    call::Operation,
    failure::Part,
    json::Shape,
    json_dialect::JsonDialect,
    recognise::{Target, claim_own, ends_with},
    request::{FORMAT, Field as F, STOP, TOOLS},
};
use crate::{content::forms, proto::RequestHead};

pub static CHAT: JsonDialect = JsonDialect::new(
    "cohere_chat",
    "cohere",
    Operation::Chat,
    |head, target| claim(head, target, "chat"),
    &CHAT_REQUEST,
    &CHAT_ANSWER,
)
.with_content(&forms::COHERE);
pub static GENERATE: JsonDialect = JsonDialect::new(
    "cohere_generate",
    "cohere",
    Operation::TextCompletion,
    |head, target| claim(head, target, "generate"),
    &GENERATE_REQUEST,
    &GENERATE_ANSWER,
)
.with_content(&forms::TEXT);
pub static EMBED: JsonDialect = JsonDialect::new(
    "cohere_embed",
    "cohere",
    Operation::Embeddings,
    |head, target| claim(head, target, "embed"),
    &EMBED_REQUEST,
    &EMBED_ANSWER,
);

fn claim(head: &RequestHead, target: Option<&Target<'_>>, last: &str) -> Claim {
    let fits = ["v1", "v2"].iter().any(|version| ends_with(&head.path, &[version, last]));
    match fits {
        true => claim_own(target, "cohere", Claim::ByBodyOrError),
        false => Claim::None,
    }
}

const SETTINGS: &[(&str, Shape<F>)] = &[
    ("model", Shape::value(F::Model)),
    ("stream", Shape::value(F::Stream)),
    ("max_tokens", Shape::value(F::MaxTokens)),
    ("temperature", Shape::value(F::Temperature)),
    ("p", Shape::value(F::TopP)),
    ("k", Shape::value(F::TopK)),
    ("seed", Shape::value(F::Seed)),
    ("stop_sequences", STOP),
    ("frequency_penalty", Shape::value(F::FrequencyPenalty)),
    ("presence_penalty", Shape::value(F::PresencePenalty)),
    ("num_generations", Shape::value(F::ChoiceCount)),
    ("response_format", FORMAT),
    ("output_dimension", Shape::value(F::Dimensions)),
    ("tools", TOOLS),
];
const PART: Shape<F> = Shape::through().members(&[("text", Shape::text(F::Text))]);
const ENTRY: Shape<F> = Shape::container(F::Message).members(&[
    ("role", Shape::value(F::Role)),
    ("content", Shape::text(F::Text).items(&PART)),
    ("tool_call_id", Shape::value(F::ToolResult)),
]);
const CHAT_REQUEST: Shape<F> = Shape::container(F::Root).members(SETTINGS).and(&[
    ("messages", Shape::container(F::Messages).items(&ENTRY)),
    // Version 1: the newest message, and those before it.
    ("message", Shape::presence(F::Message)),
    ("chat_history", Shape::through().items(&Shape::container(F::Message))),
    ("preamble", Shape::text(F::System)),
]);
const GENERATE_REQUEST: Shape<F> =
    Shape::container(F::Root).members(SETTINGS).and(&[("prompt", Shape::presence(F::Prompt))]);
const EMBED_REQUEST: Shape<F> = Shape::container(F::Root).members(SETTINGS).and(&[
    ("texts", Shape::container(F::Prompt)),
    ("inputs", Shape::container(F::Prompt)),
    ("images", Shape::container(F::Prompt)),
]);

const TOKENS: [Shape<A>; 4] = [
    Shape::number(A::Count(Counter::BilledInput)),
    Shape::number(A::Count(Counter::BilledOutput)),
    Shape::number(A::Count(Counter::Input)),
    Shape::number(A::Count(Counter::Output)),
];
const USAGE: Shape<A> = Shape::through().members(&[
    ("billed_units", Shape::through().members(&[("input_tokens", TOKENS[0]), ("output_tokens", TOKENS[1])])),
    ("tokens", Shape::through().members(&[("input_tokens", TOKENS[2]), ("output_tokens", TOKENS[3])])),
    ("cached_tokens", Shape::number(A::Count(Counter::CacheRead))),
]);
const TEXT: Shape<A> =
    Shape::through().members(&[("text", Shape::presence(A::Content)), ("thinking", Shape::presence(A::Content))]);
/// Version 1 states the name itself, and no id.
const TOOL_CALL: Shape<A> = Shape::container(A::WholeCall).members(&[
    ("id", Shape::value(A::CallId)),
    ("name", Shape::value(A::CallName)),
    (
        "function",
        Shape::through().members(&[("name", Shape::value(A::CallName)), ("arguments", Shape::presence(A::Content))]),
    ),
]);
const ERROR_TEXT: Shape<A> = Shape::presence(A::Failure(Part::Message));
const MESSAGE_MEMBERS: &[(&str, Shape<A>)] = &[
    ("content", TEXT.items(&TEXT)),
    ("tool_plan", Shape::presence(A::Content)),
    ("tool_calls", TOOL_CALL.items(&TOOL_CALL)),
];
const MESSAGE: Shape<A> = Shape::through().members(MESSAGE_MEMBERS);
const COMMON: &[(&str, Shape<A>)] = &[
    ("id", Shape::value(A::OwnId)),
    ("response_id", Shape::value(A::OwnId)),
    ("usage", USAGE),
    ("meta", USAGE),
    ("error_type", Shape::value(A::Failure(Part::TopType))),
];
const CHAT_RESPONSE: Shape<A> = Shape::container(A::Root).members(COMMON).and(&[
    ("type", Shape::value(A::Kind)),
    ("event_type", Shape::value(A::Kind)),
    ("finish_reason", Shape::value(A::FinishReason)),
    ("is_finished", Shape::value(A::Done)),
    ("text", Shape::presence(A::Content)),
    ("message", ERROR_TEXT.members(MESSAGE_MEMBERS)),
    ("tool_calls", TOOL_CALL.items(&TOOL_CALL)),
    (
        "delta",
        Shape::through().members(&[
            ("finish_reason", Shape::value(A::FinishReason)),
            ("message", MESSAGE),
            ("usage", USAGE),
        ]),
    ),
    ("response", Shape::through().members(&[("response_id", Shape::value(A::OwnId)), ("meta", USAGE)])),
]);
static CHAT_ANSWER: Form = Form {
    kinds: &[
        ("message-start", Kind::Proof),
        ("stream-start", Kind::Proof),
        ("text-generation", Kind::Proof),
        ("message-end", Kind::End),
        ("stream-end", Kind::End),
    ],
    reason_is_proof: true,
    ..Form::new(&CHAT_RESPONSE)
};
const GENERATION: Shape<A> = Shape::container(A::Choice).members(&[("finish_reason", Shape::value(A::FinishReason))]);
const GENERATE_RESPONSE: Shape<A> = Shape::container(A::Root).members(COMMON).and(&[
    ("generations", Shape::container(A::Proof).items(&GENERATION)),
    ("message", ERROR_TEXT),
    // Events of a stream.
    ("text", Shape::presence(A::Content)),
    ("is_finished", Shape::value(A::Done)),
    ("finish_reason", Shape::value(A::FinishReason)),
]);
static GENERATE_ANSWER: Form = Form::new(&GENERATE_RESPONSE);
const EMBED_RESPONSE: Shape<A> = Shape::container(A::Root)
    .members(COMMON)
    .and(&[("embeddings", Shape::container(A::Proof)), ("message", ERROR_TEXT)]);
static EMBED_ANSWER: Form = Form::new(&EMBED_RESPONSE);
