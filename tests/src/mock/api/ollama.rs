//! Ollama's own API: chat, generate and embed. A stream is lines of JSON, and the default.

use serde_json::{Value, json};

use super::{Api, Ask, Service, body_model, count_inputs, never_streams, vector};
use crate::mock::{
    plan::{self, Body, PLACEHOLDER, Plan, Stated, Step},
    truth::{ToolCall, Usage},
};

pub const CHAT: Api = Api {
    paths: &["/api/chat"],
    operation: "chat",
    provider: "ollama",
    service: &SERVICE,
    model: body_model,
    stream,
    plan: chat,
};

pub const GENERATE: Api = Api { paths: &["/api/generate"], operation: "text_completion", plan: generate, ..CHAT };

pub const EMBED: Api =
    Api { paths: &["/api/embed"], operation: "embeddings", stream: never_streams, plan: embed, ..CHAT };

const SERVICE: Service = Service { headers: |_| Vec::new(), error };

fn stream(body: &Value, _: &str) -> bool {
    body.get("stream").and_then(Value::as_bool).unwrap_or(true)
}

/// The error is a message without a code: the status is all that names it.
fn error(status: u16, _: Option<&str>, _: &str) -> (Value, String) {
    let message = match status {
        404 => "model not found, try pulling it first",
        503 => "server busy, please try again",
        _ => "an error was encountered while running the model",
    };
    (json!({"error": message}), status.to_string())
}

fn chat(ask: &Ask<'_>) -> Plan {
    let last = ask.list("messages").last().and_then(|last| last.get("role")?.as_str());
    let answers_tool = last == Some("tool");
    answer(ask, answers_tool, &|text, thought, calls| {
        let mut message = json!({"role": "assistant", "content": text});
        if !thought.is_empty() {
            message["thinking"] = thought.into();
        }
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
        }
        ("message", message)
    })
}

fn generate(ask: &Ask<'_>) -> Plan {
    answer(ask, false, &|text, _, _| ("response", text.into()))
}

/// Makes the member that carries the text, the thought and the tool calls of one line.
type Carry = dyn Fn(&str, &str, Vec<Value>) -> (&'static str, Value);

fn answer(ask: &Ask<'_>, answers_tool: bool, carry: &Carry) -> Plan {
    let amounts = ask.amounts(answers_tool);
    // It answers with the model's name as it was asked.
    let model = ask.directive.model.clone().unwrap_or_else(|| ask.model.to_owned());
    let line = |text: &str, thought: &str, calls: Vec<Value>| {
        let mut line = json!({"model": model, "created_at": "2026-11-21T00:00:00.000000Z", "done": false});
        let (key, value) = carry(text, thought, calls);
        line[key] = value;
        line
    };
    let (tool_calls, calls): (Vec<ToolCall>, Vec<Value>) = ask
        .calls(&amounts, "call_")
        .into_iter()
        .map(|(call, arguments)| {
            let part = json!({"id": call.id, "function": {"name": call.name, "arguments": arguments}});
            (call, part)
        })
        .unzip();
    // A call for tools has no reason of its own.
    let reason = ask.directive.finish_reason.clone().unwrap_or_else(|| "stop".to_owned());
    let end = |mut line: Value| {
        line["done"] = true.into();
        line["done_reason"] = reason.clone().into();
        line["total_duration"] = 1_500_000_000.into();
        line["load_duration"] = 20_000_000.into();
        line["prompt_eval_count"] = amounts.input.into();
        line["prompt_eval_duration"] = 100_000_000.into();
        line["eval_count"] = amounts.output.into();
        line["eval_duration"] = 1_200_000_000.into();
        line
    };
    let named = Stated { model: Some(model.clone()), ..Stated::default() };
    let ended = Stated {
        finish_reasons: vec![reason.clone()],
        usage: Some(Usage { input: Some(amounts.input), output: Some(amounts.output), ..Usage::default() }),
        ..named.clone()
    };
    if !ask.stream {
        let thought = plan::text(amounts.thinking);
        let body = end(line(&plan::text(amounts.tokens), &thought, calls));
        let states = Stated { tool_calls, ..ended };
        return Plan {
            status: 200,
            headers: vec![("content-type", "application/json; charset=utf-8".to_owned())],
            body: Body::Whole { bytes: body.to_string().into_bytes(), states },
        };
    }
    let mut steps = Vec::new();
    for (thought, count) in [(true, amounts.thinking), (false, amounts.tokens)] {
        let of = |word| if thought { line("", word, Vec::new()) } else { line(word, "", Vec::new()) };
        if count > 0 {
            // Every line names the model.
            steps.push(Step::Event { text: format!("{}\n", of("Well,")), content: true, states: named.clone() });
            steps.extend(plan::split_words(&format!("{}\n", of(PLACEHOLDER)), count - 1));
        }
    }
    if !calls.is_empty() {
        let states = Stated { tool_calls, ..named };
        steps.push(Step::Event { text: format!("{}\n", line("", "", calls)), content: true, states });
    }
    steps.push(Step::states(format!("{}\n", end(line("", "", Vec::new()))), ended));
    let failure = json!({"error": "an error was encountered while running the model: unexpected EOF"});
    // Only the message tells of the error.
    let states = Stated { error_type: Some("_OTHER".to_owned()), ..Stated::default() };
    Plan {
        status: 200,
        headers: vec![("content-type", "application/x-ndjson".to_owned())],
        body: Body::Stream {
            steps,
            keep_alive_event: String::new(),
            failure: Box::new(Step::states(format!("{failure}\n"), states)),
        },
    }
}

fn embed(ask: &Ask<'_>) -> Plan {
    let amounts = ask.amounts(false);
    let model = ask.directive.model.clone().unwrap_or_else(|| ask.model.to_owned());
    let embeddings: Vec<_> = (0..count_inputs(ask.request.get("input"))).map(|index| vector(index, 8)).collect();
    let body = json!({
        "model": model, "embeddings": embeddings, "total_duration": 14_000_000, "load_duration": 1_000_000,
        "prompt_eval_count": amounts.input,
    });
    let usage = Some(Usage { input: Some(amounts.input), ..Usage::default() });
    Plan {
        status: 200,
        headers: Vec::new(),
        body: Body::Whole {
            bytes: body.to_string().into_bytes(),
            states: Stated { model: Some(model), usage, ..Stated::default() },
        },
    }
}
