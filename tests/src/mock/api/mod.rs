//! The APIs that the mock speaks: a file each, registered in [`ALL`].

mod anthropic;
mod bedrock;
mod cohere;
mod gemini;
mod ollama;
mod openai;

use serde_json::{Value, json};

use super::{
    directive::Directive,
    plan::{self, Amounts, Plan},
    truth::ToolCall,
};

/// One endpoint of a provider.
pub struct Api {
    /// Ends of the paths at which it is served: any prefix may stand before them, as gateways have one.
    pub paths: &'static [&'static str],
    /// `gen_ai.operation.name` of its calls.
    pub operation: &'static str,
    /// `gen_ai.provider.name` where neither host nor path says otherwise.
    pub provider: &'static str,
    pub service: &'static Service,
    /// The request's model, by body and path.
    pub model: fn(&Value, &str) -> Option<String>,
    /// Whether a request, by body and path, asks for a stream.
    pub stream: fn(&Value, &str) -> bool,
    pub plan: fn(&Ask<'_>) -> Plan,
}

/// What the endpoints of one provider share.
pub struct Service {
    /// Headers of every response; their argument is the serial.
    pub headers: fn(&str) -> Vec<(&'static str, String)>,
    /// An error's body by status, scripted code and serial, and what names it: the code, else the type.
    pub error: fn(u16, Option<&str>, &str) -> (Value, String),
}

/// The first one whose path fits answers.
pub const ALL: &[&Api] = &[
    &openai::CHAT,
    &openai::FIM,
    &openai::COMPLETIONS,
    &openai::RESPONSES,
    &openai::EMBEDDINGS,
    &anthropic::MESSAGES,
    &bedrock::CONVERSE,
    &bedrock::INVOKE,
    &gemini::GENERATE,
    &gemini::EMBED,
    &cohere::CHAT,
    &cohere::CHAT_1,
    &cohere::EMBED,
    &ollama::CHAT,
    &ollama::GENERATE,
    &ollama::EMBED,
];

pub fn at(path: &str) -> Option<&'static Api> {
    ALL.iter().copied().find(|api| api.paths.iter().any(|end| path.ends_with(end)))
}

/// A request as an API sees it.
pub struct Ask<'a> {
    pub directive: &'a Directive,
    /// The body; of a form, its fields.
    pub request: &'a Value,
    pub body_bytes: usize,
    pub path: &'a str,
    pub query: &'a str,
    pub model: &'a str,
    pub stream: bool,
    /// Unique in the mock's life; ids are made of it.
    pub serial: &'a str,
}

impl Ask<'_> {
    /// `answers_tool` says whether the request brings a tool's result.
    pub fn amounts(&self, answers_tool: bool) -> Amounts {
        plan::amounts(self.directive, self.body_bytes, answers_tool)
    }

    pub fn id(&self, prefix: &str) -> String {
        self.directive.id.clone().unwrap_or_else(|| format!("{prefix}{}", self.serial))
    }

    pub fn response_model(&self, date: &str) -> String {
        plan::response_model(self.directive, self.model, date)
    }

    pub fn finish_reason(&self, amounts: &Amounts, stop: &str, tools: &str) -> String {
        match &self.directive.finish_reason {
            _ if amounts.call_tools => tools.to_owned(),
            Some(reason) => reason.clone(),
            None => stop.to_owned(),
        }
    }

    /// The scripted tool calls with their arguments; `null` arguments are an empty object.
    pub fn calls(&self, amounts: &Amounts, prefix: &str) -> Vec<(ToolCall, Value)> {
        if !amounts.call_tools {
            return Vec::new();
        }
        let calls = self.directive.tool_calls.iter().enumerate();
        calls
            .map(|(index, call)| {
                let id = call.id.clone().unwrap_or_else(|| format!("{prefix}{}_{index}", self.serial));
                let arguments = if call.arguments.is_null() { json!({}) } else { call.arguments.clone() };
                (ToolCall { name: call.name.clone(), id }, arguments)
            })
            .collect()
    }

    /// Items of a list in the request; none when it is absent.
    pub fn list(&self, key: &str) -> &[Value] {
        self.request.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

/// `model` of the body.
pub fn body_model(body: &Value, _: &str) -> Option<String> {
    body.get("model").and_then(Value::as_str).map(str::to_owned)
}

/// `"stream": true` in the body.
pub fn body_stream(body: &Value, _: &str) -> bool {
    body.get("stream").and_then(Value::as_bool) == Some(true)
}

pub fn never_streams(_: &Value, _: &str) -> bool {
    false
}

/// How many vectors an embeddings request wants: one for a text or a list of tokens, else one for each item.
pub fn count_inputs(input: Option<&Value>) -> usize {
    match input.and_then(Value::as_array) {
        Some(items) if !items.iter().all(Value::is_number) => items.len(),
        _ => 1,
    }
}

/// Numbers that look like an embedding.
pub fn vector(index: usize, dimensions: usize) -> Vec<f32> {
    (0..dimensions).map(|at| ((index * 31 + at * 17) % 101) as f32 / 101.0 - 0.5).collect()
}
