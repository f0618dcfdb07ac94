//! Anthropic messages, whole and streamed.

use serde_json::{Value, json};

use super::{
    directive::{Directive, StateUsage},
    plan::{self, Amounts, Body, PLACEHOLDER, Plan, Stated, Step},
    truth::{ToolCall, Usage},
};

pub struct Messages<'a> {
    pub directive: &'a Directive,
    pub request: &'a Value,
    pub body_bytes: usize,
    pub model: &'a str,
    /// Unique in the mock's life; ids are made of it.
    pub serial: &'a str,
}

impl Messages<'_> {
    pub fn plan(&self) -> Plan {
        let stream = self.request.get("stream").and_then(Value::as_bool) == Some(true);
        let body = if stream { self.stream() } else { self.whole() };
        Plan { status: 200, headers: response_headers(self.serial), body }
    }

    fn amounts(&self) -> Amounts {
        let messages = self.request.get("messages").and_then(Value::as_array);
        let parts = messages.and_then(|messages| messages.last()).and_then(|last| last.get("content")?.as_array());
        let tool_result = parts.is_some_and(|parts| {
            parts.iter().any(|part| part.get("type").and_then(Value::as_str) == Some("tool_result"))
        });
        plan::amounts(self.directive, self.body_bytes, tool_result)
    }

    fn id(&self) -> String {
        self.directive.id.clone().unwrap_or_else(|| format!("msg_{}", self.serial))
    }

    fn model(&self) -> String {
        plan::response_model(self.directive, self.model, "20261001")
    }

    fn stop_reason(&self, amounts: &Amounts) -> String {
        match &self.directive.finish_reason {
            _ if amounts.call_tools => "tool_use".to_owned(),
            Some(reason) => reason.clone(),
            None => "end_turn".to_owned(),
        }
    }

    fn calls(&self, amounts: &Amounts) -> Vec<(ToolCall, Value)> {
        if !amounts.call_tools {
            return Vec::new();
        }
        let calls = self.directive.tool_calls.iter().enumerate();
        calls
            .map(|(index, call)| {
                let id = call.id.clone().unwrap_or_else(|| format!("toolu_{}_{index}", self.serial));
                let input = if call.arguments.is_null() { json!({}) } else { call.arguments.clone() };
                (ToolCall { name: call.name.clone(), id }, input)
            })
            .collect()
    }

    fn whole(&self) -> Body {
        let amounts = self.amounts();
        let calls = self.calls(&amounts);
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
        if self.directive.usage != StateUsage::Never {
            body["usage"] = self.usage(&amounts, amounts.output);
            states.usage = Some(self.stated_usage(&amounts, amounts.output));
        }
        Body::Whole { bytes: body.to_string().into_bytes(), states }
    }

    fn stream(&self) -> Body {
        let amounts = self.amounts();
        let event = |data: Value| plan::event(data.get("type").and_then(Value::as_str), &data);
        let delta = |index: usize, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
        let states_usage = self.directive.usage != StateUsage::Never;
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
        for (at, (call, input)) in self.calls(&amounts).into_iter().enumerate() {
            let arguments = input.to_string();
            let pieces = plan::fragments(&arguments, self.directive.fragments);
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

        let code = self.directive.code.clone().unwrap_or_else(|| "overloaded_error".to_owned());
        let failure = json!({"type": "error", "error": {"type": code, "message": "Overloaded"}, "request_id": format!("req_{}", self.serial)});
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
        if self.directive.details {
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
        self.directive.details && self.directive.reasoning_tokens.is_some()
    }

    fn stated_usage(&self, amounts: &Amounts, output: u64) -> Usage {
        let details = self.directive.details;
        Usage {
            input: Some(amounts.input),
            output: Some(output),
            cache_read: details.then_some(amounts.cached),
            cache_write: details.then_some(amounts.cache_write),
            reasoning: self.states_reasoning().then_some(amounts.reasoning),
        }
    }
}

pub fn response_headers(serial: &str) -> Vec<(&'static str, String)> {
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
