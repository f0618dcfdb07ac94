//! Errors before the answer begins: the providers' own bodies, and those of the proxies before them.

use serde_json::{Value, json};

use super::{
    anthropic,
    directive::{Directive, ErrorBody},
    openai,
    plan::{Body, Plan, Stated},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    OpenAi,
    Anthropic,
}

pub fn plan(provider: Provider, directive: &Directive, serial: &str) -> Plan {
    let status = directive.status;
    let (body, said) = match provider {
        Provider::OpenAi => openai_error(status, directive.code.as_deref()),
        Provider::Anthropic => anthropic_error(status, directive.code.as_deref(), serial),
    };
    let mut headers = match provider {
        Provider::OpenAi => openai::response_headers(serial),
        Provider::Anthropic => anthropic::response_headers(serial),
    };
    if let Some(seconds) = directive.retry_after {
        headers.push(("retry-after", seconds.to_string()));
    }
    // A body that says nothing leaves the status as the error's type.
    let (content_type, bytes, error_type) = match directive.body {
        ErrorBody::Json => ("application/json", body.to_string().into_bytes(), said),
        ErrorBody::Html => (
            "text/html",
            format!("<html><head><title>{status}</title></head><body>nothing here</body></html>").into_bytes(),
            status.to_string(),
        ),
        ErrorBody::Empty => ("text/plain", Vec::new(), status.to_string()),
    };
    headers.push(("content-type", content_type.to_owned()));
    Plan {
        status,
        headers,
        body: Body::Whole { bytes, states: Stated { error_type: Some(error_type), ..Stated::default() } },
    }
}

/// Body, and the code in it or else its type.
fn openai_error(status: u16, code: Option<&str>) -> (Value, String) {
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

fn anthropic_error(status: u16, kind: Option<&str>, serial: &str) -> (Value, String) {
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
