//! Structured output: whether an answer is what its request's schemas ask for.

use super::schema::validates;
use crate::{
    content::{Content, Message, Part, Tool},
    llm::{LlmCall, call::Completeness},
};

/// Whether the texts of all choices are JSON that the request's schema allows, and the arguments of all tool calls what the
/// schemas of their tools allow. An answer that was cut short by its own limit is none.
///
/// `None` where no schema applies, or where it cannot be decided: parts are missing, the call failed or was refused, or a
/// schema holds what is not known here.
pub fn keeps_schemas(call: &LlmCall, content: &Content) -> Option<bool> {
    if call.error.is_some()
        || call.aborted
        || call.response.refused
        || call.response.withheld.is_some()
        || call.completeness != Completeness::Full
    {
        return None;
    }
    let mut keeps = None;
    let mut undecided = false;
    for message in &content.output {
        for verdict in verdicts(message, content)? {
            match verdict {
                Some(valid) => keeps = Some(keeps.unwrap_or(true) && valid),
                None => undecided = true,
            }
        }
    }
    keeps.filter(|keeps| !keeps || !undecided)
}

/// One for each schema that applies. `None` when a part of the message is missing.
fn verdicts(message: &Message, content: &Content) -> Option<Vec<Option<bool>>> {
    let (mut text, mut verdicts) = (String::new(), Vec::new());
    for part in &message.parts {
        match part {
            Part::Text(piece) => text.push_str(piece),
            Part::ToolCall { name, arguments, .. } => {
                verdicts.extend(parameters(content, name).map(|schema| validates(schema, arguments)));
            }
            Part::LeftOut(_) => return None,
            _ => {}
        }
    }
    if let Some(schema) = content.output_schema.as_ref().filter(|_| !text.trim().is_empty()) {
        verdicts.push(serde_json::from_str(&text).map_or(Some(false), |value| validates(schema, &value)));
    }
    Some(verdicts)
}

fn parameters<'a>(content: &'a Content, called: &str) -> Option<&'a serde_json::Value> {
    content.tools.iter().find_map(|tool| match tool {
        Tool::Function { name, parameters, .. } if name == called => parameters.as_ref(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::{content::LeftOut, span::samples::full_call};

    fn answered(parts: Vec<Part>) -> Content {
        let schema = json!({"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}});
        Content {
            output: vec![Message { role: "assistant".into(), parts, ..Message::default() }],
            tools: vec![Tool::Function { name: "weather".into(), description: None, parameters: Some(schema.clone()) }],
            output_schema: Some(schema),
            ..Content::default()
        }
    }

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    fn asks(name: &str, arguments: Json) -> Part {
        Part::ToolCall { id: None, name: name.to_owned(), arguments }
    }

    #[test]
    fn answers_and_tool_calls_are_held_against_their_schemas() {
        let call = LlmCall { error: None, ..full_call() };
        for (parts, keeps) in [
            (vec![text("{\"city\": "), text("\"Rome\"}")], Some(true)),
            (vec![text("{\"city\": 1}")], Some(false)),
            (vec![text("{\"city\": \"Ro")], Some(false)),
            (vec![text("Rome it is.")], Some(false)),
            (vec![asks("weather", json!({"city": "Rome"}))], Some(true)),
            (vec![asks("weather", json!({"town": "Rome"}))], Some(false)),
            // What is no JSON stands there as it is.
            (vec![asks("weather", json!("{\"city\": \"Ro"))], Some(false)),
            (vec![asks("other", json!({}))], None),
            (vec![Part::LeftOut(LeftOut::default()), text("{\"city\": 1}")], None),
            (Vec::new(), None),
        ] {
            assert_eq!(keeps_schemas(&call, &answered(parts.clone())), keeps, "{parts:?}");
        }
    }

    #[test]
    fn what_is_not_whole_is_not_decided() {
        let content = answered(vec![text("{")]);
        let whole = LlmCall { error: None, ..full_call() };
        assert_eq!(keeps_schemas(&whole, &content), Some(false));
        let refused = crate::llm::call::Response { refused: true, ..whole.response.clone() };
        for call in [
            LlmCall { aborted: true, ..whole.clone() },
            LlmCall { completeness: Completeness::Partial, ..whole.clone() },
            LlmCall { response: refused, ..whole.clone() },
        ] {
            assert_eq!(keeps_schemas(&call, &content), None);
        }
        let without = Content { output_schema: None, ..content };
        assert_eq!(keeps_schemas(&whole, &without), None);
    }
}
