//! Cohere: chat of both versions, embeddings. Version 2 streams events, version 1 lines.

use serde_json::{Value, json};

use super::{Api, Ask, Service, body_model, body_stream, never_streams, vector};
use crate::mock::{
    plan::{self, Amounts, Body, PLACEHOLDER, Plan, Stated, Step},
    truth::Usage,
};

pub const CHAT: Api = Api {
    paths: &["/v2/chat"],
    operation: "chat",
    provider: "cohere",
    service: &SERVICE,
    model: body_model,
    stream: body_stream,
    plan: chat,
};

pub const CHAT_1: Api = Api { paths: &["/v1/chat"], plan: chat_1, ..CHAT };

pub const EMBED: Api =
    Api { paths: &["/v1/embed", "/v2/embed"], operation: "embeddings", stream: never_streams, plan: embed, ..CHAT };

const SERVICE: Service = Service { headers, error };

fn headers(serial: &str) -> Vec<(&'static str, String)> {
    vec![("x-trace-id", serial.to_owned()), ("num_tokens", "12".to_owned())]
}

/// The error is a message without a code: the status is all that names it.
fn error(status: u16, _: Option<&str>, serial: &str) -> (Value, String) {
    let message = match status {
        400 => "invalid request: list of messages must not be empty",
        401 => "invalid api token",
        404 => "model not found",
        429 => "You are past the per minute request limit, please wait and try again later.",
        _ => "internal server error, please try again later",
    };
    (json!({"id": format!("err-{serial}"), "message": message}), status.to_string())
}

/// What is billed is what counts; the model itself has seen more.
fn usage(amounts: &Amounts) -> Value {
    json!({
        "billed_units": {"input_tokens": amounts.input, "output_tokens": amounts.output},
        "tokens": {"input_tokens": amounts.input + 496, "output_tokens": amounts.output + 2},
    })
}

fn stated_usage(amounts: &Amounts) -> Option<Usage> {
    Some(Usage { input: Some(amounts.input), output: Some(amounts.output), ..Usage::default() })
}

fn chat(ask: &Ask<'_>) -> Plan {
    let last = ask.list("messages").last().and_then(|last| last.get("role")?.as_str());
    let amounts = ask.amounts(last == Some("tool"));
    let reason = ask.finish_reason(&amounts, "COMPLETE", "TOOL_CALL");
    let id = ask.id("coh-");
    let calls = ask.calls(&amounts, "call_");
    let function = |call: &crate::mock::ToolCall, arguments: &str| json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}});
    if !ask.stream {
        let mut content = Vec::new();
        if amounts.thinking > 0 {
            content.push(json!({"type": "thinking", "thinking": plan::text(amounts.thinking)}));
        }
        if amounts.tokens > 0 {
            content.push(json!({"type": "text", "text": plan::text(amounts.tokens)}));
        }
        let mut message = json!({"role": "assistant", "content": content});
        if !calls.is_empty() {
            message["tool_plan"] = "I will look that up.".into();
            message["tool_calls"] =
                calls.iter().map(|(call, arguments)| function(call, &plan::arguments_text(arguments))).collect();
        }
        let body = json!({"id": id, "finish_reason": reason, "message": message, "usage": usage(&amounts)});
        let states = Stated {
            id: Some(id),
            finish_reasons: vec![reason],
            tool_calls: calls.into_iter().map(|(call, _)| call).collect(),
            usage: stated_usage(&amounts),
            ..Stated::default()
        };
        return Plan {
            status: 200,
            headers: headers(ask.serial),
            body: Body::Whole { bytes: body.to_string().into_bytes(), states },
        };
    }
    let event = |data: &Value| plan::event(data.get("type").and_then(Value::as_str), data);
    let message =
        |kind: &str, index: usize, message: Value| json!({"type": kind, "index": index, "delta": {"message": message}});
    let begin = json!({"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []});
    let begin = json!({"id": id, "type": "message-start", "delta": {"message": begin}});
    let mut steps = vec![Step::states(event(&begin), Stated { id: Some(id), ..Stated::default() })];
    let mut index = 0;
    for (kind, count) in [("thinking", amounts.thinking), ("text", amounts.tokens)] {
        if count == 0 {
            continue;
        }
        let start = json!({"content": {"type": kind, kind: ""}});
        steps.push(Step::silent(event(&message("content-start", index, start))));
        let delta = message("content-delta", index, json!({"content": {kind: PLACEHOLDER}}));
        steps.extend(plan::words(Some("content-delta"), &delta, count));
        steps.push(Step::silent(event(&json!({"type": "content-end", "index": index}))));
        index += 1;
    }
    for (index, (call, arguments)) in calls.into_iter().enumerate() {
        let text = event(&message("tool-call-start", index, json!({"tool_calls": function(&call, "")})));
        steps.push(Step::Event { text, content: true, states: Stated { tool_calls: vec![call], ..Stated::default() } });
        for piece in plan::fragments(&plan::arguments_text(&arguments), ask.directive.fragments) {
            let delta = json!({"tool_calls": {"function": {"arguments": piece}}});
            steps.push(Step::content(event(&message("tool-call-delta", index, delta))));
        }
        steps.push(Step::silent(event(&json!({"type": "tool-call-end", "index": index}))));
    }
    let end = json!({"type": "message-end", "delta": {"finish_reason": reason, "usage": usage(&amounts)}});
    let states = Stated { finish_reasons: vec![reason], usage: stated_usage(&amounts), ..Stated::default() };
    steps.push(Step::states(event(&end), states));
    steps.push(Step::silent("data: [DONE]\n\n".to_owned()));
    // A stream that fails ends with a reason instead of an error.
    let failure = json!({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "upstream error"}});
    let states = Stated { finish_reasons: vec!["ERROR".to_owned()], ..Stated::default() };
    Plan {
        status: 200,
        headers: headers(ask.serial),
        body: Body::Stream {
            steps,
            keep_alive_event: ": keep-alive\n\n".to_owned(),
            failure: Box::new(Step::states(event(&failure), states)),
        },
    }
}

fn chat_1(ask: &Ask<'_>) -> Plan {
    let amounts = ask.amounts(!ask.list("tool_results").is_empty());
    let reason = ask.finish_reason(&amounts, "COMPLETE", "COMPLETE");
    let id = ask.id("coh-");
    let mut meta = usage(&amounts);
    meta["api_version"] = json!({"version": "1"});
    // Calls have no ids in this version.
    let (tool_calls, calls): (Vec<_>, Vec<_>) = ask
        .calls(&amounts, "")
        .into_iter()
        .map(|(call, arguments)| {
            let part = json!({"name": call.name, "parameters": arguments});
            (crate::mock::ToolCall { id: String::new(), ..call }, part)
        })
        .unzip();
    let mut body = json!({
        "response_id": id, "generation_id": format!("gen-{}", ask.serial), "text": plan::text(amounts.tokens),
        "chat_history": [], "finish_reason": reason, "meta": meta,
    });
    if !calls.is_empty() {
        body["tool_calls"] = calls.into();
    }
    let states = Stated {
        id: Some(id),
        finish_reasons: vec![reason.clone()],
        tool_calls,
        usage: stated_usage(&amounts),
        ..Stated::default()
    };
    let mut headers = headers(ask.serial);
    let body = if ask.stream {
        headers.push(("content-type", "application/stream+json".to_owned()));
        let line = |data: Value| format!("{data}\n");
        let start = json!({"is_finished": false, "event_type": "stream-start", "generation_id": body["generation_id"]});
        let mut steps = vec![Step::silent(line(start))];
        let word = json!({"is_finished": false, "event_type": "text-generation", "text": PLACEHOLDER});
        steps.extend(plan::split_words(&line(word), amounts.tokens));
        let end = json!({"is_finished": true, "event_type": "stream-end", "finish_reason": reason, "response": body});
        steps.push(Step::states(line(end), states));
        let failure = json!({"is_finished": true, "event_type": "stream-end", "finish_reason": "ERROR"});
        let failed = Stated { finish_reasons: vec!["ERROR".to_owned()], ..Stated::default() };
        Body::Stream { steps, keep_alive_event: String::new(), failure: Box::new(Step::states(line(failure), failed)) }
    } else {
        Body::Whole { bytes: body.to_string().into_bytes(), states }
    };
    Plan { status: 200, headers, body }
}

fn embed(ask: &Ask<'_>) -> Plan {
    let amounts = ask.amounts(false);
    let texts = ask.list("texts");
    let vectors: Vec<_> = (0..texts.len().max(1)).map(|index| vector(index, 8)).collect();
    let id = ask.id("coh-");
    let meta = json!({"api_version": {"version": "2"}, "billed_units": {"input_tokens": amounts.input}});
    let body = json!({
        "id": id, "texts": texts, "embeddings": {"float": vectors}, "meta": meta, "response_type": "embeddings_by_type",
    });
    let usage = Some(Usage { input: Some(amounts.input), ..Usage::default() });
    Plan {
        status: 200,
        headers: headers(ask.serial),
        body: Body::Whole {
            bytes: body.to_string().into_bytes(),
            states: Stated { id: Some(id), usage, ..Stated::default() },
        },
    }
}
