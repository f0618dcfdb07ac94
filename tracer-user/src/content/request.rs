//! What a request asks, in the forms of all APIs: instructions, messages, tools. No two of them give one member two
//! meanings, so that one reader knows them all.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::{
    excerpt::gap,
    json::{first, first_text, items, list, member, text},
    message::{Content, Message, Part},
    parts::{self, gap_message, message},
};

/// Reads a request's body.
pub fn read(body: &Json) -> Content {
    // Code Assist wraps Gemini's requests; a message over a WebSocket may wrap those of Responses.
    let body = first(body, &["request", "response"]).filter(|inner| inner.is_object()).unwrap_or(body);
    Content {
        system: system(body),
        input: input(body),
        output: Vec::new(),
        tools: tools(body),
        output_schema: output_schema(body).cloned(),
    }
}

/// The schema that the answer shall keep to:
///
/// - chat completions, Mistral: `response_format.json_schema.schema`; Cohere and Fireworks state it without the object
///   around it, Together as `response_format.schema`
/// - Responses: `text.format.schema`
/// - Anthropic: `output_format.schema`, later `output_config.format.schema`
/// - Gemini: `generationConfig.responseSchema`, `.responseJsonSchema`
/// - Ollama: `format`; vLLM: `guided_json`; llama.cpp: `json_schema`
fn output_schema(body: &Json) -> Option<&Json> {
    const PATHS: &[&str] = &[
        "/response_format/json_schema/schema",
        "/response_format/json_schema/schema_definition",
        "/response_format/json_schema",
        "/response_format/schema",
        "/text/format/schema",
        "/output_format/schema",
        "/output_config/format/schema",
        "/generationConfig/responseJsonSchema",
        "/generationConfig/responseSchema",
        "/generationConfig/response_json_schema",
        "/generationConfig/response_schema",
        "/generation_config/response_json_schema",
        "/generation_config/response_schema",
        "/guided_json",
        "/json_schema",
        "/format",
    ];
    PATHS.iter().find_map(|path| body.pointer(path).filter(|schema| schema.is_object()))
}

fn system(body: &Json) -> Vec<Part> {
    const NAMES: &[&str] =
        &["system", "instructions", "systemInstruction", "system_instruction", "preamble", "system_prompt"];
    let Some(system) = first(body, NAMES) else { return Vec::new() };
    parts::parts(Some(first(system, &["parts"]).unwrap_or(system)))
}

fn tools(body: &Json) -> Vec<super::Tool> {
    let parameters = body.get("parameters").unwrap_or(body);
    let config = body.get("toolConfig").unwrap_or(body);
    let tools = [body, parameters, config].into_iter().find_map(|of| first(of, &["tools", "functions"]));
    parts::tools(tools)
}

fn input(body: &Json) -> Vec<Message> {
    if let Some(messages) = first(body, &["messages", "contents"]) {
        return items(Some(messages)).iter().map(message).collect();
    }
    // Cohere's first version: what went before, what is new, and what tools said.
    if body.get("message").is_some() || body.get("chat_history").is_some() {
        let mut messages: Vec<_> = list(body, "chat_history").iter().map(message).collect();
        if let Some(text) = text(body, "message").filter(|text| !text.is_empty()) {
            messages.push(user(vec![Part::Text(text.to_owned())]));
        }
        let results = list(body, "tool_results");
        if !results.is_empty() {
            let parts = results.iter().map(|result| Part::ToolResponse {
                id: None,
                response: parts::plain(first(result, &["outputs", "output"]).unwrap_or(result)),
            });
            messages.push(Message { role: Cow::Borrowed("tool"), parts: parts.collect(), ..Message::default() });
        }
        return messages;
    }
    match first(body, &["input", "inputs"]) {
        // DashScope
        Some(input) if input.is_object() && gap(input).is_none() => match member(input, "messages") {
            Some(messages) => items(Some(messages)).iter().map(message).collect(),
            None => prompt(input),
        },
        Some(Json::Array(entries)) if entries.iter().any(Json::is_object) => entries.iter().map(entry).collect(),
        _ => prompt(body),
    }
}

/// Text to continue, of which there may be several; numbers are tokens, which say nothing.
fn prompt(body: &Json) -> Vec<Message> {
    const NAMES: &[&str] =
        &["prompt", "input", "inputs", "inputText", "inputPrompt", "text", "input_prefix", "input_suffix"];
    let mut parts = parts::parts(first(body, NAMES).filter(|prompt| !prompt.is_number()));
    // Text that stands behind the gap to fill.
    parts.extend(first_text(body, &["suffix"]).map(|suffix| Part::Text(suffix.to_owned())));
    parts.extend(list(body, "images").iter().map(|image| parts::media(image, "image")));
    if parts.is_empty() { Vec::new() } else { vec![user(parts)] }
}

fn user(parts: Vec<Part>) -> Message {
    Message { role: Cow::Borrowed("user"), parts, ..Message::default() }
}

/// An entry of a conversation that is no message by itself: an item of Responses, a step of Interactions, an entry of
/// Mistral's conversations.
pub fn entry(value: &Json) -> Message {
    if value.is_string() {
        return user(parts::parts(Some(value)));
    }
    if let Some(gap) = parts::gap_of(value) {
        return gap_message(gap);
    }
    let kind = text(value, "type").unwrap_or("message");
    let role = match kind {
        "message" | "message.input" | "message.output" if value.get("role").is_some() => return message(value),
        "message" | "message.input" | "user_input" => "user",
        _ if parts::is_given(kind) => "user",
        _ if is_result(kind) => "tool",
        _ => "assistant",
    };
    Message { role: Cow::Borrowed(role), parts: entry_parts(value), ..Message::default() }
}

fn is_result(kind: &str) -> bool {
    kind.ends_with("_output") && kind != "model_output" || matches!(kind, "function.result" | "function_result")
}

/// What an entry says, whoever says it.
pub fn entry_parts(value: &Json) -> Vec<Part> {
    if let Some(gap) = parts::gap_of(value) {
        return vec![Part::LeftOut(gap)];
    }
    let kind = text(value, "type").unwrap_or("message");
    let content = || parts::parts(first(value, &["content", "text"]));
    match kind {
        "message" | "message.input" | "message.output" | "user_input" | "model_output" => content(),
        _ if is_result(kind) => {
            let id = first_text(value, &["call_id", "tool_call_id", "id"]).map(str::to_owned);
            let response = parts::plain(first(value, &["output", "result"]).unwrap_or(&Json::Null));
            vec![Part::ToolResponse { id, response }]
        }
        "function_call" | "custom_tool_call" | "function.call" => vec![parts::tool_call(&called(value))],
        "reasoning" | "thought" => {
            let said = ["summary", "content", "text"].iter().filter_map(|name| parts::joined(value.get(*name)?));
            let texts: Vec<_> = said.map(Part::Reasoning).collect();
            // What is encrypted is there, but says nothing.
            let is_encrypted = first(value, &["encrypted_content", "signature"]).is_some();
            if texts.is_empty() && is_encrypted { vec![Part::Other("redacted_thinking".to_owned())] } else { texts }
        }
        "tool.execution" => vec![parts::tool_call(value)],
        "image_generation_call" => match member(value, "result") {
            Some(result) => vec![parts::media(result, "image")],
            None => vec![Part::Other(kind.to_owned())],
        },
        _ if parts::is_given(kind) => parts::part(value).into_iter().collect(),
        other => vec![Part::Other(other.to_owned())],
    }
}

/// Items have an id of their own beside that of the call.
fn called(value: &Json) -> Json {
    let mut call = value.clone();
    let id = first(value, &["call_id", "tool_call_id"]).cloned();
    if let (Some(id), Some(members)) = (id, call.as_object_mut()) {
        members.insert("id".to_owned(), id);
    }
    call
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_schema_of_the_answer_is_found_in_each_api() {
        let schema = json!({"type": "object"});
        for body in [
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}}),
            json!({"response_format": {"type": "json_object", "json_schema": schema}}),
            json!({"response_format": {"type": "json_schema", "schema": schema}}),
            json!({"text": {"format": {"type": "json_schema", "name": "n", "schema": schema}}}),
            json!({"output_format": {"type": "json_schema", "schema": schema}}),
            json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}}),
            json!({"generationConfig": {"responseMimeType": "application/json", "responseSchema": schema}}),
            json!({"request": {"generationConfig": {"responseJsonSchema": schema}}}),
            json!({"format": schema}),
            json!({"guided_json": schema}),
        ] {
            assert_eq!(read(&body).output_schema.as_ref(), Some(&schema), "{body}");
        }
        for body in [
            json!({"response_format": {"type": "json_object"}}),
            json!({"text": {"format": {"type": "text"}}}),
            json!({"format": "json"}),
            json!({"messages": []}),
        ] {
            assert_eq!(read(&body).output_schema, None, "{body}");
        }
    }
}
