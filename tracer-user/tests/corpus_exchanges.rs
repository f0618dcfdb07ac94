//! Recorded traffic through flow, proto and exchange: every exchange pairs, with the right head on either side.
//!
//! The recordings are not part of the source. `LLMTAP_CORPUS` names their folder.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use llmtap::{
    capture::{Connection, ConnectionKey, Role, replay::Replay},
    exchange::{self, Exchanges, Outcome},
    flow::{self, Flows},
    llm::{self, Calls, call::Completeness},
    proto::{self, Piece},
};
use serde_json::Value;

#[derive(Default)]
struct Seen {
    method: String,
    path: String,
    status: u16,
    encoding: Option<String>,
    chunked: bool,
    bytes: Vec<u8>,
    ended: Option<Outcome>,
}

#[test]
fn every_recorded_exchange_pairs() {
    let Some(captures) = captures() else { return };
    let exchanges: usize = captures.iter().map(|capture| compare(&run(capture), &expected(capture))).sum();
    println!("{exchanges} exchanges paired");
}

/// The recordings, if there are any.
fn captures() -> Option<Vec<PathBuf>> {
    let Some(folder) = std::env::var_os("LLMTAP_CORPUS") else {
        println!("skipped: no recordings (LLMTAP_CORPUS names their folder)");
        return None;
    };
    let mut captures: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    captures.retain(|path| path.to_string_lossy().ends_with(".capture.jsonl.zst"));
    captures.sort();
    assert!(!captures.is_empty());
    Some(captures)
}

/// What a recording's exchanges are.
fn expected(capture: &Path) -> Vec<Value> {
    let expected = capture.to_string_lossy().replace(".capture.jsonl.zst", ".expected.jsonl");
    let rows = std::fs::read_to_string(expected).unwrap();
    rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What HTTP/2 can leave of an exchange whose capture began in the middle: the bodies alone. They must say what they
/// are, or nothing: no other traffic may look like a call.
#[test]
fn bodies_alone_are_never_taken_for_something_else() {
    let Some(captures) = captures() else { return };
    let (mut told, mut models, mut mistaken) = (0, 0, 0);
    for capture in captures {
        let expected = expected(&capture);
        let row = |connection: &str, index: u32| {
            expected.iter().find(|row| row["conn"] == connection && row["index"] == index).unwrap()
        };
        models += expected.iter().filter(|row| row["is_llm"] == true).count();
        for unseen in ["request", "response", "both"] {
            let mut calls = Calls::new(llm::Limits::default(), llm::Options::default());
            let mut found = Vec::new();
            exchanges(&capture, |_, event| match event {
                exchange::Event::Request { id, at, connection, .. } => {
                    calls.push(&exchange::Event::Request { id, at, connection, head: None }, &mut found);
                }
                exchange::Event::RequestPiece { .. } if unseen == "response" => {}
                exchange::Event::Response { .. } if unseen != "request" => {}
                event => {
                    calls.push(&event, &mut found);
                }
            });
            for call in &found {
                let row = row(&call.connection.id, call.id.index);
                let at = format!("{} {}: {} {:?}", row["conn"], row["path"], call.provider, call.operation);
                assert_ne!(row["is_llm"], false, "{at}");
                let operation = row["operation"].as_str().filter(|_| row["is_llm"] == true);
                if operation.is_some_and(|operation| operation != call.operation.as_str()) {
                    mistaken += 1;
                    println!("{at}");
                }
                assert_eq!(call.completeness, Completeness::Partial, "{at}");
            }
            told += found.len();
            println!("{}: without {unseen} heads {} calls", capture.display(), found.len());
        }
    }
    println!(
        "{told} calls of bodies alone, of {models} recorded ones in three ways; {mistaken} with another operation"
    );
    assert!(told > 0 && mistaken == 0);
}

fn compare(seen: &BTreeMap<(String, u32), Seen>, rows: &[Value]) -> usize {
    assert_eq!(seen.len(), rows.len(), "number of exchanges");
    for row in rows {
        let id = (row["conn"].as_str().unwrap().to_owned(), row["index"].as_u64().unwrap() as u32);
        let exchange = seen.get(&id).unwrap_or_else(|| panic!("no exchange {id:?}"));
        let at = format!("{id:?}");
        assert_eq!(exchange.method, row["method"].as_str().unwrap(), "{at}");
        assert_eq!(exchange.path, row["path"].as_str().unwrap(), "{at}");
        assert_eq!(u64::from(exchange.status), row["status"].as_u64().unwrap(), "{at}");
        assert_eq!(exchange.encoding.as_deref(), row["content_encoding"].as_str(), "{at}");
        assert_eq!(exchange.chunked, row["chunked"].as_bool().unwrap(), "{at}");
        assert_eq!(exchange.ended, Some(Outcome::Complete), "{at}");
        if let Some(id) = row["response_id"].as_str().filter(|_| row["provider"] != "aws.bedrock") {
            let body = String::from_utf8_lossy(&exchange.bytes);
            assert!(body.contains(id), "{at}: the response's id is in its decoded body");
        }
    }
    rows.len()
}

fn run(capture: &Path) -> BTreeMap<(String, u32), Seen> {
    let mut seen = BTreeMap::new();
    exchanges(capture, |connection, event| note(&mut seen, connection, &event));
    seen
}

/// Gives every event of every exchange, with the name of its connection.
fn exchanges(capture: &Path, mut each: impl FnMut(&str, exchange::Event)) {
    let mut capture = Replay::new(std::fs::File::open(capture).unwrap()).unwrap();
    let mut flows = Flows::new(flow::Limits::default());
    let mut lines: HashMap<ConnectionKey, (Arc<Connection>, proto::Connection, Option<Exchanges>)> = HashMap::new();
    let (mut ordered, mut paired) = (Vec::new(), Vec::new());
    let mut captured = Vec::new();
    while capture.next(&mut captured).unwrap() {
        for event in captured.drain(..) {
            flows.push(event, &mut |event| ordered.push(event));
        }
        for event in ordered.drain(..) {
            let mut pair = |event: exchange::Event<'_>| paired.push(event.into_owned());
            let key = match event {
                flow::Event::Open { key, connection, .. } => {
                    let decoder = proto::Connection::new(proto::Limits::default(), Role::Client, |_| true);
                    let exchanges = Exchanges::new(key, connection.clone());
                    lines.insert(key, (connection, decoder, Some(exchanges)));
                    key
                }
                flow::Event::Bytes { at, key, direction, bytes } => {
                    let (_, decoder, exchanges) = lines.get_mut(&key).unwrap();
                    let exchanges = exchanges.as_mut().unwrap();
                    decoder.push(at, direction, &bytes, &mut |event| exchanges.push(event, &mut pair));
                    key
                }
                flow::Event::Close { at, key, by } => {
                    let (_, decoder, exchanges) = lines.get_mut(&key).unwrap();
                    let mut exchanges = exchanges.take().unwrap();
                    decoder.close(at, by, &mut |event| exchanges.push(event, &mut pair));
                    exchanges.close(at, by, &mut pair);
                    key
                }
                other => panic!("{other:?}"),
            };
            let (connection, ..) = &lines[&key];
            for event in paired.drain(..) {
                each(&connection.id, event);
            }
        }
    }
}

fn note(seen: &mut BTreeMap<(String, u32), Seen>, connection: &str, event: &exchange::Event) {
    let (exchange::Event::Request { id, .. }
    | exchange::Event::RequestPiece { id, .. }
    | exchange::Event::RequestEnd { id, .. }
    | exchange::Event::Response { id, .. }
    | exchange::Event::ResponsePiece { id, .. }
    | exchange::Event::Lost { id, .. }
    | exchange::Event::End { id, .. }) = event;
    let exchange = seen.entry((connection.to_owned(), id.index)).or_default();
    match event {
        exchange::Event::Request { head, .. } => {
            let head = head.as_ref().expect("nothing is lost in these recordings");
            exchange.method = head.method.clone();
            exchange.path = head.path.clone();
        }
        exchange::Event::Response { head, .. } => {
            exchange.status = head.status;
            exchange.encoding = head.headers.get("content-encoding").map(str::to_owned);
            exchange.chunked = head.headers.get("transfer-encoding") == Some("chunked");
        }
        exchange::Event::ResponsePiece { piece, .. } => match piece {
            Piece::Bytes(bytes)
            | Piece::Line(bytes)
            | Piece::Element(bytes)
            | Piece::Sse { data: bytes, .. }
            | Piece::Message { data: bytes, .. } => exchange.bytes.extend_from_slice(bytes),
            Piece::Comment | Piece::Part(_) => {}
        },
        exchange::Event::End { outcome, .. } => {
            let previous = exchange.ended.replace(*outcome);
            assert_eq!(previous, None, "one end");
        }
        exchange::Event::RequestPiece { .. } | exchange::Event::RequestEnd { .. } => {}
        exchange::Event::Lost { .. } => panic!("lost bytes in {id:?}"),
    }
}
