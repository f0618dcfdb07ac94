//! What is MCP and what is not, and the bounds on what waits.

use proptest::prelude::*;

use super::*;
use crate::{
    exchange::{self, Outcome},
    llm::tests::drive::{Exchange, headers},
    proto::RequestHead,
};

const BOTH: (&str, &str) = ("accept", "application/json, text/event-stream");

fn head(method: &str, path: &str, query: &str, fields: &[(&str, &str)]) -> RequestHead {
    RequestHead {
        method: method.into(),
        path: path.into(),
        query: query.into(),
        headers: headers(fields),
        ..RequestHead::default()
    }
}

fn call(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"tide"}}}}"#)
}

fn told(requests: &mut Requests, exchange: Exchange, outcome: Option<Outcome>) -> Vec<Request> {
    let (id, mut events) = (exchange.id, exchange.events);
    events.extend(outcome.map(|outcome| exchange::Event::End { id, at: exchange.at + 1, outcome }));
    let mut out = Vec::new();
    for event in &events {
        requests.push(event, &mut out);
    }
    out
}

#[test]
fn a_head_lets_through_what_may_be_mcp() {
    let any = "/services/tides";
    assert!(could_be_mcp(&head("POST", any, "", &[BOTH])));
    assert!(could_be_mcp(&head(
        "POST",
        any,
        "",
        &[("accept", "text/event-stream;q=0.9"), ("accept", "Application/JSON")]
    )));
    assert!(could_be_mcp(&head("POST", any, "", &[("mcp-method", "tools/call")])));
    assert!(could_be_mcp(&head("POST", "/v1/mcp/", "", &[])));
    assert!(could_be_mcp(&head("POST", "/messages/", "session_id=1", &[])));
    assert!(could_be_mcp(&head("GET", "/sse", "", &[("accept", "text/event-stream")])));
    for (method, path, fields) in [
        ("POST", any, &[("accept", "application/json")][..]),
        ("POST", any, &[("accept", "*/*")]),
        ("POST", "/v1/messages", &[]),
        ("GET", "/events", &[("accept", "text/event-stream")]),
        ("GET", "/mcp", &[("accept", "text/html")]),
        ("DELETE", "/mcp", &[("mcp-session-id", "1")]),
    ] {
        assert!(!could_be_mcp(&head(method, path, "", fields)), "{method} {path} {fields:?}");
    }
}

#[test]
fn what_a_traced_server_answers_is_no_request_of_its_own() {
    let mut exchange = Exchange::post("localhost", "/mcp").with_headers(&[BOTH]);
    exchange.connection.role = crate::capture::Role::Server;
    let exchange = exchange.request(&call(1)).response(200, &[]).body(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    assert_eq!(told(&mut Requests::default(), exchange, Some(Outcome::Complete)), []);
}

#[test]
fn a_number_and_a_text_of_the_same_digits_are_different_ids() {
    let exchange = Exchange::post("localhost", "/mcp").with_headers(&[BOTH]).request(&call(1)).response(200, &[]);
    let exchange = exchange.body(r#"{"jsonrpc":"2.0","id":"1","result":{"isError":true}}"#);
    let [request] = &told(&mut Requests::default(), exchange, Some(Outcome::Complete))[..] else { panic!("one") };
    assert_eq!((&request.id, &request.error), (&Some(Id::Number("1".into())), &None));
    assert_eq!(request.carrier.completeness, crate::llm::call::Completeness::Partial);
}

#[test]
fn requests_that_wait_for_an_answer_elsewhere_are_bounded() {
    let mut requests = Requests::default();
    let mut out = Vec::new();
    for index in 0..300 {
        let mut exchange = Exchange::post("localhost", "/messages").with_headers(&[]);
        exchange.head.query = "session_id=1".into();
        exchange.id.index = index;
        let exchange = exchange.request(&call(index)).response(202, &[]).body("Accepted");
        out.extend(told(&mut requests, exchange, Some(Outcome::Complete)));
    }
    assert_eq!((out.len(), requests.open()), (300 - 256, 0));
    requests.finish(&mut out);
    assert_eq!(out.len(), 300);
}

#[test]
fn exchanges_beyond_the_limit_are_refused_and_counted() {
    let mut requests = Requests::new(Limits { open: 1, ..Limits::default() });
    for index in 0..3 {
        let mut exchange = Exchange::post("localhost", "/mcp");
        exchange.id.index = index;
        told(&mut requests, exchange.request(&call(1)), None);
    }
    assert_eq!((requests.open(), requests.refused), (1, 2));
}

#[test]
fn a_batch_is_bounded() {
    let body = format!("[{}]", (0..200).map(call).collect::<Vec<_>>().join(","));
    let exchange = Exchange::post("localhost", "/mcp").with_headers(&[BOTH]).request(&body).response(500, &[]);
    let told = told(&mut Requests::default(), exchange, Some(Outcome::Complete));
    assert_eq!(told.len(), 64);
    assert!(told.iter().all(|request| request.error.as_ref().is_some_and(|error| error.kind == "500")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_body_does_harm(choice in prop::array::uniform2(any::<u8>()), words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..60)) {
        fuzz(&[&choice[..], words.concat().as_bytes()].concat());
    }
}

const WORDS: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    "\n",
    "null",
    "1",
    "\"a\"",
    "\"jsonrpc\":\"2.0\",",
    "\"id\":1,",
    "\"id\":\"1\",",
    "\"method\":\"tools/call\",",
    "\"method\":\"initialize\",",
    "\"params\":{",
    "\"name\":\"tide\"",
    "\"_meta\":{",
    "\"protocolVersion\":\"2025-06-18\"",
    "\"result\":{",
    "\"isError\":true",
    "\"error\":{",
    "\"code\":-32602",
    "}}",
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}",
];
