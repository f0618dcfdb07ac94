//! Every metric that llmtap emits.

use super::Origin;

/// Bounds of durations, in seconds.
pub const DURATION_BOUNDS: [f64; 14] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];

/// Bounds of token counts.
pub const TOKEN_BOUNDS: [f64; 14] = [
    1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0,
    67108864.0,
];

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Counter,
    UpDownCounter,
    Gauge,
    /// With the upper bounds, inclusive, of all buckets but the last.
    Histogram(&'static [f64; 14]),
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Place in [`Metric::ALL`].
    pub index: usize,
    pub origin: Origin,
    pub name: &'static str,
    pub kind: Kind,
    /// UCUM.
    pub unit: &'static str,
    /// Its values are whole numbers.
    pub whole: bool,
    pub brief: &'static str,
}

const DURATION: Kind = Kind::Histogram(&DURATION_BOUNDS);
const TOKENS: Kind = Kind::Histogram(&TOKEN_BOUNDS);
const COUNTER: Kind = Kind::Counter;
const UP_DOWN: Kind = Kind::UpDownCounter;
const GAUGE: Kind = Kind::Gauge;

macro_rules! metrics {
    ($($origin:ident $constant:ident = $name:literal, $kind:ident, $unit:literal, $whole:literal, $brief:literal;)*) => {
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "only to number the constants")]
        enum Place { $($constant),* }

        $(#[doc = $brief] pub const $constant: Metric = Metric {
            index: Place::$constant as usize,
            origin: Origin::$origin,
            name: $name,
            kind: $kind,
            unit: $unit,
            whole: $whole,
            brief: $brief,
        };)*

        impl Metric {
            /// All metrics, in the order in which they are told.
            pub const ALL: &[Self] = &[$($constant),*];
        }
    };
}

metrics! {
    Core OPERATION_DURATION = "gen_ai.client.operation.duration", DURATION, "s", false,
        "Duration of a call, from the first request byte to the last response byte";
    Core TOKEN_USAGE = "gen_ai.client.token.usage", TOKENS, "{token}", true,
        "Tokens of a call that its answer states; input includes cached tokens, output includes reasoning";
    Core TIME_TO_FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk", DURATION, "s", false,
        "Time from the first request byte to the first data event of a stream";
    Core TIME_PER_OUTPUT_CHUNK = "gen_ai.client.operation.time_per_output_chunk", DURATION, "s", false,
        "Time between neighbouring data events of a stream";
    Own TIME_TO_FIRST_TOKEN = "llmtap.client.time_to_first_token", DURATION, "s", false,
        "Time from the last request byte to the first event of a stream that carries content";
    Own COST = "llmtap.client.cost", COUNTER, "{USD}", false,
        "What calls cost, in USD unless llmtap.cost.currency says otherwise; list prices of calls that nobody bills are not in it";
    Own TOKENS_CACHED = "llmtap.client.tokens.cached", COUNTER, "{token}", true,
        "Input tokens that were read from the provider's cache";
    Own TOKENS_REASONING = "llmtap.client.tokens.reasoning", COUNTER, "{token}", true,
        "Output tokens that are reasoning";
    Own ERRORS = "llmtap.client.errors", COUNTER, "{call}", true,
        "Calls that failed";
    Own RETRIES = "llmtap.client.retries", COUNTER, "{call}", true,
        "Calls that repeat one that failed";
    Own ABORTED = "llmtap.client.aborted", COUNTER, "{call}", true,
        "Calls whose answer was cut off by the client or the network";
    Own FALLBACKS = "llmtap.client.fallbacks", COUNTER, "{call}", true,
        "Calls for which a gateway went on to another model or service";
    Own FINISH_REASONS = "llmtap.client.finish_reasons", COUNTER, "{choice}", true,
        "Choices of answers by the reason why they end";
    Own TOOL_CALLS = "llmtap.client.tool_calls", COUNTER, "{call}", true,
        "Tool calls that answers ask for";
    Own TOOL_ROUND_TRIP = "llmtap.tool.round_trip", DURATION, "s", false,
        "Time from the answer that asks for a tool to the request that carries its result: an upper bound of the tool's run";
    Own MODEL_CHANGES = "llmtap.client.model_changes", COUNTER, "{change}", true,
        "Times that a requested model began to be answered by another response model";
    Own SYSTEM_PROMPT_CHANGES = "llmtap.client.system_prompt_changes", COUNTER, "{change}", true,
        "Times that a service began to send a model a system prompt that it had not sent before";
    Own REFUSALS = "llmtap.client.refusals", COUNTER, "{call}", true,
        "Calls that a model, a filter or a guardrail refused to answer, by kind";
    Own LIMITS = "llmtap.client.limits", COUNTER, "{call}", true,
        "Calls that a service did not take: too many, not paid for, or too busy";
    Own STRUCTURED_OUTPUTS = "llmtap.client.structured_outputs", COUNTER, "{call}", true,
        "Calls whose request states a JSON schema, by whether the answer keeps to it";
    Own OBSERVATIONS = "llmtap.client.observations", COUNTER, "{call}", true,
        "Calls in whose texts a rule hit, by rule and place";
    Own ACTIVE_REQUESTS = "llmtap.client.active_requests", UP_DOWN, "{call}", true,
        "Calls that have begun and not ended";
    Own RATELIMIT_REMAINING = "llmtap.ratelimit.remaining", GAUGE, "{unit}", true,
        "Requests or tokens that the provider says are left";

    Own SELF_EVENTS = "llmtap.self.events", COUNTER, "{event}", true,
        "Events that came from the kernel or a capture file";
    Own SELF_EVENTS_LOST = "llmtap.self.events.lost", COUNTER, "{event}", true,
        "Events that were lost in the kernel, by cause";
    Own SELF_BYTES = "llmtap.self.bytes", COUNTER, "By", true,
        "Plaintext that was read";
    Own SELF_BYTES_LOST = "llmtap.self.bytes.lost", COUNTER, "By", true,
        "Plaintext that is known to be missing";
    Own SELF_BYTES_UNREAD = "llmtap.self.bytes.unread", COUNTER, "By", true,
        "Plaintext that was not copied, since nobody would have read it";
    Own SELF_UNWATCHED = "llmtap.self.unwatched", COUNTER, "{occasion}", true,
        "Occasions on which a traced process may have spoken before hooks stopped it, by reason";
    Own SELF_CONNECTIONS = "llmtap.self.connections", UP_DOWN, "{connection}", true,
        "Connections that are tracked";
    Own SELF_CONNECTIONS_UNTRACED = "llmtap.self.connections.untraced", COUNTER, "{connection}", true,
        "Connections that carried what is not decoded, or were given up, by reason";
    Own SELF_CALLS_REFUSED = "llmtap.self.calls.refused", COUNTER, "{call}", true,
        "Calls that were not followed because too many were open";
    Own SELF_CALLS_UNPRICED = "llmtap.self.calls.unpriced", COUNTER, "{call}", true,
        "Calls that got no cost for want of a price";
    Own SELF_MODELS_UNPRICED = "llmtap.self.models.unpriced", UP_DOWN, "{model}", true,
        "Models, tiers and fees without a price that calls asked for";
    Own SELF_SPANS_EXPORTED = "llmtap.self.spans.exported", COUNTER, "{span}", true,
        "Spans that the OTLP endpoint took";
    Own SELF_SPANS_DROPPED = "llmtap.self.spans.dropped", COUNTER, "{span}", true,
        "Spans that the OTLP endpoint did not get or did not take";
    Own SELF_SPANS_SAMPLED_OUT = "llmtap.self.spans.sampled_out", COUNTER, "{span}", true,
        "Spans that sampling kept from the OTLP endpoint, by reason: no loss";
    Own SELF_QUEUE_LENGTH = "llmtap.self.queue.length", UP_DOWN, "{span}", true,
        "Spans that wait for export";
    Own SELF_MEMORY = "llmtap.self.memory", UP_DOWN, "By", true,
        "Resident memory of llmtap's halves";
    Own SELF_ATTACH_FAILURES = "llmtap.self.attach.failures", COUNTER, "{file}", true,
        "Files whose hooks the kernel refused";
    Own SELF_PROCESSES = "llmtap.self.processes", UP_DOWN, "{process}", true,
        "Traced processes with TLS code, by TLS library and by doctor's verdict on it";
}
