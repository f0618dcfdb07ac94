//! Heads: from the fields of a header block to what they say. What was not seen is unknown.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    super::{
        Headers, RequestHead, ResponseHead, Version,
        limits::{HEADER_BYTES, HEADERS},
    },
    hpack::Field,
};

/// The fields of one block, pseudo-header fields (RFC 9113 section 8.3) apart.
#[derive(Default)]
pub struct Fields {
    method: Option<Bytes>,
    path: Option<Bytes>,
    authority: Option<Bytes>,
    status: Option<Bytes>,
    headers: Headers,
    /// Some are unknown.
    partial: bool,
}

impl Fields {
    /// A block that is lost.
    pub fn unknown() -> Self {
        Self { partial: true, ..Self::default() }
    }

    pub fn push(&mut self, field: Field) {
        let (Some(name), Some(value)) = (field.name, field.value) else {
            self.partial = true;
            return;
        };
        let place = match &*name {
            ":method" => &mut self.method,
            ":path" => &mut self.path,
            ":authority" => &mut self.authority,
            ":status" => &mut self.status,
            other if other.starts_with(':') => return,
            // A block can name a long field many times in few bytes.
            _ if self.headers.len() >= HEADERS || self.headers.bytes() + value.len() > HEADER_BYTES => {
                self.partial = true;
                return;
            }
            name => return self.headers.push(name, &value),
        };
        *place = Some(value);
    }

    pub fn lose_rest(&mut self) {
        self.partial = true;
    }

    /// Whether these are a request's: `None` when no pseudo-header field tells, as in trailers.
    pub fn are_request(&self) -> Option<bool> {
        let request = self.method.is_some() || self.path.is_some() || self.authority.is_some();
        (request || self.status.is_some()).then_some(request)
    }

    pub fn status(&self) -> Option<u16> {
        std::str::from_utf8(self.status.as_ref()?).ok()?.parse().ok()
    }

    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    pub fn into_request(self) -> RequestHead {
        let text = |value: Option<Bytes>| value.map(|value| String::from_utf8_lossy(&value).into_owned());
        let target = text(self.path).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let authority = text(self.authority).or_else(|| self.headers.get("host").map(str::to_owned));
        RequestHead {
            version: Version::Http2,
            method: text(self.method).unwrap_or_default(),
            path: path.to_owned(),
            query: query.to_owned(),
            authority,
            headers: self.headers,
            partial: self.partial,
        }
    }

    /// `None` when the status is unknown.
    pub fn into_response(self) -> Option<Arc<ResponseHead>> {
        let status = self.status()?;
        let head = ResponseHead { version: Version::Http2, status, headers: self.headers, partial: self.partial };
        Some(Arc::new(head))
    }
}
