//! What is measured: traffic as capture hands it over, and the JSON texts in it.

use std::{
    fmt::Write as _,
    io::{self, Read as _, Write},
    sync::Arc,
};

use bytes::{BufMut, Bytes};
use llmtap::capture::{ClosedBy, Connection, ConnectionKey, Direction, Event};

use crate::{Result, baseline::Shape, http2, websocket};

/// Captured events and what they carry.
pub struct Workload {
    pub name: String,
    pub events: Vec<Event>,
    /// JSON texts: of requests, of whole answers, of the events of streams.
    pub texts: Vec<(Shape, String)>,
    /// Bodies that travel compressed.
    pub coded: Vec<Coded>,
    /// Data events of streams, or messages.
    pub units: usize,
}

impl Workload {
    pub fn new(name: &str, events: Vec<Event>, texts: Vec<(Shape, String)>, coded: Vec<Coded>, units: usize) -> Self {
        Self { name: name.to_owned(), events: adjoined(events), texts, coded, units }
    }

    pub fn payload(&self) -> usize {
        self.texts.iter().map(|(_, text)| text.len()).sum()
    }
}

/// The records one behind the other in memory, as they lie in the ring that the kernel fills.
fn adjoined(mut events: Vec<Event>) -> Vec<Event> {
    let mut all = Vec::new();
    for event in &events {
        if let Event::Data { bytes, .. } = event {
            all.extend_from_slice(bytes);
        }
    }
    let mut all = Bytes::from(all);
    for event in &mut events {
        if let Event::Data { bytes, .. } = event {
            *bytes = all.split_to(bytes.len());
        }
    }
    events
}

/// A compressed body.
pub struct Coded {
    pub coding: Coding,
    pub bytes: Vec<u8>,
}

impl Coded {
    /// Decodes the body in one go, which costs less than piece by piece, as a reader of a stream must.
    pub fn decode(&self) -> io::Result<usize> {
        let mut out = Vec::with_capacity(16 << 10);
        match self.coding {
            Coding::Plain => Ok(0),
            Coding::Gzip => flate2::read::MultiGzDecoder::new(&self.bytes[..]).read_to_end(&mut out),
            Coding::Zstd => zstd::stream::read::Decoder::new(&self.bytes[..])?.read_to_end(&mut out),
            Coding::Brotli => brotli_decompressor::Decompressor::new(&self.bytes[..], 4096).read_to_end(&mut out),
        }
    }
}

/// The rows that every run has.
pub fn all() -> Result<Vec<Workload>> {
    Ok(vec![
        openai_streams("openai stream, a record an event", 1, Coding::Plain),
        openai_streams("openai stream, 20 events a record", 20, Coding::Plain),
        openai_streams("openai stream, gzip", 1, Coding::Gzip),
        openai_streams("openai stream, zstd", 1, Coding::Zstd),
        anthropic_streams("anthropic stream, a record an event"),
        http2::in_turn("openai stream, HTTP/2, a record an event"),
        http2::at_once("openai stream, HTTP/2, 50 at once, 20 events a record", 20),
        websocket::responses("responses stream, a websocket"),
        messages("answers of 8 KiB", 50, 2 << 10, 8 << 10),
        messages("prompts of 1 MiB", 4, 1 << 20, 1 << 10),
        mixed("mix: 32 KiB prompts, 300-token streams"),
    ])
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Plain,
    Gzip,
    Zstd,
    Brotli,
}

/// Writes exchanges of one HTTP/1.1 connection, one direction after the other, into capture records.
pub struct Script {
    shape: Shape,
    events: Vec<Event>,
    texts: Vec<(Shape, String)>,
    coded: Vec<Coded>,
    units: usize,
    at: u64,
    sent: u64,
    received: u64,
}

const KEY: ConnectionKey = ConnectionKey(1);

impl Script {
    pub fn new(shape: Shape) -> Self {
        Self::on(shape, Connection { id: "bench".into(), ..Connection::default() })
    }

    pub fn on(shape: Shape, connection: Connection) -> Self {
        let open = Event::Open { at: 0, key: KEY, connection: Arc::new(connection) };
        let (texts, coded) = (Vec::new(), Vec::new());
        Self { shape, events: vec![open], texts, coded, units: 0, at: 0, sent: 0, received: 0 }
    }

    /// In records of at most 16 KiB, the size of a TLS record.
    pub fn push(&mut self, direction: Direction, bytes: &[u8]) {
        for piece in bytes.chunks(16 << 10) {
            self.at += 1000;
            let offset = if direction == Direction::Send { &mut self.sent } else { &mut self.received };
            let bytes = Bytes::copy_from_slice(piece);
            self.events.push(Event::Data { at: self.at, key: KEY, direction, offset: *offset, bytes });
            *offset += piece.len() as u64;
        }
    }

    /// A JSON text that was pushed and is no unit of its own.
    pub fn text(&mut self, shape: Shape, json: String) {
        self.texts.push((shape, json));
    }

    /// An event that was pushed.
    pub fn unit(&mut self, json: String) {
        self.texts.push((self.shape, json));
        self.units += 1;
    }

    /// A request with this body; `fields` are header lines beside the plain ones.
    pub fn ask(&mut self, path: &str, fields: &str, body: String) {
        let request = format!(
            "POST {path} HTTP/1.1\r\nContent-Type: application/json\r\nAccept: application/json\r\nUser-Agent: bench\r\n\
             Authorization: Bearer none\r\n{fields}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.push(Direction::Send, request.as_bytes());
        self.texts.push((Shape::Question, body));
    }

    /// A stream of these pieces, each with the JSON text in it.
    pub fn stream(&mut self, media_type: &str, pieces: Vec<StreamPiece>, pieces_in_a_record: usize, coding: Coding) {
        let coded = match coding {
            Coding::Plain => "",
            Coding::Gzip => "Content-Encoding: gzip\r\n",
            Coding::Zstd => "Content-Encoding: zstd\r\n",
            Coding::Brotli => "Content-Encoding: br\r\n",
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nX-Request-Id: req_1\r\n\
             Transfer-Encoding: chunked\r\n{coded}\r\n"
        );
        self.push(Direction::Receive, head.as_bytes());
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 3).ok();
        let (mut record, mut body) = (Vec::new(), Vec::new());
        for (number, StreamPiece { wire, json }) in pieces.into_iter().enumerate() {
            // `[DONE]` is no JSON.
            if json.starts_with('{') || json.starts_with("[{") {
                self.texts.push((self.shape, json));
                self.units += 1;
            }
            let data = match coding {
                Coding::Plain | Coding::Brotli => wire,
                Coding::Gzip => {
                    flushed(&mut gzip, &wire);
                    std::mem::take(gzip.get_mut())
                }
                Coding::Zstd => zstd.as_mut().map_or_else(Vec::new, |zstd| {
                    flushed(zstd, &wire);
                    std::mem::take(zstd.get_mut())
                }),
            };
            let mut size = String::new();
            let _ = write!(size, "{:x}\r\n", data.len());
            record.extend_from_slice(size.as_bytes());
            record.extend_from_slice(&data);
            record.extend_from_slice(b"\r\n");
            if coding != Coding::Plain {
                body.extend_from_slice(&data);
            }
            if (number + 1) % pieces_in_a_record == 0 {
                self.push(Direction::Receive, &record);
                record.clear();
            }
        }
        let end = match coding {
            Coding::Plain | Coding::Brotli => Vec::new(),
            Coding::Gzip => gzip.finish().unwrap_or_default(),
            Coding::Zstd => zstd.and_then(|zstd| zstd.finish().ok()).unwrap_or_default(),
        };
        if !end.is_empty() {
            record.extend_from_slice(format!("{:x}\r\n", end.len()).as_bytes());
            record.extend_from_slice(&end);
            record.extend_from_slice(b"\r\n");
            body.extend_from_slice(&end);
        }
        record.extend_from_slice(b"0\r\n\r\n");
        self.push(Direction::Receive, &record);
        if !body.is_empty() {
            self.coded.push(Coded { coding, bytes: body });
        }
    }

    pub fn whole(&mut self, answer: String) {
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", answer.len());
        self.push(Direction::Receive, &[head.as_bytes(), answer.as_bytes()].concat());
        self.texts.push((self.shape, answer));
        self.units += 1;
    }

    pub fn finish(mut self, name: &str) -> Workload {
        self.events.push(Event::Close { at: self.at + 1, key: KEY, by: ClosedBy::Local });
        let Self { events, texts, coded, units, .. } = self;
        Workload::new(name, events, texts, coded, units)
    }
}

/// One event, line, message or element of a stream.
pub struct StreamPiece {
    /// As it travels.
    pub wire: Vec<u8>,
    pub json: String,
}

impl StreamPiece {
    /// A Server-Sent Event; `name` may be empty.
    pub fn event(name: &str, json: String) -> Self {
        let name = if name.is_empty() { String::new() } else { format!("event: {name}\n") };
        Self { wire: format!("{name}data: {json}\n\n").into(), json }
    }

    pub fn line(json: String) -> Self {
        Self { wire: format!("{json}\n").into(), json }
    }

    /// A message of an AWS event stream.
    pub fn message(name: &str, json: String) -> Self {
        let mut headers = Vec::new();
        for (header, value) in
            [(":event-type", name), (":content-type", "application/json"), (":message-type", "event")]
        {
            headers.put_u8(header.len() as u8);
            headers.put_slice(header.as_bytes());
            headers.put_u8(7);
            headers.put_u16(value.len() as u16);
            headers.put_slice(value.as_bytes());
        }
        let mut wire = Vec::new();
        wire.put_u32((headers.len() + json.len() + 16) as u32);
        wire.put_u32(headers.len() as u32);
        wire.put_u32(crc32fast::hash(&wire));
        wire.put_slice(&headers);
        wire.put_slice(json.as_bytes());
        wire.put_u32(crc32fast::hash(&wire));
        Self { wire, json }
    }

    /// An element of an array.
    pub fn element(number: usize, json: String) -> Self {
        let before = if number == 0 { "[" } else { "\n,\r\n" };
        Self { wire: format!("{before}{json}").into(), json }
    }
}

/// A vector takes everything.
fn flushed(encoder: &mut impl Write, data: &[u8]) {
    let _ = encoder.write_all(data).and_then(|()| encoder.flush());
}

pub fn question(stream: bool, length: usize) -> String {
    let prompt = "Say it again, with \\\"quotes\\\" and line ends.\\n".repeat(length / 48 + 1);
    let options = if stream { ",\"stream_options\":{\"include_usage\":true}" } else { "" };
    format!(
        "{{\"model\":\"gpt-5-mini\",\"stream\":{stream}{options},\"messages\":[{{\"role\":\"user\",\"content\":\"{prompt}\"}}]}}"
    )
}

const WORDS: [&str; 10] =
    [" the", " stream", ",", " again", " \\\"quoted\\\"", " gr\u{f6}\u{df}er", ".\\n\\n", " tokens", "ization", " 42"];

/// What models say, without end.
pub fn words() -> impl Iterator<Item = &'static str> {
    WORDS.into_iter().cycle()
}

/// As OpenAI's own service writes chunks.
pub fn openai_stream(tokens: usize) -> Vec<StreamPiece> {
    let chunk = |choices: &str, usage: &str| {
        let chunk = format!(
            "{{\"id\":\"chatcmpl-CkQx8mB2vN4yTzL7wPqRs9AhUjDfG\",\"object\":\"chat.completion.chunk\",\
             \"created\":1763700000,\"model\":\"gpt-5-mini-2025-08-07\",\"service_tier\":\"default\",\
             \"system_fingerprint\":null,\"choices\":[{choices}],\"usage\":{usage},\"obfuscation\":\"aB3dE5fG\"}}"
        );
        StreamPiece::event("", chunk)
    };
    let delta = |delta: &str, finish: &str| {
        chunk(&format!("{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}"), "null")
    };
    let mut events = vec![delta("{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}", "null")];
    events
        .extend((0..tokens).map(|token| delta(&format!("{{\"content\":\"{}\"}}", WORDS[token % WORDS.len()]), "null")));
    events.push(delta("{}", "\"stop\""));
    events.push(chunk("", "{\"prompt_tokens\":57,\"completion_tokens\":1000,\"total_tokens\":1057}"));
    events.push(StreamPiece::event("", "[DONE]".to_owned()));
    events
}

fn anthropic_stream(tokens: usize) -> Vec<StreamPiece> {
    let mut events = vec![
        (
            "message_start",
            "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_01\",\"type\":\"message\",\"role\":\"assistant\",\
             \"model\":\"claude-sonnet-5\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\
             \"usage\":{\"input_tokens\":57,\"output_tokens\":1}}}"
                .to_owned(),
        ),
        (
            "content_block_start",
            "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}"
                .to_owned(),
        ),
    ];
    events.extend((0..tokens).map(|token| {
        let word = WORDS[token % WORDS.len()];
        let delta = format!(
            "{{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{word}\"}}}}"
        );
        ("content_block_delta", delta)
    }));
    events.push(("content_block_stop", "{\"type\":\"content_block_stop\",\"index\":0}".to_owned()));
    let end = format!(
        "{{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\",\"stop_sequence\":null}},\
         \"usage\":{{\"output_tokens\":{tokens}}}}}"
    );
    events.push(("message_delta", end));
    events.push(("message_stop", "{\"type\":\"message_stop\"}".to_owned()));
    events.into_iter().map(|(name, json)| StreamPiece::event(name, json)).collect()
}

pub const CHAT: &str = "/v1/chat/completions";
const HOST: &str = "Host: api.example.com\r\n";
pub const SSE: &str = "text/event-stream; charset=utf-8";

fn openai_streams(name: &str, events_in_a_record: usize, coding: Coding) -> Workload {
    let mut script = Script::new(Shape::Chat);
    for _ in 0..4 {
        script.ask(CHAT, HOST, question(true, 200));
        script.stream(SSE, openai_stream(1000), events_in_a_record, coding);
    }
    script.finish(name)
}

fn anthropic_streams(name: &str) -> Workload {
    let mut script = Script::new(Shape::Anthropic);
    for _ in 0..4 {
        script.ask("/v1/messages", HOST, question(true, 200).replace("gpt-5-mini", "claude-sonnet-5"));
        script.stream(SSE, anthropic_stream(1000), 1, Coding::Plain);
    }
    script.finish(name)
}

fn messages(name: &str, count: usize, question_length: usize, answer_length: usize) -> Workload {
    let mut script = Script::new(Shape::Chat);
    for _ in 0..count {
        script.ask(CHAT, HOST, question(false, question_length));
        let text = "Words, \\\"quoted\\\" ones too.\\n".repeat(answer_length / 30 + 1);
        script.whole(format!(
            "{{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1763700000,\
             \"model\":\"gpt-5-mini-2025-08-07\",\"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\
             \"content\":\"{text}\"}},\"finish_reason\":\"stop\"}}],\
             \"usage\":{{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}}}"
        ));
    }
    script.finish(name)
}

/// What agents do: long prompts, short streams.
fn mixed(name: &str) -> Workload {
    let mut script = Script::new(Shape::Chat);
    for turn in 0..8 {
        if turn % 2 == 0 {
            script.shape = Shape::Chat;
            script.ask(CHAT, HOST, question(true, 32 << 10));
            script.stream(SSE, openai_stream(300), 1, Coding::Plain);
        } else {
            script.shape = Shape::Anthropic;
            script.ask("/v1/messages", HOST, question(true, 32 << 10).replace("gpt-5-mini", "claude-sonnet-5"));
            script.stream(SSE, anthropic_stream(300), 1, Coding::Plain);
        }
    }
    script.finish(name)
}
