//! Makes spans: one per call seen on the wire, and those that are concluded from several calls.

use std::{borrow::Cow, sync::Arc};

use super::{
    ids::{Ids, Purpose, SpanId, TraceId},
    record::{Kind, Parent, SAMPLED, SpanRecord, Status, Value},
    resource::{Host, Resource, Resources},
    semconv::{self, Release},
};
use crate::{
    agent::{CallRef, Place, ToolRun, Turn},
    attempts::Repetition,
    capture::{Connection, Process},
    exchange::ExchangeId,
    llm::{
        LlmCall,
        call::{Completeness, RateLimit, TraceParent, Usage},
    },
    price::Cost,
};

mod hops;

const NANOS_PER_SECOND: f64 = 1e9;

/// Turns calls into spans. Holds the resources of the traced processes, and nothing of the calls.
#[derive(Debug)]
pub struct Synth {
    ids: Ids,
    resources: Resources,
    /// Whether the total cost is repeated as `gen_ai.usage.cost`.
    cost_alias: bool,
    release: Release,
}

impl Synth {
    pub fn new(ids: Ids, host: Host) -> Self {
        Self { ids, resources: Resources::new(host), cost_alias: true, release: Release::default() }
    }

    pub fn without_cost_alias(mut self) -> Self {
        self.cost_alias = false;
        self
    }

    /// Names attributes as this release of the conventions does.
    pub fn set_release(&mut self, release: Release) {
        self.release = release;
    }

    /// A traced process was seen, or has replaced its image.
    pub fn process(&mut self, process: &Arc<Process>) {
        self.resources.process(process);
    }

    /// The resource of the process that holds `connection`.
    pub fn resource(&mut self, connection: &Connection) -> Arc<Resource> {
        self.resources.of(connection)
    }

    /// The span of one call. `place` is where in an agent's work it belongs.
    pub fn call(&mut self, call: &LlmCall, place: Option<&Place>, cost: Option<&Cost>) -> SpanRecord {
        let (trace_id, span_id) = self.ids.call(&call.connection, call.id);
        let context = self.placed(call.trace_parent.as_ref(), place, trace_id);
        let name = match &call.request.model {
            Some(model) => Cow::Owned(format!("{} {model}", call.operation.as_str())),
            None => Cow::Borrowed(call.operation.as_str()),
        };
        SpanRecord {
            trace_id: context.trace_id,
            span_id,
            parent: context.parent,
            flags: context.flags,
            trace_state: context.state,
            name,
            kind: Kind::Client,
            start: call.times.start,
            end: call.times.end.max(call.times.start),
            status: if call.error.is_some() { Status::Error } else { Status::Unset },
            attributes: self.named(call, call_attributes(call, cost, self.cost_alias)),
            links: Vec::new(),
            resource: self.resources.of(&call.connection),
        }
    }

    /// Says of the span of a call what it repeats.
    pub fn repetition(&self, span: &mut SpanRecord, repetition: Repetition) {
        let mut attributes = Attributes(std::mem::take(&mut span.attributes));
        attributes.set(semconv::RETRY_REASON, repetition.reason);
        attributes.seconds(semconv::RETRY_WASTED_TIME, Some(repetition.wasted_time));
        attributes.number(semconv::RETRY_WASTED_COST, repetition.wasted_cost);
        span.attributes = attributes.0;
        span.links.push(repetition.first);
    }

    /// Says of the span of a call that its process tells of it itself.
    pub fn told_twice(&self, span: &mut SpanRecord) {
        span.attributes.push((semconv::OWN_TELEMETRY, true.into()));
    }

    /// The span of one tool's run: what the traced program did between the answer that asks and the request that tells.
    pub fn tool(&mut self, run: &ToolRun) -> SpanRecord {
        let asked_by = &run.asked_by;
        let context = self.tool_context(asked_by, run.turn.as_ref());
        let mut attributes = Attributes::default();
        attributes.set(semconv::OPERATION_NAME, "execute_tool");
        attributes.set(semconv::TOOL_NAME, run.name.clone());
        attributes.set(semconv::TOOL_CALL_ID, run.id.clone());
        attributes.set(semconv::SYNTHESIZED, true);
        SpanRecord {
            trace_id: context.trace_id,
            span_id: self.ids.span(&asked_by.connection, asked_by.id, Purpose::Tool(run.number)),
            parent: context.parent,
            flags: context.flags,
            trace_state: context.state,
            name: Cow::Owned(format!("execute_tool {}", run.name)),
            kind: Kind::Internal,
            start: run.start,
            end: run.end.max(run.start),
            status: Status::Unset,
            attributes: attributes.0,
            links: Vec::new(),
            resource: self.resources.of(&asked_by.connection),
        }
    }

    /// The root of one agent turn.
    pub fn turn(&mut self, turn: &Turn) -> SpanRecord {
        let first = &turn.first;
        let mut attributes = Attributes::default();
        attributes.set(semconv::OPERATION_NAME, "invoke_agent");
        attributes.set(semconv::PROVIDER_NAME, turn.provider.clone());
        attributes.set(semconv::SYNTHESIZED, true);
        SpanRecord {
            trace_id: self.ids.trace(&first.connection, first.id),
            span_id: self.ids.span(&first.connection, first.id, Purpose::Turn),
            parent: None,
            flags: SAMPLED,
            trace_state: None,
            name: Cow::Borrowed("invoke_agent"),
            kind: Kind::Internal,
            start: turn.start,
            end: turn.end.max(turn.start),
            status: Status::Unset,
            attributes: attributes.0,
            links: Vec::new(),
            resource: self.resources.of(&first.connection),
        }
    }

    /// The attributes of a call as the release of the conventions names them.
    fn named(&self, call: &LlmCall, attributes: Vec<(&'static str, Value)>) -> Vec<(&'static str, Value)> {
        if self.release == Release::Core {
            return attributes;
        }
        let mut attributes = Attributes(attributes);
        attributes.0.iter_mut().for_each(|(name, _)| *name = self.release.name(name));
        kinds_of_tokens(&mut attributes, &call.usage);
        attributes.0
    }

    /// Where the span of what a process did hangs: under its own `traceparent`, else in its place, else alone.
    fn placed(&self, trace_parent: Option<&TraceParent>, place: Option<&Place>, own: TraceId) -> Context {
        match place {
            Some(Place::Tool { asked_by, turn, number, .. }) if trace_parent.is_none() => {
                let span_id = self.ids.span(&asked_by.connection, asked_by.id, Purpose::Tool(*number));
                let parent = Some(Parent { span_id, remote: false });
                Context { parent, ..self.tool_context(asked_by, turn.as_ref()) }
            }
            // A turn that begins under a `traceparent` has no root of ours: all of it hangs there.
            Some(Place::Turn(first)) => {
                let rooted = first.trace_parent.is_none().then_some(first);
                let trace_parent = trace_parent.or(first.trace_parent.as_ref());
                self.context(trace_parent, rooted, || self.ids.trace(&first.connection, first.id))
            }
            _ => self.context(trace_parent, None, || own),
        }
    }

    fn tool_context(&self, asked_by: &CallRef, turn: Option<&CallRef>) -> Context {
        let first = turn.unwrap_or(asked_by);
        self.context(asked_by.trace_parent.as_ref(), turn, || self.ids.trace(&first.connection, first.id))
    }

    /// Where a span hangs: under the request's own `traceparent`, else under the root of its turn, else alone.
    fn context(
        &self,
        trace_parent: Option<&TraceParent>,
        turn: Option<&CallRef>,
        own: impl FnOnce() -> TraceId,
    ) -> Context {
        if let Some(parent) = trace_parent {
            return Context {
                trace_id: TraceId(parent.trace_id),
                parent: Some(Parent { span_id: SpanId(parent.span_id), remote: true }),
                flags: parent.flags,
                state: parent.state.clone(),
            };
        }
        let parent = turn
            .map(|first| Parent { span_id: self.ids.span(&first.connection, first.id, Purpose::Turn), remote: false });
        Context { trace_id: own(), parent, flags: SAMPLED, state: None }
    }
}

struct Context {
    trace_id: TraceId,
    parent: Option<Parent>,
    flags: u8,
    state: Option<String>,
}

/// Output tokens per second of their making. They are made from the first visible token on; but hidden reasoning and
/// whole answers are made out of sight, so there the time runs from the end of the request. `None` when tokens or times
/// are not known, or no time passed.
pub fn tokens_per_second(call: &LlmCall) -> Option<f64> {
    let tokens = call.usage.output.filter(|tokens| *tokens > 0)?;
    let times = &call.times;
    let end = if call.response.streamed { times.last_token? } else { times.end };
    let visible = call.response.streamed && call.usage.reasoning.unwrap_or(0) == 0;
    let from = |start: Option<u64>| end.checked_sub(start?).filter(|nanos| *nanos > 0);
    let nanos = visible.then(|| from(times.first_token)).flatten().or_else(|| from(times.request_end))?;
    Some(tokens as f64 / (nanos as f64 / NANOS_PER_SECOND))
}

#[derive(Default)]
struct Attributes(Vec<(&'static str, Value)>);

impl Attributes {
    fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.push((name, value.into()));
    }

    fn maybe(&mut self, name: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// JSON has no infinity and no NaN, and neither says anything.
    fn number(&mut self, name: &'static str, value: Option<f64>) {
        self.maybe(name, value.filter(|number| number.is_finite()));
    }

    fn seconds(&mut self, name: &'static str, nanos: Option<u64>) {
        self.number(name, nanos.map(|nanos| nanos as f64 / NANOS_PER_SECOND));
    }

    /// Time from `start` to `end`; absent when one is not known or they are out of order.
    fn span(&mut self, name: &'static str, start: Option<u64>, end: Option<u64>) {
        self.seconds(name, start.zip(end).and_then(|(start, end)| end.checked_sub(start)));
    }

    fn texts(&mut self, name: &'static str, texts: &[String]) {
        if !texts.is_empty() {
            self.set(name, texts.to_vec());
        }
    }
}

fn call_attributes(call: &LlmCall, cost: Option<&Cost>, cost_alias: bool) -> Vec<(&'static str, Value)> {
    let mut attributes = Attributes(Vec::with_capacity(48));
    attributes.set(semconv::OPERATION_NAME, call.operation.as_str());
    attributes.set(semconv::PROVIDER_NAME, call.provider.clone());
    request(&mut attributes, call);
    response(&mut attributes, call);
    transport(&mut attributes, call);
    if let Some(cost) = cost {
        self::cost(&mut attributes, cost, cost_alias);
    }
    times(&mut attributes, call);
    provenance(&mut attributes, call);
    attributes.0
}

fn request(attributes: &mut Attributes, call: &LlmCall) {
    let request = &call.request;
    attributes.maybe(semconv::REQUEST_MODEL, request.model.clone());
    attributes.maybe(semconv::REQUEST_MAX_TOKENS, request.max_tokens);
    attributes.number(semconv::REQUEST_TEMPERATURE, request.temperature);
    attributes.number(semconv::REQUEST_TOP_P, request.top_p);
    attributes.number(semconv::REQUEST_TOP_K, request.top_k);
    attributes.number(semconv::REQUEST_FREQUENCY_PENALTY, request.frequency_penalty);
    attributes.number(semconv::REQUEST_PRESENCE_PENALTY, request.presence_penalty);
    attributes.maybe(semconv::REQUEST_STOP_SEQUENCES, request.stop_sequences.clone());
    attributes.maybe(semconv::REQUEST_SEED, request.seed);
    attributes.maybe(semconv::REQUEST_CHOICE_COUNT, request.choice_count);
    // Some APIs ask for a stream by path alone; an answer that streams shows that it was asked for.
    let stream = if call.response.streamed { Some(true) } else { request.stream };
    attributes.maybe(semconv::REQUEST_STREAM, stream);
    attributes.maybe(semconv::REQUEST_REASONING_LEVEL, request.reasoning_level.clone());
    attributes.maybe(semconv::REQUEST_PREVIOUS_RESPONSE_ID, request.previous_response_id.clone());
    attributes.maybe(semconv::OUTPUT_TYPE, request.output_type);
    attributes.maybe(semconv::CONVERSATION_ID, request.conversation_id.clone());
    attributes.maybe(semconv::EMBEDDINGS_DIMENSION_COUNT, request.embedding_dimensions);
    attributes.maybe(semconv::SYSTEM_PROMPT_HASH, request.system_prompt_hash.clone());
    attributes.maybe(semconv::TOOLS_COUNT, request.tools);
    attributes.maybe(semconv::MESSAGES_COUNT, request.messages);
    attributes.maybe(semconv::AWS_BEDROCK_GUARDRAIL_ID, request.guardrail_id.clone());
}

fn response(attributes: &mut Attributes, call: &LlmCall) {
    let response = &call.response;
    attributes.maybe(semconv::RESPONSE_ID, response.id.clone());
    attributes.maybe(semconv::RESPONSE_MODEL, response.model.clone());
    attributes.texts(semconv::RESPONSE_FINISH_REASONS, &response.finish_reasons);
    attributes.maybe(semconv::USAGE_INPUT_TOKENS, call.usage.input);
    attributes.maybe(semconv::USAGE_OUTPUT_TOKENS, call.usage.output);
    attributes.maybe(semconv::USAGE_CACHE_READ_INPUT_TOKENS, call.usage.cache_read);
    attributes.maybe(semconv::USAGE_CACHE_CREATION_INPUT_TOKENS, call.usage.cache_write);
    attributes.maybe(semconv::USAGE_REASONING_OUTPUT_TOKENS, call.usage.reasoning);
    attributes.number(semconv::RESPONSE_LOGPROB_MEAN, response.logprob_mean);
    let names: Vec<String> = response.tool_calls.iter().map(|tool| tool.name.clone()).collect();
    attributes.texts(semconv::TOOL_CALLS_NAMES, &names);
    if response.tool_calls.iter().any(|tool| tool.id.is_some()) {
        let ids = response.tool_calls.iter().map(|tool| tool.id.clone().unwrap_or_default()).collect();
        attributes.set(semconv::TOOL_CALLS_IDS, Value::Texts(ids));
    }
    // Other providers have service tiers too; these names are OpenAI's.
    attributes.maybe(semconv::OPENAI_API_TYPE, call.api_type);
    if call.api_type.is_some() || matches!(&*call.provider, "openai" | "azure.ai.openai") {
        attributes.maybe(semconv::OPENAI_REQUEST_SERVICE_TIER, call.request.service_tier.clone());
        attributes.maybe(semconv::OPENAI_RESPONSE_SERVICE_TIER, response.service_tier.clone());
        attributes.maybe(semconv::OPENAI_RESPONSE_SYSTEM_FINGERPRINT, response.system_fingerprint.clone());
    }
}

/// Tokens by kind of content, as far as the answer states them: names of the newer release.
fn kinds_of_tokens(attributes: &mut Attributes, usage: &Usage) {
    for (name, tokens) in [
        (semconv::USAGE_TEXT_INPUT_TOKENS, usage.input_text),
        (semconv::USAGE_AUDIO_INPUT_TOKENS, usage.input_audio),
        (semconv::USAGE_IMAGE_INPUT_TOKENS, usage.input_image),
        (semconv::USAGE_TEXT_CACHE_READ_INPUT_TOKENS, usage.cache_read_text),
        (semconv::USAGE_AUDIO_CACHE_READ_INPUT_TOKENS, usage.cache_read_audio),
        (semconv::USAGE_IMAGE_CACHE_READ_INPUT_TOKENS, usage.cache_read_image),
        (semconv::USAGE_TEXT_OUTPUT_TOKENS, usage.output_text),
        (semconv::USAGE_AUDIO_OUTPUT_TOKENS, usage.output_audio),
        (semconv::USAGE_IMAGE_OUTPUT_TOKENS, usage.output_image),
    ] {
        attributes.maybe(name, tokens);
    }
}

fn transport(attributes: &mut Attributes, call: &LlmCall) {
    let response = &call.response;
    attributes.maybe(semconv::SERVER_ADDRESS, call.server_address.clone());
    attributes.maybe(semconv::SERVER_PORT, call.server_port);
    attributes.maybe(semconv::HTTP_RESPONSE_STATUS_CODE, response.status);
    attributes.set(semconv::NETWORK_PROTOCOL_VERSION, call.protocol_version);
    attributes.maybe(semconv::ERROR_TYPE, call.error.as_ref().map(|error| error.kind.clone()));
    attributes.maybe(semconv::PROVIDER_REQUEST_ID, response.request_id.clone());
    attributes.number(semconv::PROVIDER_PROCESSING_MS, response.processing_ms);
    attributes.maybe(semconv::CACHE_HIT, call.cache_hit);
    attributes.maybe(semconv::FALLBACK, call.fallback);
    let mut rate_limit = |limit: &RateLimit, names: [&'static str; 3]| {
        attributes.maybe(names[0], limit.limit);
        attributes.maybe(names[1], limit.remaining);
        attributes.maybe(names[2], limit.reset.clone());
    };
    rate_limit(
        &response.rate_limits.requests,
        [semconv::RATELIMIT_REQUESTS_LIMIT, semconv::RATELIMIT_REQUESTS_REMAINING, semconv::RATELIMIT_REQUESTS_RESET],
    );
    rate_limit(
        &response.rate_limits.tokens,
        [semconv::RATELIMIT_TOKENS_LIMIT, semconv::RATELIMIT_TOKENS_REMAINING, semconv::RATELIMIT_TOKENS_RESET],
    );
}

fn cost(attributes: &mut Attributes, cost: &Cost, alias: bool) {
    attributes.number(semconv::COST_TOTAL, Some(cost.total));
    if alias {
        attributes.number(semconv::USAGE_COST, Some(cost.total));
    }
    attributes.number(semconv::COST_INPUT, cost.input);
    attributes.number(semconv::COST_OUTPUT, cost.output);
    attributes.number(semconv::COST_CACHE_READ, cost.cache_read);
    attributes.number(semconv::COST_CACHE_WRITE, cost.cache_write);
    attributes.set(semconv::COST_SOURCE, cost.source.as_str());
    attributes.maybe(semconv::COST_CURRENCY, cost.currency.map(|currency| currency.as_str().to_owned()));
    attributes.maybe(semconv::PRICE_VERSION, cost.version.clone());
}

fn times(attributes: &mut Attributes, call: &LlmCall) {
    let times = &call.times;
    attributes.span(semconv::TIME_UPLOAD, Some(times.start), times.request_end);
    attributes.span(semconv::TIME_WAIT, times.request_end, times.first_byte);
    attributes.span(semconv::RESPONSE_TIME_TO_FIRST_CHUNK, Some(times.start), times.first_chunk);
    attributes.span(semconv::TIME_FIRST_TOKEN, times.request_end, times.first_token);
    attributes.span(semconv::TIME_GENERATION, times.first_token, times.last_token);
    if call.response.streamed {
        attributes.set(semconv::CHUNK_COUNT, call.chunks.count);
        attributes.seconds(semconv::CHUNK_GAP_MAX, call.chunks.gap_max);
        attributes.seconds(semconv::CHUNK_GAP_P95, call.chunks.gap_p95);
    }
    attributes.number(semconv::TOKENS_PER_SECOND, tokens_per_second(call));
}

fn provenance(attributes: &mut Attributes, call: &LlmCall) {
    completeness(attributes, call.completeness, call.lost_bytes);
    attributes.maybe(semconv::ATTEMPT, call.attempt);
    attributes.maybe(semconv::ABORTED, call.aborted.then_some(true));
    connection(attributes, &call.connection, call.id);
    for attributed in &call.request.attributed {
        attributes.set(attributed.name, Arc::clone(&attributed.value));
    }
}

fn completeness(attributes: &mut Attributes, completeness: Completeness, lost_bytes: Option<u64>) {
    let text = match completeness {
        Completeness::Full => "full",
        Completeness::Partial => "partial",
        Completeness::HeadersOnly => "headers_only",
    };
    attributes.set(semconv::COMPLETENESS, text);
    if completeness != Completeness::Full {
        attributes.maybe(semconv::LOST_BYTES, lost_bytes);
    }
}

fn connection(attributes: &mut Attributes, connection: &Connection, id: ExchangeId) {
    attributes.set(semconv::CONNECTION_ID, Arc::clone(&connection.id));
    attributes.set(semconv::EXCHANGE_INDEX, id.index);
    attributes.maybe(semconv::TLS_LIBRARY, connection.tls.clone());
}

#[cfg(test)]
mod tests;
