//! Gemini: content whole, as an event stream and as a JSON array that grows, and embeddings; on Vertex AI's paths, too.

use serde_json::{Value, json};

use super::{Api, Ask, Service, never_streams, vector};
use crate::mock::{
    directive::StateUsage,
    plan::{self, Amounts, Body, PLACEHOLDER, Plan, Stated, Step, event},
    truth::{ToolCall, Usage},
};

pub const GENERATE: Api = Api {
    paths: &[":generateContent", ":streamGenerateContent"],
    operation: "generate_content",
    provider: "gcp.gemini",
    service: &SERVICE,
    model,
    stream: |_, path| path.ends_with(":streamGenerateContent"),
    plan,
};

pub const EMBED: Api = Api {
    paths: &[":embedContent", ":batchEmbedContents"],
    operation: "embeddings",
    provider: "gcp.gemini",
    service: &SERVICE,
    model,
    stream: never_streams,
    plan: embed,
};

const SERVICE: Service = Service { headers, error };

/// `{m}` of `…/models/{m}:method`.
fn model(_: &Value, path: &str) -> Option<String> {
    let (model, _) = path.rsplit('/').next()?.split_once(':')?;
    Some(model.to_owned())
}

fn headers(_: &str) -> Vec<(&'static str, String)> {
    vec![("x-gemini-service-tier", "standard".to_owned()), ("server-timing", "gfet4t7; dur=12".to_owned())]
}

fn error(status: u16, code: Option<&str>, _: &str) -> (Value, String) {
    let (usual, message) = match status {
        400 => ("INVALID_ARGUMENT", "Request contains an invalid argument."),
        401 => ("UNAUTHENTICATED", "Request had invalid authentication credentials."),
        403 => ("PERMISSION_DENIED", "The caller does not have permission"),
        404 => ("NOT_FOUND", "The model is not found"),
        429 => ("RESOURCE_EXHAUSTED", "You exceeded your current quota."),
        503 => ("UNAVAILABLE", "The model is overloaded. Please try again later."),
        504 => ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
        _ => ("INTERNAL", "An internal error has occurred."),
    };
    let name = code.unwrap_or(usual);
    (json!({"error": {"code": status, "message": message, "status": name}}), name.to_owned())
}

struct Content<'a> {
    ask: &'a Ask<'a>,
    amounts: Amounts,
}

fn plan(ask: &Ask<'_>) -> Plan {
    let parts = ask.list("contents").last().and_then(|last| last.get("parts")?.as_array());
    let answers = parts.is_some_and(|parts| parts.iter().any(|part| part.get("functionResponse").is_some()));
    let content = Content { ask, amounts: ask.amounts(answers) };
    let mut headers = headers(ask.serial);
    let body = if !ask.stream {
        content.whole()
    } else if ask.query.split('&').any(|pair| pair == "alt=sse") {
        content.events()
    } else {
        headers.push(("content-type", "application/json; charset=UTF-8".to_owned()));
        content.array()
    };
    Plan { status: 200, headers, body }
}

impl Content<'_> {
    fn finish_reason(&self) -> String {
        // A call for tools has no reason of its own.
        self.ask.directive.finish_reason.clone().unwrap_or_else(|| "STOP".to_owned())
    }

    fn piece(&self, parts: Vec<Value>, last: bool) -> Value {
        let mut candidate = json!({"content": {"parts": parts, "role": "model"}, "index": 0});
        if last {
            candidate["finishReason"] = self.finish_reason().into();
        }
        let mut piece = json!({
            "candidates": [candidate], "modelVersion": self.model(), "responseId": self.ask.id("gem"),
        });
        if self.ask.directive.usage != StateUsage::Never {
            piece["usageMetadata"] = if last { self.usage() } else { json!({"trafficType": "ON_DEMAND"}) };
        }
        piece
    }

    fn model(&self) -> String {
        self.ask.response_model("001")
    }

    fn named(&self) -> Stated {
        Stated { id: Some(self.ask.id("gem")), model: Some(self.model()), ..Stated::default() }
    }

    fn calls(&self) -> (Vec<ToolCall>, Vec<Value>) {
        let calls = self.ask.calls(&self.amounts, "fc_").into_iter();
        calls
            .map(|(call, arguments)| {
                let part = json!({"functionCall": {"id": call.id, "name": call.name, "args": arguments}});
                (call, part)
            })
            .unzip()
    }

    fn whole(&self) -> Body {
        let mut parts = Vec::new();
        if self.amounts.thinking > 0 {
            parts.push(json!({"text": plan::text(self.amounts.thinking), "thought": true}));
        }
        if self.amounts.tokens > 0 {
            parts.push(json!({"text": plan::text(self.amounts.tokens)}));
        }
        let (tool_calls, calls) = self.calls();
        parts.extend(calls);
        let body = self.piece(parts, true);
        let states = Stated {
            finish_reasons: vec![self.finish_reason()],
            tool_calls,
            usage: self.stated_usage(),
            ..self.named()
        };
        Body::Whole { bytes: body.to_string().into_bytes(), states }
    }

    /// The pieces of a stream, each written by `write`, whose second argument says how many came before.
    fn steps(&self, write: &dyn Fn(&Value, usize) -> String) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut named = Some(self.named());
        let mut words = |steps: &mut Vec<Step>, thought: bool, count: u32| {
            let part =
                |text: &str| if thought { json!({"text": text, "thought": true}) } else { json!({"text": text}) };
            if count == 0 {
                return;
            }
            // The first piece names the answer, and begins an array.
            steps.push(Step::Event {
                text: write(&self.piece(vec![part("Well,")], false), steps.len()),
                content: true,
                states: named.take().unwrap_or_default(),
            });
            let text = write(&self.piece(vec![part(PLACEHOLDER)], false), steps.len());
            steps.extend(plan::split_words(&text, count - 1));
        };
        words(&mut steps, true, self.amounts.thinking);
        words(&mut steps, false, self.amounts.tokens);
        let (tool_calls, calls) = self.calls();
        if !calls.is_empty() {
            let states = Stated { tool_calls, ..named.take().unwrap_or_default() };
            let text = write(&self.piece(calls, false), steps.len());
            steps.push(Step::Event { text, content: true, states });
        }
        let states = Stated {
            finish_reasons: vec![self.finish_reason()],
            usage: self.stated_usage(),
            ..named.take().unwrap_or_default()
        };
        let text = write(&self.piece(vec![json!({"text": ""})], true), steps.len());
        steps.push(Step::states(text, states));
        steps
    }

    fn events(&self) -> Body {
        let (failure, states) = self.failure();
        Body::Stream {
            steps: self.steps(&|piece, _| event(None, piece)),
            keep_alive_event: String::new(),
            failure: Box::new(Step::states(event(None, &failure), states)),
        }
    }

    fn array(&self) -> Body {
        let mut steps =
            self.steps(&|piece, before| if before == 0 { format!("[{piece}") } else { format!(",\r\n{piece}") });
        steps.push(Step::silent("]".to_owned()));
        let (failure, states) = self.failure();
        Body::Stream {
            steps,
            keep_alive_event: String::new(),
            failure: Box::new(Step::states(format!(",\r\n{failure}]"), states)),
        }
    }

    fn failure(&self) -> (Value, Stated) {
        let (body, name) = error(503, self.ask.directive.code.as_deref(), self.ask.serial);
        (body, Stated { error_type: Some(name), ..Stated::default() })
    }

    /// The wire states thoughts beside the candidates' tokens.
    fn usage(&self) -> Value {
        let amounts = &self.amounts;
        let mut usage = json!({
            "promptTokenCount": amounts.input, "candidatesTokenCount": amounts.output - self.thoughts(),
            "totalTokenCount": amounts.input + amounts.output, "trafficType": "ON_DEMAND",
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": amounts.input}],
        });
        if self.states_cached() {
            usage["cachedContentTokenCount"] = amounts.cached.into();
        }
        if self.thoughts() > 0 {
            usage["thoughtsTokenCount"] = self.thoughts().into();
        }
        usage
    }

    fn thoughts(&self) -> u64 {
        if self.ask.directive.details { self.amounts.reasoning.min(self.amounts.output) } else { 0 }
    }

    fn states_cached(&self) -> bool {
        self.ask.directive.details && self.amounts.cached > 0
    }

    fn stated_usage(&self) -> Option<Usage> {
        (self.ask.directive.usage != StateUsage::Never).then(|| Usage {
            input: Some(self.amounts.input),
            output: Some(self.amounts.output),
            cache_read: self.states_cached().then_some(self.amounts.cached),
            cache_write: None,
            reasoning: Some(self.thoughts()).filter(|thoughts| *thoughts > 0),
        })
    }
}

/// The Gemini API states no usage for embeddings.
fn embed(ask: &Ask<'_>) -> Plan {
    let first = ask.list("requests").first().unwrap_or(ask.request);
    let dimensions = ["/outputDimensionality", "/embedContentConfig/outputDimensionality"];
    let dimensions = dimensions.iter().find_map(|at| first.pointer(at)?.as_u64()).unwrap_or(8).min(4096) as usize;
    let embedding = |index| json!({"values": vector(index, dimensions)});
    let body = if ask.path.ends_with(":batchEmbedContents") {
        json!({"embeddings": (0..ask.list("requests").len()).map(embedding).collect::<Vec<_>>()})
    } else {
        json!({"embedding": embedding(0)})
    };
    Plan {
        status: 200,
        headers: headers(ask.serial),
        body: Body::Whole { bytes: body.to_string().into_bytes(), states: Stated::default() },
    }
}
