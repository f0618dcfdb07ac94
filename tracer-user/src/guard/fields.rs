//! Which fields of a hop are texts that somebody else wrote and that are told.

use std::borrow::Cow;

use crate::{
    carrier::Carrier,
    llm::{
        LlmCall,
        call::{Aside, CallError, RateLimit, RateLimits, Request, Response, ToolCall},
    },
    mcp::{self, Id},
    retrieval::Retrieval,
};

/// A text that can be replaced.
pub trait Text {
    fn as_text(&self) -> &str;
    fn replace(&mut self, text: String);
}

impl Text for String {
    fn as_text(&self) -> &str {
        self
    }

    fn replace(&mut self, text: String) {
        *self = text;
    }
}

impl Text for Cow<'static, str> {
    fn as_text(&self) -> &str {
        self
    }

    fn replace(&mut self, text: String) {
        *self = Cow::Owned(text);
    }
}

/// Where a text comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// In call after call: names of models, tools and hosts, reasons.
    Common,
    /// In one call, or in few: ids above all.
    Own,
}

type See<'a> = &'a mut dyn FnMut(&mut dyn Text, Use);

/// Contents are the teller's, and what attribution found has rules of its own.
pub fn model_call(call: &mut LlmCall, see: See<'_>) {
    let LlmCall {
        id: _,
        connection: _,
        provider,
        operation: _,
        api_type: _,
        server_address,
        server_port: _,
        protocol_version: _,
        request,
        response,
        usage: _,
        asides,
        provider_cost: _,
        cache_hit: _,
        fallback: _,
        billing: _,
        error,
        times: _,
        chunks: _,
        completeness: _,
        lost_bytes: _,
        aborted: _,
        outcome: _,
        attempt: _,
        trace_parent: _,
        content: _,
    } = call;
    see(provider, Use::Common);
    all(server_address, Use::Common, see);
    asked(request, see);
    answered(response, see);
    for Aside { model, usage: _ } in asides {
        all(model, Use::Common, see);
    }
    failed(error, see);
}

fn asked(request: &mut Request, see: See<'_>) {
    let Request {
        model,
        max_tokens: _,
        temperature: _,
        top_p: _,
        top_k: _,
        frequency_penalty: _,
        presence_penalty: _,
        stop_sequences,
        seed: _,
        choice_count: _,
        stream: _,
        reasoning_level,
        service_tier,
        output_type: _,
        previous_response_id,
        conversation_id,
        background: _,
        embedding_dimensions: _,
        messages: _,
        tools: _,
        system_prompt_hash: _,
        tool_results,
        guardrail_id,
        body_bytes: _,
        fingerprint: _,
        attributed: _,
    } = request;
    for text in [model, reasoning_level, service_tier, guardrail_id] {
        all(text, Use::Common, see);
    }
    for text in [previous_response_id, conversation_id] {
        all(text, Use::Own, see);
    }
    all(stop_sequences.iter_mut().flatten(), Use::Common, see);
    all(tool_results, Use::Own, see);
}

fn answered(response: &mut Response, see: See<'_>) {
    let Response {
        status: _,
        model,
        id,
        finish_reasons,
        tool_calls,
        refused: _,
        withheld: _,
        streamed: _,
        service_tier,
        speed,
        system_fingerprint,
        request_id,
        processing_ms: _,
        rate_limits,
        logprob_mean: _,
        geography,
    } = response;
    for text in [model, service_tier, speed, system_fingerprint, geography] {
        all(text, Use::Common, see);
    }
    for text in [id, request_id] {
        all(text, Use::Own, see);
    }
    all(finish_reasons, Use::Common, see);
    for ToolCall { name, id } in tool_calls {
        see(name, Use::Common);
        all(id, Use::Own, see);
    }
    let RateLimits { requests, tokens } = rate_limits;
    for RateLimit { limit: _, remaining: _, reset } in [requests, tokens] {
        all(reset, Use::Own, see);
    }
}

pub fn request(request: &mut mcp::Request, see: See<'_>) {
    let mcp::Request {
        carrier,
        number: _,
        method,
        id,
        tool,
        prompt,
        resource,
        protocol_version,
        session_id,
        error_code,
        error,
    } = request;
    carried(carrier, see);
    see(method, Use::Common);
    if let Some(Id::Number(text) | Id::Text(text)) = id {
        see(text, Use::Own);
    }
    for text in [tool, prompt, protocol_version, error_code] {
        all(text, Use::Common, see);
    }
    for text in [resource, session_id] {
        all(text, Use::Own, see);
    }
    failed(error, see);
}

pub fn retrieval(retrieval: &mut Retrieval, see: See<'_>) {
    let Retrieval { carrier, store: _, operation: _, collection, namespace, top_k: _, returned: _, status_code, error } =
        retrieval;
    carried(carrier, see);
    for text in [collection, namespace, status_code] {
        all(text, Use::Common, see);
    }
    failed(error, see);
}

fn carried(carrier: &mut Carrier, see: See<'_>) {
    let Carrier {
        id: _,
        connection: _,
        server_address,
        server_port: _,
        protocol_version: _,
        status: _,
        start: _,
        end: _,
        completeness: _,
        lost_bytes: _,
        trace_parent: _,
    } = carrier;
    all(server_address, Use::Common, see);
}

fn failed(error: &mut Option<CallError>, see: See<'_>) {
    if let Some(CallError { kind }) = error {
        see(kind, Use::Common);
    }
}

fn all<'a>(texts: impl IntoIterator<Item = &'a mut String>, kind: Use, see: See<'_>) {
    for text in texts {
        see(text, kind);
    }
}
