//! HTTP/2 as the `h2` crate writes it, both peers: what it says is what is read, however it is cut and whatever is lost.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use h2::{client, server};
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::*;

type Records = Vec<(Direction, Vec<u8>)>;

/// One end of a pipe; what is written to it is kept, a record a write.
struct Tap {
    pipe: DuplexStream,
    direction: Direction,
    records: Arc<Mutex<Records>>,
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(context, buffer)
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = std::task::ready!(Pin::new(&mut self.pipe).poll_write(context, bytes))?;
        self.records.lock().unwrap().push((self.direction, bytes[..written].to_vec()));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(context)
    }
}

const STREAMS: usize = 12;

fn question(number: usize) -> Vec<u8> {
    format!("{{\"n\":{number},\"text\":\"{}\"}}", "x".repeat(number * 700)).into_bytes()
}

fn events(number: usize) -> Vec<String> {
    (0..number + 3).map(|event| format!("{number}.{event}")).collect()
}

/// Many exchanges at once, with fields that repeat and fields that do not; every third answer is compressed.
fn conversation() -> Records {
    let records = Arc::new(Mutex::new(Vec::new()));
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let ours = Tap { pipe: ours, direction: CLIENT, records: records.clone() };
    let theirs = Tap { pipe: theirs, direction: SERVER, records: records.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let serving = tokio::spawn(async {
            let mut connection = server::handshake(theirs).await.unwrap();
            while let Some(accepted) = connection.accept().await {
                let (request, mut respond) = accepted.unwrap();
                tokio::spawn(async move {
                    let number: usize = request.headers()["x-number"].to_str().unwrap().parse().unwrap();
                    let mut body = request.into_body();
                    while let Some(data) = body.data().await {
                        let length = data.unwrap().len();
                        body.flow_control().release_capacity(length).unwrap();
                    }
                    let mut head = http::Response::builder().header("content-type", "text/event-stream");
                    if number.is_multiple_of(3) {
                        head = head.header("content-encoding", "gzip");
                    }
                    let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
                    let mut gzip = Encoder::new("gzip");
                    for event in events(number) {
                        let event = format!("data: {event}\n\n").into_bytes();
                        let event = if number.is_multiple_of(3) { gzip.flush(&event) } else { event };
                        stream.send_data(event.into(), false).unwrap();
                        tokio::task::yield_now().await;
                    }
                    let rest = if number.is_multiple_of(3) { gzip.finish() } else { Vec::new() };
                    stream.send_data(rest.into(), true).unwrap();
                });
            }
        });
        let (requests, connection) = client::handshake(ours).await.unwrap();
        tokio::spawn(async move { connection.await.unwrap() });
        let asked = (0..STREAMS).map(|number| {
            let requests = requests.clone();
            async move {
                let mut requests = requests.ready().await.unwrap();
                let request = http::Request::post(format!("https://a.example/v1/{number}"))
                    .header("x-number", number)
                    .header("user-agent", "peers")
                    .body(())
                    .unwrap();
                let (response, mut body) = requests.send_request(request, false).unwrap();
                body.send_data(question(number).into(), true).unwrap();
                let mut response = response.await.unwrap().into_body();
                while let Some(data) = response.data().await {
                    let length = data.unwrap().len();
                    response.flow_control().release_capacity(length).unwrap();
                }
            }
        });
        let asked: Vec<_> = asked.map(tokio::spawn).collect();
        for task in asked {
            task.await.unwrap();
        }
        drop(requests);
        serving.abort();
    });
    let records = records.lock().unwrap();
    records.clone()
}

/// What was told, stream by stream.
fn told(records: &[(Direction, Vec<u8>)]) -> Vec<Vec<String>> {
    let talk = records.iter().fold(Talk::new(), |talk, (direction, bytes)| talk.push(*direction, bytes));
    let talk = talk.close(ClosedBy::Local);
    super::super::fuzz::check_order(&talk.events);
    let stream = |index: usize| {
        let events: Vec<_> =
            talk.events.iter().filter(|event| stream_of(event) == Some(index as u32)).cloned().collect();
        tell(&events)
    };
    (0..STREAMS).map(stream).collect()
}

fn stream_of(event: &Event<'_>) -> Option<u32> {
    match event {
        Event::RequestHead { stream, .. }
        | Event::RequestBody { stream, .. }
        | Event::RequestEnd { stream, .. }
        | Event::ResponseHead { stream, .. }
        | Event::ResponseBody { stream, .. }
        | Event::ResponseEnd { stream, .. }
        | Event::Lost { stream, .. } => Some(*stream),
        Event::Role(_) => None,
    }
}

fn expected() -> Vec<Vec<String>> {
    let stream = |number: usize| {
        let mut lines = vec![
            format!("{number}> POST /v1/{number}"),
            format!("{number}> bytes {}", String::from_utf8(question(number)).unwrap()),
            format!("{number}> end"),
            format!("{number}< 200"),
        ];
        lines.extend(events(number).iter().map(|event| format!("{number}< sse [] {event}")));
        lines.push(format!("{number}< end"));
        lines
    };
    (0..STREAMS).map(stream).collect()
}

#[test]
fn what_peers_say_is_what_is_read() {
    assert_eq!(told(&conversation()), expected());
}

#[test]
fn byte_by_byte_gives_the_same() {
    let bytes: Vec<_> = conversation()
        .iter()
        .flat_map(|(direction, bytes)| bytes.iter().map(|byte| (*direction, vec![*byte])).collect::<Vec<_>>())
        .collect();
    assert_eq!(told(&bytes), expected());
}

/// Whoever joins late reads whole answers, whose heads are known as far as they do not refer to earlier ones.
#[test]
fn joining_at_any_record_guesses_nothing() {
    let records = conversation();
    let whole: Vec<String> = expected().concat();
    let payload = |line: &String| line.split_once(' ').map(|(_, text)| text.to_owned()).unwrap_or_default();
    let sent: Vec<String> = whole.iter().map(payload).collect();
    for start in 1..records.len() {
        let talk = records[start..].iter().fold(Talk::new(), |talk, (direction, bytes)| talk.push(*direction, bytes));
        let talk = talk.close(ClosedBy::Local);
        super::super::fuzz::check_order(&talk.events);
        for line in talk.told().iter().map(payload).filter(|line| line.starts_with("sse")) {
            assert!(sent.contains(&line), "joined at {start}: {line}");
        }
        for event in &talk.events {
            if let Event::RequestHead { head, .. } = event {
                assert!(head.path.is_empty() || head.path.starts_with("/v1/"), "joined at {start}: {}", head.path);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cutting_anywhere_gives_the_same_events(sizes in prop::collection::vec(1usize..3000, 1..40)) {
        let mut sizes = sizes.iter().copied().cycle();
        let mut pieces = Vec::new();
        for (direction, bytes) in conversation() {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, more) = rest.split_at(sizes.next().unwrap_or(1).clamp(1, rest.len()));
                pieces.push((direction, piece.to_vec()));
                rest = more;
            }
        }
        prop_assert_eq!(told(&pieces), expected());
    }

    #[test]
    fn losses_and_noise_do_no_harm(
        faults in prop::collection::vec((0usize..120, 0u8..4, any::<u8>()), 1..12),
    ) {
        let mut talk = Talk::new();
        for (number, (direction, mut bytes)) in conversation().into_iter().enumerate() {
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
                        let lost = usize::from(*byte).min(length);
                        talk = talk.gap(direction, lost as u64);
                        bytes.drain(..lost);
                    }
                    _ => {
                        if let Some(place) = bytes.get_mut(usize::from(*byte) % length.max(1)) {
                            *place ^= byte;
                        }
                    }
                }
            }
            talk = talk.push(direction, &bytes);
        }
        let talk = talk.close(ClosedBy::Peer);
        super::super::fuzz::check_order(&talk.events);
    }
}
