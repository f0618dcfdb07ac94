//! OpenAI chat completions, whole and streamed, and the Azure variant of them.

use serde_json::{Value, json};

use super::deployment;
use crate::mock::{
    api::Ask,
    directive::StateUsage,
    plan::{self, Amounts, Body, PLACEHOLDER, Plan, Stated, Step, event},
    truth::{ToolCall, Usage},
};

struct Chat<'a> {
    ask: &'a Ask<'a>,
    azure: bool,
}

pub fn plan(ask: &Ask<'_>) -> Plan {
    let chat = Chat { ask, azure: deployment(ask.path).is_some() };
    let mut headers = super::headers(ask.serial);
    if chat.azure {
        headers.push(("apim-request-id", format!("apim-{}", ask.serial)));
        headers.push(("x-ms-region", "Mock Region".to_owned()));
    }
    Plan { status: 200, headers, body: if ask.stream { chat.stream() } else { chat.whole() } }
}

impl Chat<'_> {
    fn amounts(&self) -> Amounts {
        let last = self.ask.list("messages").last();
        self.ask.amounts(last.is_some_and(|last| last.get("role").and_then(Value::as_str) == Some("tool")))
    }

    fn id(&self) -> String {
        self.ask.id("chatcmpl-")
    }

    fn choices(&self) -> u32 {
        self.ask.request.get("n").and_then(Value::as_u64).map_or(1, |n| n.clamp(1, 16) as u32)
    }

    fn finish_reason(&self, amounts: &Amounts) -> String {
        self.ask.finish_reason(amounts, "stop", "tool_calls")
    }

    /// Arguments are text that holds JSON.
    fn calls(&self, amounts: &Amounts) -> Vec<(ToolCall, String)> {
        let calls = self.ask.calls(amounts, "call_").into_iter();
        calls.map(|(call, arguments)| (call, plan::arguments_text(&arguments))).collect()
    }

    fn whole(&self) -> Body {
        let amounts = self.amounts();
        let model = self.ask.response_model("2026-10-01");
        let calls = self.calls(&amounts);
        let finish_reason = self.finish_reason(&amounts);
        let mut message = json!({"role": "assistant", "content": null, "refusal": null, "annotations": []});
        if amounts.tokens > 0 {
            message["content"] = plan::text(amounts.tokens).into();
        }
        if amounts.thinking > 0 {
            message["reasoning_content"] = plan::text(amounts.thinking).into();
        }
        if !calls.is_empty() {
            let list = calls.iter().map(|(call, arguments)| {
                json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}})
            });
            message["tool_calls"] = list.collect();
        }
        let choices: Vec<Value> = (0..self.choices())
            .map(|index| json!({"index": index, "message": message, "logprobs": null, "finish_reason": finish_reason}))
            .collect();
        let mut body = json!({
            "id": self.id(), "object": "chat.completion", "created": 1_790_000_000, "model": model,
            "choices": choices, "service_tier": "default", "system_fingerprint": "fp_mock",
        });
        let mut states = Stated {
            id: Some(self.id()),
            model: Some(model),
            finish_reasons: vec![finish_reason; choices.len()],
            // Each choice carries the same calls.
            tool_calls: (0..choices.len()).flat_map(|_| calls.iter().map(|(call, _)| call.clone())).collect(),
            ..Stated::default()
        };
        if self.ask.directive.usage != StateUsage::Never {
            body["usage"] = self.usage(&amounts);
            states.usage = Some(self.stated_usage(&amounts));
        }
        Body::Whole { bytes: body.to_string().into_bytes(), states }
    }

    fn stream(&self) -> Body {
        let amounts = self.amounts();
        let model = self.ask.response_model("2026-10-01");
        let asked = self.ask.request.pointer("/stream_options/include_usage").and_then(Value::as_bool) == Some(true);
        let with_usage = match self.ask.directive.usage {
            StateUsage::Auto => asked,
            StateUsage::Always => true,
            StateUsage::Never => false,
        };
        let chunk = |choices: Value| {
            let mut chunk = json!({
                "id": self.id(), "object": "chat.completion.chunk", "created": 1_790_000_000, "model": model,
                "service_tier": "default", "system_fingerprint": "fp_mock", "choices": choices,
            });
            if with_usage {
                chunk["usage"] = Value::Null;
            }
            chunk
        };
        let delta = |index: u32, delta: Value, finish: Option<&str>| {
            chunk(json!([{"index": index, "delta": delta, "logprobs": null, "finish_reason": finish}]))
        };
        let mut named = Some(Stated { id: Some(self.id()), model: Some(model.clone()), ..Stated::default() });
        let mut steps = Vec::new();
        if self.azure {
            let filters = json!([{"prompt_index": 0, "content_filter_results": {}}]);
            steps.push(Step::silent(event(
                None,
                &json!({"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": filters}),
            )));
        }
        let finish_reason = self.finish_reason(&amounts);
        for choice in 0..self.choices() {
            let role = event(None, &delta(choice, json!({"role": "assistant", "content": "", "refusal": null}), None));
            steps.push(Step::states(role, named.take().unwrap_or_default()));
            steps.extend(plan::words(
                None,
                &delta(choice, json!({"reasoning_content": PLACEHOLDER}), None),
                amounts.thinking,
            ));
            steps.extend(plan::words(None, &delta(choice, json!({"content": PLACEHOLDER}), None), amounts.tokens));
            for (index, (call, arguments)) in self.calls(&amounts).into_iter().enumerate() {
                let at_once = self.ask.directive.fragments == 0;
                let function = json!({"name": call.name, "arguments": if at_once { arguments.as_str() } else { "" }});
                let first =
                    json!({"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": function}]});
                steps.push(Step::Event {
                    text: event(None, &delta(choice, first, None)),
                    content: true,
                    states: Stated { tool_calls: vec![call], ..Stated::default() },
                });
                let rest = if at_once { "" } else { &arguments };
                for piece in plan::fragments(rest, self.ask.directive.fragments) {
                    let next = json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]});
                    steps.push(Step::content(event(None, &delta(choice, next, None))));
                }
            }
        }
        for choice in 0..self.choices() {
            steps.push(Step::states(
                event(None, &delta(choice, json!({}), Some(&finish_reason))),
                Stated { finish_reasons: vec![finish_reason.clone()], ..Stated::default() },
            ));
        }
        if with_usage {
            let mut last = chunk(json!([]));
            last["usage"] = self.usage(&amounts);
            let states = Stated { usage: Some(self.stated_usage(&amounts)), ..Stated::default() };
            steps.push(Step::states(event(None, &last), states));
        }
        steps.push(Step::silent("data: [DONE]\n\n".to_owned()));
        super::stream(self.ask, steps)
    }

    fn usage(&self, amounts: &Amounts) -> Value {
        let mut usage = json!({
            "prompt_tokens": amounts.input, "completion_tokens": amounts.output,
            "total_tokens": amounts.input + amounts.output,
        });
        if self.ask.directive.details {
            usage["prompt_tokens_details"] = json!({"cached_tokens": amounts.cached, "audio_tokens": 0});
            if self.ask.directive.cache_write_tokens.is_some() {
                usage["prompt_tokens_details"]["cache_write_tokens"] = amounts.cache_write.into();
            }
            usage["completion_tokens_details"] = json!({
                "reasoning_tokens": amounts.reasoning, "audio_tokens": 0,
                "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
            });
        }
        usage
    }

    fn stated_usage(&self, amounts: &Amounts) -> Usage {
        let details = self.ask.directive.details;
        Usage {
            input: Some(amounts.input),
            output: Some(amounts.output),
            cache_read: details.then_some(amounts.cached),
            cache_write: self.ask.directive.cache_write_tokens.filter(|_| details),
            reasoning: details.then_some(amounts.reasoning),
        }
    }
}
