//! Anthropic messages, whole and streamed.

use serde_json::{Value, json};

use super::{Api, Ask, Service, body_model, body_stream};
use crate::mock::{
    directive::StateUsage,
    plan::{self, Amounts, Body, PLACEHOLDER, Plan, Stated, Step},
    truth::Usage,
};

pub const MESSAGES: Api = Api {
    paths: &["/messages"],
    operation: "chat",
    provider: "anthropic",
    service: &SERVICE,
    model: body_model,
    stream: body_stream,
    plan,
};

const SERVICE: Service = Service { headers, error };

struct Messages<'a> {
    ask: &'a Ask<'a>,
}

fn plan(ask: &Ask<'_>) -> Plan {
    let messages = Messages { ask };
    let body = if ask.stream { messages.stream() } else { messages.whole() };
    Plan { status: 200, headers: headers(ask.serial), body }
}

impl Messages<'_> {
    fn amounts(&self) -> Amounts {
        let parts = self.ask.list("messages").last().and_then(|last| last.get("content")?.as_array());
        self.ask.amounts(parts.is_some_and(|parts| {
            parts.iter().any(|part| part.get("type").and_then(Value::as_str) == Some("tool_result"))
        }))
    }

    fn id(&self) -> String {
        self.ask.id("msg_")
    }

    fn model(&self) -> String {
        self.ask.response_model("20261001")
    }

    fn stop_reason(&self, amounts: &Amounts) -> String {
        self.ask.finish_reason(amounts, "end_turn", "tool_use")
    }

    fn whole(&self) -> Body {
        let amounts = self.amounts();
        let calls = self.ask.calls(&amounts, "toolu_");
        let stop_reason = self.stop_reason(&amounts);
        let mut content = Vec::new();
        if amounts.thinking > 0 {
            content
                .push(json!({"type": "thinking", "thinking": plan::text(amounts.thinking), "signature": "bW9jaw=="}));
        }
        if amounts.tokens > 0 {
            content.push(json!({"type": "text", "text": plan::text(amounts.tokens)}));
        }
        for (call, input) in &calls {
            content.push(json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input}));
        }
        let mut body = json!({
            "id": self.id(), "type": "message", "role": "assistant", "model": self.model(), "content": content,
            "stop_reason": stop_reason, "stop_sequence": null,
        });
        let mut states = Stated {
            id: Some(self.id()),
            model: Some(self.model()),
            finish_reasons: vec![stop_reason],
            tool_calls: calls.into_iter().map(|(call, _)| call).collect(),
            ..Stated::default()
        };
        if self.ask.directive.usage != StateUsage::Never {
            body["usage"] = self.usage(&amounts, amounts.output);
            states.usage = Some(self.stated_usage(&amounts, amounts.output));
        }
        Body::Whole { bytes: body.to_string().into_bytes(), states }
    }

    fn stream(&self) -> Body {
        let amounts = self.amounts();
        let event = |data: Value| plan::event(data.get("type").and_then(Value::as_str), &data);
        let delta = |index: usize, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
        let states_usage = self.ask.directive.usage != StateUsage::Never;
        let mut steps = Vec::new();

        // The head of a message states all of the input, and an output of one token that counts nothing yet.
        let early = amounts.output.min(1);
        let mut message = json!({
            "id": self.id(), "type": "message", "role": "assistant", "model": self.model(), "content": [],
            "stop_reason": null, "stop_sequence": null,
        });
        let mut states = Stated { id: Some(self.id()), model: Some(self.model()), ..Stated::default() };
        if states_usage {
            message["usage"] = self.usage(&amounts, early);
            states.usage = Some(Usage { output: None, reasoning: None, ..self.stated_usage(&amounts, early) });
            if let Some(details) = message["usage"].as_object_mut() {
                details.remove("output_tokens_details");
            }
        }
        steps.push(Step::states(event(json!({"type": "message_start", "message": message})), states));

        let mut index = 0;
        let mut block = |steps: &mut Vec<Step>, start: Value, states: Stated, deltas: Vec<Step>| {
            let start = json!({"type": "content_block_start", "index": index, "content_block": start});
            steps.push(Step::states(event(start), states));
            if index == 0 {
                steps.push(Step::silent(event(json!({"type": "ping"}))));
            }
            steps.extend(deltas);
            steps.push(Step::silent(event(json!({"type": "content_block_stop", "index": index}))));
            index += 1;
        };
        if amounts.thinking > 0 {
            let thought = delta(0, json!({"type": "thinking_delta", "thinking": PLACEHOLDER}));
            let mut deltas: Vec<Step> =
                plan::words(Some("content_block_delta"), &thought, amounts.thinking).into_iter().collect();
            deltas.push(Step::silent(event(delta(0, json!({"type": "signature_delta", "signature": "bW9jaw=="})))));
            let start = json!({"type": "thinking", "thinking": "", "signature": ""});
            block(&mut steps, start, Stated::default(), deltas);
        }
        if amounts.tokens > 0 {
            let text = delta(usize::from(amounts.thinking > 0), json!({"type": "text_delta", "text": PLACEHOLDER}));
            let deltas = plan::words(Some("content_block_delta"), &text, amounts.tokens).into_iter().collect();
            block(&mut steps, json!({"type": "text", "text": ""}), Stated::default(), deltas);
        }
        let before = usize::from(amounts.thinking > 0) + usize::from(amounts.tokens > 0);
        for (at, (call, input)) in self.ask.calls(&amounts, "toolu_").into_iter().enumerate() {
            let arguments = input.to_string();
            let pieces = plan::fragments(&arguments, self.ask.directive.fragments);
            // The first fragment of a tool's input is empty on the wire.
            let deltas = std::iter::once("").chain(pieces).map(|piece| {
                let text = event(delta(before + at, json!({"type": "input_json_delta", "partial_json": piece})));
                if piece.is_empty() { Step::silent(text) } else { Step::content(text) }
            });
            let start = json!({"type": "tool_use", "id": call.id, "name": call.name, "input": {}});
            let states = Stated { tool_calls: vec![call.clone()], ..Stated::default() };
            block(&mut steps, start, states, deltas.collect());
        }

        let stop_reason = self.stop_reason(&amounts);
        let mut end = json!({"type": "message_delta", "delta": {"stop_reason": stop_reason, "stop_sequence": null}});
        let mut states = Stated { finish_reasons: vec![stop_reason], ..Stated::default() };
        if states_usage {
            end["usage"] = self.usage(&amounts, amounts.output);
            states.usage = Some(self.stated_usage(&amounts, amounts.output));
        }
        steps.push(Step::states(event(end), states));
        steps.push(Step::silent(event(json!({"type": "message_stop"}))));

        let code = self.ask.directive.code.clone().unwrap_or_else(|| "overloaded_error".to_owned());
        let failure = json!({"type": "error", "error": {"type": code, "message": "Overloaded"}, "request_id": format!("req_{}", self.ask.serial)});
        Body::Stream {
            steps,
            keep_alive_event: event(json!({"type": "ping"})),
            failure: Box::new(Step::states(event(failure), Stated { error_type: Some(code), ..Stated::default() })),
        }
    }

    /// The wire's own count leaves cached tokens out of the input.
    fn usage(&self, amounts: &Amounts, output: u64) -> Value {
        let mut usage = json!({
            "input_tokens": amounts.input - amounts.cached - amounts.cache_write,
            "output_tokens": output, "service_tier": "standard",
        });
        if self.ask.directive.details {
            usage["cache_read_input_tokens"] = amounts.cached.into();
            usage["cache_creation_input_tokens"] = amounts.cache_write.into();
            usage["cache_creation"] =
                json!({"ephemeral_5m_input_tokens": amounts.cache_write, "ephemeral_1h_input_tokens": 0});
            if self.states_reasoning() {
                usage["output_tokens_details"] = json!({"thinking_tokens": amounts.reasoning});
            }
        } else {
            usage["input_tokens"] = amounts.input.into();
        }
        usage
    }

    fn states_reasoning(&self) -> bool {
        self.ask.directive.details && self.ask.directive.reasoning_tokens.is_some()
    }

    fn stated_usage(&self, amounts: &Amounts, output: u64) -> Usage {
        let details = self.ask.directive.details;
        Usage {
            input: Some(amounts.input),
            output: Some(output),
            cache_read: details.then_some(amounts.cached),
            cache_write: details.then_some(amounts.cache_write),
            reasoning: self.states_reasoning().then_some(amounts.reasoning),
        }
    }
}

fn headers(serial: &str) -> Vec<(&'static str, String)> {
    vec![
        ("request-id", format!("req_{serial}")),
        ("anthropic-organization-id", "mock-org".to_owned()),
        ("anthropic-ratelimit-requests-limit", "4000".to_owned()),
        ("anthropic-ratelimit-requests-remaining", "3999".to_owned()),
        ("anthropic-ratelimit-requests-reset", "2026-11-21T00:00:01Z".to_owned()),
        ("anthropic-ratelimit-tokens-limit", "400000".to_owned()),
        ("anthropic-ratelimit-tokens-remaining", "399000".to_owned()),
        ("anthropic-ratelimit-tokens-reset", "2026-11-21T00:00:02Z".to_owned()),
    ]
}

fn error(status: u16, kind: Option<&str>, serial: &str) -> (Value, String) {
    let (usual, message) = match status {
        400 => ("invalid_request_error", "messages: at least one message is required"),
        401 => ("authentication_error", "invalid x-api-key"),
        403 => ("permission_error", "Your API key does not have permission to use the specified resource."),
        404 => ("not_found_error", "model: not found"),
        413 => ("request_too_large", "Request exceeds the maximum size"),
        429 => ("rate_limit_error", "This request would exceed your rate limit."),
        504 => ("timeout_error", "Request timed out"),
        529 => ("overloaded_error", "Overloaded"),
        _ => ("api_error", "Internal server error"),
    };
    let kind = kind.unwrap_or(usual);
    let body =
        json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": format!("req_{serial}")});
    (body, kind.to_owned())
}
