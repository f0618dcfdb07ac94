//! Responses over WebSockets: frames in, exchanges out.

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::*;

const UPGRADE: &str = "GET /v1/responses HTTP/1.1\r\nHost: api.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bm90IGEgc2VjcmV0IQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

fn switched(extensions: &str) -> String {
    let accepted = match extensions {
        "" => String::new(),
        extensions => format!("Sec-WebSocket-Extensions: {extensions}\r\n"),
    };
    format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{accepted}\r\n")
}

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const LAST: u8 = 0x80;
const COMPRESSED: u8 = 0x40;

fn frame(first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    let bit = if masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(bit | length as u8),
        length @ 126..=0xffff => {
            bytes.push(bit | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(bit | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    if !masked {
        bytes.extend_from_slice(payload);
        return bytes;
    }
    let mask = [0x1d, 0xe7, payload.len() as u8, 0x55];
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn sent(text: &str) -> Vec<u8> {
    frame(LAST | TEXT, true, text.as_bytes())
}

fn answered(text: &str) -> Vec<u8> {
    frame(LAST | TEXT, false, text.as_bytes())
}

/// The data of compressed messages (RFC 7692 section 7.2.1).
struct Deflate {
    compress: Compress,
    takeover: bool,
}

impl Deflate {
    fn new(takeover: bool) -> Self {
        Self { compress: Compress::new(Compression::default(), false), takeover }
    }

    fn message(&mut self, text: &str) -> Vec<u8> {
        if !self.takeover {
            self.compress.reset();
        }
        let mut data = Vec::with_capacity(text.len() + 256);
        self.compress.compress_vec(text.as_bytes(), &mut data, FlushCompress::Sync).unwrap();
        assert!(data.ends_with(&[0, 0, 0xff, 0xff]));
        data.truncate(data.len() - 4);
        data
    }
}

fn upgraded() -> Talk {
    Talk::new().client(UPGRADE).server(switched(""))
}

const CREATE: &str = r#"{"type":"response.create","model":"m","input":"hi"}"#;

fn created(id: &str) -> String {
    format!(r#"{{"type":"response.created","response":{{"id":"{id}","object":"response"}}}}"#)
}

fn delta(text: &str) -> String {
    format!(r#"{{"type":"response.output_text.delta","delta":"{text}"}}"#)
}

fn completed(id: &str) -> String {
    format!(r#"{{"type":"response.completed","response":{{"id":"{id}","status":"completed"}}}}"#)
}

fn on_lane(lane: &str, event: &str) -> String {
    format!(r#"{},"stream_id":"{lane}"}}"#, event.strip_suffix('}').unwrap())
}

/// What was told, each line without what stands behind its third word.
fn outline(talk: Talk) -> Vec<String> {
    let line = |line: String| line.split(' ').take(3).collect::<Vec<_>>().join(" ");
    talk.told().into_iter().map(|told| line(told).chars().take(60).collect()).collect()
}

#[test]
fn a_response_is_an_exchange() {
    let talk = upgraded()
        .client(sent(CREATE))
        .server(answered(r#"{"type":"codex.rate_limits","plan_type":"pro"}"#))
        .server(answered(&created("r1")))
        .server(answered(&delta("a")))
        .server(answered(&completed("r1")))
        .client(sent(&CREATE.replace("hi", "more")));
    assert_eq!(talk.protocol(), Protocol::WebSocket);
    assert_eq!(
        talk.told(),
        [
            "1> GET /v1/responses",
            &format!("1> bytes {CREATE}"),
            "1> end",
            "1< 101",
            &format!("1< sse [] {}", created("r1")),
            &format!("1< sse [] {}", delta("a")),
            &format!("1< sse [] {}", completed("r1")),
            "1< end",
            "2> GET /v1/responses",
            &format!("2> bytes {}", CREATE.replace("hi", "more")),
            "2> end",
        ]
    );
    // Times: the first and last bytes of the client's frame, and of the server's first.
    let times: Vec<_> = talk
        .events
        .iter()
        .filter_map(|event| match event {
            Event::RequestHead { first_byte_at, stream: 1, .. } => Some(*first_byte_at),
            Event::RequestEnd { at, stream: 1, .. } => Some(*at),
            Event::ResponseHead { first_byte_at, .. } => Some(*first_byte_at),
            Event::ResponseEnd { at, .. } => Some(*at),
            _ => None,
        })
        .collect();
    assert_eq!(times, [3, 3, 5, 7]);
}

#[test]
fn what_a_message_is_may_be_said_last() {
    let create = r#"{"model":"m","input":[{"type":"message","content":"x"}],"type":"response.create"}"#;
    let told = upgraded().client(sent(create)).told();
    assert_eq!(told[1..], [format!("1> bytes {create}"), "1> end".into()]);
    // Nothing else that clients say is longer than what is held.
    let long = format!(r#"{{"model":"m","input":"{}","type":"response.create"}}"#, "x".repeat(70 << 10));
    let bytes = sent(&long);
    let talk = bytes.chunks(1000).fold(upgraded(), |talk, piece| talk.client(piece));
    let told = talk.told();
    assert_eq!((told.len(), told[1].len()), (3, long.len() + "1> bytes ".len()));
}

#[test]
fn fragments_and_control_frames_between_them() {
    let (one, two) = CREATE.as_bytes().split_at(20);
    let event = created("r1");
    let (first, second) = event.as_bytes().split_at(9);
    let talk = upgraded()
        .client(frame(TEXT, true, one))
        .client(frame(LAST | PING, true, b"are you there?"))
        .client(frame(LAST, true, two))
        .server([frame(TEXT, false, first), frame(LAST | PING, false, b""), frame(0, false, b"")].concat())
        .server(frame(LAST, false, second));
    assert_eq!(
        talk.told()[1..],
        [format!("1> bytes {CREATE}"), "1> end".into(), "1< 101".into(), format!("1< sse [] {event}")]
    );
}

#[test]
fn lanes_tell_responses_apart() {
    let create = |lane: &str| on_lane(lane, CREATE);
    let talk = upgraded()
        .client([sent(&create("a")), sent(&create("b")), sent(CREATE)].concat())
        .server(answered(&on_lane("b", &created("rb"))))
        .server(answered(&on_lane("a", &created("ra"))))
        .server(answered(&on_lane("b", &delta("b"))))
        .server(answered(&created("rc")))
        .server(answered(&on_lane("a", &completed("ra"))))
        .server(answered(&on_lane("b", r#"{"type":"error","status":500,"error":{"code":"server_error"}}"#)))
        .server(answered(&delta("c")))
        .server(answered(&completed("rc")));
    let answers: Vec<_> = outline(talk).into_iter().filter(|line| line.contains('<')).collect();
    let sides: Vec<_> = answers.iter().map(|line| &line[..2]).collect();
    assert_eq!(sides, ["2<", "2<", "1<", "1<", "2<", "3<", "3<", "1<", "1<", "2<", "2<", "3<", "3<", "3<"]);
    assert_eq!(answers.iter().filter(|line| line.ends_with(" end")).count(), 3);
}

#[test]
fn responses_of_one_lane_come_one_after_the_other() {
    let talk = upgraded()
        .client([sent(CREATE), sent(CREATE)].concat())
        .server([answered(&created("r1")), answered(&completed("r1"))].concat())
        .server([answered(&created("r2")), answered(&delta("x")), answered(&completed("r2"))].concat());
    let ends: Vec<_> = talk.told().into_iter().filter(|line| line.ends_with("< end")).collect();
    assert_eq!(ends, ["1< end", "2< end"]);
    // An error that states a status refuses the request that waits, not the response that runs.
    let refused = r#"{"type":"error","status":409,"error":{"code":"response_already_in_flight"}}"#;
    let talk = upgraded()
        .client(sent(CREATE))
        .server(answered(&created("r1")))
        .client(sent(CREATE))
        .server(answered(refused))
        .server(answered(&completed("r1")));
    let ends: Vec<_> = talk.told().into_iter().filter(|line| line.ends_with("< end")).collect();
    assert_eq!(ends, ["2< end", "1< end"]);
}

#[test]
fn errors_end_their_response() {
    for error in [
        r#"{"type":"error","status":429,"error":{"type":"usage_limit_reached"},"headers":{}}"#,
        r#"{"type":"error","code":"server_error","message":"","param":null,"sequence_number":2}"#,
        r#"{"error":{"code":"previous_response_not_found"},"status":400,"type":"error"}"#,
    ] {
        let told = upgraded().client(sent(CREATE)).server(answered(error)).told();
        assert_eq!(told[3..], ["1< 101".into(), format!("1< sse [] {error}"), "1< end".to_owned()]);
    }
    // Without a response in flight it is about the connection.
    assert!(upgraded().server(answered(r#"{"type":"error","status":400}"#)).told().is_empty());
}

#[test]
fn a_steered_response_goes_on_as_another() {
    let steer = r#"{"type":"response.steer","previous_response_id":"r1","input":"no, this"}"#;
    let incomplete =
        r#"{"type":"response.incomplete","response":{"id":"r1","incomplete_details":{"reason":"steered"}}}"#;
    let talk = upgraded()
        .client(sent(CREATE))
        .server(answered(&created("r1")))
        .client(sent(steer))
        .server(answered(r#"{"type":"response.steer.accepted","response_id":"r1"}"#))
        .server(answered(incomplete))
        .server(answered(&created("r2")))
        .server(answered(&completed("r2")));
    let told = talk.told();
    let second: Vec<_> = told.iter().filter(|line| line.starts_with('2')).collect();
    assert_eq!(second[..3], ["2> GET /v1/responses", "2> truncated", "2< 101"]);
    assert_eq!(told.last().unwrap(), "2< end");
    assert!(!told.iter().any(|line| line.contains("steer.")), "{told:?}");
}

#[test]
fn how_it_ends_early() {
    let begun = || upgraded().client(sent(CREATE)).server(answered(&created("r1")));
    assert_eq!(begun().server(frame(LAST | CLOSE, false, b"\x03\xe8")).told().last().unwrap(), "1< reset");
    assert_eq!(begun().client(frame(LAST | CLOSE, true, b"")).told().last().unwrap(), "1< reset");
    assert_eq!(begun().close(ClosedBy::Peer).told().last().unwrap(), "1< truncated");
    // Half a request.
    let half = &sent(CREATE)[..40];
    assert_eq!(upgraded().client(half).close(ClosedBy::Local).told().last().unwrap(), "1> truncated");
    // After the close nothing is a response.
    let told = begun().server(frame(LAST | CLOSE, false, b"")).server(answered(&created("r2"))).told();
    assert_eq!(told.last().unwrap(), "1< reset");
}

#[test]
fn compressed_in_every_agreed_way() {
    for (extensions, client_takeover, server_takeover) in [
        ("permessage-deflate", true, true),
        ("permessage-deflate; server_no_context_takeover; server_max_window_bits=10", true, false),
        ("permessage-deflate; client_no_context_takeover; client_max_window_bits=9", false, true),
    ] {
        let (mut client, mut server) = (Deflate::new(client_takeover), Deflate::new(server_takeover));
        let mut talk = Talk::new().client(UPGRADE).server(switched(extensions));
        let mut expected = Vec::new();
        for round in 1..4 {
            let (id, more) = (format!("r{round}"), delta(&"and so on ".repeat(round * 400)));
            let request = client.message(CREATE);
            // Cut into fragments: only the first says that the message is compressed.
            let (one, two) = request.split_at(request.len() / 2);
            talk = talk.client([frame(TEXT | COMPRESSED, true, one), frame(LAST, true, two)].concat());
            // One that is not compressed may stand between.
            talk = talk.server(answered(&created(&id)));
            for event in [&more, &completed(&id)] {
                talk = talk.server(frame(LAST | TEXT | COMPRESSED, false, &server.message(event)));
            }
            expected.extend([
                format!("{round}> GET /v1/responses"),
                format!("{round}> bytes {CREATE}"),
                format!("{round}> end"),
                format!("{round}< 101"),
                format!("{round}< sse [] {}", created(&id)),
                format!("{round}< sse [] {more}"),
                format!("{round}< sse [] {}", completed(&id)),
                format!("{round}< end"),
            ]);
        }
        assert_eq!(talk.told(), expected, "{extensions}");
    }
}

#[test]
fn a_lost_compression_context_comes_back_only_where_it_is_reset() {
    for takeover in [true, false] {
        let extensions = if takeover { "permessage-deflate" } else { "permessage-deflate;server_no_context_takeover" };
        let mut server = Deflate::new(takeover);
        let mut compressed = |text: &str| frame(LAST | TEXT | COMPRESSED, false, &server.message(text));
        let (first, second, third) =
            (compressed(&created("r1")), compressed(&delta("x")), compressed(&completed("r1")));
        let talk = Talk::new().client(UPGRADE).server(switched(extensions)).client(sent(CREATE)).server(first);
        let mut talk = talk.gap(SERVER, second.len() as u64).server(third);
        if takeover {
            assert_eq!(talk.told()[5..], [format!("1< lost {}", second.len()), "1< lost".into()]);
            // What is not compressed can be read again.
            talk = talk.server(answered(&completed("r1")));
        }
        let end = [format!("1< sse [] {}", completed("r1")), "1< end".to_owned()];
        assert_eq!(talk.told()[talk.told().len() - 2..], end);
    }
}

#[test]
fn compression_without_agreement_cannot_be_read() {
    let request = Deflate::new(true).message(CREATE);
    let talk = upgraded().client(frame(LAST | TEXT | COMPRESSED, true, &request)).client(sent(CREATE));
    assert_eq!(talk.told().len(), 3);
}

#[test]
fn a_gap_inside_a_message_costs_that_message() {
    let begun = || upgraded().client(sent(CREATE)).server(answered(&created("r1")));
    let long = answered(&delta(&"x".repeat(1000)));
    let talk =
        begun().server(&long[..300]).gap(SERVER, 500).server([&long[800..], &answered(&completed("r1"))].concat());
    assert_eq!(talk.told()[5..], ["1< lost 500".into(), format!("1< sse [] {}", completed("r1")), "1< end".to_owned()]);
    // The same of a request; its mask goes on behind the gap.
    let long = sent(&CREATE.replace("hi", &"x".repeat(1000)));
    let talk = upgraded().client(&long[..300]).gap(CLIENT, 501).client([&long[801..], &sent(CREATE)].concat());
    let told = talk.told();
    assert_eq!(told[2..4], ["1> lost 501", "1> undecodable Lost"]);
    assert_eq!(told.last().unwrap(), "2> end");
}

#[test]
fn after_a_gap_frames_have_to_prove_themselves() {
    let begun = || upgraded().client(sent(CREATE)).server(answered(&created("r1")));
    let rest = answered(&delta(&"x".repeat(1000)));
    for lost in [None, Some(5000)] {
        let talk = begun().gap(SERVER, lost).server(&rest[400..]).server(answered(&completed("r1")));
        assert_eq!(talk.told().last().unwrap(), "1< end", "{lost:?}");
    }
    // The answer that ended among the lost bytes is over when the next of its lane begins.
    let talk = begun()
        .gap(SERVER, 100)
        .client(sent(CREATE))
        .server([answered(&created("r2")), answered(&completed("r2"))].concat());
    let told = talk.told();
    assert!(told.contains(&"1< undecodable Lost".to_owned()), "{told:?}");
    assert_eq!(told.last().unwrap(), "2< end");
    // A request that was lost as a whole: its response is told without it.
    let told = upgraded().gap(CLIENT, 50).server(answered(&created("r1"))).server(answered(&completed("r1"))).told();
    assert_eq!(told[..4], ["1> GET /v1/responses", "1> lost", "1> truncated", "1< 101"]);
}

#[test]
fn joins_a_connection_whose_upgrade_was_not_seen() {
    let talk = Talk::new()
        .gap(CLIENT, None)
        .gap(SERVER, None)
        .server(&answered(&delta("before"))[9..])
        .client(sent(CREATE))
        .server(answered(&created("r1")))
        .server(answered(&completed("r1")));
    assert_eq!(talk.protocol(), Protocol::WebSocket);
    assert_eq!(talk.told()[0], "0> GET ");
    assert_eq!(talk.told().last().unwrap(), "0< end");
    // The same when only the server's answer was lost: then the request says what it is about.
    let talk = Talk::new().client(UPGRADE).gap(SERVER, 200).client(sent(CREATE)).server(answered(&created("r1")));
    assert_eq!(talk.told()[0], "1> GET /v1/responses");
    // JSON of another kind proves nothing.
    let talk = Talk::new().gap(CLIENT, None).client(sent(r#"{"type":"subscribe","channel":"x"}"#));
    assert_eq!((talk.protocol(), talk.told().len()), (Protocol::Other, 0));
}

#[test]
fn other_websockets_are_left_alone() {
    let other = UPGRADE.replace("/v1/responses", "/chat");
    let begin = |path: &str| Talk::new().client(UPGRADE.replace("/v1/responses", path)).server(switched(""));
    for message in [sent("hello"), sent(r#"{"op":"sub"}"#), sent("[]"), frame(LAST | BINARY, true, b"\0\x01")] {
        let talk = Talk::new().client(&other).server(switched("")).client(message).client(sent(CREATE));
        assert_eq!((talk.protocol(), talk.told().len()), (Protocol::Other, 0));
    }
    // On an unknown path the messages tell.
    assert_eq!(begin("/gateway/socket").client(sent(CREATE)).protocol(), Protocol::WebSocket);
    // Realtime APIs are named.
    assert_eq!(begin("/v1/realtime").protocol(), Protocol::Realtime);
    assert_eq!(begin("/x").client(sent(r#"{"type":"session.update"}"#)).protocol(), Protocol::Realtime);
    assert_eq!(begin("/x").server(answered(r#"{"type":"session.created"}"#)).protocol(), Protocol::Realtime);
    // Refused: no upgrade, and no exchange of interest.
    let talk = Talk::new().client(UPGRADE).server("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((talk.protocol(), talk.told().len()), (Protocol::Http1, 0));
}

#[test]
fn nothing_grows_beyond_its_cap() {
    let limits = Limits { websocket_message_bytes: 1000, pending_requests: 3, ..Limits::default() };
    let begin = || Talk::with(limits, |_| true).client(UPGRADE).server(switched(""));
    let begun = || begin().client(sent(CREATE)).server(answered(&created("r1")));
    let long = answered(&delta(&"x".repeat(2000)));
    let talk = long.chunks(300).fold(begun(), |talk, piece| talk.server(piece)).server(answered(&completed("r1")));
    let told = talk.told();
    assert_eq!(told[5], format!("1< lost {}", delta("").len() + 2000));
    assert_eq!(told.last().unwrap(), "1< end");
    // Requests without answers, and answers without requests.
    let talk = (0..5).fold(begin(), |talk, _| talk.client(sent(CREATE)));
    assert_eq!(talk.told().iter().filter(|line| line.ends_with("undecodable Limit")).count(), 2);
    let talk = (0..5).fold(begin(), |talk, id| talk.server(answered(&created(&format!("r{id}")))));
    assert_eq!(talk.told().iter().filter(|line| line.ends_with("undecodable Limit")).count(), 2);
    // A bomb.
    let limits = Limits { expansion_ratio: 2, expansion_grace: 1 << 10, ..limits };
    let bomb = Deflate::new(true).message(&CREATE.replace("hi", &"x".repeat(100 << 10)));
    let talk = Talk::with(limits, |_| true).client(UPGRADE).server(switched("permessage-deflate"));
    let told = talk.client(frame(LAST | TEXT | COMPRESSED, true, &bomb)).told();
    assert!(told.iter().map(String::len).sum::<usize>() < 20 << 10, "{}", told.len());
}

/// A connection that uses most of what the decoders know.
fn conversation() -> Vec<(Direction, Vec<u8>)> {
    let (mut client, mut server) = (Deflate::new(true), Deflate::new(false));
    let mut compressed = |text: &str| frame(LAST | TEXT | COMPRESSED, false, &server.message(text));
    let (one, two) = CREATE.as_bytes().split_at(11);
    vec![
        (CLIENT, UPGRADE.into()),
        (SERVER, switched("permessage-deflate; server_no_context_takeover").into()),
        (CLIENT, [frame(TEXT, true, one), frame(LAST | PING, true, b"x"), frame(LAST, true, two)].concat()),
        (SERVER, [answered(&created("r1")), compressed(&delta("é")), frame(LAST | PING, false, b"")].concat()),
        (SERVER, compressed(&delta(&"long ".repeat(50)))),
        (CLIENT, frame(LAST | TEXT | COMPRESSED, true, &client.message(&on_lane("a", CREATE)))),
        (SERVER, [compressed(&on_lane("a", &created("r2"))), compressed(&completed("r1"))].concat()),
        (CLIENT, frame(LAST | TEXT | COMPRESSED, true, &client.message(&on_lane("b", CREATE)))),
        (SERVER, answered(r#"{"type":"codex.rate_limits"}"#)),
        (SERVER, [compressed(&on_lane("a", &delta("x"))), answered(&on_lane("b", &created("r3")))].concat()),
        (SERVER, compressed(&on_lane("a", r#"{"type":"error","status":500,"error":{"code":"c"}}"#))),
        (CLIENT, frame(LAST | CLOSE, true, b"\x03\xe8")),
        (SERVER, frame(LAST | CLOSE, false, b"\x03\xe8")),
    ]
}

fn told(records: &[(Direction, Vec<u8>)]) -> Vec<String> {
    records
        .iter()
        .fold(Talk::new(), |talk, (direction, bytes)| talk.push(*direction, bytes))
        .close(ClosedBy::Peer)
        .told()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cutting_anywhere_gives_the_same_events(sizes in prop::collection::vec(1usize..90, 1..40)) {
        let records = conversation();
        let whole = told(&records);
        prop_assert_eq!(whole.iter().filter(|line| line.ends_with("< end")).count(), 2);
        prop_assert_eq!(told(&properties::cut(&records, &sizes)), whole);
    }

    #[test]
    fn losses_and_noise_do_no_harm(
        sizes in prop::collection::vec(1usize..90, 1..20),
        faults in prop::collection::vec((0usize..80, 0u8..4, any::<u8>()), 0..12),
    ) {
        let talk = properties::damaged(Talk::new(), &properties::cut(&conversation(), &sizes), &faults);
        super::super::fuzz::check_order(&talk.close(ClosedBy::Peer).events);
    }
}
