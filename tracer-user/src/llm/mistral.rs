//! Mistral's conversations. Its chat, completions and embeddings are OpenAI's.
//!
//! - Request, response and events: <https://docs.mistral.ai/api/#tag/beta.conversations>

use super::{
    Claim,
    answer::{Field as A, Form, Kind},
    call::Operation,
    failure::Part,
    json::Shape,
    json_dialect::JsonDialect,
    openai::{SETTINGS, USAGE},
    recognise::{Target, claim_own, segments},
    request::{Field as F, TOOLS},
};
use crate::{content::forms::ENTRIES, proto::RequestHead};

pub static CONVERSATIONS: JsonDialect =
    JsonDialect::new("mistral_conversations", "mistral_ai", Operation::Chat, claim, &REQUEST, &ANSWER)
        .with_content(&ENTRIES);

/// `…/conversations`, `…/conversations/{id}` and `…/conversations/{id}/restart`: to begin one, to go on, to go on from
/// some entry. OpenAI has the first path, too, for what is no call of a model.
fn claim(head: &RequestHead, target: Option<&Target<'_>>) -> Claim {
    // Asked of every request: hardly any path has it.
    if !head.path.contains("conversations") {
        return Claim::None;
    }
    let mut last = segments(&head.path);
    let (first, second, third) = (last.next(), last.next(), last.next());
    let fits = first == Some("conversations")
        || second == Some("conversations")
        || (first == Some("restart") && third == Some("conversations"));
    if fits { claim_own(target, "mistral_ai", Claim::ByBody) } else { Claim::None }
}

const ENTRY: Shape<F> = Shape::container(F::Entry).members(&[
    ("type", Shape::value(F::EntryType)),
    ("role", Shape::value(F::Role)),
    ("tool_call_id", Shape::value(F::EntryCallId)),
]);
const REQUEST: Shape<F> = Shape::container(F::Root).members(&[
    ("model", Shape::value(F::Model)),
    ("inputs", Shape::presence(F::Messages).items(&ENTRY)),
    ("instructions", Shape::text(F::System)),
    ("stream", Shape::value(F::Stream)),
    ("tools", TOOLS),
    ("completion_args", Shape::through().members(SETTINGS)),
]);

const PART: Shape<A> = Shape::through().members(&[
    ("text", Shape::presence(A::Content)),
    ("thinking", Shape::presence(A::Content).items(&Shape::container(A::Content))),
]);
const CONTENT: Shape<A> = Shape::presence(A::Content).members(&[("text", Shape::presence(A::Content))]).items(&PART);
const OUTPUT: Shape<A> = Shape::container(A::RepeatedCall).members(&[
    ("type", Shape::value(A::CallKind)),
    ("tool_call_id", Shape::value(A::CallId)),
    ("name", Shape::value(A::CallName)),
    ("model", Shape::value(A::Model)),
    ("content", CONTENT),
]);
/// An event is an output of its own: `function.call.delta` names the call.
const RESPONSE: Shape<A> = Shape::container(A::Root)
    .members(&[
        ("conversation_id", Shape::value(A::Id)),
        ("outputs", Shape::container(A::Proof).items(&OUTPUT)),
        ("usage", USAGE),
        ("model", Shape::value(A::Model)),
        ("content", CONTENT),
        ("tool_call_id", Shape::value(A::CallId)),
        ("name", Shape::value(A::CallName)),
        ("arguments", Shape::presence(A::Content)),
    ])
    .and(&[("type", Shape::value(A::CallOrKind)), ("code", Shape::value(A::Failure(Part::TopCode)))]);
static ANSWER: Form = Form {
    kinds: &[
        ("conversation.response.started", Kind::Proof),
        ("message.output.delta", Kind::Proof),
        ("conversation.response.done", Kind::End),
        ("conversation.response.error", Kind::Error),
    ],
    calls: &["function.call", "function.call.delta"],
    root_is_call: true,
    ..Form::new(&RESPONSE)
};
