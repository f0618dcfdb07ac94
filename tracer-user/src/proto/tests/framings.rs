//! Framings of bodies beside lines and Server-Sent Events.

use bytes::BufMut;

use super::*;

const MESSAGES: &str = "Content-Type: application/vnd.amazon.eventstream\r\n";
const JSON: &str = "Content-Type: application/json; charset=UTF-8\r\n";

fn header(name: &str, value: &str) -> Vec<u8> {
    let mut header = vec![name.len() as u8];
    header.extend_from_slice(name.as_bytes());
    header.put_u8(7);
    header.put_u16(value.len() as u16);
    header.extend_from_slice(value.as_bytes());
    header
}

fn message(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let headers: Vec<u8> = headers.iter().flat_map(|(name, value)| header(name, value)).collect();
    let mut message = Vec::new();
    message.put_u32((headers.len() + payload.len() + 16) as u32);
    message.put_u32(headers.len() as u32);
    message.put_u32(crc32fast::hash(&message));
    message.extend_from_slice(&headers);
    message.extend_from_slice(payload);
    message.put_u32(crc32fast::hash(&message));
    message
}

fn event(name: &str, payload: &str) -> Vec<u8> {
    let headers = [(":event-type", name), (":content-type", "application/json"), (":message-type", "event")];
    message(&headers, payload.as_bytes())
}

fn told(headers: &str, body: &[u8]) -> Vec<String> {
    Talk::new().client(GET).server(response(headers, body)).pieces()
}

/// A body of unknown length that loses its bytes from `from` to `to`.
fn torn(headers: &str, body: &[u8], from: usize, to: usize) -> Vec<String> {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}\r\n");
    let start = [head.as_bytes(), &body[..from]].concat();
    let talk = Talk::new().client(GET).server(start).gap(SERVER, (to - from) as u64);
    talk.server(&body[to..]).close(ClosedBy::Peer).pieces()
}

#[test]
fn messages_tell_events_and_exceptions() {
    let stream = [
        event("messageStart", "{}"),
        message(&[(":message-type", "exception"), (":exception-type", "throttlingException")], b"{\"message\":\"\"}"),
        message(&[(":message-type", "error"), (":error-code", "InternalFailure"), (":error-message", "x")], b""),
        message(&[], b""),
    ];
    assert_eq!(
        told(MESSAGES, &stream.concat()),
        [
            "message [messageStart] {}",
            "exception [throttlingException] {\"message\":\"\"}",
            "exception [InternalFailure] ",
            "message [] ",
            "end"
        ]
    );
    // An answer in JSON under the same content type, and one too short for a message.
    assert_eq!(told(MESSAGES, b"{\"message\":\"no such model\"}"), ["bytes {\"message\":\"no such model\"}", "end"]);
    assert_eq!(told(MESSAGES, b"{}"), ["bytes {}", "end"]);
}

#[test]
fn a_message_with_a_wrong_checksum_is_dropped_alone() {
    let mut wrong = event("a", "{\"b\":1}");
    let length = wrong.len();
    wrong[length - 6] ^= 1;
    let stream = [event("a", "{}"), wrong, event("c", "{}")].concat();
    assert_eq!(
        told(MESSAGES, &stream),
        ["message [a] {}".to_owned(), format!("lost {length}"), "message [c] {}".into(), "end".into()]
    );
}

#[test]
fn messages_are_found_again_behind_a_loss() {
    let stream = [event("a", "{}"), event("b", "{\"text\":\"Hello\"}"), event("c", "{}"), event("d", "{}")].concat();
    let (first, second) = (event("a", "{}").len(), event("b", "{\"text\":\"Hello\"}").len());
    for (from, to) in [(first + 3, first + 9), (first, first + second), (first + second - 1, first + second)] {
        let told = torn(MESSAGES, &stream, from, to);
        assert_eq!(told.first().map(String::as_str), Some("message [a] {}"), "{from}");
        assert_eq!(told[told.len() - 3..], ["message [c] {}", "message [d] {}", "end"], "{from}");
        assert!(!told.iter().any(|piece| piece.contains("[b]")), "{from}");
    }
    // The loss took the end of one message and the start of the next.
    let told = torn(MESSAGES, &stream, first + 20, first + second + 5);
    assert_eq!(told[told.len() - 2..], ["message [d] {}", "end"]);
}

#[test]
fn a_message_over_the_limit_is_passed_over() {
    let limits = Limits { message_bytes: 100, ..Limits::default() };
    let stream = [event("a", &"x".repeat(200)), event("b", "{}")].concat();
    let talk = Talk::with(limits, |_| true).client(GET).server(response(MESSAGES, &stream));
    let length = event("a", &"x".repeat(200)).len();
    assert_eq!(talk.pieces(), [format!("lost {length}"), "message [b] {}".into(), "end".into()]);
}

#[test]
fn elements_of_an_array_come_one_by_one() {
    let body = "[{\"a\": [{\"b\": \"]}, \\\"\"}]}\n,\r\n{\"c\": 2},{}\n]\n";
    let elements = ["element {\"a\": [{\"b\": \"]}, \\\"\"}]}", "element {\"c\": 2}", "element {}", "end"];
    assert_eq!(told(JSON, body.as_bytes()), elements);
    // As soon as they are whole.
    let talk = Talk::new().client(GET).server(format!("HTTP/1.1 200 OK\r\n{JSON}\r\n[ \n{{\"a\":1}}\n,\n{{\"b\""));
    assert_eq!(talk.pieces(), ["element {\"a\":1}"]);
    let talk = talk.server(":2}");
    assert_eq!(talk.pieces(), ["element {\"a\":1}", "element {\"b\":2}"]);
    for other in ["[1,2]", "[[{}]]", "[\"a\"]", "[]", "{\"a\":[{}]}", "[", "[ ", ""] {
        let whole = told(JSON, other.as_bytes());
        assert!(!whole.iter().any(|piece| piece.starts_with("element")), "{other}: {whole:?}");
    }
    assert_eq!(told("Content-Type: text/html\r\n", b"[{}]"), ["bytes [{}]", "end"]);
    assert_eq!(told(JSON, b"[{\"a\":1}, 7, {\"b\":1}]"), ["element {\"a\":1}", "lost 11", "end"]);
}

#[test]
fn elements_are_found_again_behind_a_loss() {
    let body = "[{\n  \"a\": [\n    {\n      \"t\": \"one\"\n    }\n  ]\n}\n,\r\n{\n  \"b\": [\n    1,\n    {}\n  ]\n}\n,\n{\n  \"c\": 1\n}\n]";
    let last = "element {\n  \"c\": 1\n}";
    let at = |text: &str| body.find(text).unwrap();
    for (from, to) in [(at("one"), at("\"b\"")), (at("one"), at("    1")), (at(",\r"), at("1,"))] {
        let told = torn(JSON, body.as_bytes(), from, to);
        assert_eq!(told[told.len() - 2..], [last, "end"], "{told:?}");
    }
    let told = torn(JSON, body.as_bytes(), at("one"), at("one") + 3);
    assert!(told.iter().any(|piece| piece.starts_with("element {\n  \"b\"")), "{told:?}");
    assert!(!told.iter().any(|piece| piece.starts_with("element {\n  \"a\"")), "{told:?}");
}

fn form(body: &str) -> Vec<String> {
    let head = format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=XyZ\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let talk = Talk::new().client(head + body);
    talk.told().into_iter().filter_map(|line| line.strip_prefix("0> ").map(str::to_owned)).skip(1).collect()
}

#[test]
fn forms_tell_values_and_the_sizes_of_files() {
    let body = "--XyZ\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
        --XyZ\r\nContent-Type: audio/wav\r\nCONTENT-DISPOSITION: form-data; filename=\"talk; \\\"1\\\".wav\"; name=\"file\"\r\n\r\n\
        RIFF\r\n--XyY\r\n--Xy\r\n--XyZ\r\nContent-Disposition: form-data; name=stream\r\n\r\ntrue\r\n--XyZ--\r\nepilogue";
    let parts = [
        "part [model] file - value whisper-1 Some(9)",
        "part [file] file talk; \"1\".wav value - Some(17)",
        "part [stream] file - value true Some(4)",
        "end",
    ];
    assert_eq!(form(body), parts);
    // No closing delimiter: the last part is not known whole.
    let cut = &body[..body.len() - "\r\n--XyZ--\r\nepilogue".len()];
    assert_eq!(form(cut)[2], "part [stream] file - value - None");
    let long =
        format!("--XyZ\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\n{}\r\n--XyZ--", "p".repeat(70_000));
    assert_eq!(form(&long)[0], "part [prompt] file - value - Some(70000)");
}

#[test]
fn a_form_goes_on_behind_a_loss() {
    let body = "--XyZ\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n0123456789\r\n\
        --XyZ\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--XyZ--\r\n";
    let head = format!(
        "POST / HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=\"XyZ\"\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let lost = body.find("345").unwrap();
    let talk = Talk::new().client(head + &body[..lost]).gap(CLIENT, 3).client(&body[lost + 3..]);
    assert_eq!(
        talk.told()[1..],
        ["0> lost 3", "0> part [file] file a value - None", "0> part [model] file - value whisper-1 Some(9)", "0> end"]
    );
}
