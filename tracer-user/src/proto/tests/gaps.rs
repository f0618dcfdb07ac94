//! Loss: what still stands, and where reading resumes.

use super::*;

#[test]
fn capture_that_joins_in_the_middle_begins_at_the_next_message() {
    let talk = Talk::new()
        .client("tail of a prompt\"}")
        .server("data: tail of an answer\n\n")
        .client(GET)
        .server(response("", b"yes"));
    assert_eq!(talk.told(), ["0> GET /v1/models", "0> end", "0< 200", "0< bytes yes", "0< end"]);
}

#[test]
fn a_response_whose_request_was_missed_is_told_without_it() {
    let talk = Talk::new().client("tail of a prompt").server(response("", b"yes")).client(GET);
    assert_eq!(talk.told(), ["0< 200", "0< bytes yes", "0< end", "1> GET /v1/models", "1> end"]);
}

#[test]
fn an_unasked_response_is_none() {
    let talk = Talk::new()
        .client(GET)
        .server(response("", b"yes"))
        .server("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(talk.told().last_chunk::<2>().unwrap(), &["0< bytes yes", "0< end"]);
}

#[test]
fn a_gap_within_a_known_length_is_skipped() {
    let talk = Talk::new()
        .client("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc")
        .gap(CLIENT, 5)
        .client("ij")
        .server("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        .gap(SERVER, 3)
        .client(GET)
        .server(response("", b"yes"));
    assert_eq!(
        talk.told(),
        [
            "0> POST /",
            "0> bytes abc",
            "0> lost 5",
            "0> bytes ij",
            "0> end",
            "0< 200",
            "0< bytes abc",
            "0< lost 3",
            "0< end",
            "1> GET /v1/models",
            "1> end",
            "1< 200",
            "1< bytes yes",
            "1< end"
        ]
    );
}

#[test]
fn a_gap_beyond_the_known_length_ends_the_message() {
    for lost in [Some(4), None] {
        let talk = Talk::new()
            .client(GET)
            .server("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
            .gap(SERVER, lost)
            .server("rest of something")
            .client(GET)
            .server(response("", b"yes"));
        assert_eq!(talk.told()[5], "0< undecodable Lost");
        assert_eq!(talk.told().last_chunk::<3>().unwrap(), &["1< 200", "1< bytes yes", "1< end"]);
    }
}

#[test]
fn a_gap_in_a_body_that_lasts_until_the_close_is_skipped() {
    let talk = Talk::new()
        .client(GET)
        .server("HTTP/1.1 200 OK\r\n\r\nabc")
        .gap(SERVER, None)
        .server("xyz")
        .close(ClosedBy::Peer);
    assert_eq!(talk.pieces(), ["bytes abc", "lost", "bytes xyz", "end"]);
}

#[test]
fn an_event_stream_resumes_behind_the_next_blank_line() {
    let head = format!("HTTP/1.1 200 OK\r\n{EVENT_STREAM}\r\n");
    let talk = Talk::new()
        .client(GET)
        .server(head)
        .server("data: one\n\nevent: half\ndata: tw")
        .gap(SERVER, 20)
        .server("ail\ndata: still the same\n\ndata: three\n\n")
        .close(ClosedBy::Peer);
    assert_eq!(talk.pieces(), ["sse [] one", "lost 20", "lost 31", "sse [] three", "end"]);
}

#[test]
fn lines_resume_behind_the_next_line_end() {
    let talk = Talk::new()
        .client(GET)
        .server("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n{\"a\":1}\n{\"b")
        .gap(SERVER, 9)
        .server("}\n{\"c\":3}\n")
        .close(ClosedBy::Peer);
    assert_eq!(talk.pieces(), ["line {\"a\":1}", "lost 9", "lost 4", "line {\"c\":3}", "end"]);
}

#[test]
fn a_coded_body_cannot_go_on() {
    let body = encode("gzip", b"hello, hello, hello");
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len());
    let talk = Talk::new().client(GET).server(head).server(&body[..12]).gap(SERVER, 4).server(&body[16..]);
    assert_eq!(talk.pieces().last_chunk::<2>().unwrap(), &["lost 4", "undecodable Lost"]);
}

#[test]
fn a_gap_within_one_chunk_is_skipped() {
    let talk = Talk::new()
        .client(GET)
        .server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nabc")
        .gap(SERVER, 5)
        .server("ij\r\n0\r\n\r\n");
    assert_eq!(talk.pieces(), ["bytes abc", "lost 5", "bytes ij", "end"]);
}

#[test]
fn chunks_are_found_again() {
    let event = |text: &str| chunk_of(format!("data: {text}\n\n").as_bytes());
    let last = [event("five"), b"0\r\n\r\n".to_vec()].concat();
    for cut in 1..last.len() {
        let talk = Talk::new()
            .client(GET)
            .server(chunked(EVENT_STREAM, &[]).strip_suffix(b"0\r\n\r\n").unwrap())
            .server(event("one"))
            .gap(SERVER, 40)
            // The tail of one chunk, then whole ones: the first of those proves where chunks begin.
            .server([b"tail\n\n\r\n".to_vec(), event("three"), event("four")].concat())
            .server(&last[..cut])
            .server(&last[cut..])
            .client(GET)
            .server(response("", b"yes"));
        let told = talk.told();
        let lost: Vec<_> = told.iter().filter(|line| line.contains("lost")).collect();
        assert_eq!(lost.len(), 2, "{told:?}");
        for event in ["three", "four", "five"] {
            assert!(told.contains(&format!("0< sse [] {event}")), "{told:?}");
        }
        assert!(told.contains(&"0< end".to_owned()), "{told:?}");
        assert_eq!(told.last().unwrap(), "1< end");
    }
}

#[test]
fn the_last_chunk_can_be_lost_with_the_framing() {
    let head = chunked("", &[b"abc"]);
    let talk = || Talk::new().client(GET).server(&head[..head.len() - 5]).gap(SERVER, 30);
    let next = talk().client(GET).server(response("", b"yes"));
    assert_eq!(next.told()[3..6], ["0< bytes abc", "0< lost 30", "0< undecodable Lost"]);
    assert_eq!(next.told().last().unwrap(), "1< end");
    assert_eq!(talk().close(ClosedBy::Peer).told().last().unwrap(), "0< undecodable Lost");
    let direct = talk().server(response("", b"unasked"));
    assert_eq!(direct.told().last().unwrap(), "0< undecodable Lost");
}

#[test]
fn a_lost_response_head_is_lost_for_its_request() {
    let talk = Talk::new()
        .client(GET)
        .gap(SERVER, 100)
        .server("the rest of some body")
        .client(GET)
        .server(response("", b"yes"));
    assert_eq!(talk.told()[2..4], ["0< lost 100", "0< undecodable Lost"]);
    assert_eq!(talk.told().last().unwrap(), "1< end");
}

#[test]
fn a_lost_request_leaves_the_numbers_of_the_others() {
    let talk = Talk::new()
        .client(GET)
        .server(response("", b"one"))
        .gap(CLIENT, GET.len() as u64)
        .server(response("", b"two"))
        .client(GET)
        .server(response("", b"three"));
    assert_eq!(talk.told()[5..9], ["1< 200", "1< bytes two", "1< end", "2> GET /v1/models"]);
    assert_eq!(talk.told().last().unwrap(), "2< end");
}
