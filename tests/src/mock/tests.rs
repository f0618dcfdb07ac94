//! The mock over plain HTTP: what is on the wire is what the log says.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use super::*;

fn mock() -> MockProvider {
    MockProvider::start(&Options { plaintext: true, ..Options::default() }).unwrap()
}

/// Sends raw bytes and reads until the server closes; a reset shows as the error.
fn exchange(mock: &MockProvider, request: &str) -> (String, Option<std::io::ErrorKind>) {
    let mut tcp = TcpStream::connect(mock.address()).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    tcp.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let error = tcp.read_to_end(&mut answer).err().map(|error| error.kind());
    (String::from_utf8_lossy(&answer).into_owned(), error)
}

fn post(path: &str, directive: &str, body: &str, extra: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nx-mock: {directive}\r\ncontent-length: {}\r\n{extra}\r\n{body}",
        body.len()
    )
}

const STREAM: &str = r#"{"model":"gpt-5","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#;
const CLOSE: &str = "connection: close\r\n";

fn only(mock: &MockProvider) -> Truth {
    let truth = mock.truth(Duration::from_secs(2));
    assert_eq!(truth.len(), 1, "{truth:?}");
    truth[0].clone()
}

#[test]
fn stream_states_what_the_log_says() {
    let mock = mock();
    let request = post("/v1/chat/completions", r#"{"tokens":5,"cached_tokens":7,"input_tokens":9}"#, STREAM, CLOSE);
    let (answer, _) = exchange(&mock, &request);
    let truth = only(&mock);
    assert!(answer.contains("transfer-encoding: chunked") && answer.ends_with("\r\n0\r\n\r\n"), "{answer}");
    assert_eq!(answer.matches("data: ").count() as u64, truth.events);
    assert_eq!(truth.content_events, 5);
    assert!(answer.contains(&format!("\"id\":\"{}\"", truth.response_id.unwrap())));
    assert_eq!(truth.response_bytes, answer.len() as u64);
    assert_eq!(truth.request_bytes, request.len() as u64);
    let usage = Usage { input: Some(9), output: Some(5), cache_read: Some(7), cache_write: None, reasoning: Some(0) };
    assert_eq!(truth.usage, usage);
    assert_eq!(truth.finish_reasons, ["stop"]);
    let times = truth.times;
    assert!(times.request_first > 0 && times.request_first <= times.request_last);
    assert!(times.request_last < times.first_byte && times.first_byte < times.first_token);
    assert!(times.first_token < times.last_token && times.last_token < times.end);
}

#[test]
fn timing_is_kept() {
    let mock = mock();
    let directive = r#"{"tokens":5,"delay_us":20000,"ttft_us":30000,"interval_us":10000}"#;
    exchange(&mock, &post("/v1/chat/completions", directive, STREAM, CLOSE));
    let times = only(&mock).times;
    let ms = |from: u64, to: u64| (to - from) as f64 / 1e6;
    // Never early; how late depends on the machine.
    assert!(ms(times.request_last, times.first_byte) >= 20.0);
    assert!(ms(times.first_byte, times.first_token) >= 30.0);
    assert!(ms(times.first_token, times.last_token) >= 39.0);
}

#[test]
fn every_end_is_played_and_logged() {
    for (end, ended, error) in [
        ("normal", Ended::Complete, None),
        ("error", Ended::ErrorEvent, None),
        ("close", Ended::Closed, None),
        ("close-notify", Ended::Closed, None),
        ("reset", Ended::Reset, Some(std::io::ErrorKind::ConnectionReset)),
        ("stall", Ended::Stalled, None),
    ] {
        let mock = mock();
        let directive = format!(r#"{{"tokens":6,"after":2,"end":"{end}","stall_ms":50,"interval_us":2000}}"#);
        let (answer, found) = exchange(&mock, &post("/v1/chat/completions", &directive, STREAM, CLOSE));
        let truth = only(&mock);
        assert_eq!((truth.ended, found), (ended, error), "{end}");
        assert_eq!(truth.content_events, if end == "normal" { 6 } else { 2 }, "{end}");
        assert_eq!(answer.contains("[DONE]"), end == "normal", "{end}");
        assert_eq!(truth.usage == Usage::default(), end != "normal", "{end}");
        assert_eq!(truth.error_type.as_deref(), (end == "error").then_some("server_error"));
    }
}

#[test]
fn client_that_leaves_is_noticed() {
    let mock = mock();
    let mut tcp = TcpStream::connect(mock.address()).unwrap();
    let directive = r#"{"tokens":1000,"interval_us":2000}"#;
    tcp.write_all(post("/v1/chat/completions", directive, STREAM, "").as_bytes()).unwrap();
    tcp.read_exact(&mut [0; 2000]).unwrap();
    drop(tcp);
    let truth = only(&mock);
    assert_eq!(truth.ended, Ended::ClientGone);
    assert!(truth.content_events < 1000);
}

#[test]
fn keep_alive_pipelining_and_continue() {
    let mock = mock();
    let body = r#"{"model":"gpt-5","messages":[]}"#;
    let first = post("/v1/chat/completions", "{}", body, "");
    let second = post("/v1/chat/completions", r#"{"framing":"chunked"}"#, body, "expect: 100-continue\r\n");
    let last = "GET /v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let (answer, _) = exchange(&mock, &format!("{first}{second}{last}"));
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 3);
    assert_eq!(answer.matches("HTTP/1.1 100 Continue").count(), 1);
    let truth = mock.truth(Duration::from_secs(2));
    let indexes: Vec<_> = truth.iter().map(|truth| (truth.connection, truth.index, truth.provider.is_some())).collect();
    assert_eq!(indexes, [(0, 0, true), (0, 1, true), (0, 2, false)]);
}

#[test]
fn chunked_request_is_read() {
    let mock = mock();
    let body = r#"{"model":"claude-x","messages":[],"stream":false}"#;
    let (head, tail) = body.split_at(20);
    let request = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{head}\r\n{:x};x=y\r\n{tail}\r\n0\r\ntrailer: z\r\n\r\n",
        head.len(),
        tail.len()
    );
    let (answer, _) = exchange(&mock, &request);
    assert!(answer.contains("\"type\":\"message\""), "{answer}");
    let truth = only(&mock);
    assert_eq!((truth.provider.as_deref(), truth.request_model.as_deref()), (Some("anthropic"), Some("claude-x")));
    assert_eq!(truth.request_bytes, request.len() as u64);
}

#[test]
fn anthropic_stream_counts_cache_apart() {
    let mock = mock();
    let body = r#"{"model":"claude-x","messages":[],"stream":true}"#;
    let directive = r#"{"tokens":3,"thinking":2,"input_tokens":100,"cached_tokens":60,"cache_write_tokens":30,
                        "tool_calls":[{"name":"weather","arguments":{"city":"x"}}]}"#
        .replace('\n', "");
    let (answer, _) = exchange(&mock, &post("/v1/messages", &directive, body, CLOSE));
    assert!(answer.contains("\"input_tokens\":10,"), "{answer}");
    let truth = only(&mock);
    assert_eq!(truth.usage.input, Some(100));
    assert_eq!((truth.usage.cache_read, truth.usage.cache_write), (Some(60), Some(30)));
    assert_eq!(truth.finish_reasons, ["tool_use"]);
    assert_eq!(truth.tool_calls[0].name, "weather");
    // Two thoughts, three words, four fragments.
    assert_eq!(truth.content_events, 9);
}

#[test]
fn errors_have_the_providers_bodies() {
    for (path, status, error_type) in [
        ("/v1/chat/completions", 401, "invalid_api_key"),
        ("/v1/chat/completions", 429, "rate_limit_exceeded"),
        ("/v1/chat/completions", 500, "server_error"),
        ("/v1/messages", 400, "invalid_request_error"),
        ("/v1/messages", 529, "overloaded_error"),
    ] {
        let mock = mock();
        let (answer, _) = exchange(&mock, &post(path, &format!(r#"{{"status":{status}}}"#), STREAM, CLOSE));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(error_type), "{answer}");
        let truth = only(&mock);
        assert_eq!((truth.status, truth.error_type.as_deref(), truth.response_id), (status, Some(error_type), None));
    }
}

#[test]
fn bad_directive_is_refused_with_a_reason() {
    let mock = mock();
    let (answer, _) = exchange(&mock, &post("/v1/chat/completions", r#"{"tokenz":1}"#, STREAM, CLOSE));
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("x-mock-refused: mock directive: unknown field"));
}

#[test]
fn log_file_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.jsonl");
    let options = Options { plaintext: true, log: Some(log.clone()), ..Options::default() };
    let mock = MockProvider::start(&options).unwrap();
    exchange(&mock, &post("/v1/chat/completions", "{}", STREAM, CLOSE));
    assert_eq!(read_log(&log).unwrap(), mock.truth(Duration::from_secs(2)));
}
