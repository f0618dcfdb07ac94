//! A response as the mock intends it: head, then one body or the steps of a stream, each with what it states.

use serde_json::Value;

use super::{
    directive::Directive,
    truth::{ToolCall, Truth, Usage},
};

/// What a piece of a response tells its reader. It goes into the record once the piece has been written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stated {
    pub id: Option<String>,
    pub model: Option<String>,
    pub finish_reasons: Vec<String>,
    pub tool_calls: Vec<ToolCall>,
    /// Replaces what was stated before: providers' usage is cumulative.
    pub usage: Option<Usage>,
    pub error_type: Option<String>,
}

impl Stated {
    pub fn apply(self, truth: &mut Truth) {
        if self.id.is_some() {
            truth.response_id = self.id;
        }
        if self.model.is_some() {
            truth.response_model = self.model;
        }
        if let Some(usage) = self.usage {
            truth.usage = usage;
        }
        if self.error_type.is_some() {
            truth.error_type = self.error_type;
        }
        truth.finish_reasons.extend(self.finish_reasons);
        truth.tool_calls.extend(self.tool_calls);
    }
}

#[derive(Debug, Clone)]
pub enum Step {
    /// One event, with its blank line. `content` marks text, reasoning and tool arguments.
    Event { text: String, content: bool, states: Stated },
    /// `count` events with content that differ in one word between `before` and `after`. Made as they are sent:
    /// a stream of any length costs the mock no memory.
    Words { before: String, after: String, count: u32 },
}

impl Step {
    pub fn silent(text: String) -> Self {
        Self::Event { text, content: false, states: Stated::default() }
    }

    pub fn states(text: String, states: Stated) -> Self {
        Self::Event { text, content: false, states }
    }

    pub fn content(text: String) -> Self {
        Self::Event { text, content: true, states: Stated::default() }
    }
}

#[derive(Debug, Clone)]
pub enum Body {
    Whole {
        bytes: Vec<u8>,
        states: Stated,
    },
    Stream {
        steps: Vec<Step>,
        keep_alive_event: String,
        failure: Box<Step>,
    },
    /// A stream whose events leave in another form than text: `pack` makes it of an event as [`event`] writes it.
    Packed {
        stream: Box<Body>,
        pack: fn(&str) -> Vec<u8>,
    },
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub status: u16,
    /// Beside those that the framing needs. Order and spelling are kept.
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
}

/// An event of a stream (WHATWG HTML, server-sent events): an optional name and one line of data.
pub fn event(name: Option<&str>, data: &Value) -> String {
    match name {
        Some(name) => format!("event: {name}\ndata: {data}\n\n"),
        None => format!("data: {data}\n\n"),
    }
}

/// Name and data of an event as [`event`] writes it.
pub fn parts(event: &str) -> (&str, &str) {
    let (name, data) = match event.strip_prefix("event: ").and_then(|rest| rest.split_once('\n')) {
        Some((name, rest)) => (name, rest),
        None => ("", event),
    };
    (name, data.strip_prefix("data: ").unwrap_or(data).trim_end())
}

/// Splits an event around a placeholder word, for [`Step::Words`].
pub fn words(name: Option<&str>, data: &Value, count: u32) -> Option<Step> {
    split_words(&event(name, data), count)
}

/// The same of an event in whatever form a stream has.
pub fn split_words(text: &str, count: u32) -> Option<Step> {
    if count == 0 {
        return None;
    }
    let (before, after) = text.split_once(PLACEHOLDER)?;
    Some(Step::Words { before: before.to_owned(), after: after.to_owned(), count })
}

/// Stands for the word in the events given to [`words`].
pub const PLACEHOLDER: &str = "@word@";

/// As they stand inside a JSON string: plain, escaped, and outside ASCII, with and without surrogate pairs.
const WORDS: [&str; 12] = [
    "The",
    " stream",
    " runs",
    " on",
    ",",
    " quite",
    " \\\"gr\u{f6}\u{df}er\\\"",
    " than",
    " you\\n",
    " think",
    " \\ud83e\\udd80",
    " \u{1f980}.",
];

pub fn word(index: u32) -> &'static str {
    WORDS[index as usize % WORDS.len()]
}

/// `count` words as one text, not yet escaped.
pub fn text(count: u32) -> String {
    let escaped: String = (0..count).map(word).collect();
    serde_json::from_str(&format!("\"{escaped}\"")).unwrap_or(escaped)
}

/// Cuts a tool call's arguments into `pieces` at character bounds.
pub fn fragments(arguments: &str, pieces: usize) -> Vec<&str> {
    let size = arguments.len().div_ceil(pieces.max(1)).max(1);
    let mut rest = arguments;
    let mut out = Vec::new();
    while !rest.is_empty() {
        let mut cut = size.min(rest.len());
        while !rest.is_char_boundary(cut) {
            cut += 1;
        }
        let (piece, tail) = rest.split_at(cut);
        out.push(piece);
        rest = tail;
    }
    out
}

/// The arguments of a scripted call as text: a string stays as it is, anything else is written as JSON.
pub fn arguments_text(arguments: &Value) -> String {
    match arguments {
        Value::Null => "{}".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What an answer is to contain and to cost.
pub struct Amounts {
    pub tokens: u32,
    pub thinking: u32,
    pub call_tools: bool,
    pub input: u64,
    pub output: u64,
    pub cached: u64,
    pub cache_write: u64,
    pub reasoning: u64,
}

/// Tool calls are not repeated once their results have come. A token is taken for four bytes of the request.
pub fn amounts(directive: &Directive, body_bytes: usize, has_tool_result: bool) -> Amounts {
    let call_tools = !directive.tool_calls.is_empty() && !has_tool_result;
    let tokens = directive.tokens.unwrap_or(if call_tools { 0 } else { 8 });
    let reasoning = directive.reasoning_tokens.unwrap_or(u64::from(directive.thinking));
    let calls = if call_tools { directive.tool_calls.len() as u64 * 12 } else { 0 };
    let cached = directive.cached_tokens.unwrap_or(0);
    let cache_write = directive.cache_write_tokens.unwrap_or(0);
    Amounts {
        tokens,
        thinking: directive.thinking,
        call_tools,
        input: directive.input_tokens.unwrap_or(body_bytes as u64 / 4 + cached + cache_write).max(cached + cache_write),
        output: directive.output_tokens.unwrap_or(u64::from(tokens) + reasoning + calls),
        cached,
        cache_write,
        reasoning,
    }
}

/// The response model: scripted, or the request's with a date after it as providers answer.
pub fn response_model(directive: &Directive, requested: &str, date: &str) -> String {
    directive.model.clone().unwrap_or_else(|| {
        let dated = requested.len() > 8 && requested[requested.len() - 2..].bytes().all(|byte| byte.is_ascii_digit());
        if dated { requested.to_owned() } else { format!("{requested}-{date}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_are_whole_characters_and_add_up() {
        for pieces in [0, 1, 3, 4, 100] {
            let cut = fragments("{\"ort\":\"Köln 🦀\"}", pieces);
            assert_eq!(cut.concat(), "{\"ort\":\"Köln 🦀\"}");
            assert!(cut.len() <= pieces.max(1));
        }
    }

    #[test]
    fn words_are_json_text() {
        assert!(text(12).ends_with("🦀 🦀."));
    }

    #[test]
    fn model_gets_a_date_unless_it_has_one() {
        let plain = Directive::default();
        assert_eq!(response_model(&plain, "gpt-5", "2026-10-01"), "gpt-5-2026-10-01");
        assert_eq!(response_model(&plain, "claude-x-20260201", "20261001"), "claude-x-20260201");
    }
}
