//! Properties: cutting changes nothing; no loss makes the decoders panic or outgrow their caps.

use proptest::prelude::*;

use super::*;

/// A connection that uses most of what the decoders know.
fn conversation() -> Vec<(Direction, Vec<u8>)> {
    let mut records = Vec::new();
    let mut post =
        b"POST /v1/chat HTTP/1.1\r\nHost: a.example\r\nX-Fold: a\r\n b\r\nContent-Length: 12\r\n\r\n".to_vec();
    post.extend_from_slice(b"{\"stream\":1}");
    let events: &[u8] =
        "\u{feff}: hi\r\n\r\nevent: start\r\ndata: {\"t\":\"é\"}\r\n\rdata: a\rdata: b\n\n\ndata: [DONE]".as_bytes();
    let mut trailers = chunked(EVENT_STREAM, &events.chunks(7).collect::<Vec<_>>());
    trailers.truncate(trailers.len() - 2);
    trailers.extend_from_slice(b"X-T: 1\r\n\r\n");
    records.push((CLIENT, post.clone()));
    records.push((SERVER, [b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), trailers].concat()));
    for name in Encoder::NAMES {
        let mut encoder = Encoder::new(name);
        let mut chunks: Vec<_> = events.chunks(11).map(|part| encoder.flush(part)).collect();
        chunks.push(encoder.finish());
        chunks.retain(|chunk| !chunk.is_empty());
        let chunks: Vec<_> = chunks.iter().map(|chunk| &chunk[..]).collect();
        records.push((CLIENT, post.clone()));
        records.push((SERVER, chunked(&format!("{EVENT_STREAM}Content-Encoding: {}\r\n", wire_name(name)), &chunks)));
    }
    records.push((CLIENT, [post.clone(), b"HEAD / HTTP/1.1\r\n\r\n".to_vec(), post].concat()));
    let answers = [
        response("", b"data: sniffed\n\n"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n".to_vec(),
        b"HTTP/1.0 200 OK\nContent-Type: application/jsonl\n\n{\"a\":1}\r\n\n{\"b\":2}\n{\"c\":3}".to_vec(),
    ];
    records.push((SERVER, answers.concat()));
    records
}

fn told(records: &[(Direction, Vec<u8>)]) -> Vec<String> {
    records
        .iter()
        .fold(Talk::new(), |talk, (direction, bytes)| talk.push(*direction, bytes))
        .close(ClosedBy::Peer)
        .told()
}

#[test]
fn the_conversation_is_read_as_meant() {
    let told = told(&conversation());
    let stream = |index| {
        [
            format!("{index}< 200"),
            format!("{index}< comment"),
            format!("{index}< sse [start] {{\"t\":\"é\"}}"),
            format!("{index}< sse [] a\nb"),
            format!("{index}< sse [] [DONE]"),
            format!("{index}< end"),
        ]
    };
    let answers: Vec<_> = told.iter().filter(|line| line[1..].starts_with('<')).cloned().collect();
    let mut expected: Vec<String> = (0..6).flat_map(stream).collect();
    expected.extend(["6< 200", "6< sse [] sniffed", "6< end", "7< 200", "7< end", "8< 200"].map(str::to_owned));
    expected.extend((1..4).map(|n| format!("8< line {{\"{}\":{n}}}", ["a", "b", "c"][n - 1])));
    expected.push("8< end".to_owned());
    assert_eq!(answers, expected);
}

#[test]
fn byte_by_byte_gives_the_same() {
    let records = conversation();
    let bytes: Vec<_> =
        records.iter().flat_map(|(direction, bytes)| bytes.iter().map(|byte| (*direction, vec![*byte]))).collect();
    assert_eq!(told(&bytes), told(&records));
}

/// Cuts every record at the given places.
pub(super) fn cut(records: &[(Direction, Vec<u8>)], sizes: &[usize]) -> Vec<(Direction, Vec<u8>)> {
    let mut sizes = sizes.iter().copied().cycle();
    let mut pieces = Vec::new();
    for (direction, bytes) in records {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(sizes.next().unwrap_or(1).clamp(1, rest.len()));
            pieces.push((*direction, piece.to_vec()));
            rest = more;
        }
    }
    pieces
}

/// Loses or changes bytes of some records: each fault is a record's number, a kind of damage, and a byte for it.
pub(super) fn damaged(mut talk: Talk, records: &[(Direction, Vec<u8>)], faults: &[(usize, u8, u8)]) -> Talk {
    for (number, (direction, bytes)) in records.iter().enumerate() {
        let (direction, mut bytes) = (*direction, bytes.clone());
        for (_, fault, byte) in faults.iter().filter(|(place, ..)| *place == number) {
            let length = bytes.len();
            match fault {
                0 => {
                    talk = talk.gap(direction, length as u64);
                    bytes.clear();
                }
                1 => {
                    talk = talk.gap(direction, None);
                    bytes.clear();
                }
                2 => {
                    if let Some(place) = bytes.get_mut(usize::from(*byte) % length.max(1)) {
                        *place ^= byte;
                    }
                }
                _ => talk = talk.gap(direction, u64::from(*byte) + 1),
            }
        }
        talk = talk.push(direction, &bytes);
    }
    talk
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cutting_anywhere_gives_the_same_events(sizes in prop::collection::vec(1usize..400, 1..40)) {
        let records = conversation();
        prop_assert_eq!(told(&cut(&records, &sizes)), told(&records));
    }

    #[test]
    fn losses_and_noise_do_no_harm(
        sizes in prop::collection::vec(1usize..300, 1..20),
        faults in prop::collection::vec((0usize..200, 0u8..4, any::<u8>()), 0..12),
    ) {
        let talk = damaged(Talk::new(), &cut(&conversation(), &sizes), &faults);
        let talk = talk.close(ClosedBy::Peer);
        super::super::fuzz::check_order(&talk.events);
    }
}
