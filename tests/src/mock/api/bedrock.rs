//! Bedrock: Converse, and InvokeModel with Anthropic's bodies and Amazon Nova's. Streams are AWS event streams.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Api, Ask, Service, anthropic};
use crate::mock::{
    directive::StateUsage,
    plan::{self, Amounts, Body, PLACEHOLDER, Plan, Stated, Step, event},
    truth::Usage,
};

pub const CONVERSE: Api = Api {
    paths: &["/converse", "/converse-stream"],
    operation: "chat",
    provider: "aws.bedrock",
    service: &SERVICE,
    model,
    stream,
    plan: converse,
};

pub const INVOKE: Api = Api { paths: &["/invoke", "/invoke-with-response-stream"], plan: invoke, ..CONVERSE };

const SERVICE: Service = Service { headers, error };

/// `{model}` of `/model/{model}/{operation}`.
fn model(_: &Value, path: &str) -> Option<String> {
    let (rest, _) = path.rsplit_once('/')?;
    let (_, model) = rest.rsplit_once('/')?;
    Some(model.replace("%3A", ":").replace("%2F", "/"))
}

fn stream(_: &Value, path: &str) -> bool {
    path.ends_with("-stream")
}

fn converse(ask: &Ask<'_>) -> Plan {
    let conversation = Conversation { ask };
    let mut headers = headers(ask.serial);
    let body = if ask.stream {
        headers.push(("content-type", "application/vnd.amazon.eventstream".to_owned()));
        Body::Packed { stream: Box::new(conversation.stream()), pack: message }
    } else {
        conversation.whole()
    };
    Plan { status: 200, headers, body }
}

/// The model's own bodies: Anthropic's, else Nova's, which nearly are those of Converse.
fn invoke(ask: &Ask<'_>) -> Plan {
    let is_anthropic = ask.model.contains("anthropic.");
    let mut headers = headers(ask.serial);
    let body = match (is_anthropic, ask.stream) {
        (true, _) => (anthropic::MESSAGES.plan)(ask).body,
        (false, true) => Conversation { ask }.stream(),
        (false, false) => Conversation { ask }.whole(),
    };
    let body = if ask.stream {
        headers.push(("content-type", "application/vnd.amazon.eventstream".to_owned()));
        Body::Packed { stream: Box::new(body), pack: if is_anthropic { chunk } else { nova_chunk } }
    } else {
        body
    };
    Plan { status: 200, headers, body }
}

struct Conversation<'a> {
    ask: &'a Ask<'a>,
}

impl Conversation<'_> {
    fn amounts(&self) -> Amounts {
        let parts = self.ask.list("messages").last().and_then(|last| last.get("content")?.as_array());
        self.ask.amounts(parts.is_some_and(|parts| parts.iter().any(|part| part.get("toolResult").is_some())))
    }

    fn whole(&self) -> Body {
        let amounts = self.amounts();
        let calls = self.ask.calls(&amounts, "tooluse_");
        let stop_reason = self.ask.finish_reason(&amounts, "end_turn", "tool_use");
        let mut content = Vec::new();
        if amounts.thinking > 0 {
            let text = plan::text(amounts.thinking);
            content.push(json!({"reasoningContent": {"reasoningText": {"text": text, "signature": "bW9jaw=="}}}));
        }
        if amounts.tokens > 0 {
            content.push(json!({"text": plan::text(amounts.tokens)}));
        }
        for (call, input) in &calls {
            content.push(json!({"toolUse": {"toolUseId": call.id, "name": call.name, "input": input}}));
        }
        let mut body = json!({
            "output": {"message": {"role": "assistant", "content": content}}, "stopReason": stop_reason,
            "metrics": {"latencyMs": 250},
        });
        let mut states = Stated {
            finish_reasons: vec![stop_reason],
            tool_calls: calls.into_iter().map(|(call, _)| call).collect(),
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
        let silent = |name: &str, data: Value| Step::silent(event(Some(name), &data));
        let delta = |index: usize, delta: Value| json!({"contentBlockIndex": index, "delta": delta});
        let mut steps = vec![silent("messageStart", json!({"role": "assistant"}))];
        let mut index = 0;
        for (count, text) in [
            (amounts.thinking, json!({"reasoningContent": {"text": PLACEHOLDER}})),
            (amounts.tokens, json!({"text": PLACEHOLDER})),
        ] {
            if let Some(words) = plan::words(Some("contentBlockDelta"), &delta(index, text), count) {
                steps.push(words);
                steps.push(silent("contentBlockStop", json!({"contentBlockIndex": index})));
                index += 1;
            }
        }
        for (call, input) in self.ask.calls(&amounts, "tooluse_") {
            let start = json!({"toolUse": {"toolUseId": call.id, "name": call.name}});
            let start = event(Some("contentBlockStart"), &json!({"contentBlockIndex": index, "start": start}));
            steps.push(Step::states(start, Stated { tool_calls: vec![call], ..Stated::default() }));
            let arguments = input.to_string();
            steps.extend(plan::fragments(&arguments, self.ask.directive.fragments).into_iter().map(|piece| {
                let piece = delta(index, json!({"toolUse": {"input": piece}}));
                Step::content(event(Some("contentBlockDelta"), &piece))
            }));
            steps.push(silent("contentBlockStop", json!({"contentBlockIndex": index})));
            index += 1;
        }
        let stop_reason = self.ask.finish_reason(&amounts, "end_turn", "tool_use");
        let states = Stated { finish_reasons: vec![stop_reason.clone()], ..Stated::default() };
        steps.push(Step::states(event(Some("messageStop"), &json!({"stopReason": stop_reason})), states));
        if self.ask.directive.usage != StateUsage::Never {
            let metadata = json!({"usage": self.usage(&amounts), "metrics": {"latencyMs": 250}});
            let states = Stated { usage: Some(self.stated_usage(&amounts)), ..Stated::default() };
            steps.push(Step::states(event(Some("metadata"), &metadata), states));
        }
        let code = self.ask.directive.code.clone().unwrap_or_else(|| "modelStreamErrorException".to_owned());
        let failure = event(Some(&code), &json!({"message": "The model stopped."}));
        let keep_alive = event(Some("contentBlockDelta"), &delta(0, json!({"text": ""})));
        Body::Stream {
            steps,
            keep_alive_event: keep_alive,
            failure: Box::new(Step::states(failure, Stated { error_type: Some(code), ..Stated::default() })),
        }
    }

    /// The wire's own count leaves cached tokens out of the input.
    fn usage(&self, amounts: &Amounts) -> Value {
        let details = self.ask.directive.details;
        let apart = if details { amounts.cached + amounts.cache_write } else { 0 };
        let total = amounts.input + amounts.output;
        let mut usage =
            json!({"inputTokens": amounts.input - apart, "outputTokens": amounts.output, "totalTokens": total});
        if details {
            for name in ["cacheReadInputTokens", "cacheReadInputTokenCount"] {
                usage[name] = amounts.cached.into();
            }
            for name in ["cacheWriteInputTokens", "cacheWriteInputTokenCount"] {
                usage[name] = amounts.cache_write.into();
            }
        }
        usage
    }

    fn stated_usage(&self, amounts: &Amounts) -> Usage {
        let details = self.ask.directive.details;
        Usage {
            input: Some(amounts.input),
            output: Some(amounts.output),
            cache_read: details.then_some(amounts.cached),
            cache_write: details.then_some(amounts.cache_write),
            reasoning: None,
        }
    }
}

fn headers(serial: &str) -> Vec<(&'static str, String)> {
    vec![("x-amzn-requestid", format!("00000000-0000-4000-8000-{serial:0>12}"))]
}

fn error(status: u16, code: Option<&str>, _: &str) -> (Value, String) {
    let usual = match status {
        400 => "ValidationException",
        403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 => "ModelTimeoutException",
        424 => "ModelErrorException",
        429 => "ThrottlingException",
        503 => "ServiceUnavailableException",
        _ => "InternalServerException",
    };
    let code = code.unwrap_or(usual);
    (json!({"__type": code, "message": "Not this time."}), code.to_owned())
}

/// An event as a message of an AWS event stream.
fn message(event: &str) -> Vec<u8> {
    let (name, data) = plan::parts(event);
    let (kind, header) =
        if name.ends_with("Exception") { ("exception", ":exception-type") } else { ("event", ":event-type") };
    packed(&[(header, name), (":content-type", "application/json"), (":message-type", kind)], data.as_bytes())
}

/// An event of Anthropic's inside a chunk. Pings do not get through, errors are exceptions of Bedrock's.
fn chunk(event: &str) -> Vec<u8> {
    match plan::parts(event) {
        ("ping", _) => Vec::new(),
        ("error", data) => {
            let data: Value = serde_json::from_str(data).unwrap_or_default();
            let code = data.pointer("/error/type").and_then(Value::as_str).unwrap_or("modelStreamErrorException");
            packed(&[(":exception-type", code), (":message-type", "exception")], b"{}")
        }
        (_, data) => chunk_of(data),
    }
}

/// Nova names each event by a member around it.
fn nova_chunk(event: &str) -> Vec<u8> {
    match plan::parts(event) {
        (name, _) if name.ends_with("Exception") => message(event),
        (name, data) => chunk_of(&format!("{{\"{name}\":{data}}}")),
    }
}

fn chunk_of(data: &str) -> Vec<u8> {
    let chunk = json!({"bytes": STANDARD.encode(data), "p": "abcdefgh"});
    message(&event(Some("chunk"), &chunk))
}

fn packed(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut fields = Vec::new();
    for (name, value) in headers {
        fields.push(name.len() as u8);
        fields.extend_from_slice(name.as_bytes());
        // 7: a string
        fields.push(7);
        fields.extend_from_slice(&(value.len() as u16).to_be_bytes());
        fields.extend_from_slice(value.as_bytes());
    }
    let mut message = Vec::new();
    message.extend_from_slice(&((fields.len() + payload.len() + 16) as u32).to_be_bytes());
    message.extend_from_slice(&(fields.len() as u32).to_be_bytes());
    message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
    message.extend_from_slice(&fields);
    message.extend_from_slice(payload);
    message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
    message
}
