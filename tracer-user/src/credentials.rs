//! Names of credentials: their values are dropped where they are first named, before any other stage sees them. Both
//! the decoders and the recorder ask here.

use std::ops::Range;

/// Header fields, in lower case, whose values are credentials.
const HEADERS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "apikey",
    "x-goog-api-key",
    "x-amz-security-token",
    "x-auth-token",
    "x-access-token",
    "ocp-apim-subscription-key",
    "x-goog-iam-authorization-token",
    // Clients that cannot set header fields of a WebSocket name their key as a subprotocol.
    "sec-websocket-protocol",
];

/// Ends of names that vendors give to credentials of their own (`helicone-auth`, `cf-aig-authorization`, …).
const HEADER_ENDS: &[&str] =
    &["-api-key", "-apikey", "-auth", "-auth-token", "-access-token", "-authorization", "-secret", "-secret-key"];

/// Query parameters whose values are credentials or signatures; compared without regard to case.
const PARAMETERS: &[&str] = &[
    "key",
    "api_key",
    "api-key",
    "apikey",
    "token",
    "access_token",
    "auth",
    "code",
    "password",
    "secret",
    "client_secret",
    "sig",
    "signature",
    "subscription-key",
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-security-token",
    "x-goog-signature",
    "x-goog-credential",
];

pub fn is_credential_header(name: &str) -> bool {
    let name = name.as_bytes();
    let ends = |end: &&str| {
        let start = name.len().checked_sub(end.len());
        start.is_some_and(|start| name[start..].eq_ignore_ascii_case(end.as_bytes()))
    };
    HEADERS.iter().any(|header| name.eq_ignore_ascii_case(header.as_bytes())) || HEADER_ENDS.iter().any(ends)
}

pub fn is_credential_parameter(name: &str) -> bool {
    PARAMETERS.iter().any(|credential| name.eq_ignore_ascii_case(credential))
}

/// Where in a query the values of credentials stand.
pub fn credential_values(query: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    let mut values = Vec::new();
    for parameter in query.split('&') {
        let end = start + parameter.len();
        if let Some((name, value)) = parameter.split_once('=')
            && is_credential_parameter(name)
        {
            values.push(end - value.len()..end);
        }
        start = end + 1;
    }
    values
}

/// The query without the parameters that are credentials.
pub fn redact_query(query: &str) -> String {
    let kept = query.split('&').filter(|parameter| {
        let name = parameter.split('=').next().unwrap_or_default();
        !is_credential_parameter(name)
    });
    let mut redacted = String::with_capacity(query.len());
    for parameter in kept {
        if !redacted.is_empty() {
            redacted.push('&');
        }
        redacted.push_str(parameter);
    }
    redacted
}
