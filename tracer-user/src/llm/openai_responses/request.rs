//! Requests of the Responses API.

use crate::llm::{
    json::Shape,
    request::{FORMAT, Field as F, TOOLS},
};

const PART: Shape<F> = Shape::through().members(&[("text", Shape::text(F::Text))]);
const ITEM: Shape<F> = Shape::container(F::Entry).members(&[
    ("type", Shape::value(F::EntryType)),
    ("role", Shape::value(F::Role)),
    ("content", Shape::text(F::Text).items(&PART)),
    ("call_id", Shape::value(F::EntryCallId)),
]);

pub const REQUEST: Shape<F> = Shape::container(F::Root).members(&[
    ("model", Shape::value(F::Model)),
    ("input", Shape::presence(F::Messages).items(&ITEM)),
    ("instructions", Shape::text(F::System)),
    ("max_output_tokens", Shape::value(F::MaxTokens)),
    ("temperature", Shape::value(F::Temperature)),
    ("top_p", Shape::value(F::TopP)),
    ("stream", Shape::value(F::Stream)),
    ("reasoning", Shape::through().members(&[("effort", Shape::value(F::ReasoningLevel))])),
    ("service_tier", Shape::value(F::ServiceTier)),
    ("text", Shape::through().members(&[("format", FORMAT)])),
    ("tools", TOOLS),
    ("previous_response_id", Shape::value(F::PreviousResponse)),
    ("background", Shape::value(F::Background)),
    ("type", Shape::value(F::Announcement)),
    ("conversation", Shape::value(F::Conversation).members(&[("id", Shape::value(F::Conversation))])),
]);
