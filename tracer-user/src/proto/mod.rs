//! Proto: sans-IO protocol decoders. Each takes `push(at, bytes)`, `gap(at, lost)`, `close(at)` and hands events to
//! the caller, with bodies in place; cutting the input anywhere gives the same events.

mod array;
mod body;
mod connection;
mod detect;
mod eventstream;
mod form;
#[doc(hidden)]
pub mod fuzz;
mod headers;
mod http1;
pub mod http2;
mod limits;
mod lines;
mod message;
mod sse;
mod view;
mod websocket;

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;

pub use self::{
    connection::{Connection, Protocol},
    headers::Headers,
    http2::OTLP_TRACES,
    limits::Limits,
};
use crate::capture::Role;

/// Numbers the exchanges of a connection from 0 in the order of their requests, or, where those were not captured, of what
/// was first seen of them.
pub type StreamIndex = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Version {
    Http10,
    #[default]
    Http11,
    Http2,
}

impl Version {
    /// `network.protocol.version`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct RequestHead {
    pub version: Version,
    /// Empty when it is unknown.
    pub method: String,
    /// Path without query, as on the wire (not percent-decoded). Empty when it is unknown, or there is none (CONNECT).
    pub path: String,
    /// Query without `?`; empty when there is none. Credentials in it (`key=`) are already removed.
    pub query: String,
    /// `Host` or `:authority`, as on the wire.
    pub authority: Option<String>,
    pub headers: Headers,
    /// Some fields are unknown: they refer to earlier header blocks that were not captured (HTTP/2).
    pub partial: bool,
}

impl RequestHead {
    /// Whether this asks for a WebSocket (RFC 6455 section 4.1). Over HTTP/2 (RFC 8441) they are not decoded.
    pub fn is_websocket(&self) -> bool {
        let upgrade = || self.headers.get("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
        self.method == "GET" && self.version != Version::Http2 && upgrade()
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResponseHead {
    pub version: Version,
    pub status: u16,
    pub headers: Headers,
    /// Some fields are unknown: they refer to earlier header blocks that were not captured (HTTP/2).
    pub partial: bool,
}

/// One decoded piece of a body: content codings and framing are gone. It lives no longer than the record that it came
/// with: a reader keeps what it needs.
#[derive(Clone, PartialEq)]
pub enum Piece<'a> {
    /// Bytes of a body that has no message framing of its own (JSON, HTML, …), as they come.
    Bytes(Cow<'a, [u8]>),
    /// One Server-Sent Event (WHATWG HTML section 9.2): its `event` field (empty when absent) and its `data`.
    Sse { event: Cow<'a, [u8]>, data: Cow<'a, [u8]> },
    /// A comment line of an event stream. It carries no content and does not count as an event.
    Comment,
    /// One line of NDJSON.
    Line(Cow<'a, [u8]>),
    /// One message of an AWS event stream: its payload, and the name of its event or of its exception.
    Message { name: Cow<'a, [u8]>, data: Cow<'a, [u8]>, exception: bool },
    /// One element of an array of JSON objects, which may be a stream of them.
    Element(Cow<'a, [u8]>),
    /// One part of a form.
    Part(Box<Part>),
}

/// One part of a multipart form, without what a file holds.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Part {
    pub name: Bytes,
    /// As the sender wrote it; only of files.
    pub file_name: Option<Bytes>,
    /// `None` of files, of values over [`Limits::part_value_bytes`], and of what is not known whole.
    pub value: Option<Bytes>,
    /// Length of the content; `None` when a part of it was lost.
    pub bytes: Option<u64>,
}

/// Values can be prompts, and names of files are the user's.
impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Part({:?} bytes, file: {})", self.bytes, self.file_name.is_some())
    }
}

impl Piece<'_> {
    /// The same, to be kept.
    pub fn into_owned(self) -> Piece<'static> {
        let own = |bytes: Cow<'_, [u8]>| Cow::Owned(bytes.into_owned());
        match self {
            Self::Bytes(bytes) => Piece::Bytes(own(bytes)),
            Self::Sse { event, data } => Piece::Sse { event: own(event), data: own(data) },
            Self::Comment => Piece::Comment,
            Self::Line(line) => Piece::Line(own(line)),
            Self::Message { name, data, exception } => Piece::Message { name: own(name), data: own(data), exception },
            Self::Element(element) => Piece::Element(own(element)),
            Self::Part(part) => Piece::Part(part),
        }
    }

    /// What it carries, for a body whose framing does not matter.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) | Self::Line(bytes) | Self::Element(bytes) => Some(bytes),
            Self::Sse { data, .. } | Self::Message { data, .. } => Some(data),
            Self::Comment | Self::Part(_) => None,
        }
    }
}

impl std::fmt::Debug for Piece<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Sse { event, data } => write!(f, "Sse({}, {})", event.len(), data.len()),
            Self::Comment => f.write_str("Comment"),
            Self::Line(line) => write!(f, "Line({})", line.len()),
            Self::Message { name, data, .. } => write!(f, "Message({}, {})", name.len(), data.len()),
            Self::Element(element) => write!(f, "Element({})", element.len()),
            Self::Part(part) => part.fmt(f),
        }
    }
}

/// How a message (request or response) ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The framing says that it is whole.
    Complete,
    /// The connection or stream ended before the framing was satisfied.
    Truncated,
    /// HTTP/2 RST_STREAM or the like, by whom.
    Reset { by_peer: bool },
    /// Its bytes could not be decoded further (malformed, over a limit, or unsupported).
    Undecodable(Fault),
}

/// Whose fault it is that decoding stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The peer or the traced program broke the protocol.
    Malformed,
    /// Bytes are missing from the capture.
    Lost,
    /// One of our limits was reached.
    Limit,
    /// Valid, but not supported.
    Unsupported,
}

/// What the decoders of one connection yield, both directions. Bodies and ends come without their head where it was not
/// captured (HTTP/2).
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {
    /// The bytes prove which end the traced process is, of all that follows: it need not be as it was declared, since
    /// sources that do not know say client.
    Role(Role),
    RequestHead {
        at: u64,
        stream: StreamIndex,
        head: Arc<RequestHead>,
        first_byte_at: u64,
    },
    RequestBody {
        at: u64,
        stream: StreamIndex,
        piece: Piece<'a>,
    },
    RequestEnd {
        at: u64,
        stream: StreamIndex,
        end: End,
    },
    /// The first byte of a final (not 1xx) response was seen.
    ResponseHead {
        at: u64,
        stream: StreamIndex,
        head: Arc<ResponseHead>,
        first_byte_at: u64,
    },
    ResponseBody {
        at: u64,
        stream: StreamIndex,
        piece: Piece<'a>,
    },
    ResponseEnd {
        at: u64,
        stream: StreamIndex,
        end: End,
    },
    /// Bytes of this stream were lost: of the request if `request`, else of the response; `None` = unknown number.
    Lost {
        at: u64,
        stream: StreamIndex,
        request: bool,
        bytes: Option<u64>,
    },
}

impl Event<'_> {
    /// The same, to be kept.
    pub fn into_owned(self) -> Event<'static> {
        match self {
            Self::RequestBody { at, stream, piece } => Event::RequestBody { at, stream, piece: piece.into_owned() },
            Self::ResponseBody { at, stream, piece } => Event::ResponseBody { at, stream, piece: piece.into_owned() },
            Self::Role(role) => Event::Role(role),
            Self::RequestHead { at, stream, head, first_byte_at } => {
                Event::RequestHead { at, stream, head, first_byte_at }
            }
            Self::RequestEnd { at, stream, end } => Event::RequestEnd { at, stream, end },
            Self::ResponseHead { at, stream, head, first_byte_at } => {
                Event::ResponseHead { at, stream, head, first_byte_at }
            }
            Self::ResponseEnd { at, stream, end } => Event::ResponseEnd { at, stream, end },
            Self::Lost { at, stream, request, bytes } => Event::Lost { at, stream, request, bytes },
        }
    }
}

/// Where the decoders' events go, one by one.
pub type Out<'o> = dyn FnMut(Event<'_>) + 'o;

#[cfg(test)]
mod tests;
