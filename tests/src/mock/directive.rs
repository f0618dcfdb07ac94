//! What a request asks the mock to do.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::encoding::Coding;

/// How to say it, for people.
pub const HELP: &str = "\
Endpoints (any prefix before them is accepted, as gateways have one):
  POST …/chat/completions       OpenAI chat; Azure style with …/openai/deployments/NAME/… before it
  POST …/responses, …/completions, …/embeddings, …/fim/completions
                                OpenAI's other APIs, and Mistral's fill-in-the-middle
  POST …/messages               Anthropic messages; …/messages/count_tokens counts
  POST …/MODEL:generateContent, :streamGenerateContent, :embedContent, :batchEmbedContents
                                Gemini; a stream is an array, or events with ?alt=sse
  POST …/model/ID/converse, /converse-stream, /invoke, /invoke-with-response-stream
                                Bedrock; invoked models have Anthropic's bodies or Amazon Nova's
  POST …/v2/chat, …/v1/chat, …/v2/embed, …/v1/embed
                                Cohere
  POST …/api/chat, …/api/generate, …/api/embed
                                Ollama
  GET  …/models                 a model list
  POST …/traces/ingest, …/files, …/oauth/token, GET …/events, …/healthz
                                not model calls: a tracer must not take them for one

A request chooses the mock's behaviour by a directive, a JSON object: in the header `x-mock`, or at the start of any
text of its body after the word `mock:` (the last message or item that has one counts). Keys, with the default in brackets:

  tokens            content tokens of the answer, one event each in a stream [8; 0 with tool_calls]
  thinking          reasoning tokens sent before them [0]
  delay_us          microseconds from the request to the response head [0]
  ttft_us           microseconds from the response head to the first event with content [0]
  interval_us       microseconds between events with content [0: as fast as the client reads]
  id, model         response id and model [made up; the request's model and a date]
  finish_reason     [stop, tool_calls; end_turn, tool_use]
  tool_calls        list of {\"name\", \"arguments\", \"id\"?}; not given again when the last message is a tool result
  fragments         pieces in which a stream sends each call's arguments; 0: with its name, as Mistral does [4]
  input_tokens      whole input, cached parts included [a guess from the size]
  output_tokens     whole output, reasoning included [a guess]
  cached_tokens, cache_write_tokens, reasoning_tokens
                    parts of the two above [0; OpenAI does not state written ones unless given]
  usage             auto, always, never: `auto` states it in OpenAI streams when stream_options asks [auto]
  details           false leaves cached, written and reasoning tokens out of the usage [true]
  status            an error of this status with the provider's own body and headers [200]
  code              the error's code (OpenAI) or type (Anthropic) [the usual one of the status]
  retry_after       seconds, in the error's `retry-after` header [none]
  fail_times        fail only the first attempts: by the client's retry count, else by how often the same
                    request came [fail always]
  fallbacks         models that a gateway says it went on from, in `x-litellm-attempted-fallbacks` [none]
  body              of an error: json, html, empty [json]
  encoding          identity, gzip, br, zstd, deflate, deflate-raw [identity]
  flush             false lets the coder keep events back [true]
  framing           chunked, length, close; of a stream chunked or close [chunked for streams, else length]
  keep_alive        false closes the connection after the response [true]
  split             bytes a write: cuts events in pieces of this size [0: an event is one write]
  batch             events a write [1]
  crlf              true ends event lines with CR LF [false]
  pings             a comment (OpenAI) or `ping` event (Anthropic) before every Nth content event [0: Anthropic
                    sends one after message_start]
  end               how it ends: normal, error (an error event mid-stream), close (TCP FIN without close_notify),
                    close-notify, reset (TCP RST), stall (silence until the client goes or stall_ms is over) [normal]
  after             content events sent before an `end` other than normal [half of them]
  stall_ms          [60000]

Example:  curl --cacert ca.pem https://localhost:8443/v1/chat/completions -H 'x-mock: {\"tokens\":100,\"interval_us\":5000}' \\
            -d '{\"model\":\"gpt-5\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}'";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    #[default]
    Normal,
    Error,
    Close,
    CloseNotify,
    Reset,
    Stall,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateUsage {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Framing {
    Chunked,
    Length,
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorBody {
    #[default]
    Json,
    Html,
    Empty,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptedCall {
    pub name: String,
    #[serde(default)]
    pub arguments: Value,
    #[serde(default)]
    pub id: Option<String>,
}

/// Keys are documented in [`HELP`]: the one text that users see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Directive {
    pub tokens: Option<u32>,
    pub thinking: u32,
    pub delay_us: u64,
    pub ttft_us: u64,
    pub interval_us: u64,
    pub id: Option<String>,
    pub model: Option<String>,
    pub finish_reason: Option<String>,
    pub tool_calls: Vec<ScriptedCall>,
    pub fragments: usize,
    pub input_tokens: Option<u64>,
    pub output_tokens: Option<u64>,
    pub cached_tokens: Option<u64>,
    pub cache_write_tokens: Option<u64>,
    pub reasoning_tokens: Option<u64>,
    pub usage: StateUsage,
    pub details: bool,
    pub status: u16,
    pub code: Option<String>,
    pub retry_after: Option<u64>,
    pub fail_times: Option<u32>,
    pub fallbacks: Option<u32>,
    pub body: ErrorBody,
    pub encoding: Coding,
    pub flush: bool,
    pub framing: Option<Framing>,
    pub keep_alive: bool,
    pub split: usize,
    pub batch: u32,
    pub crlf: bool,
    pub pings: u32,
    pub end: End,
    pub after: Option<u32>,
    pub stall_ms: u64,
}

impl Default for Directive {
    fn default() -> Self {
        Self {
            tokens: None,
            thinking: 0,
            delay_us: 0,
            ttft_us: 0,
            interval_us: 0,
            id: None,
            model: None,
            finish_reason: None,
            tool_calls: Vec::new(),
            fragments: 4,
            input_tokens: None,
            output_tokens: None,
            cached_tokens: None,
            cache_write_tokens: None,
            reasoning_tokens: None,
            usage: StateUsage::Auto,
            details: true,
            status: 200,
            code: None,
            retry_after: None,
            fail_times: None,
            fallbacks: None,
            body: ErrorBody::Json,
            encoding: Coding::Identity,
            flush: true,
            framing: None,
            keep_alive: true,
            split: 0,
            batch: 1,
            crlf: false,
            pings: 0,
            end: End::Normal,
            after: None,
            stall_ms: 60_000,
        }
    }
}

impl Directive {
    /// The directive of a request: its header's, else that of the last message that has one, else the default.
    pub fn of(header: Option<&str>, body: &Value) -> Result<Self, serde_json::Error> {
        if let Some(text) = header {
            return serde_json::from_str(text);
        }
        let found = last_marked(body);
        match found {
            None => Ok(Self::default()),
            // What follows the object is prompt: padding of a long one, for example.
            Some(text) => serde_json::Deserializer::from_str(text).into_iter().next().unwrap_or(Ok(Self::default())),
        }
    }

    /// Whether this attempt, the client's `retry`th repetition, is to fail.
    pub fn fails(&self, retry: u32) -> bool {
        self.status >= 400 && self.fail_times.is_none_or(|times| retry < times)
    }
}

/// The text after the marker in the last string of the body that has one: lists are searched from their end.
fn last_marked(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => after_marker(text),
        Value::Array(items) => items.iter().rev().find_map(last_marked),
        Value::Object(members) => members.values().find_map(last_marked),
        _ => None,
    }
}

fn after_marker(text: &str) -> Option<&str> {
    text.trim_start().strip_prefix("mock:")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn help_names_every_key() {
        let Value::Object(keys) = serde_json::to_value(Directive::default()).unwrap() else { panic!("an object") };
        for key in keys.keys() {
            assert!(HELP.contains(key.as_str()), "{key} is not in the help");
        }
    }

    #[test]
    fn last_message_with_a_directive_counts() {
        let body = json!({"messages": [
            {"role": "user", "content": "mock: {\"tokens\":1}"},
            {"role": "user", "content": [{"type": "text", "text": "mock: {\"tokens\":2} and a long prompt"}]},
            {"role": "assistant", "content": null},
            {"role": "tool", "content": "42"},
        ]});
        assert_eq!(Directive::of(None, &body).unwrap().tokens, Some(2));
        assert_eq!(Directive::of(Some("{\"tokens\":3}"), &body).unwrap().tokens, Some(3));
        assert_eq!(Directive::of(None, &json!({})).unwrap(), Directive::default());
    }

    #[test]
    fn unknown_key_is_an_error() {
        assert!(Directive::of(Some("{\"token\":3}"), &Value::Null).is_err());
    }

    #[test]
    fn fails_as_often_as_told() {
        let twice = Directive { status: 503, fail_times: Some(2), ..Directive::default() };
        assert!(twice.fails(0) && twice.fails(1) && !twice.fails(2));
        assert!(!Directive::default().fails(0));
    }
}
