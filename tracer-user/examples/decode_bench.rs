//! What the user side costs: payload bytes through flow → proto → exchange, and on through llm, on one core, against
//! one typed `serde_json` parse of the same payload bytes.
//!
//! `cargo run --release --example decode_bench`

use std::{
    borrow::Cow,
    fmt::Write as _,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use llmtap::{
    capture::{ClosedBy, Connection, ConnectionKey, Direction, Event, Role},
    exchange::Exchanges,
    flow::{self, Flows},
    llm::{self, Calls, could_be_model_call},
    proto,
};
use serde::Deserialize;

/// Rounds of each measurement, of a few milliseconds each; the fastest counts, since other work only makes one slower.
const ROUNDS: usize = 200;

/// What an OpenAI client library reads of a chunk or of a whole answer. Texts are borrowed where they can be: a baseline
/// that copies would flatter us.
#[derive(Deserialize)]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Answer<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    model: Cow<'a, str>,
    created: u64,
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Choice<'a> {
    index: u32,
    #[serde(borrow, alias = "delta")]
    message: Message<'a>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Message<'a> {
    #[serde(borrow)]
    role: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "parsed as the baseline's work, not looked at")]
struct Question<'a> {
    #[serde(borrow)]
    model: Cow<'a, str>,
    stream: Option<bool>,
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
}

/// Captured events of one connection, and the JSON texts in them.
struct Workload {
    name: &'static str,
    events: Vec<Event>,
    questions: Vec<String>,
    answers: Vec<String>,
    /// Data events of streams, or messages.
    units: usize,
}

fn main() {
    println!("{:<34} {:>9} {:>9} {:>9} {:>8} {:>8}", "", "ns/event", "GB/s", "serde ns", "decode", "with llm");
    for workload in [
        streams("stream, a record an event", 1, Coding::Plain),
        streams("stream, 20 events a record", 20, Coding::Plain),
        streams("stream, gzip", 1, Coding::Gzip),
        streams("stream, zstd", 1, Coding::Zstd),
        messages("answers of 8 KiB", 50, 2 << 10, 8 << 10),
        messages("prompts of 1 MiB", 4, 1 << 20, 1 << 10),
    ] {
        let payload: usize = workload.questions.iter().chain(&workload.answers).map(String::len).sum();
        let baseline = fastest(|| parse(&workload));
        let decode = fastest(|| replay(&workload, false));
        let all = fastest(|| replay(&workload, true));
        println!(
            "{:<34} {:>9.0} {:>9.2} {:>9.0} {:>7.2}x {:>7.2}x",
            workload.name,
            decode.as_nanos() as f64 / workload.units as f64,
            payload as f64 / decode.as_nanos() as f64,
            baseline.as_nanos() as f64 / workload.units as f64,
            baseline.as_secs_f64() / decode.as_secs_f64(),
            baseline.as_secs_f64() / all.as_secs_f64(),
        );
    }
    println!("decode: flow, proto, exchange; both columns say how many times as fast as one serde_json parse.");
}

fn fastest(mut work: impl FnMut() -> usize) -> Duration {
    let round = |_| {
        let start = Instant::now();
        black_box(work());
        start.elapsed()
    };
    (0..ROUNDS).map(round).min().unwrap_or_default()
}

fn parse(workload: &Workload) -> usize {
    let question =
        |text: &String| serde_json::from_str::<Question<'_>>(text).is_ok_and(|q| black_box(q.stream.is_some()));
    let answer = |text: &String| serde_json::from_str::<Answer<'_>>(text).is_ok_and(|a| !black_box(a).id.is_empty());
    let questions = workload.questions.iter().filter(|text| question(text)).count();
    let answers = workload.answers.iter().filter(|text| answer(text)).count();
    assert_eq!((questions, answers), (workload.questions.len(), workload.answers.len()), "the baseline parses it all");
    questions + answers
}

/// The events through the stages; gives the number of pieces, or of calls.
fn replay(workload: &Workload, with_calls: bool) -> usize {
    let mut flows = Flows::new(flow::Limits::default());
    let mut decoder = proto::Connection::new(proto::Limits::default(), Role::Client, could_be_model_call);
    let mut exchanges = Exchanges::new();
    let mut calls = Calls::new(llm::Limits::default(), llm::Options::default());
    let (mut ordered, mut decoded, mut paired, mut ended) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut count = 0;
    for event in &workload.events {
        flows.push(event.clone(), &mut ordered);
        for event in ordered.drain(..) {
            match event {
                flow::Event::Open { key, connection, .. } => exchanges.open(key, connection),
                flow::Event::Bytes { at, key, direction, bytes } => {
                    decoder.push(at, direction, bytes, &mut decoded);
                    for event in decoded.drain(..) {
                        exchanges.push(key, event, &mut paired);
                    }
                }
                flow::Event::Gap { .. } | flow::Event::Close { .. } | flow::Event::Abandon { .. } => {}
            }
        }
        for event in paired.drain(..) {
            if with_calls {
                calls.push(&event, &mut ended);
            } else {
                count += 1;
            }
        }
    }
    count + ended.len()
}

enum Coding {
    Plain,
    Gzip,
    Zstd,
}

/// Writes one direction after the other into capture records.
struct Script {
    events: Vec<Event>,
    at: u64,
    sent: u64,
    received: u64,
}

const KEY: ConnectionKey = ConnectionKey(1);

impl Script {
    fn new() -> Self {
        let open = Event::Open { at: 0, key: KEY, connection: Arc::new(Connection::default()) };
        Self { events: vec![open], at: 0, sent: 0, received: 0 }
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

    fn finish(mut self) -> Vec<Event> {
        self.events.push(Event::Close { at: self.at + 1, key: KEY, by: ClosedBy::Local });
        self.events
    }
}

fn question(stream: bool, length: usize) -> String {
    let prompt = "Say it again, with \\\"quotes\\\" and line ends.\\n".repeat(length / 48 + 1);
    format!(
        "{{\"model\":\"gpt-5-mini\",\"stream\":{stream},\"messages\":[{{\"role\":\"user\",\"content\":\"{prompt}\"}}]}}"
    )
}

fn request(body: &str) -> Vec<u8> {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Type: application/json\r\n\
         Accept: application/json\r\nUser-Agent: bench\r\nAuthorization: Bearer none\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn streams(name: &'static str, events_in_a_record: usize, coding: Coding) -> Workload {
    let mut script = Script::new();
    let (mut questions, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let body = question(true, 200);
        script.push(Direction::Send, &request(&body));
        questions.push(body);
        let mut head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\
                        X-Request-Id: req_1\r\nTransfer-Encoding: chunked\r\n"
            .to_owned();
        match coding {
            Coding::Plain => {}
            Coding::Gzip => head.push_str("Content-Encoding: gzip\r\n"),
            Coding::Zstd => head.push_str("Content-Encoding: zstd\r\n"),
        }
        script.push(Direction::Receive, (head + "\r\n").as_bytes());
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 3).ok();
        let mut record = Vec::new();
        for number in 0..1000 {
            let answer = format!(
                "{{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1763700000,\
                 \"model\":\"gpt-5-mini-2025-08-07\",\"service_tier\":\"default\",\"system_fingerprint\":null,\
                 \"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" word{number}\"}},\"logprobs\":null,\
                 \"finish_reason\":null}}],\"usage\":null,\"obfuscation\":\"aB3dE5fG\"}}"
            );
            let event = format!("data: {answer}\n\n");
            answers.push(answer);
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
                script.push(Direction::Receive, &record);
                record.clear();
            }
        }
        record.extend_from_slice(b"0\r\n\r\n");
        script.push(Direction::Receive, &record);
    }
    let units = answers.len();
    Workload { name, events: script.finish(), questions, answers, units }
}

/// A vector takes everything.
fn flushed(encoder: &mut impl std::io::Write, data: &[u8]) {
    let _ = encoder.write_all(data).and_then(|()| encoder.flush());
}

fn messages(name: &'static str, count: usize, question_length: usize, answer_length: usize) -> Workload {
    let mut script = Script::new();
    let (mut questions, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let body = question(false, question_length);
        script.push(Direction::Send, &request(&body));
        questions.push(body);
        let text = "Words, \\\"quoted\\\" ones too.\\n".repeat(answer_length / 30 + 1);
        let body = format!(
            "{{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1763700000,\
             \"model\":\"gpt-5-mini-2025-08-07\",\"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\
             \"content\":\"{text}\"}},\"finish_reason\":\"stop\"}}],\
             \"usage\":{{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}}}"
        );
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        script.push(Direction::Receive, &[head.as_bytes(), body.as_bytes()].concat());
        answers.push(body);
    }
    Workload { name, events: script.finish(), questions, answers, units: count }
}
