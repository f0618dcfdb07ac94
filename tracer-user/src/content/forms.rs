//! How APIs answer: whole, and in the events of a stream. A dialect names the form of its answers; what it asks,
//! [`super::request`] reads.

use serde_json::Value as Json;

use super::{
    answer::{Answer, Key, Kind, ONLY},
    json::{first, first_text, items, list, member, number, text},
    message::Part,
    parts::{self, part, parts as content, role, tool_call},
    request::entry_parts,
};

/// One way of answering.
pub struct Form {
    /// Reads a whole answer.
    pub whole: fn(&Json, &mut Answer),
    /// Takes one event of a stream.
    pub event: fn(&Json, &mut Answer),
    /// An event's document stands in base64 inside a member `bytes`.
    pub wrapped: bool,
}

impl Form {
    const fn new(whole: fn(&Json, &mut Answer), event: fn(&Json, &mut Answer)) -> Self {
        Self { whole, event, wrapped: false }
    }
}

/// OpenAI's chat and completions, and all that speak them.
pub static CHOICES: Form = Form::new(choices_whole, choices_event);
/// OpenAI's Responses.
pub static RESPONSES: Form = Form::new(responses_whole, responses_event);
/// Anthropic's Messages, and its older completions.
pub static ANTHROPIC: Form = Form::new(anthropic_whole, anthropic_event);
/// Gemini's generateContent.
pub static GEMINI: Form = Form::new(gemini, gemini);
/// Bedrock's Converse, and Amazon's Nova models.
pub static CONVERSE: Form = Form::new(converse_whole, converse_event);
/// Both versions of Cohere's chat.
pub static COHERE: Form = Form::new(cohere_whole, cohere_event);
/// Ollama's chat: an event is a whole answer with a piece of the text.
pub static OLLAMA: Form = Form::new(ollama, ollama);
/// DashScope's own: each event states the answer so far, or its next piece.
pub static DASHSCOPE: Form = Form::new(dashscope, dashscope);
/// Lists of entries: Mistral's conversations, Gemini's interactions, LM Studio's chat.
pub static ENTRIES: Form = Form::new(entries_whole, entries_event);
/// Text that goes on: TGI, watsonx, SGLang, llama.cpp, Ollama's and Cohere's generate.
pub static TEXT: Form = Form::new(text_whole, text_event);
/// Bodies of the vendors' own inside InvokeModel.
pub static INVOKE: Form = Form { wrapped: true, ..Form::new(invoke_whole, invoke_event) };

fn piece(answer: &mut Answer, choice: u64, kind: Kind, text: Option<&str>) {
    answer.text(choice, ONLY, kind, text.unwrap_or_default());
}

/// Appends a part: text goes on, what is whole stands by itself.
fn append(answer: &mut Answer, choice: u64, part: Part) {
    match part {
        Part::Text(text) => piece(answer, choice, Kind::Text, Some(&text)),
        Part::Reasoning(text) => piece(answer, choice, Kind::Reasoning, Some(&text)),
        part => answer.add(choice, ONLY, part),
    }
}

fn each_choice(body: &Json, mut see: impl FnMut(u64, &Json)) {
    for (position, choice) in (0..).zip(items(first(body, &["choices", "responses"]))) {
        see(number(choice, "index").unwrap_or(position), choice);
    }
}

fn choices_whole(body: &Json, answer: &mut Answer) {
    each_choice(body, |index, choice| match member(choice, "message") {
        Some(message) => answer.message(index, parts::message(message)),
        // Mistral's, when it ran tools itself.
        None if choice.get("messages").is_some() => {
            let messages = list(choice, "messages").iter().map(parts::message);
            answer.restate(index, messages.flat_map(|message| message.parts).collect());
        }
        None => answer.restate(index, content(choice.get("text"))),
    });
}

fn choices_event(body: &Json, answer: &mut Answer) {
    each_choice(body, |index, choice| {
        piece(answer, index, Kind::Text, text(choice, "text"));
        if let Some(delta) = first(choice, &["delta", "message"]) {
            delta_of(delta, index, answer);
        }
    });
    // Writer's stream of a text completion.
    piece(answer, 0, Kind::Text, text(body, "value"));
}

fn delta_of(delta: &Json, index: u64, answer: &mut Answer) {
    if let Some(of) = text(delta, "role").filter(|role| !role.is_empty()) {
        answer.role(index, Some(role(of)));
    }
    piece(answer, index, Kind::Reasoning, first_text(delta, &["reasoning_content", "reasoning", "thinking"]));
    match member(delta, "content") {
        Some(Json::String(text)) => piece(answer, index, Kind::Text, Some(text)),
        other => content(other).into_iter().for_each(|part| append(answer, index, part)),
    }
    piece(answer, index, Kind::Text, text(delta, "refusal"));
    if let Some(audio) = member(delta, "audio") {
        piece(answer, index, Kind::Text, text(audio, "transcript"));
    }
    for image in list(delta, "images") {
        answer.add(index, ONLY, parts::media(image, "image"));
    }
    for (position, call) in (0..).zip(list(delta, "tool_calls")) {
        grow_call(answer, index, (number(call, "index").unwrap_or(position), 0), call);
    }
    if let Some(call) = member(delta, "function_call") {
        grow_call(answer, index, (0, 1), call);
    }
}

/// A call, or what it grows by.
fn grow_call(answer: &mut Answer, choice: u64, key: Key, call: &Json) {
    let function = first(call, &["function", "custom"]).unwrap_or(call);
    answer.call(choice, key, first_text(call, &["tool_call_id", "id"]), text(function, "name"));
    match first(function, &["arguments", "input", "parameters"]) {
        Some(Json::String(piece)) => answer.arguments(choice, key, piece),
        Some(whole) => answer.arguments(choice, key, &parts::plain(whole).to_string()),
        None => {}
    }
}

fn responses_whole(body: &Json, answer: &mut Answer) {
    let body = member(body, "response").unwrap_or(body);
    answer.restate(0, list(body, "output").iter().flat_map(entry_parts).collect());
}

fn responses_event(body: &Json, answer: &mut Answer) {
    let item = number(body, "output_index").unwrap_or(0);
    let sub = first(body, &["content_index", "summary_index"]).and_then(Json::as_u64).unwrap_or(0);
    let delta = text(body, "delta").unwrap_or_default();
    let kind = text(body, "type").unwrap_or_default();
    match kind {
        "response.output_text.delta" | "response.refusal.delta" => answer.text(0, (item, sub), Kind::Text, delta),
        "response.reasoning_text.delta" | "response.reasoning_summary_text.delta" => {
            answer.text(0, (item, sub), Kind::Reasoning, delta);
        }
        "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
            answer.arguments(0, (item, 0), delta);
        }
        "response.output_item.added" => {
            let Some(added) = member(body, "item") else { return };
            if matches!(text(added, "type"), Some("function_call" | "custom_tool_call")) {
                answer.call(0, (item, 0), text(added, "call_id"), text(added, "name"));
            }
        }
        "response.output_item.done" => {
            if let Some(done) = member(body, "item") {
                answer.replace(0, item, entry_parts(done));
            }
        }
        "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" => {
            responses_whole(body, answer);
        }
        _ => {}
    }
}

fn anthropic_whole(body: &Json, answer: &mut Answer) {
    if let Some(completion) = text(body, "completion") {
        return answer.restate(0, vec![Part::Text(completion.to_owned())]);
    }
    if text(body, "type") == Some("message") {
        answer.message(0, parts::message(body));
    }
}

fn anthropic_event(body: &Json, answer: &mut Answer) {
    let key = (number(body, "index").unwrap_or(0), 0);
    match text(body, "type").unwrap_or_default() {
        "message_start" => {
            let of = body.get("message").and_then(|message| text(message, "role")).map(role);
            answer.role(0, of);
        }
        "content_block_start" => {
            let Some(block) = member(body, "content_block") else { return };
            let input = member(block, "input").filter(|input| input.as_object().is_some_and(|input| !input.is_empty()));
            match text(block, "type").unwrap_or_default() {
                "text" => answer.text(0, key, Kind::Text, text(block, "text").unwrap_or_default()),
                "thinking" => answer.text(0, key, Kind::Reasoning, text(block, "thinking").unwrap_or_default()),
                "tool_use" | "server_tool_use" | "mcp_tool_use" => {
                    answer.call(0, key, text(block, "id"), text(block, "name"));
                    if let Some(input) = input {
                        answer.arguments(0, key, &parts::plain(input).to_string());
                    }
                }
                _ => part(block).into_iter().for_each(|part| answer.add(0, key, part)),
            }
        }
        "content_block_delta" => {
            let Some(delta) = member(body, "delta") else { return };
            answer.text(0, key, Kind::Text, text(delta, "text").unwrap_or_default());
            answer.text(0, key, Kind::Reasoning, text(delta, "thinking").unwrap_or_default());
            if let Some(piece) = text(delta, "partial_json").filter(|piece| !piece.is_empty()) {
                answer.arguments(0, key, piece);
            }
        }
        // The older API.
        "completion" => piece(answer, 0, Kind::Text, text(body, "completion")),
        _ => {}
    }
}

fn gemini(body: &Json, answer: &mut Answer) {
    let body = member(body, "response").unwrap_or(body);
    for (position, candidate) in (0..).zip(list(body, "candidates")) {
        let index = number(candidate, "index").unwrap_or(position);
        let Some(message) = member(candidate, "content") else { continue };
        answer.role(index, text(message, "role").map(role));
        content(message.get("parts")).into_iter().for_each(|part| append(answer, index, part));
    }
}

fn converse_whole(body: &Json, answer: &mut Answer) {
    if let Some(message) = body.get("output").and_then(|output| member(output, "message")) {
        answer.message(0, parts::message(message));
    }
}

fn converse_event(body: &Json, answer: &mut Answer) {
    let body = first(body, &["contentBlockDelta", "contentBlockStart", "messageStart"]).unwrap_or(body);
    let key = (number(body, "contentBlockIndex").unwrap_or(0), 0);
    if let Some(of) = text(body, "role") {
        answer.role(0, Some(role(of)));
    }
    if let Some(call) = body.get("start").and_then(|start| member(start, "toolUse")) {
        answer.call(0, key, text(call, "toolUseId"), text(call, "name"));
    }
    let Some(delta) = member(body, "delta") else { return };
    answer.text(0, key, Kind::Text, text(delta, "text").unwrap_or_default());
    if let Some(reasoning) = member(delta, "reasoningContent") {
        answer.text(0, key, Kind::Reasoning, text(reasoning, "text").unwrap_or_default());
    }
    match delta.get("toolUse").and_then(|call| member(call, "input")) {
        Some(Json::String(piece)) => answer.arguments(0, key, piece),
        Some(whole) => answer.arguments(0, key, &parts::plain(whole).to_string()),
        None => {}
    }
    if let Some(image) = member(delta, "image") {
        answer.add(0, key, parts::media(image, "image"));
    }
}

fn cohere_whole(body: &Json, answer: &mut Answer) {
    match member(body, "message").filter(|message| message.is_object()) {
        Some(message) => answer.message(0, parts::message(message)),
        // Version 1 answers with what a message has.
        None => {
            let said = content(body.get("text")).into_iter().chain(list(body, "tool_calls").iter().map(tool_call));
            answer.restate(0, said.collect());
        }
    }
}

fn cohere_event(body: &Json, answer: &mut Answer) {
    match first_text(body, &["type", "event_type"]).unwrap_or_default() {
        "text-generation" => return piece(answer, 0, Kind::Text, text(body, "text")),
        "stream-end" => return member(body, "response").into_iter().for_each(|whole| cohere_whole(whole, answer)),
        _ => {}
    }
    let Some(message) = body.get("delta").and_then(|delta| member(delta, "message")) else { return };
    let index = number(body, "index").unwrap_or(0);
    if let Some(of) = text(message, "role") {
        answer.role(0, Some(role(of)));
    }
    piece(answer, 0, Kind::Reasoning, text(message, "tool_plan"));
    for said in list(message, "content") {
        answer.text(0, (index, 0), Kind::Text, text(said, "text").unwrap_or_default());
        answer.text(0, (index, 0), Kind::Reasoning, text(said, "thinking").unwrap_or_default());
    }
    for call in list(message, "tool_calls") {
        grow_call(answer, 0, (index, 1), call);
    }
}

fn ollama(body: &Json, answer: &mut Answer) {
    let Some(message) = member(body, "message") else { return };
    if let Some(of) = text(message, "role") {
        answer.role(0, Some(role(of)));
    }
    piece(answer, 0, Kind::Reasoning, text(message, "thinking"));
    piece(answer, 0, Kind::Text, text(message, "content"));
    // Each is whole.
    list(message, "tool_calls").iter().for_each(|call| answer.add(0, ONLY, tool_call(call)));
}

fn dashscope(body: &Json, answer: &mut Answer) {
    let Some(output) = member(body, "output") else { return };
    let mut said: Vec<(u64, Vec<Part>)> = Vec::new();
    each_choice(output, |index, choice| {
        said.extend(member(choice, "message").map(|message| (index, parts::message(message).parts)));
    });
    if said.is_empty() {
        said.push((0, content(output.get("text"))));
    }
    for (index, parts) in said {
        answer.advance(index, parts);
    }
}

fn entries_whole(body: &Json, answer: &mut Answer) {
    let body = first(body, &["interaction", "result"]).unwrap_or(body);
    let entries = items(first(body, &["outputs", "steps", "output"]));
    answer.restate(0, entries.iter().flat_map(entry_parts).collect());
}

fn entries_event(body: &Json, answer: &mut Answer) {
    let key = (first(body, &["index", "output_index"]).and_then(Json::as_u64).unwrap_or(0), 0);
    match first_text(body, &["type", "event_type"]).unwrap_or_default() {
        // Mistral's
        "message.output.delta" => match member(body, "content") {
            Some(Json::String(text)) => answer.text(0, key, Kind::Text, text),
            other => grow(answer, key, content(other)),
        },
        "function.call.delta" => grow_call(answer, 0, key, body),
        // LM Studio's
        "message.delta" => piece(answer, 0, Kind::Text, text(body, "content")),
        "reasoning.delta" => piece(answer, 0, Kind::Reasoning, text(body, "content")),
        "chat.end" | "interaction.completed" | "interaction.complete" => entries_whole(body, answer),
        // Gemini's
        "step.start" | "content.start" => {
            let Some(step) = first(body, &["step", "content"]) else { return };
            if text(step, "type") == Some("function_call") {
                grow_call(answer, 0, key, step);
            } else {
                grow(answer, key, content(step.get("content")));
            }
        }
        "step.delta" | "content.delta" => {
            let Some(delta) = member(body, "delta") else { return };
            if let Some(piece) = text(delta, "partial_arguments") {
                return answer.arguments(0, key, piece);
            }
            match text(delta, "type").unwrap_or_default() {
                "function_call" => grow_call(answer, 0, key, delta),
                "thought_summary" => {
                    let said = delta.get("content").and_then(|content| text(content, "text"));
                    answer.text(0, key, Kind::Reasoning, said.or_else(|| text(delta, "text")).unwrap_or_default());
                }
                "arguments_delta" | "thought_signature" => {
                    answer.arguments(0, key, text(delta, "arguments").unwrap_or_default());
                }
                _ => grow(answer, key, content(Some(delta))),
            }
        }
        _ => {}
    }
}

fn grow(answer: &mut Answer, key: Key, parts: Vec<Part>) {
    for part in parts {
        match part {
            Part::Text(text) => answer.text(0, key, Kind::Text, &text),
            Part::Reasoning(text) => answer.text(0, key, Kind::Reasoning, &text),
            part => answer.add(0, key, part),
        }
    }
}

/// The texts of an answer that is no more than text, by choice.
fn texts(body: &Json) -> Vec<&Json> {
    // TGI answers with a list of one.
    let body = body.as_array().and_then(|list| list.first()).unwrap_or(body);
    const LISTS: &[&str] = &["results", "generations", "outputs", "completions"];
    const TEXTS: &[&str] = &["generated_text", "outputText", "text", "response", "generation", "content", "message"];
    match LISTS.iter().find_map(|name| member(body, name)) {
        Some(results) => items(Some(results))
            .iter()
            .filter_map(|result| first(result.get("data").unwrap_or(result), TEXTS))
            .collect(),
        None => first(body, TEXTS).into_iter().collect(),
    }
}

fn text_whole(body: &Json, answer: &mut Answer) {
    piece(answer, 0, Kind::Reasoning, text(body, "thinking"));
    for (index, text) in (0..).zip(texts(body)) {
        content(Some(text)).into_iter().for_each(|part| append(answer, index, part));
    }
}

fn text_event(body: &Json, answer: &mut Answer) {
    // TGI: the last event has the whole text.
    if let Some(token) = member(body, "token") {
        match text(body, "generated_text") {
            Some(whole) => answer.restate(0, vec![Part::Text(whole.to_owned())]),
            None => piece(answer, 0, Kind::Text, text(token, "text")),
        }
        return;
    }
    // SGLang states all of it with each event, unless it was told otherwise.
    if body.get("meta_info").is_some() {
        return answer.advance(0, content(body.get("text")));
    }
    // Cohere's last event repeats all in `response`.
    if body.get("is_finished").and_then(Json::as_bool) != Some(true) || body.get("response").is_none_or(Json::is_string)
    {
        text_whole(body, answer);
    }
}

fn invoke_whole(body: &Json, answer: &mut Answer) {
    match () {
        () if body.get("choices").is_some() => choices_whole(body, answer),
        () if body.get("completion").is_some() || text(body, "type") == Some("message") => {
            anthropic_whole(body, answer)
        }
        () if body.get("output").is_some() => converse_whole(body, answer),
        () if body.get("chat_history").is_some() || body.get("response_id").is_some() => cohere_whole(body, answer),
        () => text_whole(body, answer),
    }
}

fn invoke_event(body: &Json, answer: &mut Answer) {
    const CONVERSE: &[&str] = &["contentBlockDelta", "contentBlockStart", "messageStart", "messageStop", "metadata"];
    match () {
        // Mistral's older models answer with choices that have a whole message, too.
        () if body.get("choices").is_some() => choices_event(body, answer),
        () if first(body, CONVERSE).is_some() => converse_event(body, answer),
        () if body.get("event_type").is_some() => cohere_event(body, answer),
        () if body.get("type").is_some() => anthropic_event(body, answer),
        () => text_event(body, answer),
    }
}
