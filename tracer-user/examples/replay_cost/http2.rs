//! Chat streams over HTTP/2, an event a DATA frame: one stream after the other, or many that take turns.

use llmtap::capture::Direction;

use crate::{
    baseline::Shape,
    workload::{CHAT, SSE, Script, Workload, openai_stream, question},
};

/// Four calls, one after the other, of 1,000 tokens.
pub fn in_turn(name: &str) -> Workload {
    let mut script = opened();
    for call in 0..4 {
        streams(&mut script, 1 + 2 * call, 1, 1000, 1);
    }
    script.finish(name)
}

/// 50 calls at once, of 100 tokens.
pub fn at_once(name: &str, events_in_a_record: usize) -> Workload {
    let mut script = opened();
    streams(&mut script, 1, 50, 100, events_in_a_record);
    script.finish(name)
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn opened() -> Script {
    let mut script = Script::new(Shape::Chat);
    let settings = frame(SETTINGS, 0, 0, &[]);
    script.push(Direction::Send, &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..]].concat());
    script.push(Direction::Receive, &settings);
    script
}

/// HTTP/2 streams from `first` on, whose events take turns.
fn streams(script: &mut Script, first: u32, count: u32, tokens: usize, events_in_a_record: usize) {
    let ids = || (0..count).map(|number| first + 2 * number);
    let head = header_block(&[
        (":method", "POST"),
        (":path", CHAT),
        (":scheme", "https"),
        (":authority", "api.example.com"),
        ("content-type", "application/json"),
    ]);
    for id in ids() {
        let body = question(true, 200);
        let frames = [frame(HEADERS, END_HEADERS, id, &head), frame(DATA, END_STREAM, id, body.as_bytes())].concat();
        script.push(Direction::Send, &frames);
        script.text(Shape::Question, body);
    }
    let head = header_block(&[(":status", "200"), ("content-type", SSE)]);
    for id in ids() {
        script.push(Direction::Receive, &frame(HEADERS, END_HEADERS, id, &head));
    }
    let (mut record, mut events) = (Vec::new(), 0);
    for piece in openai_stream(tokens) {
        for id in ids() {
            record.extend_from_slice(&frame(DATA, 0, id, &piece.wire));
            // `[DONE]` is no JSON.
            if piece.json.starts_with('{') {
                script.unit(piece.json.clone());
            }
            events += 1;
            if events % events_in_a_record == 0 {
                script.push(Direction::Receive, &record);
                record.clear();
            }
        }
    }
    record.extend(ids().flat_map(|id| frame(DATA, END_STREAM, id, &[])));
    script.push(Direction::Receive, &record);
}

/// RFC 9113 section 4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields that enter no table (RFC 7541 section 6.2.2).
fn header_block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}
