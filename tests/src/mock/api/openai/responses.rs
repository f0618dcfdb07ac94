//! OpenAI Responses, whole and as events.

use serde_json::{Value, json};

use crate::mock::{
    api::Ask,
    directive::StateUsage,
    plan::{self, Amounts, Body, PLACEHOLDER, Plan, Stated, Step},
    truth::Usage,
};

struct Responses<'a> {
    ask: &'a Ask<'a>,
    amounts: Amounts,
}

pub fn plan(ask: &Ask<'_>) -> Plan {
    let last = ask.list("input").last().and_then(|item| item.get("type")?.as_str());
    let amounts = ask.amounts(last.is_some_and(|kind| kind.ends_with("_call_output")));
    let responses = Responses { ask, amounts };
    let body = if ask.stream { responses.stream() } else { responses.whole() };
    Plan { status: 200, headers: super::headers(ask.serial), body }
}

impl Responses<'_> {
    /// `completed`, or the scripted reason why the answer is incomplete.
    fn finish_reason(&self) -> String {
        self.ask.directive.finish_reason.clone().unwrap_or_else(|| "completed".to_owned())
    }

    fn response(&self, status: &str, output: Vec<Value>) -> Value {
        let mut response = json!({
            "id": self.ask.id("resp_"), "object": "response", "created_at": 1_790_000_000, "status": status,
            "error": null, "incomplete_details": null, "instructions": null, "max_output_tokens": null,
            "model": self.ask.response_model("2026-10-01"), "output": output, "parallel_tool_calls": true,
            "previous_response_id": null, "reasoning": {"effort": null, "summary": null}, "store": true,
            "temperature": 1.0, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [],
            "top_p": 1.0, "truncation": "disabled", "usage": null, "user": null, "metadata": {},
            "service_tier": "default",
        });
        if status == "completed" && self.finish_reason() != "completed" {
            response["status"] = "incomplete".into();
            response["incomplete_details"] = json!({"reason": self.finish_reason()});
        }
        if status == "completed" && self.ask.directive.usage != StateUsage::Never {
            response["usage"] = self.usage();
        }
        response
    }

    fn reasoning(&self, text: &str) -> Value {
        let id = format!("rs_{}", self.ask.serial);
        json!({"id": id, "type": "reasoning", "summary": [{"type": "summary_text", "text": text}]})
    }

    fn message(&self, status: &str, content: Vec<Value>) -> Value {
        let id = format!("msg_{}", self.ask.serial);
        json!({"id": id, "type": "message", "status": status, "role": "assistant", "content": content})
    }

    /// The output items of the whole answer, reasoning first.
    fn output(&self) -> Vec<Value> {
        let mut output = Vec::new();
        if self.amounts.thinking > 0 {
            output.push(self.reasoning(&plan::text(self.amounts.thinking)));
        }
        if self.amounts.tokens > 0 {
            output.push(self.message("completed", vec![text_part(&plan::text(self.amounts.tokens))]));
        }
        for (call, arguments) in self.ask.calls(&self.amounts, "call_") {
            output.push(json!({
                "id": format!("fc_{}", call.id), "type": "function_call", "status": "completed",
                "call_id": call.id, "name": call.name, "arguments": plan::arguments_text(&arguments),
            }));
        }
        output
    }

    fn stated(&self) -> Stated {
        Stated {
            id: Some(self.ask.id("resp_")),
            model: Some(self.ask.response_model("2026-10-01")),
            ..Stated::default()
        }
    }

    fn whole(&self) -> Body {
        let body = self.response("completed", self.output());
        let calls = self.ask.calls(&self.amounts, "call_");
        let states = Stated {
            finish_reasons: vec![self.finish_reason()],
            tool_calls: calls.into_iter().map(|(call, _)| call).collect(),
            usage: self.stated_usage(),
            ..self.stated()
        };
        Body::Whole { bytes: body.to_string().into_bytes(), states }
    }

    fn stream(&self) -> Body {
        let mut steps = Vec::new();
        let mut number = 0_u64;
        // Every event has its number, all words of an item the same one: no client looks at it.
        let mut event = |mut data: Value| {
            data["sequence_number"] = number.into();
            number += 1;
            plan::event(data.get("type").and_then(Value::as_str), &data)
        };
        let begun = self.response("in_progress", Vec::new());
        steps.push(Step::states(event(json!({"type": "response.created", "response": begun})), self.stated()));
        steps.push(Step::silent(event(json!({"type": "response.in_progress", "response": begun}))));
        let words = |kind: &str, delta: Value, count: u32| {
            let mut delta = delta;
            delta["type"] = kind.into();
            delta["delta"] = PLACEHOLDER.into();
            delta["sequence_number"] = 0.into();
            plan::words(Some(kind), &delta, count)
        };
        let output = self.output();
        for (index, item) in output.iter().enumerate() {
            let id = &item["id"];
            let at = json!({"item_id": id, "output_index": index});
            let with = |kind: &str, more: Value| {
                let mut data = at.clone();
                data["type"] = kind.into();
                for (key, value) in more.as_object().into_iter().flatten() {
                    data[key] = value.clone();
                }
                data
            };
            let added =
                |item: Value| json!({"type": "response.output_item.added", "output_index": index, "item": item});
            match item["type"].as_str() {
                Some("reasoning") => {
                    let empty = json!({"id": id, "type": "reasoning", "summary": []});
                    steps.push(Step::silent(event(added(empty))));
                    let part = json!({"summary_index": 0, "part": {"type": "summary_text", "text": ""}});
                    steps.push(Step::silent(event(with("response.reasoning_summary_part.added", part))));
                    let delta = with("", json!({"summary_index": 0}));
                    steps.extend(words("response.reasoning_summary_text.delta", delta, self.amounts.thinking));
                    let text = json!({"summary_index": 0, "text": plan::text(self.amounts.thinking)});
                    steps.push(Step::silent(event(with("response.reasoning_summary_text.done", text))));
                }
                Some("message") => {
                    steps.push(Step::silent(event(added(self.message("in_progress", Vec::new())))));
                    let part = json!({"content_index": 0, "part": text_part("")});
                    steps.push(Step::silent(event(with("response.content_part.added", part))));
                    let delta = with("", json!({"content_index": 0, "logprobs": []}));
                    steps.extend(words("response.output_text.delta", delta, self.amounts.tokens));
                    let text = plan::text(self.amounts.tokens);
                    let done = json!({"content_index": 0, "logprobs": [], "text": text});
                    steps.push(Step::silent(event(with("response.output_text.done", done))));
                    let part = json!({"content_index": 0, "part": text_part(&text)});
                    steps.push(Step::silent(event(with("response.content_part.done", part))));
                }
                _ => {
                    let arguments = item["arguments"].as_str().unwrap_or_default();
                    let mut begun = item.clone();
                    begun["arguments"] = "".into();
                    begun["status"] = "in_progress".into();
                    let call = self.ask.calls(&self.amounts, "call_").into_iter().map(|(call, _)| call);
                    let call = call.filter(|call| item["call_id"] == call.id.as_str()).collect();
                    steps.push(Step::Event {
                        text: event(added(begun)),
                        content: true,
                        states: Stated { tool_calls: call, ..Stated::default() },
                    });
                    for piece in plan::fragments(arguments, self.ask.directive.fragments) {
                        let delta = with("response.function_call_arguments.delta", json!({"delta": piece}));
                        steps.push(Step::content(event(delta)));
                    }
                    let done = json!({"arguments": arguments, "name": item["name"]});
                    steps.push(Step::silent(event(with("response.function_call_arguments.done", done))));
                }
            }
            steps.push(Step::silent(event(
                json!({"type": "response.output_item.done", "output_index": index, "item": item}),
            )));
        }
        let whole = self.response("completed", output);
        let kind = if whole["status"] == "completed" { "response.completed" } else { "response.incomplete" };
        let states =
            Stated { finish_reasons: vec![self.finish_reason()], usage: self.stated_usage(), ..Stated::default() };
        steps.push(Step::states(event(json!({"type": kind, "response": whole})), states));
        Body::Stream {
            steps,
            keep_alive_event: ": keep-alive\n\n".to_owned(),
            failure: Box::new(self.failure(&mut event)),
        }
    }

    /// A response that fails on the way tells so in its own last event.
    fn failure(&self, event: &mut impl FnMut(Value) -> String) -> Step {
        let code = self.ask.directive.code.clone().unwrap_or_else(|| "server_error".to_owned());
        let mut failed = self.response("failed", Vec::new());
        failed["error"] = json!({"code": code, "message": "The server had an error while processing your request. Sorry about that!"});
        let states = Stated { error_type: Some(code), finish_reasons: vec!["failed".to_owned()], ..Stated::default() };
        Step::states(event(json!({"type": "response.failed", "response": failed})), states)
    }

    fn usage(&self) -> Value {
        let amounts = &self.amounts;
        let mut usage = json!({
            "input_tokens": amounts.input, "output_tokens": amounts.output,
            "total_tokens": amounts.input + amounts.output,
        });
        if self.ask.directive.details {
            usage["input_tokens_details"] = json!({"cached_tokens": amounts.cached});
            if self.ask.directive.cache_write_tokens.is_some() {
                usage["input_tokens_details"]["cache_write_tokens"] = amounts.cache_write.into();
            }
            usage["output_tokens_details"] = json!({"reasoning_tokens": amounts.reasoning});
        }
        usage
    }

    fn stated_usage(&self) -> Option<Usage> {
        let amounts = &self.amounts;
        let details = self.ask.directive.details;
        (self.ask.directive.usage != StateUsage::Never).then_some(Usage {
            input: Some(amounts.input),
            output: Some(amounts.output),
            cache_read: details.then_some(amounts.cached),
            cache_write: self.ask.directive.cache_write_tokens.filter(|_| details),
            reasoning: details.then_some(amounts.reasoning),
        })
    }
}

fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}
