//! Requests of the Messages API, and of the older one, which has a `prompt` in place of messages.

use crate::llm::{
    json::Shape,
    request::{FORMAT, Field as F, STOP, TOOLS},
};

const SYSTEM_BLOCK: Shape<F> = Shape::through().members(&[("text", Shape::text(F::System))]);
const BLOCK: Shape<F> = Shape::through().members(&[("tool_use_id", Shape::value(F::ToolResult))]);
const MESSAGE: Shape<F> = Shape::container(F::Message).members(&[("content", Shape::through().items(&BLOCK))]);

/// Of the newer API.
pub const MESSAGES: Shape<F> =
    Shape::container(F::Root).members(SETTINGS).and(&[("messages", Shape::container(F::Messages).items(&MESSAGE))]);
/// Of the older one.
pub const COMPLETE: Shape<F> =
    Shape::container(F::Root).members(SETTINGS).and(&[("prompt", Shape::presence(F::Prompt))]);
/// Of either, for models behind paths that do not say which of the two they speak.
pub const REQUEST: Shape<F> = Shape::container(F::Root)
    .members(SETTINGS)
    .and(&[("messages", Shape::container(F::Messages).items(&MESSAGE)), ("prompt", Shape::presence(F::Prompt))]);

const SETTINGS: &[(&str, Shape<F>)] = &[
    ("model", Shape::value(F::Model)),
    ("max_tokens", Shape::value(F::MaxTokens)),
    ("max_tokens_to_sample", Shape::value(F::MaxTokens)),
    ("temperature", Shape::value(F::Temperature)),
    ("top_p", Shape::value(F::TopP)),
    ("top_k", Shape::value(F::TopK)),
    ("stop_sequences", STOP),
    ("stream", Shape::value(F::Stream)),
    ("service_tier", Shape::value(F::ServiceTier)),
    ("system", Shape::text(F::System).items(&SYSTEM_BLOCK)),
    ("tools", TOOLS),
    ("output_config", Shape::through().members(&[("effort", Shape::value(F::ReasoningLevel)), ("format", FORMAT)])),
    ("output_format", FORMAT),
];
