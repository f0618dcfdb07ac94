//! OpenAI's APIs, and the Azure variant of them.

mod chat;
mod completions;
mod embeddings;
mod responses;

use serde_json::{Value, json};

use super::{Api, Ask, Service, body_model, body_stream, never_streams};
use crate::mock::plan::{Body, Stated, Step, event};

pub const CHAT: Api = Api {
    paths: &["/chat/completions"],
    operation: "chat",
    provider: "openai",
    service: &SERVICE,
    model,
    stream: body_stream,
    plan: chat::plan,
};

/// Mistral's fill-in-the-middle, which has the shape of chat.
pub const FIM: Api = Api { paths: &["/fim/completions"], operation: "text_completion", ..CHAT };

pub const COMPLETIONS: Api =
    Api { paths: &["/completions"], operation: "text_completion", plan: completions::plan, ..CHAT };

pub const RESPONSES: Api = Api { paths: &["/responses"], plan: responses::plan, ..CHAT };

pub const EMBEDDINGS: Api =
    Api { paths: &["/embeddings"], operation: "embeddings", stream: never_streams, plan: embeddings::plan, ..CHAT };

const SERVICE: Service = Service { headers, error };

/// `{d}` of `…/deployments/{d}/…`, as Azure has it.
fn deployment(path: &str) -> Option<&str> {
    path.split("/deployments/").nth(1).and_then(|rest| rest.split('/').next())
}

fn model(body: &Value, path: &str) -> Option<String> {
    body_model(body, path).or_else(|| deployment(path).map(str::to_owned))
}

fn headers(serial: &str) -> Vec<(&'static str, String)> {
    vec![
        ("x-request-id", format!("req_{serial}")),
        ("openai-organization", "mock-org".to_owned()),
        ("openai-processing-ms", "12".to_owned()),
        ("openai-version", "2020-10-01".to_owned()),
        ("x-ratelimit-limit-requests", "10000".to_owned()),
        ("x-ratelimit-remaining-requests", "9999".to_owned()),
        ("x-ratelimit-reset-requests", "6ms".to_owned()),
        ("x-ratelimit-limit-tokens", "2000000".to_owned()),
        ("x-ratelimit-remaining-tokens", "1999000".to_owned()),
        ("x-ratelimit-reset-tokens", "30ms".to_owned()),
    ]
}

/// Body, and the code in it or else its type.
fn error(status: u16, code: Option<&str>, _: &str) -> (Value, String) {
    let (kind, usual, message) = match status {
        400 => ("invalid_request_error", None, "Invalid value for 'messages'."),
        401 => ("invalid_request_error", Some("invalid_api_key"), "Incorrect API key provided."),
        403 => ("invalid_request_error", Some("unsupported_country_region_territory"), "Not supported here."),
        404 => {
            ("invalid_request_error", Some("model_not_found"), "The model does not exist or you have no access to it.")
        }
        429 => ("requests", Some("rate_limit_exceeded"), "Rate limit reached for requests."),
        503 => ("server_error", None, "That model is currently overloaded with other requests."),
        _ => ("server_error", None, "The server had an error while processing your request."),
    };
    let code = code.or(usual);
    let body = json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
    (body, code.unwrap_or(kind).to_owned())
}

/// A stream with the comments and the error event of these APIs.
fn stream(ask: &Ask<'_>, steps: Vec<Step>) -> Body {
    let code = ask.directive.code.clone().unwrap_or_else(|| "server_error".to_owned());
    let failure = json!({"error": {
        "message": "The server had an error while processing your request. Sorry about that!",
        "type": code, "param": null, "code": null,
    }});
    Body::Stream {
        steps,
        keep_alive_event: ": keep-alive\n\n".to_owned(),
        failure: Box::new(Step::states(event(None, &failure), Stated { error_type: Some(code), ..Stated::default() })),
    }
}
