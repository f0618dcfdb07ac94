//! Rows from captures: the fixtures of every dialect, brought to the length of real traffic, and a folder of recordings.

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use llmtap::{
    capture::{Connection, Event, replay::Replay},
    exchange, llm,
    proto::{Piece, RequestHead},
};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::{
    Result,
    baseline::Shape,
    exchanges,
    workload::{Coded, Coding, Script, StreamPiece, Workload},
};

/// Streams and whole answers on one connection.
const STREAMS: usize = 8;
const ANSWERS: usize = 50;
/// Events of a stream, bytes of a text, numbers of an embedding: what a fixture is brought to.
const EVENTS: usize = 300;
const TEXT: usize = 8 << 10;
const NUMBERS: usize = 1536;
/// Passages that a reranker compares, and bytes of each.
const PASSAGES: usize = 100;
const PASSAGE: usize = 512;
/// Bytes of a picture in an answer, and of a piece of audio or of a picture in an event, in base64: at the low end of what
/// services send.
const PICTURE: usize = 256 << 10;
const MEDIA_PIECE: usize = 4 << 10;

/// Rows for each dialect: its fixture of a stream and that of a whole answer, each as long as real ones.
pub fn dialects() -> Result<Vec<Workload>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let mut workloads = Vec::new();
    for dialect in llm::dialects() {
        for (case, what) in [("stream", "stream"), ("array_stream", "array"), ("plain", "whole answers")] {
            let path = root.join(dialect).join(case).join("capture.jsonl");
            if path.exists() {
                let shape = Shape::of(dialect, what == "stream");
                workloads.extend(scaled(&format!("{dialect}, {what}"), shape, &path)?);
            }
        }
    }
    Ok(workloads)
}

/// The first exchange of a capture. `None` when it is not HTTP/1.1 with JSON bodies: such a dialect has rows of its own.
fn scaled(name: &str, shape: Shape, path: &Path) -> Result<Option<Workload>> {
    let Some(Recorded { connection, head, question, pieces, body, media_type }) = Recorded::read(path)? else {
        return Ok(None);
    };
    let question = with_passages(serde_json::from_str(&question)?).map_or(question, |long| long.to_string());
    let mut script = Script::on(shape, connection);
    let target = match head.query.as_str() {
        "" => head.path.clone(),
        query => format!("{}?{query}", head.path),
    };
    let fields = kept_fields(&head);
    let mut stream = repeated(pieces);
    for (_, json) in &mut stream {
        if let Some(event) = serde_json::from_str(json).ok().filter(has_media) {
            *json = with_media(event, MEDIA_PIECE).to_string();
        }
    }
    let lengthened = |answer: Value| with_passages(answer.clone()).unwrap_or_else(|| lengthened(answer));
    let whole = serde_json::from_slice(&body).map(|value| with_media(lengthened(value), PICTURE).to_string());
    for _ in 0..if stream.is_empty() { ANSWERS } else { STREAMS } {
        script.ask(&target, &fields, question.clone());
        match &whole {
            _ if !stream.is_empty() => {
                let pieces = stream.iter().enumerate().map(|(number, (name, json))| match name {
                    Some(name) if media_type.ends_with("eventstream") => StreamPiece::message(name, json.clone()),
                    Some(name) => StreamPiece::event(name, json.clone()),
                    None if media_type.starts_with("application/json") => StreamPiece::element(number, json.clone()),
                    None => StreamPiece::line(json.clone()),
                });
                script.stream(&media_type, pieces.collect(), 1, Coding::Plain);
            }
            Ok(answer) => script.whole(answer.clone()),
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(script.finish(name)))
}

struct Recorded {
    connection: Connection,
    head: RequestHead,
    question: String,
    /// Events by name and data; lines have no name.
    pieces: Vec<(Option<String>, String)>,
    body: Vec<u8>,
    media_type: String,
}

impl Recorded {
    fn read(path: &Path) -> Result<Option<Self>> {
        let mut events = events(path)?;
        let connection = events.iter().find_map(|event| match event {
            Event::Open { connection, .. } => Some(Connection::clone(connection)),
            _ => None,
        });
        let (mut head, mut media_type, mut question) = (None, String::new(), Vec::new());
        let (mut pieces, mut body) = (Vec::new(), Vec::new());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        exchanges(&mut events, |event| match event {
            exchange::Event::Request { id, head: Some(found), .. } if id.index == 0 => head = Some(found),
            exchange::Event::RequestPiece { id, piece: Piece::Bytes(bytes), .. } if id.index == 0 => {
                question.extend_from_slice(&bytes);
            }
            exchange::Event::Response { id, head, .. } if id.index == 0 => {
                media_type = head.headers.get("content-type").unwrap_or_default().to_owned();
            }
            exchange::Event::ResponsePiece { id, piece, .. } if id.index == 0 => match piece {
                Piece::Bytes(bytes) => body.extend_from_slice(&bytes),
                Piece::Sse { event, data } => pieces.push((Some(text(&event)), text(&data))),
                Piece::Message { name, data, .. } => pieces.push((Some(text(&name)), text(&data))),
                Piece::Line(line) | Piece::Element(line) => pieces.push((None, text(&line))),
                Piece::Comment | Piece::Part(_) => {}
            },
            _ => {}
        });
        let (Some(connection), Some(head), Ok(question)) = (connection, head, String::from_utf8(question)) else {
            return Ok(None);
        };
        // A form has no JSON to compare with.
        if serde_json::from_str::<IgnoredAny>(&question).is_err() {
            return Ok(None);
        }
        let head = RequestHead::clone(&head);
        Ok(Some(Self { connection, head, question, pieces, body, media_type }))
    }
}

/// Header lines of the recorded request that the script does not write itself.
fn kept_fields(head: &RequestHead) -> String {
    let mut lines = String::new();
    for (name, value) in head.headers.iter() {
        let own = ["content-type", "content-length", "transfer-encoding", "authorization", "accept", "user-agent"];
        if !own.contains(&name) {
            let _ = write!(lines, "{name}: {}\r\n", String::from_utf8_lossy(value));
        }
    }
    lines
}

/// The stream with those of its pieces that look alike, its text, taken again and again: of pieces with words, where it has
/// several. The last of them, which may say why the stream ends, comes once.
fn repeated(pieces: Vec<(Option<String>, String)>) -> Vec<(Option<String>, String)> {
    let mut alike: HashMap<String, (bool, usize)> = HashMap::new();
    let events: Vec<Value> = pieces.iter().map(|(_, json)| event(json)).collect();
    let forms: Vec<String> = events.iter().map(form).collect();
    for (form, event) in forms.iter().zip(&events) {
        let (spoken, count) = alike.entry(form.clone()).or_default();
        *spoken |= longest(event) > 0;
        *count += 1;
    }
    let rank = |(spoken, count): (bool, usize)| (spoken && count > 1, count);
    let most = alike.values().map(|form| rank(*form)).max().unwrap_or_default();
    let Some(at) = forms.iter().position(|form| rank(alike[form]) == most) else { return pieces };
    let mut again: Vec<_> = (at..pieces.len()).filter(|other| forms[*other] == forms[at]).collect();
    if again.len() > 1 {
        again.pop();
    }
    let mut all = pieces[..at].to_vec();
    all.extend(again.iter().cycle().take(EVENTS).map(|other| pieces[*other].clone()));
    all.extend((at..pieces.len()).filter(|other| !again.contains(other)).map(|other| pieces[other].clone()));
    all
}

/// The event that a JSON text is, or the one in it (Bedrock).
fn event(json: &str) -> Value {
    let event: Value = serde_json::from_str(json).unwrap_or_default();
    let inner = event.get("bytes").and_then(Value::as_str).and_then(|bytes| STANDARD.decode(bytes).ok());
    inner.and_then(|inner| serde_json::from_slice(&inner).ok()).unwrap_or(event)
}

/// The names in a JSON text, without its values.
fn form(event: &Value) -> String {
    fn write(value: &Value, out: &mut String) {
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| {
                out.push_str(name);
                out.push('{');
                write(value, out);
                out.push('}');
            }),
            Value::Array(items) => items.iter().for_each(|item| write(item, out)),
            Value::Null => out.push('0'),
            Value::String(text) if text.is_empty() => out.push('0'),
            _ => out.push('1'),
        }
    }
    let mut out = String::new();
    write(event, &mut out);
    out
}

/// Length of the longest text of words: what a model says has words, ids and names have not.
fn longest(value: &Value) -> usize {
    match value {
        Value::String(text) if text.contains(' ') => text.len(),
        Value::Array(items) => items.iter().map(longest).max().unwrap_or(0),
        Value::Object(members) => members.values().map(longest).max().unwrap_or(0),
        _ => 0,
    }
}

/// The answer with its longest text of words, or its lists of numbers, as long as real ones.
fn lengthened(mut answer: Value) -> Value {
    fn stretch(value: &mut Value, length: usize, done: &mut bool) {
        match value {
            Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_f64) => {
                let numbers = items.iter().cloned().cycle().take(NUMBERS).collect();
                *items = numbers;
                *done = true;
            }
            Value::Array(items) => items.iter_mut().for_each(|item| stretch(item, length, done)),
            Value::Object(members) => members.values_mut().for_each(|member| stretch(member, length, done)),
            Value::String(text) if text.len() == length && !*done => {
                let words = format!("{text} \"Words\", and more.\n");
                *text = words.repeat(TEXT / words.len() + 1);
                *done = true;
            }
            _ => {}
        }
    }
    let length = longest(&answer);
    stretch(&mut answer, length, &mut false);
    answer
}

/// A reranker's question or answer with as many passages as real ones; `None` of anything else.
fn with_passages(mut value: Value) -> Option<Value> {
    let list = if value["results"][0]["relevance_score"].is_number() { "results" } else { "documents" };
    let items = value.get_mut(list)?.as_array_mut()?;
    *items = items.iter().cloned().cycle().take(PASSAGES).collect();
    for item in items {
        if let Value::String(text) = item {
            *text = text.repeat(PASSAGE / text.len().max(1) + 1);
        }
    }
    Some(value)
}

/// Members that hold pictures and audio: fixtures have a few letters there.
const MEDIA: [&str; 2] = ["b64_json", "audio"];

fn has_media(value: &Value) -> bool {
    MEDIA.iter().any(|name| value.get(name).is_some_and(Value::is_string))
}

/// The answer or event with pictures and audio of so many bytes.
fn with_media(mut value: Value, length: usize) -> Value {
    fn fill(value: &mut Value, length: usize) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| fill(item, length)),
            Value::Object(members) => members.iter_mut().for_each(|(name, member)| match member {
                Value::String(text) if MEDIA.contains(&&**name) => {
                    *text = "iVBORw0KGgoAAAANSUhEUgAA".repeat(length / 24)
                }
                member => fill(member, length),
            }),
            _ => {}
        }
    }
    fill(&mut value, length);
    value
}

fn events(path: &Path) -> Result<Vec<Event>> {
    let mut replay = Replay::new(File::open(path)?)?;
    let mut events = Vec::new();
    while replay.next(&mut events)? {}
    Ok(events)
}

/// Every capture in a folder as one workload. The baseline undoes the codings of the bodies that have one, in one piece
/// each, and parses what the bodies hold of JSON, each whole body or event once; bodies that are no JSON cost it nothing.
pub fn corpus(folder: &Path) -> Result<Workload> {
    let mut all = Vec::new();
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let mut base = 0;
    for path in paths.iter().filter(|path| path.to_string_lossy().contains(".capture.jsonl")) {
        // Keys count from 1 in each file.
        let mut most = base;
        for mut event in events(path)? {
            match &mut event {
                Event::Open { key, .. }
                | Event::Data { key, .. }
                | Event::Gap { key, .. }
                | Event::Close { key, .. } => {
                    key.0 += base;
                    most = most.max(key.0);
                }
                Event::Process { .. } => {}
            }
            all.push(event);
        }
        base = most;
    }
    let (mut bodies, mut texts, mut codings) = (HashMap::new(), Vec::new(), HashMap::new());
    let mut decoded: HashMap<_, Vec<u8>> = HashMap::new();
    exchanges(&mut all.clone(), |event| {
        let (id, request, piece) = match event {
            exchange::Event::Response { id, head, .. } => {
                let coding = match head.headers.get("content-encoding") {
                    Some("gzip") => Coding::Gzip,
                    Some("br") => Coding::Brotli,
                    Some("zstd") => Coding::Zstd,
                    _ => return,
                };
                codings.insert(id, coding);
                return;
            }
            exchange::Event::RequestPiece { id, piece, .. } => (id, true, piece),
            exchange::Event::ResponsePiece { id, piece, .. } => (id, false, piece),
            _ => return,
        };
        let bytes = match piece {
            Piece::Bytes(bytes) => {
                bodies.entry((id, request)).or_insert_with(Vec::new).extend_from_slice(&bytes);
                bytes
            }
            Piece::Sse { data, .. } | Piece::Message { data, .. } | Piece::Line(data) | Piece::Element(data) => {
                texts.push(data.to_vec());
                data
            }
            Piece::Comment | Piece::Part(_) => return,
        };
        if codings.contains_key(&id) && !request {
            decoded.entry(id).or_default().extend_from_slice(&bytes);
        }
    });
    texts.extend(bodies.into_values());
    let json =
        |text: Vec<u8>| String::from_utf8(text).ok().filter(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    let texts: Vec<_> = texts.into_iter().filter_map(json).map(|text| (Shape::Any, text)).collect();
    let coded = decoded.into_iter().filter_map(|(id, body)| coded(*codings.get(&id)?, &body));
    let (coded, units) = (coded.collect(), texts.len());
    Ok(Workload::new("recorded corpus, all dialects", all, texts, coded, units))
}

/// The body as some server may have compressed it.
fn coded(coding: Coding, body: &[u8]) -> Option<Coded> {
    let bytes = match coding {
        Coding::Plain => return None,
        Coding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(body).ok()?;
            encoder.finish().ok()?
        }
        Coding::Zstd => zstd::encode_all(body, 3).ok()?,
        Coding::Brotli => {
            let mut bytes = Vec::new();
            brotli::BrotliCompress(&mut &body[..], &mut bytes, &brotli::enc::BrotliEncoderParams::default()).ok()?;
            bytes
        }
    };
    Some(Coded { coding, bytes })
}
