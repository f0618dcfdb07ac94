//! Parts and messages in the shapes that APIs have for them. No two APIs give one type or member two meanings, so that
//! one reader knows them all.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::{
    excerpt::{Gap, gap},
    json::{first, first_text, items, list, member, parsed, text},
    message::{LeftOut, Message, Part, Tool},
};

/// The conventions' word for a role, where they have one.
pub fn role(role: &str) -> Cow<'static, str> {
    match role {
        "system" | "SYSTEM" => Cow::Borrowed("system"),
        "user" | "USER" | "User" => Cow::Borrowed("user"),
        "assistant" | "model" | "CHATBOT" | "Chatbot" => Cow::Borrowed("assistant"),
        "tool" | "TOOL" | "function" => Cow::Borrowed("tool"),
        other => Cow::Owned(other.to_owned()),
    }
}

/// A message with a role and what goes by the same names nearly everywhere: `content` or `parts`, `tool_calls`.
pub fn message(value: &Json) -> Message {
    if let Some(gap) = left_out(value) {
        return gap_message(gap);
    }
    let role = role(first_text(value, &["role", "author"]).unwrap_or("user"));
    let mut parts = Vec::new();
    if let Some(reasoning) = first_text(value, &["reasoning_content", "reasoning", "thinking", "tool_plan"])
        && !reasoning.is_empty()
    {
        parts.push(Part::Reasoning(reasoning.to_owned()));
    }
    let content = self::parts(first(value, &["content", "parts", "message", "text"]));
    let result_of = first_text(value, &["tool_call_id", "tool_name"]);
    match role == "tool" {
        true if !content.iter().any(|part| matches!(part, Part::ToolResponse { .. })) => {
            let response = value.get("content").map(plain).unwrap_or_default();
            parts.push(Part::ToolResponse { id: result_of.map(str::to_owned), response });
        }
        _ => parts.extend(content),
    }
    if let Some(refusal) = text(value, "refusal") {
        parts.push(Part::Text(refusal.to_owned()));
    }
    // Ollama's pictures, and those that gateways answer with.
    parts.extend(list(value, "images").iter().map(|image| media(image, "image")));
    if let Some(audio) = member(value, "audio") {
        parts.extend(text(audio, "transcript").map(|transcript| Part::Text(transcript.to_owned())));
        parts.push(media(audio, "audio"));
    }
    parts.extend(list(value, "tool_calls").iter().chain(items(value.get("function_call"))).map(tool_call));
    parts.extend(list(value, "tool_results").iter().map(|result| Part::ToolResponse {
        id: None,
        response: plain(first(result, &["outputs", "output"]).unwrap_or(&Json::Null)),
    }));
    let name = text(value, "name").map(str::to_owned);
    Message { role, name, parts, finish_reason: None }
}

/// What stands for messages that were left out.
pub fn gap_message(gap: LeftOut) -> Message {
    Message { role: Cow::Borrowed("llmtap"), parts: vec![Part::LeftOut(gap)], ..Message::default() }
}

/// `{"id", "function": {"name", "arguments"}}`, or the same without the inner object.
pub fn tool_call(value: &Json) -> Part {
    if let Some(gap) = left_out(value) {
        return Part::LeftOut(gap);
    }
    let function = first(value, &["function", "custom"]).unwrap_or(value);
    let id = first_text(value, &["id", "call_id", "tool_call_id"]).map(str::to_owned);
    let name = text(function, "name").unwrap_or_default().to_owned();
    Part::ToolCall { id, name, arguments: arguments(first(function, &["arguments", "parameters", "input", "args"])) }
}

fn arguments(value: Option<&Json>) -> Json {
    match value {
        Some(Json::String(text)) => parsed(text),
        Some(value) => plain(value),
        None => Json::Null,
    }
}

/// The parts of a content: one text, one part, or a list of them.
pub fn parts(content: Option<&Json>) -> Vec<Part> {
    items(content).iter().filter_map(part).collect()
}

/// One part. None of what has no content: a marker of what to cache, an empty text.
pub fn part(value: &Json) -> Option<Part> {
    match value {
        Json::String(text) => return (!text.is_empty()).then(|| Part::Text(text.clone())),
        Json::Object(_) => {}
        _ => return None,
    }
    if let Some(gap) = left_out(value) {
        return Some(Part::LeftOut(gap));
    }
    match text(value, "type") {
        Some(kind) => typed(kind, value),
        None => untyped(value),
    }
}

fn typed(kind: &str, value: &Json) -> Option<Part> {
    let string = |name: &str| value.get(name).and_then(whole_text);
    Some(match kind {
        "text" | "input_text" | "output_text" | "summary_text" | "encrypted_text" => return string("text"),
        "refusal" => return string("refusal"),
        "reasoning_text" | "thinking" | "reasoning" | "thought" => {
            let content = first(value, &["thinking", "reasoning", "text", "content", "summary"])?;
            Part::Reasoning(joined(content)?)
        }
        "tool_use" | "server_tool_use" | "mcp_tool_use" | "function_call" | "tool_call" => tool_call(value),
        "function_response" | "function_result" | "tool_result" => tool_result(value),
        _ if kind.ends_with("_tool_result") => tool_result(value),
        "image" | "image_url" | "input_image" | "output_image" => media(value, "image"),
        "audio" | "input_audio" | "output_audio" | "audio_url" => media(value, "audio"),
        "video" | "video_url" | "input_video" => media(value, "video"),
        "document" | "file" | "input_file" | "document_url" => media(value, "document"),
        other => Part::Other(other.to_owned()),
    })
}

/// Parts that are known by the name of their member: Gemini's, Converse's, DashScope's, Cohere's documents.
fn untyped(value: &Json) -> Option<Part> {
    let thought = value.get("thought").and_then(Json::as_bool) == Some(true);
    if let Some(part) = value.get("text").and_then(whole_text) {
        return Some(match part {
            Part::Text(text) if thought => Part::Reasoning(text),
            part => part,
        });
    }
    if let Some(call) = first(value, &["functionCall", "function_call", "toolUse"]) {
        let id = first_text(call, &["id", "toolUseId"]).map(str::to_owned);
        let name = text(call, "name").unwrap_or_default().to_owned();
        return Some(Part::ToolCall { id, name, arguments: arguments(first(call, &["args", "input"])) });
    }
    if let Some(result) = first(value, &["functionResponse", "function_response", "toolResult"]) {
        let id = first_text(result, &["id", "toolUseId"]).map(str::to_owned);
        let response = first(result, &["response", "content"]).unwrap_or(&Json::Null);
        return Some(Part::ToolResponse { id, response: plain(response) });
    }
    if let Some(reasoning) = member(value, "reasoningContent") {
        let inner = member(reasoning, "reasoningText").unwrap_or(reasoning);
        return match inner.get("text").and_then(whole_text) {
            Some(Part::Text(text)) => Some(Part::Reasoning(text)),
            _ => Some(Part::Other("redacted_thinking".to_owned())),
        };
    }
    if let Some(code) = first(value, &["executableCode", "executable_code"]) {
        return code.get("code").and_then(whole_text);
    }
    if let Some(result) = first(value, &["codeExecutionResult", "code_execution_result"]) {
        return result.get("output").and_then(whole_text);
    }
    if let Some(guarded) = member(value, "guardContent") {
        return untyped(guarded.get("text").filter(|text| text.is_object()).unwrap_or(guarded));
    }
    if let Some(data) = first(value, &["inlineData", "inline_data", "fileData", "file_data"]) {
        return Some(media(data, "document"));
    }
    for (name, modality) in [("image", "image"), ("audio", "audio"), ("video", "video"), ("document", "document")] {
        if let Some(of) = member(value, name) {
            return Some(media(of, modality));
        }
    }
    if value.get("cachePoint").is_some() {
        return None;
    }
    let name = value.as_object()?.keys().next()?;
    Some(Part::Other(name.chars().take(64).collect()))
}

/// A text that is there and not empty, or the gap that it left.
fn whole_text(value: &Json) -> Option<Part> {
    match value {
        Json::String(text) => (!text.is_empty()).then(|| Part::Text(text.clone())),
        value => left_out(value).map(Part::LeftOut),
    }
}

/// The texts of a list as one.
pub fn joined(value: &Json) -> Option<String> {
    let texts =
        items(Some(value)).iter().filter_map(|item| item.as_str().or_else(|| first_text(item, &["text", "content"])));
    let joined = texts.collect::<Vec<_>>().join("\n");
    (!joined.is_empty()).then_some(joined)
}

fn tool_result(value: &Json) -> Part {
    let id = first_text(value, &["tool_use_id", "call_id", "id"]).map(str::to_owned);
    let response = first(value, &["content", "result", "response", "output"]).unwrap_or(&Json::Null);
    Part::ToolResponse { id, response: plain(response) }
}

/// A result as it is told: one text where it is no more, else its structure without what is binary.
pub fn plain(value: &Json) -> Json {
    match value {
        Json::Array(parts) => match parts.as_slice() {
            [one] if text(one, "type").is_none_or(|kind| kind.ends_with("text")) && text(one, "text").is_some() => {
                one.get("text").cloned().unwrap_or_default()
            }
            _ => parts.iter().map(plain).collect(),
        },
        Json::Object(members) => match gap(value) {
            Some(Gap::String { bytes, .. }) => marker(LeftOut { items: 1, bytes }),
            Some(Gap::Items(left_out)) => marker(left_out),
            None if is_binary(value) => media(value, "document").json(),
            None => members.iter().map(|(name, member)| (name.clone(), plain(member))).collect(),
        },
        other => other.clone(),
    }
}

/// Within values that are no list of parts.
fn marker(left_out: LeftOut) -> Json {
    Part::LeftOut(left_out).json()
}

/// Whether this is one of the objects that have their data in base64.
fn is_binary(value: &Json) -> bool {
    let typed = matches!(text(value, "type"), Some("image" | "document" | "base64" | "image_url" | "input_image"));
    let named = ["inlineData", "inline_data", "source", "image_url"].iter().any(|name| value.get(name).is_some());
    let untyped = text(value, "type").is_none()
        && ["image", "document", "video"]
            .iter()
            .any(|name| value.get(name).is_some_and(|of| of.get("source").is_some()));
    (typed && (named || value.get("data").is_some())) || untyped
}

fn left_out(value: &Json) -> Option<LeftOut> {
    Some(match gap(value)? {
        Gap::String { bytes, .. } => LeftOut { items: 1, bytes },
        Gap::Items(left_out) => left_out,
    })
}

/// Where the parts of what is not text hide, from the outside in.
const AROUND: &[&str] =
    &["image_url", "input_audio", "video_url", "audio_url", "file", "source", "image", "document", "video"];

/// A picture, sound or document, however it is wrapped: data, an address, or the id of a file.
pub fn media(value: &Json, modality: &'static str) -> Part {
    let mut inner = value;
    let mut mime = None;
    // Wrappers are few and shallow.
    for _ in 0..4 {
        mime = first_text(inner, &["media_type", "mime_type", "mimeType", "format"]).or(mime);
        match first(inner, AROUND) {
            Some(next) => inner = next,
            None => break,
        }
    }
    mime = first_text(inner, &["media_type", "mime_type", "mimeType", "format"]).or(mime);
    let mime_type = mime.map(|mime| mime_of(mime, modality));
    let modality = modality_of(mime_type.as_deref(), modality);
    if let Some(id) = first_text(inner, &["file_id", "fileId"]) {
        return Part::File { modality, mime_type, id: id.to_owned() };
    }
    let place = inner.get("s3Location").unwrap_or(inner);
    let content =
        first(place, &["data", "file_data", "bytes", "b64_json", "url", "uri", "file_url", "fileUri", "file_uri"]);
    match content.unwrap_or(inner) {
        // Text among documents.
        Json::String(body) if text(inner, "type") == Some("text") => Part::Text(body.clone()),
        Json::String(body) => located(body, modality, mime_type),
        value => match gap(value) {
            Some(Gap::String { bytes, head }) => {
                let (mime_type, head) = (head.and_then(url_mime).or(mime_type), head.map_or(0, str::len) as u64);
                let modality = modality_of(mime_type.as_deref(), &modality);
                Part::Blob { modality, mime_type, bytes: decoded(bytes.saturating_sub(head)) }
            }
            _ => Part::Other(modality.into_owned()),
        },
    }
}

/// A string that is a data URL, an address, or base64.
fn located(body: &str, modality: Cow<'static, str>, mime_type: Option<String>) -> Part {
    if let Some((head, data)) = body.starts_with("data:").then(|| body.split_once(',')).flatten() {
        let mime_type = url_mime(head).or(mime_type);
        let modality = modality_of(mime_type.as_deref(), &modality);
        return Part::Blob { modality, mime_type, bytes: decoded(unpadded(data)) };
    }
    if body.contains("://") {
        return Part::Uri { modality, mime_type, uri: address(body) };
    }
    Part::Blob { modality, mime_type, bytes: decoded(unpadded(body)) }
}

/// An address without what can be a credential: user, query and fragment.
fn address(uri: &str) -> String {
    let uri = uri.split(['?', '#']).next().unwrap_or_default();
    match uri.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => uri.to_owned(),
    }
}

fn unpadded(base64: &str) -> u64 {
    base64.trim_end_matches('=').len() as u64
}

/// Size of what so much base64 without its padding stands for.
fn decoded(base64: u64) -> u64 {
    base64 / 4 * 3 + base64 % 4 * 3 / 4
}

/// `image/png` of `data:image/png;base64,`.
fn url_mime(head: &str) -> Option<String> {
    let mime = head.strip_prefix("data:")?.split([';', ',']).next()?;
    mime.contains('/').then(|| mime.replace('\\', ""))
}

/// Converse and OpenAI's audio state `png` or `wav`.
fn mime_of(format: &str, modality: &str) -> String {
    match (format.contains('/'), format, modality) {
        (true, ..) => format.to_owned(),
        (_, "pdf", _) => "application/pdf".to_owned(),
        (_, _, "document") => format.to_owned(),
        _ => format!("{modality}/{format}"),
    }
}

fn modality_of(mime_type: Option<&str>, otherwise: &str) -> Cow<'static, str> {
    let by_mime = mime_type.and_then(|mime| mime.split('/').next());
    match by_mime.filter(|kind| matches!(*kind, "image" | "audio" | "video")).unwrap_or(otherwise) {
        "image" => Cow::Borrowed("image"),
        "audio" => Cow::Borrowed("audio"),
        "video" => Cow::Borrowed("video"),
        "document" => Cow::Borrowed("document"),
        other => Cow::Owned(other.to_owned()),
    }
}

/// Tools in the forms of OpenAI, Anthropic, Cohere, Gemini and Converse.
pub fn tools(value: Option<&Json>) -> Vec<Tool> {
    items(value).iter().flat_map(tool).collect()
}

fn tool(value: &Json) -> Vec<Tool> {
    if let Some(gap) = left_out(value) {
        return vec![Tool::LeftOut(gap)];
    }
    if let Some(functions) = first(value, &["functionDeclarations", "function_declarations", "functions"]) {
        return tools(Some(functions));
    }
    let function = first(value, &["function", "custom", "toolSpec"]).unwrap_or(value);
    let kind = text(value, "type").unwrap_or("function");
    let schema = first(
        function,
        &["parameters", "input_schema", "inputSchema", "parametersJsonSchema", "parameter_definitions"],
    );
    match text(function, "name") {
        Some(name) if schema.is_some() || kind == "function" => vec![Tool::Function {
            name: name.to_owned(),
            description: text(function, "description").map(str::to_owned),
            parameters: schema.map(|schema| plain(schema.get("json").unwrap_or(schema))),
        }],
        name => {
            // Gemini's and Converse's own tools are named by their member.
            let own = || value.as_object().and_then(|members| members.keys().next()).cloned().unwrap_or_default();
            let kind = text(value, "type").map_or_else(own, str::to_owned);
            match kind.as_str() {
                "" | "cachePoint" => Vec::new(),
                _ => vec![Tool::Other { name: name.unwrap_or(&kind).to_owned(), kind }],
            }
        }
    }
}

/// How much was left out, where this value stands for it.
pub fn gap_of(value: &Json) -> Option<LeftOut> {
    left_out(value)
}

/// Whether what a user gives has this type, beside messages and results.
pub fn is_given(kind: &str) -> bool {
    const GIVEN: &[&str] = &["text", "image", "audio", "video", "document", "file"];
    GIVEN.contains(&kind) || kind.strip_prefix("input_").is_some_and(|kind| GIVEN.contains(&kind))
}

#[cfg(test)]
mod tests;
