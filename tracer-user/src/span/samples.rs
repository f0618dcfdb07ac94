//! Hand-made calls for tests.

use std::{borrow::Cow, sync::Arc};

use crate::{
    capture::{Connection, ConnectionKey, Process, Role},
    exchange::{ExchangeId, Outcome},
    llm::{
        LlmCall,
        call::{
            CallError, Chunks, Completeness, Operation, RateLimit, RateLimits, Request, Response, Times, ToolCall,
            TraceParent, Usage,
        },
    },
    price::{Cost, CostSource},
};

/// 2026-01-01T00:00:00Z.
pub const T0: u64 = 1_767_225_600_000_000_000;
pub const MS: u64 = 1_000_000;

pub fn process() -> Arc<Process> {
    Arc::new(Process {
        pid: 42,
        ppid: Some(1),
        start: Some(T0 - 1000 * MS),
        exe: Some("/usr/bin/python3.13".into()),
        argv0: Some("python3".into()),
        uid: Some(1000),
        service: Some("agent.py".into()),
        environment: Vec::new(),
        tells_of_models: false,
        resource_attributes: vec![
            ("service.name".to_owned(), "ignored".to_owned()),
            ("service.namespace".to_owned(), "shop".to_owned()),
            ("deployment.environment.name".to_owned(), "test".to_owned()),
        ],
        service_is_stated: true,
        ..Process::default()
    })
}

pub fn connection() -> Connection {
    Connection {
        id: "c1".into(),
        pid: Some(42),
        comm: Some("python3".into()),
        container_id: Some("0123456789ab".into()),
        tls: Some("openssl 3.5.1".into()),
        sni: Some("api.example.com".into()),
        role: Role::Client,
        ..Connection::default()
    }
}

/// A call of which hardly anything is known.
pub fn bare_call() -> LlmCall {
    LlmCall {
        id: ExchangeId { connection: ConnectionKey(7), index: 0 },
        connection: Arc::new(Connection { id: "c1".into(), ..Connection::default() }),
        provider: Cow::Borrowed("openai"),
        operation: Operation::Chat,
        api_type: None,
        server_address: None,
        server_port: None,
        protocol_version: "1.1",
        request: Request::default(),
        response: Response::default(),
        usage: Usage::default(),
        provider_cost: None,
        asides: Vec::new(),
        cache_hit: None,
        fallback: None,
        billing: crate::llm::call::Billing::Metered,
        error: None,
        times: Times { start: T0, end: T0 + 5 * MS, ..Times::default() },
        chunks: Chunks::default(),
        completeness: Completeness::HeadersOnly,
        lost_bytes: None,
        aborted: false,
        outcome: Outcome::Unfinished,
        attempt: None,
        trace_parent: None,
        content: None,
    }
}

/// A streamed call of which everything is known.
pub fn full_call() -> LlmCall {
    let text = |text: &str| Some(text.to_owned());
    let limit = |limit, remaining, reset: &str| RateLimit {
        limit: Some(limit),
        remaining: Some(remaining),
        reset: text(reset),
    };
    LlmCall {
        id: ExchangeId { connection: ConnectionKey(7), index: 3 },
        connection: Arc::new(connection()),
        provider: Cow::Borrowed("openai"),
        operation: Operation::Chat,
        api_type: Some("chat_completions"),
        server_address: text("api.example.com"),
        server_port: Some(443),
        protocol_version: "1.1",
        request: Request {
            model: text("model-5"),
            max_tokens: Some(1024),
            temperature: Some(0.5),
            top_p: Some(0.9),
            top_k: Some(40.0),
            frequency_penalty: Some(0.0),
            presence_penalty: Some(-0.25),
            stop_sequences: Some(vec!["END".to_owned()]),
            seed: Some(-7),
            choice_count: Some(2),
            stream: Some(true),
            reasoning_level: text("high"),
            service_tier: text("auto"),
            output_type: Some("json"),
            previous_response_id: text("resp_0"),
            conversation_id: text("conv_1"),
            background: false,
            embedding_dimensions: None,
            messages: Some(3),
            tools: Some(2),
            system_prompt_hash: text("0123456789abcdef"),
            tool_results: Vec::new(),
            guardrail_id: text("gr-1"),
            body_bytes: 512,
            fingerprint: None,
            attributed: Vec::new(),
        },
        response: Response {
            refused: false,
            withheld: None,
            status: Some(200),
            model: text("model-5-2026-01-01"),
            id: text("chatcmpl-1"),
            finish_reasons: vec!["tool_calls".to_owned(), "stop".to_owned()],
            tool_calls: vec![
                ToolCall { name: "weather".to_owned(), id: text("call_1") },
                ToolCall { name: "clock".to_owned(), id: None },
            ],
            streamed: true,
            service_tier: text("default"),
            speed: None,
            system_fingerprint: text("fp_1"),
            request_id: text("req_1"),
            processing_ms: Some(412.5),
            rate_limits: RateLimits { requests: limit(500, 499, "120ms"), tokens: limit(200_000, 199_000, "6ms") },
            logprob_mean: Some(-0.25),
            geography: None,
        },
        usage: Usage {
            input: Some(1200),
            output: Some(300),
            cache_read: Some(1000),
            cache_write: Some(0),
            reasoning: Some(0),
            ..Usage::default()
        },
        provider_cost: None,
        asides: Vec::new(),
        cache_hit: Some(false),
        fallback: Some(true),
        billing: crate::llm::call::Billing::Metered,
        error: None,
        times: Times {
            start: T0,
            request_end: Some(T0 + 2 * MS),
            first_byte: Some(T0 + 100 * MS),
            first_chunk: Some(T0 + 102 * MS),
            first_token: Some(T0 + 152 * MS),
            last_token: Some(T0 + 1652 * MS),
            end: T0 + 1700 * MS,
        },
        chunks: Chunks {
            count: 31,
            gap_max: Some(80 * MS),
            gap_p95: Some(60 * MS),
            gap_sum: 1500 * MS,
            gaps: [0, 0, 10, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        },
        completeness: Completeness::Full,
        lost_bytes: None,
        aborted: false,
        outcome: Outcome::Complete,
        attempt: Some(1),
        trace_parent: None,
        content: None,
    }
}

pub fn failed_call() -> LlmCall {
    let mut call = bare_call();
    call.id.index = 4;
    call.request.model = Some("model-5".to_owned());
    call.response.status = Some(429);
    call.error = Some(CallError { kind: Cow::Borrowed("rate_limit_exceeded") });
    call.completeness = Completeness::Partial;
    call.lost_bytes = Some(1500);
    call.aborted = true;
    call.trace_parent = Some(TraceParent {
        trace_id: *b"0123456789abcdef",
        span_id: *b"01234567",
        flags: 0,
        state: Some("vendor=1".to_owned()),
    });
    call
}

pub fn cost() -> Cost {
    Cost {
        total: 0.0125,
        input: Some(0.002),
        output: Some(0.01),
        cache_read: Some(0.0005),
        cache_write: None,
        source: CostSource::Table,
        version: Some("2026-01-01".into()),
        currency: None,
    }
}
