//! Ollama's own API: chat, generate, and its two embeddings endpoints. It also speaks OpenAI's and Anthropic's, which
//! their dialects read. An answer is one object, or a line for each piece and a last one with `done` and the counts.
//!
//! - Requests and responses: <https://docs.ollama.com/api>

use super::{
    Claim,
    answer::{Counter, ERROR, Field as A, Form},
    call::Operation,
    json::Shape,
    json_dialect::JsonDialect,
    openai::LOGPROBS_LIST,
    recognise::{Target, ends_with},
    request::{Field as F, STOP, TOOLS},
};
use crate::{content::forms, proto::RequestHead};

pub static CHAT: JsonDialect = JsonDialect {
    needs_model: true,
    content: Some(&forms::OLLAMA),
    ..JsonDialect::new(
        "ollama_chat",
        "ollama",
        Operation::Chat,
        |head, target| claim(head, target, &["chat"]),
        &CHAT_REQUEST,
        &ANSWER,
    )
};
pub static GENERATE: JsonDialect = JsonDialect {
    needs_model: true,
    content: Some(&forms::TEXT),
    ..JsonDialect::new(
        "ollama_generate",
        "ollama",
        Operation::TextCompletion,
        |head, target| claim(head, target, &["generate"]),
        &PROMPT_REQUEST,
        &ANSWER,
    )
};
pub static EMBED: JsonDialect = JsonDialect {
    needs_model: true,
    ..JsonDialect::new(
        "ollama_embed",
        "ollama",
        Operation::Embeddings,
        |head, target| claim(head, target, &["embed", "embeddings"]),
        &PROMPT_REQUEST,
        &EMBED_ANSWER,
    )
};

fn claim(head: &RequestHead, target: Option<&Target<'_>>, last: &[&str]) -> Claim {
    match last.iter().any(|last| ends_with(&head.path, &["api", last])) {
        true if target.is_some_and(|target| target.provider() == Some("ollama")) => Claim::Sure,
        // Many applications have paths like these.
        true => Claim::ByBodyOrError,
        false => Claim::None,
    }
}

const SETTINGS: &[(&str, Shape<F>)] = &[
    ("model", Shape::value(F::Model)),
    ("stream", Shape::value(F::Stream)),
    ("format", Shape::value(F::Format)),
    ("think", Shape::value(F::ReasoningLevel)),
    ("dimensions", Shape::value(F::Dimensions)),
    (
        "options",
        Shape::through().members(&[
            ("temperature", Shape::value(F::Temperature)),
            ("top_p", Shape::value(F::TopP)),
            ("top_k", Shape::value(F::TopK)),
            ("seed", Shape::value(F::Seed)),
            ("num_predict", Shape::value(F::MaxTokens)),
            ("stop", STOP),
            ("frequency_penalty", Shape::value(F::FrequencyPenalty)),
            ("presence_penalty", Shape::value(F::PresencePenalty)),
        ]),
    ),
    ("tools", TOOLS),
];
const MESSAGE: Shape<F> =
    Shape::container(F::Message).members(&[("role", Shape::value(F::Role)), ("content", Shape::text(F::Text))]);
const CHAT_REQUEST: Shape<F> =
    Shape::container(F::Root).members(SETTINGS).and(&[("messages", Shape::container(F::Messages).items(&MESSAGE))]);
const PROMPT_REQUEST: Shape<F> = Shape::container(F::Root).members(SETTINGS).and(&[
    ("prompt", Shape::presence(F::Prompt)),
    ("input", Shape::presence(F::Prompt)),
    ("system", Shape::text(F::System)),
]);

const TOOL_CALL: Shape<A> = Shape::container(A::WholeCall).members(&[
    ("id", Shape::value(A::CallId)),
    ("function", Shape::through().members(&[("name", Shape::value(A::CallName))])),
]);
const COMMON: &[(&str, Shape<A>)] = &[
    ("model", Shape::value(A::Model)),
    ("prompt_eval_count", Shape::number(A::Count(Counter::Input))),
    ("eval_count", Shape::number(A::Count(Counter::Output))),
    ("error", ERROR),
];
const RESPONSE: Shape<A> = Shape::container(A::Root).members(COMMON).and(&[
    (
        "message",
        Shape::container(A::Of(Operation::Chat)).members(&[
            ("content", Shape::presence(A::Content)),
            ("thinking", Shape::presence(A::Content)),
            ("tool_calls", Shape::through().items(&TOOL_CALL)),
        ]),
    ),
    ("response", Shape::presence(A::Of(Operation::TextCompletion))),
    ("thinking", Shape::presence(A::Content)),
    ("logprobs", LOGPROBS_LIST),
    ("done", Shape::value(A::Done)),
    ("done_reason", Shape::value(A::FinishReason)),
]);
static ANSWER: Form = Form::new(&RESPONSE);
const EMBED_RESPONSE: Shape<A> = Shape::container(A::Root)
    .members(COMMON)
    .and(&[("embedding", Shape::container(A::Proof)), ("embeddings", Shape::container(A::Proof))]);
static EMBED_ANSWER: Form = Form::new(&EMBED_RESPONSE);
