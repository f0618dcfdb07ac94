//! OpenAI chat completions, spoken by most services and local servers.
//!
//! - Request, response and chunks: <https://platform.openai.com/docs/api-reference/chat>

use super::{
    path_facts,
    request::SETTINGS,
    response::{FILTERS, LOGPROBS, MESSAGE, PROMPT_FILTERS, TOP_ERRORS, USAGE},
};
use crate::{
    content::forms,
    llm::{
        Claim,
        answer::{ERROR, Field as A, Form},
        call::Operation,
        json::Shape,
        json_dialect::JsonDialect,
        recognise::{Target, databricks_endpoint, ends_with, vertex_model},
        request::Field as F,
    },
    proto::RequestHead,
};

pub static CHAT: JsonDialect = JsonDialect {
    api_type: Some("chat_completions"),
    path: path_facts,
    content: Some(&forms::CHOICES),
    ..JsonDialect::new("openai_chat", "openai", Operation::Chat, claim, &REQUEST, &ANSWER)
};

/// Ends of paths that only chat completions have: OpenAI's, Mistral's agents, MiniMax's, Snowflake's, IBM's.
const PATHS: [&[&str]; 6] = [
    &["chat", "completions"],
    &["agents", "completions"],
    &["text", "chatcompletion_v2"],
    &["cortex", "inference:complete"],
    &["text", "chat"],
    &["text", "chat_stream"],
];

fn claim(head: &RequestHead, target: Option<&Target<'_>>) -> Claim {
    let path = &head.path;
    if PATHS.iter().any(|last| ends_with(path, last)) {
        return Claim::Sure;
    }
    // Clouds serve models of several APIs behind paths of one form.
    if vertex_model(path).is_some_and(|vertex| !matches!(&*vertex.publisher, "anthropic" | "google"))
        || databricks_endpoint(path).is_some()
    {
        return Claim::ByRequest;
    }
    match target.and_then(|target| target.service) {
        Some(service) if service.chat_paths.contains(&path.as_str()) => Claim::Sure,
        // A known service's other chat API is not this one.
        Some(_) => Claim::None,
        None if ends_with(path, &["chat"]) => Claim::ByBody,
        None => Claim::None,
    }
}

const PART: Shape<F> = Shape::through().members(&[("text", Shape::text(F::Text))]);
pub const MESSAGES: Shape<F> = Shape::container(F::Messages).items(&Shape::container(F::Message).members(&[
    ("role", Shape::value(F::Role)),
    ("content", Shape::text(F::Text).items(&PART)),
    ("tool_call_id", Shape::value(F::ToolResult)),
]));
const REQUEST: Shape<F> = Shape::container(F::Root).members(SETTINGS).and(&[("messages", MESSAGES)]);

const CHOICE: Shape<A> = Shape::container(A::Choice).members(&[
    ("index", Shape::value(A::ChoiceIndex)),
    ("delta", MESSAGE),
    ("message", MESSAGE),
    // Mistral's, when it ran tools itself.
    ("messages", Shape::through().items(&MESSAGE)),
    ("text", Shape::presence(A::Of(Operation::TextCompletion))),
    ("finish_reason", Shape::value(A::FinishReason)),
    // Mistral's and DeepSeek's models on Bedrock; vLLM states a stop token here, beside the finish reason.
    ("stop_reason", Shape::value(A::FinishReasonToo)),
    ("logprobs", LOGPROBS),
    // Moonshot states the usage of a stream here; OpenRouter an error.
    ("usage", USAGE),
    ("error", ERROR),
    ("content_filter_results", FILTERS),
]);
const CHOICES: Shape<A> = Shape::container(A::Proof).items(&CHOICE);
const RESPONSE: Shape<A> = Shape::container(A::Root)
    .members(&[
        ("object", Shape::value(A::Object)),
        ("id", Shape::value(A::Id)),
        ("model", Shape::value(A::Model)),
        ("choices", CHOICES),
        // Reka's name.
        ("responses", CHOICES),
        ("usage", USAGE),
        ("service_tier", Shape::value(A::ServiceTier)),
        ("system_fingerprint", Shape::value(A::Fingerprint)),
        // Groq states the usage of a stream here.
        ("x_groq", Shape::through().members(&[("usage", USAGE), ("error", ERROR)])),
        // Writer's stream of a text completion: `{"value": "…"}`.
        ("value", Shape::presence(A::Content)),
        ("prompt_filter_results", PROMPT_FILTERS),
    ])
    .and(TOP_ERRORS);
pub static ANSWER: Form = Form::new(&RESPONSE);
