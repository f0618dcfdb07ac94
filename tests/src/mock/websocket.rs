//! The server's side of a WebSocket (RFC 6455, with RFC 7692) that carries OpenAI's Responses. Small because it must say
//! when each byte is written; each response is played as over HTTP, an event a message.

use std::{io, net::SocketAddr, time::Duration};

use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    directive::End,
    http1::{self, Request, Wire},
    reply::{Afterwards, BodyEnd, Reply},
    serve::Shared,
    truth::{Ended, now},
};

/// RFC 6455 section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const MAX_MESSAGE: usize = 256 * 1024 * 1024;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Whether a request asks for a WebSocket.
pub fn is_wanted(request: &Request) -> bool {
    request.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
        && request.path().ends_with("/responses")
}

/// Upgrades the connection and serves it to its end. A query with `no_context` forgets the compression's context after
/// each message.
pub async fn converse<W: Wire>(
    wire: &mut W,
    inbound: &mut BytesMut,
    upgrade: &Request,
    peer: SocketAddr,
    connection: u64,
    shared: &Shared,
) -> Afterwards {
    let offered = upgrade.header("sec-websocket-extensions").is_some_and(|value| value.contains("permessage-deflate"));
    let takeover = !upgrade.target.contains("no_context");
    let accepted = match (offered, takeover) {
        (false, _) => "",
        (true, true) => "sec-websocket-extensions: permessage-deflate\r\n",
        (true, false) => {
            "sec-websocket-extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
        }
    };
    let key = upgrade.header("sec-websocket-key").unwrap_or_default();
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes());
    let accept = base64::engine::general_purpose::STANDARD.encode(digest);
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-accept: {accept}\r\n{accepted}\r\n"
    );
    let mut socket = Socket {
        wire,
        inbound,
        deflate: offered.then(|| Deflate {
            compress: Compress::new(Compression::default(), false),
            decompress: Decompress::new(false),
            takeover,
        }),
        split: 0,
        written: 0,
    };
    if socket.write(head.as_bytes()).await.is_err() {
        return Afterwards::Drop;
    }
    // The upgrade is the connection's first exchange.
    for index in 1.. {
        let message = match socket.read_message().await {
            Ok(Some(message)) => message,
            Ok(None) => return Afterwards::Close,
            Err(_) => return Afterwards::Drop,
        };
        let Some((request, lane)) = request(upgrade, message) else {
            let refused = json!({"type": "error", "status": 400, "error": {"type": "invalid_request_error"}});
            if socket.send(TEXT, refused.to_string().as_bytes()).await.is_err() {
                return Afterwards::Drop;
            }
            continue;
        };
        shared.begin();
        socket.written = 0;
        let mut reply = Events { socket: &mut socket, status: 200, lane, partial: Vec::new() };
        let afterwards = shared.exchange(&mut reply, &request, peer, connection, index).await;
        shared.end();
        match afterwards {
            Afterwards::KeepAlive => {}
            Afterwards::Close => {
                let _ = socket.send(CLOSE, &1000_u16.to_be_bytes()).await;
                return Afterwards::Close;
            }
            Afterwards::Drop => return Afterwards::Drop,
        }
    }
    Afterwards::Close
}

struct Message {
    text: Vec<u8>,
    first: u64,
    last: u64,
    wire_bytes: u64,
}

/// The request that a `response.create` makes, as over HTTP, and its lane.
fn request(upgrade: &Request, message: Message) -> Option<(Request, Option<String>)> {
    let Ok(Value::Object(mut body)) = serde_json::from_slice::<Value>(&message.text) else { return None };
    if body.remove("type")? != "response.create" {
        return None;
    }
    let lane = body.remove("stream_id").and_then(|lane| Some(lane.as_str()?.to_owned()));
    body.insert("stream".to_owned(), true.into());
    let request = Request {
        method: "POST".to_owned(),
        target: upgrade.path().to_owned(),
        version: 1,
        headers: upgrade.headers.clone(),
        body: Bytes::from(Value::Object(body).to_string()),
        first: message.first,
        last: message.last,
        wire_bytes: message.wire_bytes,
    };
    Some((request, lane))
}

struct Deflate {
    compress: Compress,
    decompress: Decompress,
    takeover: bool,
}

struct Socket<'a, W> {
    wire: &'a mut W,
    inbound: &'a mut BytesMut,
    deflate: Option<Deflate>,
    /// Bytes a write, 0 for no limit.
    split: usize,
    written: u64,
}

impl<W: Wire> Socket<'_, W> {
    /// The next text message; `None` when the client closes.
    async fn read_message(&mut self) -> io::Result<Option<Message>> {
        let (mut text, mut compressed) = (Vec::new(), false);
        let (mut first, mut wire_bytes) = (0, 0);
        loop {
            self.fill(2).await?;
            let at = now();
            let (head, length) = (self.inbound[0], self.inbound[1] & 0x7f);
            let wide = match length {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            self.fill(2 + wide + 4).await?;
            let digits = &self.inbound[2..2 + wide];
            let length = match wide {
                0 => usize::from(length),
                _ => digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)),
            };
            if length > MAX_MESSAGE || text.len() > MAX_MESSAGE {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let start = 2 + wide + 4;
            self.fill(start + length).await?;
            let frame = self.inbound.split_to(start + length);
            let mask = &frame[start - 4..start];
            let payload: Vec<u8> =
                frame[start..].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            match head & 0x0f {
                CLOSE => {
                    let _ = self.send(CLOSE, &payload).await;
                    return Ok(None);
                }
                PING => self.send(PONG, &payload).await?,
                PONG => {}
                _ => {
                    if first == 0 {
                        first = at;
                    }
                    wire_bytes += frame.len() as u64;
                    compressed |= head & 0x40 != 0;
                    text.extend_from_slice(&payload);
                    if head & 0x80 != 0 {
                        let text = if compressed { self.inflate(&text)? } else { text };
                        return Ok(Some(Message { text, first, last: now(), wire_bytes }));
                    }
                }
            }
        }
    }

    async fn fill(&mut self, length: usize) -> io::Result<()> {
        while self.inbound.len() < length {
            if self.wire.read_buf(self.inbound).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    fn inflate(&mut self, data: &[u8]) -> io::Result<Vec<u8>> {
        let deflate = self.deflate.as_mut().ok_or(io::ErrorKind::InvalidData)?;
        if !deflate.takeover {
            deflate.decompress.reset(false);
        }
        let data = [data, &[0, 0, 0xff, 0xff]].concat();
        let (mut text, mut used) = (Vec::with_capacity(data.len() * 4), 0);
        while used < data.len() {
            text.reserve(16 * 1024);
            let before = deflate.decompress.total_in();
            deflate.decompress.decompress_vec(&data[used..], &mut text, FlushDecompress::Sync)?;
            used += (deflate.decompress.total_in() - before) as usize;
            if text.len() > MAX_MESSAGE {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(text)
    }

    /// One message in one frame; text is compressed when that was agreed upon.
    async fn send(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let packed;
        let (first, payload) = match &mut self.deflate {
            Some(deflate) if opcode == TEXT => {
                if !deflate.takeover {
                    deflate.compress.reset();
                }
                let mut data = Vec::with_capacity(payload.len() + 1024);
                deflate.compress.compress_vec(payload, &mut data, FlushCompress::Sync)?;
                data.truncate(data.len().saturating_sub(4));
                packed = data;
                (0xc0 | opcode, &packed[..])
            }
            _ => (0x80 | opcode, payload),
        };
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..=125 => frame.push(length as u8),
            length @ 126..=0xffff => {
                frame.push(126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                frame.push(127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(payload);
        self.write(&frame).await
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

/// One response: its event stream, an event a message.
struct Events<'a, 'w, W> {
    socket: &'a mut Socket<'w, W>,
    status: u16,
    lane: Option<String>,
    /// An event that is not whole yet.
    partial: Vec<u8>,
}

impl<W: Wire> Events<'_, '_, W> {
    async fn message(&mut self, data: &str) -> io::Result<()> {
        let Some(lane) = &self.lane else { return self.socket.send(TEXT, data.as_bytes()).await };
        let data = data.trim_end().strip_suffix('}').unwrap_or(data);
        let data = format!("{data},\"stream_id\":{}}}", Value::from(lane.as_str()));
        self.socket.send(TEXT, data.as_bytes()).await
    }
}

impl<W: Wire> Reply for Events<'_, '_, W> {
    /// The upgrade's, whatever the response is.
    fn stated_status(&self, _: u16) -> u16 {
        101
    }

    async fn head(&mut self, status: u16, _: &[(&str, String)], _: bool, _: BodyEnd) -> io::Result<()> {
        self.status = status;
        Ok(())
    }

    async fn body(&mut self, data: &[u8]) -> io::Result<()> {
        self.partial.extend_from_slice(data);
        if self.status >= 400 {
            return Ok(());
        }
        while let Some(end) = self.partial.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = self.partial.drain(..end + 2).collect();
            let event = String::from_utf8_lossy(&event);
            match event.lines().find_map(|line| line.strip_prefix("data: ")) {
                Some(data) => self.message(data).await?,
                None => self.socket.send(PING, b"").await?,
            }
        }
        Ok(())
    }

    /// An error is one message, its HTTP status beside it.
    async fn finish(&mut self) -> io::Result<()> {
        if self.status < 400 {
            return Ok(());
        }
        let body = serde_json::from_slice::<Value>(&self.partial).unwrap_or_default();
        let message = json!({"type": "error", "status": self.status, "error": body["error"], "headers": {}});
        self.message(&message.to_string()).await
    }

    async fn pause(&mut self, duration: Duration) -> io::Result<()> {
        let sleep = tokio::time::sleep(duration);
        tokio::pin!(sleep);
        loop {
            tokio::select! {
                () = &mut sleep => return Ok(()),
                read = self.socket.wire.read_buf(self.socket.inbound) => {
                    // Whoever closes in the middle of an answer wants no more of it.
                    if read? == 0 || self.socket.inbound.first() == Some(&(0x80 | CLOSE)) {
                        let _ = self.socket.send(CLOSE, &1000_u16.to_be_bytes()).await;
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                },
            }
        }
    }

    async fn break_off(&mut self, end: End, stall: Duration) -> (Ended, Afterwards) {
        if end == End::CloseNotify {
            let _ = self.socket.send(CLOSE, &1011_u16.to_be_bytes()).await;
        }
        let mut below = http1::ResponseWriter::new(self.socket.wire, self.socket.inbound);
        below.break_off(end, stall).await
    }

    fn split(&mut self, bytes: usize) {
        self.socket.split = bytes;
    }

    fn written(&self) -> u64 {
        self.socket.written
    }
}
