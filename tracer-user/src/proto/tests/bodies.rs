//! Content codings and the framing inside bodies.

use std::borrow::Cow;

use super::*;

fn pieces(headers: &str, body: &[u8]) -> Vec<String> {
    Talk::new().client(GET).server(response(headers, body)).pieces()
}

fn stream(body: &str) -> Vec<String> {
    pieces(EVENT_STREAM, body.as_bytes())
}

#[test]
fn events_end_with_any_line_end() {
    for end in ["\n", "\r\n", "\r"] {
        let body = "event: ping:data: {}::data: a:data: b::".replace("::", &end.repeat(2));
        let body = body.replace(":d", &format!("{end}d"));
        assert_eq!(stream(&body), ["sse [ping] {}", "sse [] a\nb", "end"], "{end:?}");
    }
}

#[test]
fn fields_as_the_standard_reads_them() {
    let told = stream(
        "\u{feff}data:no space\n\n: comment\n:\n\nid: 7\nretry: 1\ndata:  two spaces\n\nevent: alone\n\n\
         data\n\ndata\ndata\n\nevent: late\ndata: x\nunknown: y\n\n",
    );
    assert_eq!(
        told,
        ["sse [] no space", "comment", "comment", "sse []  two spaces", "sse [] ", "sse [] \n", "sse [late] x", "end"]
    );
}

#[test]
fn the_last_event_may_lack_its_blank_line() {
    assert_eq!(stream("data: a\n\ndata: [DONE]"), ["sse [] a", "sse [] [DONE]", "end"]);
    assert_eq!(stream("data: a\n\ndata: [DONE]\n"), ["sse [] a", "sse [] [DONE]", "end"]);
}

#[test]
fn of_a_cut_stream_only_whole_lines_count() {
    let head = format!("HTTP/1.1 200 OK\r\n{EVENT_STREAM}Content-Length: 1000\r\n\r\n");
    let talk = |body: &str| Talk::new().client(GET).server(format!("{head}{body}")).close(ClosedBy::Peer).pieces();
    assert_eq!(talk("data: a\n\ndata: {\"ha"), ["sse [] a", "truncated"]);
    assert_eq!(talk("data: a\n\ndata: b\n"), ["sse [] a", "sse [] b", "truncated"]);
}

#[test]
fn streams_without_their_content_type() {
    for start in
        ["data: a\n\n", "event: x\ndata: a\n\n", ": hi\n\ndata: a\n\n", "id: 1\ndata: a\n\n", "\u{feff}data: a\n\n"]
    {
        for headers in ["", "Content-Type: application/json\r\n", "Content-Type: text/plain\r\n"] {
            let told = pieces(headers, start.as_bytes());
            assert!(told.iter().any(|line| line.starts_with("sse [")), "{start:?} {headers:?}: {told:?}");
        }
    }
    for body in ["{\"data\":1}", "date: 1", "dat", "even", "\u{feff}{}"] {
        assert_eq!(pieces("", body.as_bytes()), [format!("bytes {body}"), "end".to_owned()]);
    }
}

#[test]
fn an_error_in_json_that_is_called_a_stream() {
    assert_eq!(stream("{\"error\":\n{}}"), ["bytes {\"error\":\n{}}", "end"]);
    assert_eq!(stream("\n{\"a\":1}\n\ndata: a\n\n"), ["sse [] a", "end"]);
    assert_eq!(stream(""), ["end"]);
}

#[test]
fn lines_of_json() {
    for media_type in ["application/x-ndjson", "application/jsonl", "Application/Stream+JSON; charset=utf-8"] {
        let told = pieces(&format!("Content-Type: {media_type}\r\n"), b"{\"a\":1}\r\n\n  \n{\"b\":2}\n{\"c\":3}");
        assert_eq!(told, ["line {\"a\":1}", "line {\"b\":2}", "line {\"c\":3}", "end"]);
    }
}

#[test]
fn an_event_over_its_limit_is_dropped_alone() {
    let limits = Limits { sse_event_bytes: 16, line_bytes: 16, ..Limits::default() };
    let long = "x".repeat(40);
    let body = format!("data: a\n\ndata: {long}\n\ndata: 123456\ndata: 123456\ndata: 123456\n\ndata: b\n\n");
    let record = response(EVENT_STREAM, body.as_bytes());
    let talk = Talk::with(limits, |_| true).client(GET).server(&record);
    assert_eq!(talk.pieces(), ["sse [] a", "lost 40", "lost 19", "sse [] b", "end"]);
    // The same when the bytes trickle in; then the line itself is over the limit.
    let mut talk = Talk::with(limits, |_| true).client(GET);
    for byte in &record {
        talk = talk.server([*byte]);
    }
    let told = talk.pieces();
    let events: Vec<_> = told.iter().filter(|line| !line.starts_with("lost")).collect();
    assert_eq!(events, ["sse [] a", "sse [] b", "end"]);
    let body = format!("{{\"a\":1}}\n{long}\n{{\"b\":2}}\n");
    let lines = response("Content-Type: application/jsonl\r\n", body.as_bytes());
    let mut talk = Talk::with(limits, |_| true).client(GET);
    for byte in &lines {
        talk = talk.server([*byte]);
    }
    assert_eq!(talk.pieces(), ["line {\"a\":1}", "lost 40", "line {\"b\":2}", "end"]);
}

#[test]
fn every_coding_is_undone() {
    for name in Encoder::NAMES {
        let body = encode(name, b"hello, hello, hello");
        let told = pieces(&format!("Content-Encoding: {}\r\n", wire_name(name)), &body);
        assert_eq!(told, ["bytes hello, hello, hello", "end"], "{name}");
    }
    let twice = encode("gzip", &encode("br", b"hello, hello"));
    assert_eq!(pieces("Content-Encoding: br, gzip\r\n", &twice), ["bytes hello, hello", "end"]);
    assert_eq!(pieces("Content-Encoding: br\r\nContent-Encoding: x-gzip\r\n", &twice), ["bytes hello, hello", "end"]);
    assert_eq!(pieces("Content-Encoding: identity\r\n", b"hello"), ["bytes hello", "end"]);
    let transfer = chunk_of(&encode("gzip", b"hello"));
    let talk = Talk::new()
        .client(GET)
        .server("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n")
        .server([&transfer[..], b"0\r\n\r\n"].concat());
    assert_eq!(talk.pieces(), ["bytes hello", "end"]);
}

#[test]
fn an_event_is_told_as_soon_as_its_bytes_are_there() {
    for name in Encoder::NAMES {
        let mut encoder = Encoder::new(name);
        let head = format!(
            "HTTP/1.1 200 OK\r\n{EVENT_STREAM}Content-Encoding: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
            wire_name(name)
        );
        let mut talk = Talk::new().client(GET).server(head);
        for number in 0..100 {
            let event = format!("data: {{\"delta\":\"token {number}\"}}\n\n");
            talk = talk.server(chunk_of(&encoder.flush(event.as_bytes())));
            let expected = format!("sse [] {}", event[6..].trim_end());
            assert_eq!(talk.pieces().last(), Some(&expected), "{name}, event {number}");
        }
        talk = talk.server([chunk_of(&encoder.finish()), b"0\r\n\r\n".to_vec()].concat());
        assert_eq!(talk.pieces().len(), 101, "{name}");
    }
}

#[test]
fn gzip_members_and_optional_header_fields() {
    let members = [encode("gzip", b"one, "), encode("gzip", b"two"), vec![0; 64]].concat();
    assert_eq!(pieces("Content-Encoding: gzip\r\n", &members), ["bytes one, two", "end"]);
    let mut full = flate2::GzBuilder::new()
        .extra(vec![1, 2, 3])
        .filename("a name")
        .comment("a comment")
        .write(Vec::new(), flate2::Compression::fast());
    full.write_all(b"hello").unwrap();
    assert_eq!(pieces("Content-Encoding: gzip\r\n", &full.finish().unwrap()), ["bytes hello", "end"]);
    let mut checked = encode("gzip", b"hello");
    checked[3] |= 1 << 1;
    checked.splice(10..10, [0xaa, 0xbb]);
    assert_eq!(pieces("Content-Encoding: gzip\r\n", &checked), ["bytes hello", "end"]);
}

#[test]
fn what_cannot_be_decoded_leaves_the_framing_alone() {
    for (coding, fault) in [
        ("compress", "undecodable Unsupported"),
        ("gzip", "undecodable Malformed"),
        ("deflate", "undecodable Malformed"),
        ("zstd", "undecodable Malformed"),
        ("gzip, gzip, gzip, gzip, gzip", "undecodable Limit"),
    ] {
        let garbage = [0xffu8; 64];
        let talk = Talk::new()
            .client(GET)
            .server(response(&format!("Content-Encoding: {coding}\r\n"), &garbage))
            .client(GET)
            .server(response("", b"next"));
        assert_eq!(talk.pieces(), [fault], "{coding}");
        assert_eq!(talk.told().last_chunk::<2>().unwrap(), &["1< bytes next", "1< end"]);
    }
}

#[test]
fn bombs_stop_at_the_caps() {
    let limits = Limits { expansion_grace: 1 << 20, ..Limits::default() };
    let zeros = vec![0; 32 << 20];
    for name in Encoder::NAMES {
        let bomb = encode(name, &zeros);
        let talk = Talk::with(limits, |_| true)
            .client(GET)
            .server(response(&format!("Content-Encoding: {}\r\n", wire_name(name)), &bomb));
        assert_eq!(talk.pieces().last().unwrap(), "undecodable Limit", "{name}");
        let decoded: usize = talk
            .events
            .iter()
            .map(|event| match event {
                Event::ResponseBody { piece: Piece::Bytes(bytes), .. } => bytes.len(),
                _ => 0,
            })
            .sum();
        let most = (bomb.len() as u64 * limits.expansion_ratio).max(limits.expansion_grace);
        assert!(decoded as u64 <= most, "{name}: {decoded} of {}", bomb.len());
    }
    let nested = encode("gzip", &encode("gzip", &zeros));
    let talk = Talk::with(limits, |_| true).client(GET).server(response("Content-Encoding: gzip, gzip\r\n", &nested));
    assert_eq!(talk.pieces().last().unwrap(), "undecodable Limit");
    let small = Limits { decoded_bytes: 1000, ..Limits::default() };
    let talk = Talk::with(small, |_| true)
        .client(GET)
        .server(response("Content-Encoding: gzip\r\n", &encode("gzip", &zeros[..2000])));
    assert_eq!(talk.pieces().last().unwrap(), "undecodable Limit");
}

#[test]
fn large_zstd_windows_are_refused() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(b"hello").unwrap();
    let body = encoder.finish().unwrap();
    assert_eq!(pieces("Content-Encoding: zstd\r\n", &body), ["undecodable Malformed"]);
}

#[test]
fn an_event_in_one_record_is_not_copied() {
    let record = Bytes::from(response(EVENT_STREAM, b"event: ping\ndata: {\"a\":1}\n\n"));
    let mut connection = Connection::new(Limits::default(), Role::Client, |_| true);
    let mut in_place = false;
    connection.push(1, CLIENT, &Bytes::from_static(GET.as_bytes()), &mut |_| {});
    connection.push(2, SERVER, &record, &mut |event| {
        if let Event::ResponseBody { piece: Piece::Sse { data: Cow::Borrowed(data), .. }, .. } = event {
            in_place = record.as_ptr_range().contains(&data.as_ptr());
        }
    });
    assert!(in_place);
}
