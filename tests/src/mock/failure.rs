//! Errors before the answer begins: the providers' own bodies, and those of the proxies before them.

use super::{
    api::Service,
    directive::{Directive, ErrorBody},
    plan::{Body, Plan, Stated},
};

pub fn plan(service: &Service, directive: &Directive, serial: &str) -> Plan {
    let status = directive.status;
    let (body, said) = (service.error)(status, directive.code.as_deref(), serial);
    let mut headers = (service.headers)(serial);
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
