//! Message framing: RFC 9112 and what is met beyond it.

use super::*;

#[test]
fn a_call_and_its_answer() {
    let talk = Talk::new()
        .client("POST /v1/chat/completions?x=1 HTTP/1.1\r\nHost: a.example:8443\r\nContent-Length: 5\r\n\r\nhel")
        .client("lo")
        .server(response("Content-Type: application/json\r\n", b"{}"));
    assert_eq!(
        talk.told(),
        ["0> POST /v1/chat/completions?x=1", "0> bytes hello", "0> end", "0< 200", "0< bytes {}", "0< end"]
    );
    let Event::RequestHead { at: 1, first_byte_at: 1, head, .. } = &talk.events[0] else { panic!() };
    assert_eq!(head.authority.as_deref(), Some("a.example:8443"));
    assert_eq!(head.headers.get("content-length"), Some("5"));
    assert_eq!(talk.protocol(), Protocol::Http1);
}

#[test]
fn events_carry_the_time_of_the_record_that_completes_them() {
    let talk = Talk::new()
        .client("GET / HT")
        .client("TP/1.1\r\n")
        .client("\r\n")
        .server("HTTP/1.1 200 OK\r\nContent-Le")
        .server("ngth: 2\r\n\r\na")
        .server("b");
    let Event::RequestHead { at: 3, first_byte_at: 1, .. } = &talk.events[0] else { panic!() };
    let Event::RequestEnd { at: 3, .. } = &talk.events[1] else { panic!() };
    let Event::ResponseHead { at: 5, first_byte_at: 4, .. } = &talk.events[2] else { panic!() };
    let Event::ResponseEnd { at: 6, .. } = talk.events.last().unwrap() else { panic!() };
}

#[test]
fn keep_alive_numbers_the_exchanges() {
    let talk = Talk::new().client(GET).server(response("", b"one")).client(GET).server(response("", b"two"));
    assert_eq!(talk.told()[5..], ["1> GET /v1/models", "1> end", "1< 200", "1< bytes two", "1< end"]);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let answers = [response("", b"one"), response("", b"two")].concat();
    let talk = Talk::new().client([GET, GET].concat()).server(answers);
    assert_eq!(
        talk.told(),
        [
            "0> GET /v1/models",
            "0> end",
            "1> GET /v1/models",
            "1> end",
            "0< 200",
            "0< bytes one",
            "0< end",
            "1< 200",
            "1< bytes two",
            "1< end"
        ]
    );
}

#[test]
fn interim_responses_are_not_the_response() {
    let talk = Talk::new()
        .client("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        .server("HTTP/1.1 100 Continue\r\n\r\n")
        .client("ok")
        .server("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        .server(response("", b"yes"));
    assert_eq!(talk.told(), ["0> POST /", "0> bytes ok", "0> end", "0< 200", "0< bytes yes", "0< end"]);
    let Event::ResponseHead { first_byte_at: 5, .. } = &talk.events[3] else { panic!() };
}

#[test]
fn a_response_can_come_before_the_request_ends() {
    let talk = Talk::new()
        .client("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nab")
        .server("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        .client("cd");
    assert_eq!(talk.told(), ["0> POST /", "0> bytes ab", "0< 413", "0< end", "0> bytes cd", "0> end"]);
}

#[test]
fn responses_without_a_body() {
    let talk = Talk::new()
        .client("HEAD / HTTP/1.1\r\n\r\n")
        .server("HTTP/1.1 200 OK\r\nContent-Length: 99\r\nContent-Encoding: gzip\r\n\r\n")
        .client(GET)
        .server("HTTP/1.1 204 No Content\r\n\r\n")
        .client(GET)
        .server("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n")
        .client(GET)
        .server(response("", b"last"));
    assert_eq!(talk.told().iter().filter(|line| line.ends_with("< end")).count(), 4);
    assert_eq!(talk.told().last_chunk::<3>().unwrap(), &["3< 200", "3< bytes last", "3< end"]);
}

#[test]
fn chunks_of_every_spelling() {
    let talk = Talk::new()
        .client("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n000a;a=\"b c\"\r\n0123456789\r\n0;last\r\n\r\n")
        .server("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 3\r\n\r\n")
        .server("A \r\n0123456789\r\n00B\r\nabcdefghijk\r\n2\nxy\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n")
        .client(GET)
        .server(response("", b"next"));
    assert_eq!(
        talk.told(),
        [
            "0> POST /",
            "0> bytes 0123456789",
            "0> end",
            "0< 200",
            "0< bytes 0123456789abcdefghijkxy",
            "0< end",
            "1> GET /v1/models",
            "1> end",
            "1< 200",
            "1< bytes next",
            "1< end"
        ]
    );
}

#[test]
fn broken_chunks_end_the_message_and_the_next_one_is_read() {
    for broken in ["zz\r\n", "11111111111111111\r\n", "1\r\nabc\r\n", "\r\n"] {
        let talk = Talk::new()
            .client(GET)
            .server(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{broken}"))
            .client(GET)
            .server(response("", b"next"));
        let told = talk.told();
        assert!(told.contains(&"0< undecodable Malformed".to_owned()), "{broken:?}: {told:?}");
        assert_eq!(told.last_chunk::<3>().unwrap(), &["1< 200", "1< bytes next", "1< end"], "{broken:?}");
    }
}

#[test]
fn content_lengths_that_agree_and_that_conflict() {
    let body = |lengths: &str| {
        let head = format!("HTTP/1.1 200 OK\r\n{lengths}\r\n");
        Talk::new().client(GET).server(head + "abc").pieces().last().unwrap().clone()
    };
    assert_eq!(body("Content-Length: 3\r\nContent-Length: 3\r\n"), "end");
    assert_eq!(body("Content-Length: 3, 3\r\n"), "end");
    for lengths in ["3\r\nContent-Length: 4", "3, 4", "-3", "+3", "0x3", "", "99999999999999999999"] {
        assert_eq!(body(&format!("Content-Length: {lengths}\r\n")), "undecodable Malformed", "{lengths}");
    }
}

#[test]
fn a_body_without_length_lasts_until_the_close() {
    let talk = || Talk::new().client(GET).server("HTTP/1.0 200 OK\r\n\r\nab").server("cd");
    assert_eq!(talk().close(ClosedBy::Peer).pieces(), ["bytes abcd", "end"]);
    assert_eq!(talk().close(ClosedBy::Local).pieces(), ["bytes abcd", "end"]);
    assert_eq!(talk().close(ClosedBy::Reset).pieces(), ["bytes abcd", "truncated"]);
    let closed = talk().close(ClosedBy::Peer);
    let Event::ResponseEnd { at: 3, .. } = closed.events.last().unwrap() else { panic!("the last byte's time") };
}

#[test]
fn a_close_truncates_what_is_not_whole() {
    let talk = Talk::new().client("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nab").close(ClosedBy::Local);
    assert_eq!(talk.told(), ["0> POST /", "0> bytes ab", "0> truncated"]);
    let talk = Talk::new().client(GET).server(&response("", b"abcd")[..40]).close(ClosedBy::Peer);
    assert_eq!(talk.told().last().unwrap(), "0< truncated");
}

#[test]
fn upgrades_and_tunnels_are_opaque() {
    let talk = Talk::new()
        .client("GET /v1/models HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        .server("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n\x01\x02")
        .client(GET)
        .close(ClosedBy::Peer);
    assert_eq!(talk.told(), ["0> GET /v1/models", "0> end", "0< 101", "0< end"]);
    let talk = Talk::new()
        .client("CONNECT a.example:443 HTTP/1.1\r\n\r\n")
        .server("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        .client("CONNECT a.example:443 HTTP/1.1\r\n\r\n")
        .server("HTTP/1.1 200 Connection established\r\n\r\n")
        .client(GET);
    assert_eq!(talk.told(), ["0> CONNECT ", "0> end", "0< 407", "0< end", "1> CONNECT ", "1> end", "1< 200", "1< end"]);
}

#[test]
fn bare_line_feeds_and_folded_lines_are_tolerated() {
    let talk = Talk::new().client("\r\n\nGET / HTTP/1.1\nHost: a.example\nX-Long: one\n two\n\n").server(
        "HTTP/1.1 200 OK\nContent-Type: text/event-stream;\r\n\tcharset=utf-8\nContent-Length: 9\n\ndata: a\n\n",
    );
    assert_eq!(talk.told(), ["0> GET /", "0> end", "0< 200", "0< sse [] a", "0< end"]);
    let Event::RequestHead { head, .. } = &talk.events[0] else { panic!() };
    assert_eq!(head.headers.get("x-long"), Some("one  two"));
}

#[test]
fn absolute_targets_of_proxies() {
    let talk = Talk::new().client("POST http://user:pw@a.example:8000/v1/x?y=1 HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
    let Event::RequestHead { head, .. } = &talk.events[0] else { panic!() };
    assert_eq!((head.authority.as_deref(), &*head.path, &*head.query), (Some("a.example:8000"), "/v1/x", "y=1"));
}

#[test]
fn credentials_do_not_pass() {
    let talk = Talk::new().client(
        "POST /v1/x?alt=sse&key=hush&KEY=hush HTTP/1.1\r\nAuthorization: Bearer hush\r\nX-Api-Key: hush\r\n\
         Cookie: hush\r\nHelicone-Auth: hush\r\nX-Portkey-Api-Key: hush\r\nX-Ratelimit-Tokens: 7\r\n\r\n",
    );
    let Event::RequestHead { head, .. } = &talk.events[0] else { panic!() };
    assert_eq!(head.query, "alt=sse");
    assert_eq!(head.headers.get("authorization"), Some(""));
    assert_eq!(head.headers.get("x-ratelimit-tokens"), Some("7"));
    assert!(head.headers.iter().all(|(_, value)| value != b"hush"));
    assert!(!format!("{:?}", talk.events).contains("hush"));
}

#[test]
fn heads_over_the_limit_are_skipped() {
    let limits = Limits { head_bytes: 100, ..Limits::default() };
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(200));
    let whole = Talk::with(limits, |_| true).client(&long).client(GET);
    assert_eq!(whole.told(), ["0> GET /v1/models", "0> end"]);
    let cut = Talk::with(limits, |_| true).client(&long[..90]).client(&long[90..]).client(GET);
    assert_eq!(cut.told(), ["0> GET /v1/models", "0> end"]);
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(300));
    assert_eq!(Talk::new().client(many).client(GET).told(), ["0> GET /v1/models", "0> end"]);
}

#[test]
fn unwanted_exchanges_are_counted_and_not_told() {
    let talk = Talk::with(Limits::default(), |head| head.path == "/v1/models")
        .client("POST /telemetry HTTP/1.1\r\nContent-Length: 4\r\n\r\nab")
        .client("cd")
        .server(chunked("Content-Encoding: gzip\r\n", &[b"not", b"gzip"]))
        .client(GET)
        .server(response("", b"yes"));
    assert_eq!(talk.told(), ["1> GET /v1/models", "1> end", "1< 200", "1< bytes yes", "1< end"]);
}

#[test]
fn too_many_unanswered_requests() {
    let limits = Limits { pending_requests: 3, ..Limits::default() };
    let talk = Talk::with(limits, |_| true).client(GET.repeat(4)).server(response("", b"yes"));
    let told = talk.told();
    assert_eq!(told.iter().filter(|line| line.ends_with("undecodable Limit")).count(), 3);
    assert_eq!(told.last_chunk::<3>().unwrap(), &["3< 200", "3< bytes yes", "3< end"]);
}

#[test]
fn other_protocols_are_given_up() {
    let limits = Limits { undecided_bytes: 100, ..Limits::default() };
    for record in
        ["\x16\x03\x01\x02\x00\x01\x00\x01\x00\x01", "EHLO a.example\r\n", "*3\r\n$3\r\nSET\r\n", "{\"a\":1}..."]
    {
        let mut talk = Talk::with(limits, |_| true);
        for _ in 0..20 {
            talk = talk.client(record).server(record);
        }
        assert_eq!(talk.protocol(), Protocol::Other, "{record:?}");
        assert_eq!(talk.client(GET).told(), Vec::<String>::new());
    }
}

#[test]
fn a_server_is_told_by_its_bytes() {
    let talk = Talk::new().server(GET).client(response("", b"yes"));
    assert_eq!(talk.told(), ["0> GET /v1/models", "0> end", "0< 200", "0< bytes yes", "0< end"]);
    assert_eq!(talk.role, Role::Server);
}
