//! The server's side of HTTP/1.1 (RFC 9112), small because it must say when each byte is written.

use std::{io, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::{
    directive::End,
    reply::{Afterwards, BodyEnd, Reply},
    truth::{Ended, now},
};

/// Head of a request, in bytes.
const MAX_HEAD: usize = 256 * 1024;
/// Body of a request, in bytes.
const MAX_BODY: usize = 256 * 1024 * 1024;
const MAX_HEADERS: usize = 128;

/// A byte stream whose TCP connection can be reached below it.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

#[derive(Debug, Default)]
pub struct Request {
    pub method: String,
    pub target: String,
    /// Minor version of HTTP/1: 0 or 1.
    pub version: u8,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub first: u64,
    pub last: u64,
    pub wire_bytes: u64,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub fn wants_keep_alive(&self) -> bool {
        let close = self.header("connection").is_some_and(|value| value.to_ascii_lowercase().contains("close"));
        self.version == 1 && !close
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Reads the next request; `None` when the client closed between requests.
pub async fn read_request(wire: &mut impl Wire, inbound: &mut BytesMut) -> io::Result<Option<Request>> {
    let mut request = Request::default();
    let head_length = loop {
        if !inbound.is_empty() {
            if request.first == 0 {
                request.first = now();
            }
            if let Some(length) = parse_head(inbound, &mut request)? {
                break length;
            }
            if inbound.len() > MAX_HEAD {
                return Err(malformed("request head too long"));
            }
        }
        if wire.read_buf(inbound).await? == 0 {
            return if inbound.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    };
    inbound.advance(head_length);
    request.wire_bytes = head_length as u64;
    if request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
        wire.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        wire.flush().await?;
    }
    let chunked =
        request.header("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().contains("chunked"));
    if chunked {
        request.body = read_chunked(wire, inbound, &mut request.wire_bytes).await?;
    } else if let Some(length) = request.header("content-length") {
        let length: usize = length.trim().parse().map_err(|_| malformed("content-length"))?;
        if length > MAX_BODY {
            return Err(malformed("request body too long"));
        }
        fill(wire, inbound, length).await?;
        request.body = inbound.split_to(length).freeze();
        request.wire_bytes += length as u64;
    }
    request.last = now();
    Ok(Some(request))
}

fn parse_head(bytes: &[u8], request: &mut Request) -> io::Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) =
        parsed.parse(bytes).map_err(|error| malformed(&format!("request head: {error}")))?
    else {
        return Ok(None);
    };
    request.method = parsed.method.unwrap_or_default().to_owned();
    request.target = parsed.path.unwrap_or_default().to_owned();
    request.version = parsed.version.unwrap_or(1);
    request.headers = parsed
        .headers
        .iter()
        .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()))
        .collect();
    Ok(Some(length))
}

async fn fill(wire: &mut impl Wire, inbound: &mut BytesMut, length: usize) -> io::Result<()> {
    inbound.reserve(length.saturating_sub(inbound.len()));
    while inbound.len() < length {
        if wire.read_buf(inbound).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

async fn read_chunked(wire: &mut impl Wire, inbound: &mut BytesMut, count: &mut u64) -> io::Result<Bytes> {
    let mut body = BytesMut::new();
    loop {
        let line = read_line(wire, inbound, count).await?;
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let size = std::str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits.trim(), 16).ok());
        let size = size.ok_or_else(|| malformed("chunk size"))?;
        if body.len().saturating_add(size) > MAX_BODY {
            return Err(malformed("request body too long"));
        }
        if size == 0 {
            while !read_line(wire, inbound, count).await?.is_empty() {}
            return Ok(body.freeze());
        }
        fill(wire, inbound, size + 2).await?;
        body.extend_from_slice(&inbound[..size]);
        inbound.advance(size + 2);
        *count += size as u64 + 2;
    }
}

/// A line without its CR LF.
async fn read_line(wire: &mut impl Wire, inbound: &mut BytesMut, count: &mut u64) -> io::Result<Bytes> {
    loop {
        if let Some(end) = inbound.windows(2).position(|pair| pair == b"\r\n") {
            let line = inbound.split_to(end).freeze();
            inbound.advance(2);
            *count += end as u64 + 2;
            return Ok(line);
        }
        if inbound.len() > MAX_HEAD {
            return Err(malformed("line too long"));
        }
        fill(wire, inbound, inbound.len() + 1).await?;
    }
}

/// Writes one response. Each `write` is one TLS record and one socket write, or pieces of `split` bytes.
pub struct ResponseWriter<'a, W> {
    wire: &'a mut W,
    /// What the client has sent meanwhile: the next request, when it pipelines.
    inbound: &'a mut BytesMut,
    end: BodyEnd,
    /// Bytes a write, 0 for no limit.
    split: usize,
    written: u64,
}

impl<W: Wire> Reply for ResponseWriter<'_, W> {
    async fn head(
        &mut self,
        status: u16,
        headers: &[(&str, String)],
        keep_alive: bool,
        end: BodyEnd,
    ) -> io::Result<()> {
        self.end = end;
        let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match end {
            BodyEnd::Chunked => head.push_str("transfer-encoding: chunked\r\n"),
            BodyEnd::Length(length) => head.push_str(&format!("content-length: {length}\r\n")),
            BodyEnd::Close => {}
        }
        let keep_alive = keep_alive && end != BodyEnd::Close;
        head.push_str(if keep_alive { "connection: keep-alive\r\n\r\n" } else { "connection: close\r\n\r\n" });
        self.write(head.as_bytes()).await
    }

    async fn body(&mut self, data: &[u8]) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        if self.end != BodyEnd::Chunked {
            return self.write(data).await;
        }
        let mut framed = Vec::with_capacity(data.len() + 16);
        framed.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
        framed.extend_from_slice(data);
        framed.extend_from_slice(b"\r\n");
        self.write(&framed).await
    }

    async fn finish(&mut self) -> io::Result<()> {
        if self.end == BodyEnd::Chunked { self.write(b"0\r\n\r\n").await } else { Ok(()) }
    }

    async fn pause(&mut self, duration: Duration) -> io::Result<()> {
        let sleep = tokio::time::sleep(duration);
        tokio::pin!(sleep);
        loop {
            tokio::select! {
                () = &mut sleep => return Ok(()),
                read = self.wire.read_buf(self.inbound) => if read? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                },
            }
        }
    }

    async fn break_off(&mut self, end: End, stall: Duration) -> (Ended, Afterwards) {
        match end {
            End::Normal | End::Error => (Ended::Complete, Afterwards::Close),
            End::CloseNotify => (Ended::Closed, Afterwards::Close),
            End::Close => (Ended::Closed, Afterwards::Drop),
            End::Reset => {
                // RST instead of FIN when the socket is dropped.
                let _ = self.wire.tcp().set_zero_linger();
                (Ended::Reset, Afterwards::Drop)
            }
            End::Stall => {
                let silence = async { while matches!(self.wire.read_buf(self.inbound).await, Ok(1..)) {} };
                let gone = tokio::time::timeout(stall, silence).await.is_ok();
                (if gone { Ended::ClientGone } else { Ended::Stalled }, Afterwards::Drop)
            }
        }
    }

    fn split(&mut self, bytes: usize) {
        self.split = bytes;
    }

    fn written(&self) -> u64 {
        self.written
    }
}

impl<'a, W: Wire> ResponseWriter<'a, W> {
    pub fn new(wire: &'a mut W, inbound: &'a mut BytesMut) -> Self {
        Self { wire, inbound, end: BodyEnd::Close, split: 0, written: 0 }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let size = if self.split == 0 { bytes.len().max(1) } else { self.split };
        for piece in bytes.chunks(size) {
            self.wire.write_all(piece).await?;
            self.wire.flush().await?;
            self.written += piece.len() as u64;
        }
        Ok(())
    }
}

/// Ends a connection in order: close_notify, then FIN.
pub async fn close(wire: &mut impl Wire) {
    let _ = tokio::time::timeout(Duration::from_secs(2), wire.shutdown()).await;
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Payload Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        529 => "Site Overloaded",
        _ => "Unknown",
    }
}
