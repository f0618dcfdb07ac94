//! What a request is answered: by the API at its path, as its directive says.

use serde_json::{Value, json};

use super::{
    api::{self, Api, Ask, Service},
    beside,
    directive::Directive,
    failure,
    http1::Request,
    plan::{Body, Plan, Stated, Step, event},
    truth::Truth,
};

/// The behaviour and the response, whatever carries them; what the request states goes into `truth`.
pub fn answer(request: &Request, serial: &str, truth: &mut Truth) -> (Directive, Plan) {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let Some(api) = api::at(path).filter(|_| request.method == "POST") else {
        let plan = beside::answer(request, path, serial).unwrap_or_else(|| other(request, path));
        return (Directive::default(), plan);
    };
    truth.provider = Some(provider(api, path, truth.host.as_deref()).to_owned());
    truth.operation = Some(api.operation.to_owned());
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return (Directive::default(), refuse(api.service, serial, "the body is not JSON", truth));
    };
    truth.stream = (api.stream)(&body, path);
    truth.request_model = (api.model)(&body, path);
    let directive = match Directive::of(request.header("x-mock"), &body) {
        Ok(directive) => directive,
        Err(error) => {
            return (Directive::default(), refuse(api.service, serial, &format!("mock directive: {error}"), truth));
        }
    };
    if directive.fails(truth.retry.unwrap_or(truth.repeated)) {
        let plan = failure::plan(api.service, &directive, serial);
        return (directive, plan);
    }
    let Some(model) = truth.request_model.clone() else {
        return (directive, refuse(api.service, serial, "the request names no model", truth));
    };
    let mut plan = (api.plan)(&Ask {
        directive: &directive,
        request: &body,
        body_bytes: request.body.len(),
        path,
        query,
        model: &model,
        stream: truth.stream,
        serial,
    });
    if let Some(fallbacks) = directive.fallbacks {
        plan.headers.push(("x-litellm-attempted-fallbacks", fallbacks.to_string()));
    }
    (directive, plan)
}

/// Clients that are told to send a service's own name as the host speak to that service, as far as anyone can tell.
const HOSTS: &[(&str, &str)] =
    &[("api.mistral.ai", "mistral_ai"), ("api.cohere.com", "cohere"), ("aiplatform.googleapis.com", "gcp.vertex_ai")];

fn provider(api: &Api, path: &str, host: Option<&str>) -> &'static str {
    let named = HOSTS.iter().find(|(name, _)| host == Some(name));
    match named {
        Some((_, provider)) => provider,
        None if path.contains("/openai/deployments/") => "azure.ai.openai",
        None => api.provider,
    }
}

/// The provider's own 400, with a reason of ours on stderr and in a header.
fn refuse(service: &Service, serial: &str, why: &str, truth: &Truth) -> Plan {
    eprintln!("mock-provider: exchange {}: {why}", truth.exchange);
    let mut plan = failure::plan(service, &Directive { status: 400, ..Directive::default() }, serial);
    plan.headers.push(("x-mock-refused", why.replace(['\r', '\n'], " ")));
    plan
}

/// Endpoints that are no model calls.
fn other(request: &Request, path: &str) -> Plan {
    let json = |status: u16, body: Value| Plan {
        status,
        headers: Vec::new(),
        body: Body::Whole { bytes: body.to_string().into_bytes(), states: Stated::default() },
    };
    match (request.method.as_str(), path.rsplit('/').next().unwrap_or_default()) {
        ("GET" | "HEAD", "models") => json(
            200,
            json!({"object": "list", "data": [
                {"id": "gpt-5", "object": "model", "created": 1_790_000_000, "owned_by": "openai"},
                {"id": "gpt-5-mini", "object": "model", "created": 1_790_000_000, "owned_by": "openai"},
            ]}),
        ),
        ("POST", "count_tokens") => json(200, json!({"input_tokens": request.body.len() / 4})),
        ("POST", "ingest") => json(200, json!({"ok": true, "object": "traces.ingest"})),
        ("POST", "files") => json(200, json!({"id": "file-mock", "object": "file", "bytes": request.body.len()})),
        ("POST", "token") => json(200, json!({"access_token": "mock", "token_type": "bearer", "expires_in": 3600})),
        ("GET" | "HEAD", "healthz") => json(200, json!({"status": "ok"})),
        ("GET", "events") => Plan {
            status: 200,
            headers: Vec::new(),
            body: Body::Stream {
                steps: (0..20)
                    .map(|tick| Step::silent(event(Some("tick"), &json!({"tick": tick, "model": "weather"}))))
                    .collect(),
                keep_alive_event: ": keep-alive\n\n".to_owned(),
                failure: Box::new(Step::silent(event(Some("error"), &json!({"error": "over"})))),
            },
        },
        _ => json(
            404,
            json!({"error": {"message": "Invalid URL", "type": "invalid_request_error", "param": null, "code": null}}),
        ),
    }
}
