//! What the user side costs: payload bytes from captured events to spans on one core, against one typed `serde_json`
//! parse of the same payload's JSON texts. Prints one JSON object a workload.
//!
//! `replay_cost [ROUNDS] [NAME]`, only workloads with NAME in their names; captures named by `LLMTAP_CORPUS` (a folder) are measured too.
//!
//! Times are of this thread's own processor clock and of variants that take turns, so that other work on the machine
//! counts little; medians. `decode` is flow, proto and exchange; `spans` the whole line without output; `file` the same
//! from the text of a capture file, with the reading of it.

use std::{
    borrow::Cow,
    fmt::Write as _,
    hint::black_box,
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use llmtap::{
    capture::{ClosedBy, Connection, ConnectionKey, Direction, Event, record::Recorder, replay::Replay},
    exchange::{self, Exchanges},
    flow::{self, Flows},
    llm::{self, Calls, could_be_model_call},
    output::{Output, View},
    pipeline::Pipeline,
    price::Prices,
    proto::{self, Piece},
    span::{Host, Ids, Synth},
};
use serde::{Deserialize, Deserializer, de::IgnoredAny};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Captured events, the JSON texts in them, and the events as a capture file.
struct Workload {
    name: String,
    events: Vec<Event>,
    questions: Vec<String>,
    answers: Vec<String>,
    file: Vec<u8>,
    /// Data events of streams, or messages.
    units: usize,
    shapes: Shapes,
}

/// What the payload's JSON texts are like.
#[derive(Clone, Copy, PartialEq)]
enum Shapes {
    /// Those of the baseline's types.
    Known,
    /// Of every kind: the baseline makes a tree of values for the owned parse, and only checks the syntax for the
    /// borrowed one, the least that `serde_json` can do.
    Any,
}

impl Workload {
    fn new(name: &str, events: Vec<Event>, questions: Vec<String>, answers: Vec<String>) -> Result<Self> {
        let file = recorded(&events)?;
        let units = answers.len();
        Ok(Self { name: name.to_owned(), events, questions, answers, file, units, shapes: Shapes::Known })
    }

    fn payload(&self) -> usize {
        self.questions.iter().chain(&self.answers).map(String::len).sum()
    }
}

fn main() -> Result<()> {
    let rounds = std::env::args().nth(1).map_or(Ok(41), |text| text.parse())?;
    let mut workloads = vec![
        openai_streams("openai stream, a record an event", 1, Coding::Plain)?,
        openai_streams("openai stream, 20 events a record", 20, Coding::Plain)?,
        openai_streams("openai stream, gzip", 1, Coding::Gzip)?,
        openai_streams("openai stream, zstd", 1, Coding::Zstd)?,
        anthropic_streams("anthropic stream, a record an event")?,
        messages("answers of 8 KiB", 50, 2 << 10, 8 << 10)?,
        messages("prompts of 1 MiB", 4, 1 << 20, 1 << 10)?,
        mixed("mix: 32 KiB prompts, 300-token streams")?,
        http2_streams("openai stream, HTTP/2, a record an event", 1, 1)?,
        http2_streams("openai stream, HTTP/2, 50 at once, 20 events a record", 50, 20)?,
    ];
    if let Some(folder) = std::env::var_os("LLMTAP_CORPUS") {
        workloads.push(corpus(folder.as_ref())?);
    }
    let only = std::env::args().nth(2).unwrap_or_default();
    for workload in workloads.iter().filter(|workload| workload.name.contains(&only)) {
        measure(workload, rounds)?;
    }
    Ok(())
}

fn measure(workload: &Workload, rounds: usize) -> Result<()> {
    let mut samples: [Vec<f64>; 5] = Default::default();
    let mut calls = 0;
    for _ in 0..rounds {
        samples[0].push(timed(|| parse::<Owned>(workload))?.0);
        samples[1].push(timed(|| parse::<Borrowed>(workload))?.0);
        samples[2].push(timed(|| Ok(decode(workload)))?.0);
        let mut pipeline = pipeline(None);
        let (spent, seen) = timed(|| spans(workload, &mut pipeline))?;
        samples[3].push(spent);
        let mut pipeline = self::pipeline(None);
        samples[4].push(timed(|| from_file(workload, &mut pipeline))?.0);
        calls = seen;
    }
    let [owned, borrowed, decode, spans, file] = samples.map(median);
    let (payload, units) = (workload.payload() as f64, workload.units as f64);
    println!(
        "{{\"workload\":\"{}\",\"payload_bytes\":{payload},\"units\":{units},\"spans\":{calls},\
         \"owned_ns\":{:.0},\"borrowed_ns\":{:.0},\"decode_ns\":{:.0},\"spans_ns\":{:.0},\"file_ns\":{:.0},\
         \"spans_gb_per_s\":{:.2},\"file_gb_per_s\":{:.2},\"against_owned\":{:.2},\"against_borrowed\":{:.2},\
         \"file_against_owned\":{:.2}}}",
        workload.name,
        owned / units,
        borrowed / units,
        decode / units,
        spans / units,
        file / units,
        payload / spans,
        payload / file,
        owned / spans,
        borrowed / spans,
        owned / file,
    );
    Ok(())
}

/// Nanoseconds of this thread's processor time, and what the work gave.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let start = processor_time();
    let result = black_box(work()?);
    Ok((processor_time() - start, result))
}

fn processor_time() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    #[expect(unsafe_code, reason = "clock_gettime(2)")]
    // SAFETY: `time` is a valid timespec for the call.
    unsafe {
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time);
    }
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How the baseline takes texts: `Owned` as client libraries do, `Borrowed` where the text has no escapes.
trait Text<'de>: Deserialize<'de> {
    /// What it takes for a text of any shape.
    type Any: Deserialize<'de>;
}

#[derive(Deserialize)]
#[serde(transparent)]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Owned(String);
impl Text<'_> for Owned {
    type Any = serde_json::Value;
}

#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Borrowed<'a>(Cow<'a, str>);
impl<'de> Text<'de> for Borrowed<'de> {
    type Any = IgnoredAny;
}

/// serde borrows a `Cow` that is a field, not one inside an `Option` or a `Vec`.
impl<'de> Deserialize<'de> for Borrowed<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(transparent)]
        struct Field<'a>(#[serde(borrow)] Cow<'a, str>);
        Field::deserialize(deserializer).map(|field| Self(field.0))
    }
}

/// What a client library reads of a chunk, an event or an answer, of either family.
#[derive(Deserialize)]
#[serde(bound = "T: Text<'de>")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Answer<T> {
    id: Option<T>,
    model: Option<T>,
    created: Option<u64>,
    service_tier: Option<T>,
    system_fingerprint: Option<T>,
    choices: Option<Vec<Choice<T>>>,
    #[serde(rename = "type")]
    kind: Option<T>,
    index: Option<u32>,
    delta: Option<Delta<T>>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Text<'de>")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Choice<T> {
    index: u32,
    #[serde(alias = "delta")]
    message: Delta<T>,
    finish_reason: Option<T>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Text<'de>")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Delta<T> {
    #[serde(rename = "type")]
    kind: Option<T>,
    role: Option<T>,
    content: Option<T>,
    text: Option<T>,
    partial_json: Option<T>,
    stop_reason: Option<T>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Usage {
    #[serde(alias = "input_tokens")]
    prompt_tokens: Option<u64>,
    #[serde(alias = "output_tokens")]
    completion_tokens: Option<u64>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Text<'de>")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Question<T> {
    model: Option<T>,
    stream: Option<bool>,
    messages: Option<Vec<Message<T>>>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Text<'de>")]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Message<T> {
    role: T,
    content: T,
}

fn parse<'a, T: Text<'a>>(workload: &'a Workload) -> Result<usize> {
    if workload.shapes == Shapes::Any {
        for text in &workload.answers {
            black_box(serde_json::from_str::<T::Any>(text)?);
        }
        return Ok(workload.answers.len());
    }
    for text in &workload.questions {
        black_box(serde_json::from_str::<Question<T>>(text)?);
    }
    for text in &workload.answers {
        black_box(serde_json::from_str::<Answer<T>>(text)?);
    }
    Ok(workload.questions.len() + workload.answers.len())
}

/// The whole line, without output.
fn pipeline(recorder: Option<Recorder<Box<dyn Write + Send>>>) -> Pipeline {
    let calls = Calls::new(llm::Limits::default(), llm::Options::default());
    let synth = Synth::new(Ids::replay(), Host::default());
    Pipeline::new(calls, Prices::builtin(), synth, Output::new(View::None, None), recorder)
}

fn spans(workload: &Workload, pipeline: &mut Pipeline) -> Result<u64> {
    for event in &workload.events {
        pipeline.push(event.clone())?;
    }
    Ok(pipeline.finish()?.calls)
}

fn from_file(workload: &Workload, pipeline: &mut Pipeline) -> Result<u64> {
    let mut replay = Replay::new(&workload.file[..])?;
    let mut events = Vec::new();
    while replay.next(&mut events)? {
        for event in events.drain(..) {
            pipeline.push(event)?;
        }
    }
    Ok(pipeline.finish()?.calls)
}

/// flow, proto and exchange alone; gives the number of pieces.
fn decode(workload: &Workload) -> usize {
    let mut count = 0;
    exchanges(&workload.events, |event| {
        black_box(event);
        count += 1;
    });
    count
}

fn exchanges(events: &[Event], mut each: impl FnMut(exchange::Event)) {
    let mut flows = Flows::new(flow::Limits::default());
    let mut connections = std::collections::HashMap::new();
    let mut exchanges = Exchanges::new();
    let (mut ordered, mut decoded, mut paired) = (Vec::new(), Vec::new(), Vec::new());
    for event in events {
        flows.push(event.clone(), &mut ordered);
        for event in ordered.drain(..) {
            match event {
                flow::Event::Open { key, connection, .. } => {
                    let limits = proto::Limits::default();
                    connections.insert(key, proto::Connection::new(limits, connection.role, could_be_model_call));
                    exchanges.open(key, connection);
                }
                flow::Event::Bytes { at, key, direction, bytes } => {
                    let Some(decoder) = connections.get_mut(&key) else { continue };
                    decoder.push(at, direction, bytes, &mut decoded);
                    for event in decoded.drain(..) {
                        exchanges.push(key, event, &mut paired);
                    }
                }
                flow::Event::Close { key, .. } | flow::Event::Abandon { key, .. } => {
                    connections.remove(&key);
                }
                flow::Event::Gap { .. } => {}
            }
        }
        paired.drain(..).for_each(&mut each);
    }
}

/// The events as a capture file.
fn recorded(events: &[Event]) -> Result<Vec<u8>> {
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);
    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let file = Shared::default();
    let mut pipeline = pipeline(Some(Recorder::new(Box::new(file.clone()) as Box<_>)?));
    for event in events {
        pipeline.push(event.clone())?;
    }
    pipeline.finish()?;
    let bytes = std::mem::take(&mut *file.0.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(bytes)
}

/// Every capture in a folder as one workload. The baseline parses what its bodies hold of JSON, each whole body or event
/// once; bodies that are no JSON cost it nothing.
fn corpus(folder: &Path) -> Result<Workload> {
    let mut events = Vec::new();
    let mut paths: Vec<_> = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let mut base = 0;
    for path in paths.iter().filter(|path| path.to_string_lossy().contains(".capture.jsonl")) {
        let mut replay = Replay::new(std::fs::File::open(path)?)?;
        let begin = events.len();
        while replay.next(&mut events)? {}
        // Keys count from 1 in each file.
        let mut most = base;
        for event in &mut events[begin..] {
            match event {
                Event::Open { key, .. }
                | Event::Data { key, .. }
                | Event::Gap { key, .. }
                | Event::Close { key, .. } => {
                    key.0 += base;
                    most = most.max(key.0);
                }
                Event::Process { .. } => {}
            }
        }
        base = most;
    }
    let (mut bodies, mut texts) = (std::collections::HashMap::new(), Vec::new());
    exchanges(&events, |event| {
        let (id, request, piece) = match event {
            exchange::Event::RequestPiece { id, piece, .. } => (id, true, piece),
            exchange::Event::ResponsePiece { id, piece, .. } => (id, false, piece),
            _ => return,
        };
        match piece {
            Piece::Bytes(bytes) => bodies.entry((id, request)).or_insert_with(Vec::new).extend_from_slice(&bytes),
            Piece::Sse { data, .. } | Piece::Line(data) => texts.push(data.to_vec()),
            Piece::Comment => {}
        }
    });
    texts.extend(bodies.into_values());
    let json =
        |text: Vec<u8>| String::from_utf8(text).ok().filter(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    let answers: Vec<String> = texts.into_iter().filter_map(json).collect();
    Ok(Workload { shapes: Shapes::Any, ..Workload::new("recorded corpus, all dialects", events, Vec::new(), answers)? })
}

#[derive(Clone, Copy)]
enum Coding {
    Plain,
    Gzip,
    Zstd,
}

/// Writes exchanges of one HTTP/1.1 connection, one direction after the other, into capture records.
struct Script {
    events: Vec<Event>,
    questions: Vec<String>,
    answers: Vec<String>,
    at: u64,
    sent: u64,
    received: u64,
}

const KEY: ConnectionKey = ConnectionKey(1);

impl Script {
    fn http2() -> Self {
        let mut script = Self::new();
        let settings = frame(4, 0, 0, &[]);
        script.push(Direction::Send, &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..]].concat());
        script.push(Direction::Receive, &settings);
        script
    }

    /// HTTP/2 streams from `first` on, whose events take turns.
    fn http2_streams(&mut self, first: u32, count: u32, tokens: usize, events_in_a_record: usize) {
        let streams = || (0..count).map(|number| first + 2 * number);
        for stream in streams() {
            let body = question(true, 200);
            let fields =
                [(":scheme", "https"), (":authority", "api.example.com"), ("content-type", "application/json")];
            let head =
                header_block(&[(":method", "POST"), (":path", CHAT)].into_iter().chain(fields).collect::<Vec<_>>());
            let frames = [frame(1, 4, stream, &head), frame(0, 1, stream, body.as_bytes())].concat();
            self.push(Direction::Send, &frames);
            self.questions.push(body);
        }
        let head = header_block(&[(":status", "200"), ("content-type", "text/event-stream; charset=utf-8")]);
        for stream in streams() {
            self.push(Direction::Receive, &frame(1, 4, stream, &head));
        }
        let (mut record, mut events) = (Vec::new(), 0);
        for (_, answer) in openai_stream(tokens) {
            for stream in streams() {
                record.extend_from_slice(&frame(0, 0, stream, format!("data: {answer}\n\n").as_bytes()));
                if answer.starts_with('{') {
                    self.answers.push(answer.clone());
                }
                events += 1;
                if events % events_in_a_record == 0 {
                    self.push(Direction::Receive, &record);
                    record.clear();
                }
            }
        }
        record.extend(streams().flat_map(|stream| frame(0, 1, stream, &[])));
        self.push(Direction::Receive, &record);
    }

    fn new() -> Self {
        let connection = Connection { id: "bench".into(), ..Connection::default() };
        let open = Event::Open { at: 0, key: KEY, connection: Arc::new(connection) };
        Self { events: vec![open], questions: Vec::new(), answers: Vec::new(), at: 0, sent: 0, received: 0 }
    }

    /// In records of at most 16 KiB, the size of a TLS record.
    fn push(&mut self, direction: Direction, bytes: &[u8]) {
        for piece in bytes.chunks(16 << 10) {
            self.at += 1000;
            let offset = if direction == Direction::Send { &mut self.sent } else { &mut self.received };
            let bytes = Bytes::copy_from_slice(piece);
            self.events.push(Event::Data { at: self.at, key: KEY, direction, offset: *offset, bytes });
            *offset += piece.len() as u64;
        }
    }

    fn ask(&mut self, path: &str, body: String) {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/json\r\n\
             Accept: application/json\r\nUser-Agent: bench\r\nAuthorization: Bearer none\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.push(Direction::Send, request.as_bytes());
        self.questions.push(body);
    }

    /// A stream: pairs of an event's name, or none, and its data.
    fn stream(&mut self, events: Vec<(&str, String)>, events_in_a_record: usize, coding: Coding) {
        let coded = match coding {
            Coding::Plain => "",
            Coding::Gzip => "Content-Encoding: gzip\r\n",
            Coding::Zstd => "Content-Encoding: zstd\r\n",
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nX-Request-Id: req_1\r\n\
             Transfer-Encoding: chunked\r\n{coded}\r\n"
        );
        self.push(Direction::Receive, head.as_bytes());
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 3).ok();
        let mut record = Vec::new();
        for (number, (name, answer)) in events.into_iter().enumerate() {
            let event = if name.is_empty() {
                format!("data: {answer}\n\n")
            } else {
                format!("event: {name}\ndata: {answer}\n\n")
            };
            if answer.starts_with('{') {
                self.answers.push(answer);
            }
            let data = match coding {
                Coding::Plain => event.into_bytes(),
                Coding::Gzip => {
                    flushed(&mut gzip, event.as_bytes());
                    std::mem::take(gzip.get_mut())
                }
                Coding::Zstd => zstd.as_mut().map_or_else(Vec::new, |zstd| {
                    flushed(zstd, event.as_bytes());
                    std::mem::take(zstd.get_mut())
                }),
            };
            let mut size = String::new();
            let _ = write!(size, "{:x}\r\n", data.len());
            record.extend_from_slice(size.as_bytes());
            record.extend_from_slice(&data);
            record.extend_from_slice(b"\r\n");
            if (number + 1) % events_in_a_record == 0 {
                self.push(Direction::Receive, &record);
                record.clear();
            }
        }
        record.extend_from_slice(b"0\r\n\r\n");
        self.push(Direction::Receive, &record);
    }

    fn whole(&mut self, answer: String) {
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", answer.len());
        self.push(Direction::Receive, &[head.as_bytes(), answer.as_bytes()].concat());
        self.answers.push(answer);
    }

    fn finish(mut self, name: &str) -> Result<Workload> {
        self.events.push(Event::Close { at: self.at + 1, key: KEY, by: ClosedBy::Local });
        Workload::new(name, self.events, self.questions, self.answers)
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields that enter no table (RFC 7541 section 6.2.2).
fn header_block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// A vector takes everything.
fn flushed(encoder: &mut impl Write, data: &[u8]) {
    let _ = encoder.write_all(data).and_then(|()| encoder.flush());
}

fn question(stream: bool, length: usize) -> String {
    let prompt = "Say it again, with \\\"quotes\\\" and line ends.\\n".repeat(length / 48 + 1);
    let options = if stream { ",\"stream_options\":{\"include_usage\":true}" } else { "" };
    format!(
        "{{\"model\":\"gpt-5-mini\",\"stream\":{stream}{options},\"messages\":[{{\"role\":\"user\",\"content\":\"{prompt}\"}}]}}"
    )
}

const WORDS: [&str; 10] =
    [" the", " stream", ",", " again", " \\\"quoted\\\"", " gr\u{f6}\u{df}er", ".\\n\\n", " tokens", "ization", " 42"];

/// As OpenAI's own service writes chunks.
fn openai_stream(tokens: usize) -> Vec<(&'static str, String)> {
    let chunk = |choices: &str, usage: &str| {
        let chunk = format!(
            "{{\"id\":\"chatcmpl-CkQx8mB2vN4yTzL7wPqRs9AhUjDfG\",\"object\":\"chat.completion.chunk\",\
             \"created\":1763700000,\"model\":\"gpt-5-mini-2025-08-07\",\"service_tier\":\"default\",\
             \"system_fingerprint\":null,\"choices\":[{choices}],\"usage\":{usage},\"obfuscation\":\"aB3dE5fG\"}}"
        );
        ("", chunk)
    };
    let delta = |delta: &str, finish: &str| {
        chunk(&format!("{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}"), "null")
    };
    let mut events = vec![delta("{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}", "null")];
    events
        .extend((0..tokens).map(|token| delta(&format!("{{\"content\":\"{}\"}}", WORDS[token % WORDS.len()]), "null")));
    events.push(delta("{}", "\"stop\""));
    events.push(chunk("", "{\"prompt_tokens\":57,\"completion_tokens\":1000,\"total_tokens\":1057}"));
    events.push(("", "[DONE]".to_owned()));
    events
}

fn anthropic_stream(tokens: usize) -> Vec<(&'static str, String)> {
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
    events
}

const CHAT: &str = "/v1/chat/completions";

fn openai_streams(name: &str, events_in_a_record: usize, coding: Coding) -> Result<Workload> {
    let mut script = Script::new();
    for _ in 0..4 {
        script.ask(CHAT, question(true, 200));
        script.stream(openai_stream(1000), events_in_a_record, coding);
    }
    script.finish(name)
}

fn http2_streams(name: &str, at_once: u32, events_in_a_record: usize) -> Result<Workload> {
    let mut script = Script::http2();
    if at_once == 1 {
        for round in 0..4 {
            script.http2_streams(1 + 2 * round, 1, 1000, events_in_a_record);
        }
    } else {
        script.http2_streams(1, at_once, 100, events_in_a_record);
    }
    script.finish(name)
}

fn anthropic_streams(name: &str) -> Result<Workload> {
    let mut script = Script::new();
    for _ in 0..4 {
        script.ask("/v1/messages", question(true, 200).replace("gpt-5-mini", "claude-sonnet-5"));
        script.stream(anthropic_stream(1000), 1, Coding::Plain);
    }
    script.finish(name)
}

fn messages(name: &str, count: usize, question_length: usize, answer_length: usize) -> Result<Workload> {
    let mut script = Script::new();
    for _ in 0..count {
        script.ask(CHAT, question(false, question_length));
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
fn mixed(name: &str) -> Result<Workload> {
    let mut script = Script::new();
    for turn in 0..8 {
        if turn % 2 == 0 {
            script.ask(CHAT, question(true, 32 << 10));
            script.stream(openai_stream(300), 1, Coding::Plain);
        } else {
            script.ask("/v1/messages", question(true, 32 << 10).replace("gpt-5-mini", "claude-sonnet-5"));
            script.stream(anthropic_stream(300), 1, Coding::Plain);
        }
    }
    script.finish(name)
}
