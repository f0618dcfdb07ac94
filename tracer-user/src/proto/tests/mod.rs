//! Tests of whole connections: bytes in, events out.

mod bodies;
mod framings;
mod gaps;
mod http2;
mod http2_peers;
mod messages;
mod properties;
mod websocket;

use std::io::Write;

use bytes::Bytes;

use super::{Connection, End, Event, Limits, Part, Piece, Protocol, RequestHead};
use crate::capture::{ClosedBy, Direction, Role};

pub(super) const CLIENT: Direction = Direction::Send;
pub(super) const SERVER: Direction = Direction::Receive;

/// A connection under test; `at` of its n-th record is n.
pub(super) struct Talk {
    pub(super) connection: Connection,
    pub(super) events: Vec<Event<'static>>,
    /// Which end the traced process is, as far as it is told.
    pub(super) role: Role,
    at: u64,
}

impl Talk {
    pub(super) fn new() -> Self {
        Self::with(Limits::default(), |_| true)
    }

    pub(super) fn with(limits: Limits, wants: fn(&RequestHead) -> bool) -> Self {
        Self { connection: Connection::new(limits, Role::Client, wants), events: Vec::new(), role: Role::Client, at: 0 }
    }

    pub(super) fn client(self, bytes: impl AsRef<[u8]>) -> Self {
        self.push(CLIENT, bytes.as_ref())
    }

    pub(super) fn server(self, bytes: impl AsRef<[u8]>) -> Self {
        self.push(SERVER, bytes.as_ref())
    }

    pub(super) fn push(mut self, direction: Direction, bytes: &[u8]) -> Self {
        self.at += 1;
        let Self { connection, events, role, at } = &mut self;
        connection.push(*at, direction, &Bytes::copy_from_slice(bytes), &mut |event| Self::take(event, events, role));
        self
    }

    pub(super) fn gap(mut self, direction: Direction, lost: impl Into<Option<u64>>) -> Self {
        self.at += 1;
        let Self { connection, events, role, at } = &mut self;
        connection.gap(*at, direction, lost.into(), &mut |event| Self::take(event, events, role));
        self
    }

    pub(super) fn close(mut self, by: ClosedBy) -> Self {
        self.at += 1;
        let Self { connection, events, role, at } = &mut self;
        connection.close(*at, by, &mut |event| Self::take(event, events, role));
        self
    }

    fn take(event: Event<'_>, events: &mut Vec<Event<'static>>, role: &mut Role) {
        match event {
            Event::Role(proven) => *role = proven,
            event => events.push(event.into_owned()),
        }
    }

    pub(super) fn told(&self) -> Vec<String> {
        tell(&self.events)
    }

    /// What was told of the responses' bodies.
    pub(super) fn pieces(&self) -> Vec<String> {
        self.told().into_iter().filter_map(|line| line.strip_prefix("0< ").map(str::to_owned)).skip(1).collect()
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.connection.protocol()
    }
}

/// One line an event, without times; neighbouring bytes of one body joined, since where they are cut says nothing.
pub(super) fn tell(events: &[Event]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut open_bytes = None;
    for event in events {
        let (stream, request) = match event {
            Event::RequestHead { stream, .. }
            | Event::RequestBody { stream, .. }
            | Event::RequestEnd { stream, .. } => (*stream, true),
            Event::ResponseHead { stream, .. }
            | Event::ResponseBody { stream, .. }
            | Event::ResponseEnd { stream, .. } => (*stream, false),
            Event::Lost { stream, request, .. } => (*stream, *request),
            Event::Role(_) => continue,
        };
        let side = format!("{stream}{} ", if request { '>' } else { '<' });
        let text = match event {
            Event::RequestHead { head, .. } if head.query.is_empty() => format!("{} {}", head.method, head.path),
            Event::RequestHead { head, .. } => format!("{} {}?{}", head.method, head.path, head.query),
            Event::ResponseHead { head, .. } => head.status.to_string(),
            Event::RequestEnd { end, .. } | Event::ResponseEnd { end, .. } => match end {
                End::Complete => "end".to_owned(),
                End::Truncated => "truncated".to_owned(),
                End::Reset { .. } => "reset".to_owned(),
                End::Undecodable(fault) => format!("undecodable {fault:?}"),
            },
            Event::Role(_) => continue,
            Event::Lost { bytes, .. } => bytes.map_or("lost".to_owned(), |bytes| format!("lost {bytes}")),
            Event::RequestBody { piece, .. } | Event::ResponseBody { piece, .. } => match piece {
                Piece::Bytes(bytes) => {
                    let text = String::from_utf8_lossy(bytes);
                    if open_bytes.as_ref() == Some(&side)
                        && let Some(last) = lines.last_mut()
                    {
                        last.push_str(&text);
                        continue;
                    }
                    open_bytes = Some(side.clone());
                    lines.push(format!("{side}bytes {text}"));
                    continue;
                }
                Piece::Sse { event, data } => {
                    format!("sse [{}] {}", String::from_utf8_lossy(event), String::from_utf8_lossy(data))
                }
                Piece::Comment => "comment".to_owned(),
                Piece::Line(line) => format!("line {}", String::from_utf8_lossy(line)),
                Piece::Element(element) => format!("element {}", String::from_utf8_lossy(element)),
                Piece::Message { name, data, exception } => {
                    let kind = if *exception { "exception" } else { "message" };
                    format!("{kind} [{}] {}", String::from_utf8_lossy(name), String::from_utf8_lossy(data))
                }
                Piece::Part(part) => {
                    let text = |bytes: &Option<Bytes>| {
                        bytes.as_ref().map_or("-".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
                    };
                    let Part { name, file_name, value, bytes } = &**part;
                    let name = String::from_utf8_lossy(name);
                    format!("part [{name}] file {} value {} {bytes:?}", text(file_name), text(value))
                }
            },
        };
        open_bytes = None;
        lines.push(side + &text);
    }
    lines
}

pub(super) const GET: &str = "GET /v1/models HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// A response with a body in one piece, of known length.
pub(super) fn response(headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A response whose body comes in the given chunks.
pub(super) fn chunked(headers: &str, chunks: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 200 OK\r\n{headers}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for chunk in chunks {
        bytes.extend_from_slice(&chunk_of(chunk));
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

pub(super) fn chunk_of(data: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{:x}\r\n", data.len()).into_bytes();
    bytes.extend_from_slice(data);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

pub(super) const EVENT_STREAM: &str = "Content-Type: text/event-stream; charset=utf-8\r\n";

/// An encoder that can be flushed, so that a test knows what must be decodable when.
pub(super) enum Encoder {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Zlib(flate2::write::ZlibEncoder<Vec<u8>>),
    Raw(flate2::write::DeflateEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    pub(super) const NAMES: [&str; 5] = ["gzip", "deflate", "raw deflate", "br", "zstd"];

    pub(super) fn new(name: &str) -> Self {
        let level = flate2::Compression::default();
        match name {
            "gzip" => Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), level)),
            "deflate" => Self::Zlib(flate2::write::ZlibEncoder::new(Vec::new(), level)),
            "raw deflate" => Self::Raw(flate2::write::DeflateEncoder::new(Vec::new(), level)),
            "br" => Self::Brotli(Box::new(brotli::CompressorWriter::new(Vec::new(), 4096, 4, 20))),
            "zstd" => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap()),
            other => panic!("{other}"),
        }
    }

    /// The bytes that `data` gives, flushed.
    pub(super) fn flush(&mut self, data: &[u8]) -> Vec<u8> {
        fn through<W: Write>(writer: &mut W, data: &[u8]) {
            writer.write_all(data).unwrap();
            writer.flush().unwrap();
        }
        match self {
            Self::Gzip(writer) => {
                through(writer, data);
                std::mem::take(writer.get_mut())
            }
            Self::Zlib(writer) => {
                through(writer, data);
                std::mem::take(writer.get_mut())
            }
            Self::Raw(writer) => {
                through(writer, data);
                std::mem::take(writer.get_mut())
            }
            Self::Brotli(writer) => {
                through(&mut **writer, data);
                std::mem::take(writer.get_mut())
            }
            Self::Zstd(writer) => {
                through(writer, data);
                std::mem::take(writer.get_mut())
            }
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        match self {
            Self::Gzip(writer) => writer.finish().unwrap(),
            Self::Zlib(writer) => writer.finish().unwrap(),
            Self::Raw(writer) => writer.finish().unwrap(),
            Self::Brotli(writer) => writer.into_inner(),
            Self::Zstd(writer) => writer.finish().unwrap(),
        }
    }
}

/// `data` in one coding, whole.
pub(super) fn encode(name: &str, data: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(name);
    let mut bytes = encoder.flush(data);
    bytes.extend(encoder.finish());
    bytes
}

/// The name on the wire of an encoder's coding.
pub(super) fn wire_name(name: &str) -> &str {
    name.strip_prefix("raw ").unwrap_or(name)
}
