//! Heads: from the bytes up to the blank line to typed facts, and what they say about the body's framing.

use std::{borrow::Cow, mem::MaybeUninit};

use super::super::{Fault, Headers, RequestHead, ResponseHead, Version, body::Coding, limits::HEADERS};
use crate::credentials;

/// How long a message's body is (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Known(u64),
    Chunked,
    /// Until the connection closes: responses only.
    UntilClose,
}

/// What a head says about the bytes that follow it.
pub(super) struct BodyFacts {
    pub(super) length: Result<Option<Length>, Fault>,
    pub(super) codings: Vec<Coding>,
}

pub(super) fn request(bytes: &[u8]) -> Result<(RequestHead, BodyFacts), Fault> {
    let unfolded = unfold(bytes);
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    httparse::ParserConfig::default()
        .ignore_invalid_headers_in_requests(true)
        .parse_request_with_uninit_headers(&mut parsed, &unfolded, &mut slots)
        .map_err(fault)?;
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
        return Err(Fault::Malformed);
    };
    let mut head = RequestHead {
        version: version(parsed.version),
        method: method.to_owned(),
        headers: headers(parsed.headers),
        ..RequestHead::default()
    };
    let (authority, target) = split_target(method, target);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    head.path = path.to_owned();
    head.query = credentials::redact_query(query);
    head.authority = authority.or_else(|| head.headers.get("host")).map(str::to_owned);
    let facts = BodyFacts { length: length(&head.headers), codings: codings(&head.headers) };
    Ok((head, facts))
}

pub(super) fn response(bytes: &[u8]) -> Result<(ResponseHead, BodyFacts), Fault> {
    let unfolded = unfold(bytes);
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    httparse::ParserConfig::default()
        .ignore_invalid_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .parse_response_with_uninit_headers(&mut parsed, &unfolded, &mut slots)
        .map_err(fault)?;
    let head = ResponseHead {
        version: version(parsed.version),
        status: parsed.code.ok_or(Fault::Malformed)?,
        headers: headers(parsed.headers),
        partial: false,
    };
    let facts = BodyFacts { length: length(&head.headers), codings: codings(&head.headers) };
    Ok((head, facts))
}

fn fault(error: httparse::Error) -> Fault {
    match error {
        httparse::Error::TooManyHeaders => Fault::Limit,
        _ => Fault::Malformed,
    }
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(0) { Version::Http10 } else { Version::Http11 }
}

/// Replaces each obsolete line folding by spaces, as RFC 9112 section 5.2 asks of user agents. Heads without one, all
/// but a few, are not copied.
fn unfold(bytes: &[u8]) -> Cow<'_, [u8]> {
    let folds = |bytes: &[u8], end: usize| matches!(bytes.get(end + 1), Some(b' ' | b'\t'));
    if !memchr::memchr_iter(b'\n', bytes).any(|end| folds(bytes, end)) {
        return Cow::Borrowed(bytes);
    }
    let mut copy = bytes.to_vec();
    for end in memchr::memchr_iter(b'\n', bytes).filter(|end| folds(bytes, *end)) {
        copy[end] = b' ';
        if end > 0 && copy[end - 1] == b'\r' {
            copy[end - 1] = b' ';
        }
    }
    Cow::Owned(copy)
}

/// Values of credentials are empty.
fn headers(fields: &[httparse::Header<'_>]) -> Headers {
    let bytes = fields.iter().map(|field| field.name.len().max(field.value.len())).sum();
    let mut headers = Headers::with_capacity(fields.len(), bytes);
    for field in fields {
        let value = if credentials::is_credential_header(field.name) { b"" } else { field.value };
        headers.push(field.name, value);
    }
    headers
}

/// Separates the authority of a CONNECT request or of an absolute target (RFC 9112 section 3.2) from the path.
fn split_target<'a>(method: &str, target: &'a str) -> (Option<&'a str>, &'a str) {
    if method == "CONNECT" {
        return (Some(target), "");
    }
    let Some((_, rest)) = target.split_once("://").filter(|_| !target.starts_with('/')) else {
        return (None, target);
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    (Some(authority.rsplit_once('@').map_or(authority, |(_, host)| host)), path)
}

/// `None`: no field says anything. Chunked wins over a content length (RFC 9112 section 6.3, item 3).
fn length(headers: &Headers) -> Result<Option<Length>, Fault> {
    let mut content_length = None;
    let mut transfer_coded = None;
    for (name, value) in headers.iter() {
        match name {
            "transfer-encoding" => {
                let value = std::str::from_utf8(value).map_err(|_| Fault::Malformed)?;
                let last = value.rsplit(',').next().unwrap_or_default().trim();
                transfer_coded = Some(last.eq_ignore_ascii_case("chunked"));
            }
            "content-length" => {
                let value = std::str::from_utf8(value).map_err(|_| Fault::Malformed)?;
                // One field can carry the same value repeatedly, joined by an intermediary (item 5).
                for value in value.split(',').map(str::trim) {
                    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                    let value = value.parse().ok().filter(|_| digits).ok_or(Fault::Malformed)?;
                    if content_length.is_some_and(|other: u64| other != value) {
                        return Err(Fault::Malformed);
                    }
                    content_length = Some(value);
                }
            }
            _ => {}
        }
    }
    Ok(match (transfer_coded, content_length) {
        (Some(true), _) => Some(Length::Chunked),
        (Some(false), _) => Some(Length::UntilClose),
        (None, Some(length)) => Some(Length::Known(length)),
        (None, None) => None,
    })
}

/// Content codings, then transfer codings: in the order of their application.
fn codings(headers: &Headers) -> Vec<Coding> {
    Coding::of(headers, "content-encoding").chain(Coding::of(headers, "transfer-encoding")).collect()
}
