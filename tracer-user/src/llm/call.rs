//! One model call, whatever the dialect. A field that the wire does not state is `None`: never 0, never guessed.

use std::{borrow::Cow, sync::Arc};

use crate::{
    attribution::Attributed,
    capture::Connection,
    content::Content,
    exchange::{ExchangeId, Outcome},
};

/// `gen_ai.operation.name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Chat,
    GenerateContent,
    TextCompletion,
    Embeddings,
    /// Not among the well-known values of the OpenTelemetry semantic conventions 1.41, which have none that fits.
    Rerank,
}

impl Operation {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::GenerateContent => "generate_content",
            Self::TextCompletion => "text_completion",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
        }
    }
}

/// A tool call that the answer asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ToolCall {
    pub name: String,
    pub id: Option<String>,
}

/// Parameters that the request states.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    pub model: Option<String>,
    pub max_tokens: Option<u64>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<f64>,
    pub frequency_penalty: Option<f64>,
    pub presence_penalty: Option<f64>,
    pub stop_sequences: Option<Vec<String>>,
    pub seed: Option<i64>,
    pub choice_count: Option<u64>,
    /// What the request asked for; `None` when it does not say.
    pub stream: Option<bool>,
    pub reasoning_level: Option<String>,
    pub service_tier: Option<String>,
    /// `text`, `json`, `image`, `speech` (`gen_ai.output.type`).
    pub output_type: Option<&'static str>,
    pub previous_response_id: Option<String>,
    pub conversation_id: Option<String>,
    /// The answer is not waited for: it is retrieved later.
    pub background: bool,
    pub embedding_dimensions: Option<u64>,
    /// Number of messages in the conversation as sent.
    pub messages: Option<u64>,
    /// Number of tools offered.
    pub tools: Option<u64>,
    /// SHA-256 of the system instructions, first 16 hex digits.
    pub system_prompt_hash: Option<String>,
    /// Ids of the tool calls whose results this request carries.
    pub tool_results: Vec<String>,
    /// Guardrail that the request names (`aws.bedrock.guardrail.id`).
    pub guardrail_id: Option<String>,
    /// Body size in bytes, content-decoded; of a form, of its parts' contents.
    pub body_bytes: u64,
    /// `None` when the body was not seen whole, or is a form, whose borders differ each time.
    pub fingerprint: Option<Fingerprint>,
    /// Whom it is for, as far as the request states it.
    pub attributed: Vec<Attributed>,
}

/// Tells a request that is sent again from others of the same process: the check sum (CRC-32) of host, path and body,
/// and the body's length, both content-decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    pub sum: u32,
    pub bytes: u64,
}

/// What keeps back a prompt or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// A filter of the service's own.
    Filter,
    /// A guardrail that the customer has set up.
    Guardrail,
}

/// What the response states.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Response {
    pub status: Option<u16>,
    pub model: Option<String>,
    pub id: Option<String>,
    /// The provider's own strings, by choice index.
    pub finish_reasons: Vec<String>,
    pub tool_calls: Vec<ToolCall>,
    /// A part of the answer says itself that it is a refusal.
    pub refused: bool,
    /// What stood in the way of prompt or answer, as the service says beside the finish reason.
    pub withheld: Option<Withheld>,
    /// The body was a stream (SSE, NDJSON, …).
    pub streamed: bool,
    /// The tier that served the call, as stated: `flex`, `priority`, `batch`, ….
    pub service_tier: Option<String>,
    /// Anthropic's `usage.speed`: `fast` has a price of its own.
    pub speed: Option<String>,
    pub system_fingerprint: Option<String>,
    pub request_id: Option<String>,
    pub processing_ms: Option<f64>,
    pub rate_limits: RateLimits,
    /// Mean of the natural logarithms of the probabilities that the answer states for its tokens: at most 0.
    pub logprob_mean: Option<f64>,
    /// Where the provider says that it worked, if that has a price of its own (Anthropic `inference_geo`).
    pub geography: Option<String>,
}

/// Rate-limit headers as the provider states them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RateLimits {
    pub requests: RateLimit,
    pub tokens: RateLimit,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct RateLimit {
    pub limit: Option<u64>,
    pub remaining: Option<u64>,
    /// As on the wire: `6ms`, `1s`, or an RFC 3339 time.
    pub reset: Option<String>,
}

/// Tokens, normalised: `input` includes cached reads and writes, `output` includes reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub input: Option<u64>,
    pub output: Option<u64>,
    pub cache_read: Option<u64>,
    pub cache_write: Option<u64>,
    /// The part of `cache_write` with a life of one hour (Anthropic `ephemeral_1h_input_tokens`).
    pub cache_write_1h: Option<u64>,
    pub reasoning: Option<u64>,
    /// The parts of `input` by what was sent, as far as they are stated. Cached tokens are in them, too.
    pub input_text: Option<u64>,
    pub input_audio: Option<u64>,
    pub input_image: Option<u64>,
    pub input_video: Option<u64>,
    /// The parts of `cache_read`, likewise.
    pub cache_read_text: Option<u64>,
    pub cache_read_audio: Option<u64>,
    pub cache_read_image: Option<u64>,
    /// The parts of `output`, likewise.
    pub output_text: Option<u64>,
    pub output_audio: Option<u64>,
    pub output_image: Option<u64>,
    /// Length of the audio that was read or made, in milliseconds, where that is what is billed.
    pub audio_ms: Option<u64>,
    /// Pictures that were made, where they are what is billed.
    pub images: Option<u64>,
    /// Runs of tools of the service itself that have a fee.
    pub web_searches: Option<u64>,
    pub file_searches: Option<u64>,
    /// What a reranker bills by (Cohere `billed_units.search_units`).
    pub search_units: Option<u64>,
}

/// What a call took beside its own [`Usage`], perhaps of another model: an advisor, the compaction of the context. It is
/// billed with the call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Aside {
    /// `None`: the model of the call.
    pub model: Option<String>,
    pub usage: Usage,
}

/// What pays for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Billing {
    /// Its tokens, as far as anything is known.
    #[default]
    Metered,
    /// A subscription: nothing is billed for the single call.
    Subscription,
}

/// Why a call failed, in the provider's own terms. Never payload text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// `error.type`: the provider's code, else its type or status, else the HTTP status, else `_OTHER`; `timeout`,
    /// `connection_reset`, `cancelled` for what ended without an answer.
    pub kind: Cow<'static, str>,
}

/// Nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// First request byte handed to TLS.
    pub start: u64,
    /// Last request byte handed to TLS.
    pub request_end: Option<u64>,
    /// First response byte given to the application.
    pub first_byte: Option<u64>,
    /// First data event of a stream: not a comment, not a ping.
    pub first_chunk: Option<u64>,
    /// First event with content: text, reasoning or a tool call.
    pub first_token: Option<u64>,
    pub last_token: Option<u64>,
    /// Last response byte, or what ended the exchange.
    pub end: u64,
}

/// Upper bounds, in nanoseconds, by which pauses between data events are counted: those of the durations in the
/// OpenTelemetry semantic conventions for generative AI.
pub const GAP_BOUNDS: [u64; 14] = {
    let mut bounds = [10_000_000; 14];
    let mut at = 1;
    while at < bounds.len() {
        bounds[at] = bounds[at - 1] * 2;
        at += 1;
    }
    bounds
};

/// Pace of a stream's data events.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Chunks {
    pub count: u64,
    /// Nanoseconds between neighbouring data events.
    pub gap_max: Option<u64>,
    pub gap_p95: Option<u64>,
    /// All pauses together, in nanoseconds.
    pub gap_sum: u64,
    /// Number of pauses up to each of [`GAP_BOUNDS`] and above the bound before; the last is of those above all.
    pub gaps: [u32; GAP_BOUNDS.len() + 1],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Completeness {
    #[default]
    Full,
    Partial,
    HeadersOnly,
}

/// W3C trace context of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    pub flags: u8,
    pub state: Option<String>,
}

/// A call as it is handed on: it is large.
pub type EndedCall = Box<LlmCall>;

/// One attempt of one model call, as it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct LlmCall {
    pub id: ExchangeId,
    pub connection: Arc<Connection>,
    /// `gen_ai.provider.name`.
    pub provider: Cow<'static, str>,
    pub operation: Operation,
    /// `chat_completions` or `responses` (`openai.api.type`), for OpenAI's own shapes.
    pub api_type: Option<&'static str>,
    /// Host of the request, without port.
    pub server_address: Option<String>,
    pub server_port: Option<u16>,
    /// `1.0`, `1.1`, `2`.
    pub protocol_version: &'static str,
    pub request: Request,
    pub response: Response,
    pub usage: Usage,
    pub asides: Vec<Aside>,
    /// Cost that the provider states, in USD.
    pub provider_cost: Option<f64>,
    /// A gateway says whether its own cache answered.
    pub cache_hit: Option<bool>,
    /// A gateway says whether another model or service than the first one answered.
    pub fallback: Option<bool>,
    pub billing: Billing,
    pub error: Option<CallError>,
    pub times: Times,
    pub chunks: Chunks,
    pub completeness: Completeness,
    pub lost_bytes: Option<u64>,
    /// The client or the network ended the stream before its end.
    pub aborted: bool,
    pub outcome: Outcome,
    /// Attempt number from `x-stainless-retry-count` + 1.
    pub attempt: Option<u64>,
    pub trace_parent: Option<TraceParent>,
    /// What was asked and answered; `None` unless somebody wants it.
    pub content: Option<Box<Content>>,
}
