//! What an endpoint can do wrong, over the three protocols. In each case every span is delivered once, in order, or is
//! said to be lost.

use std::{
    net::{SocketAddr, TcpListener},
    sync::atomic::AtomicU32,
    time::Instant,
};

use super::{
    fake::{Fake, Received, Reply},
    tests::{LONG, PROTOCOLS, Pki, fake, index, nowhere, path, pki, send_from, start, start_with, stats, url},
    *,
};

/// The numbers of the spans in requests that the endpoint took, as they came.
fn taken(received: &[Received]) -> Vec<i64> {
    let taken = received.iter().filter(|received| received.is_taken());
    taken.flat_map(Received::spans).map(|span| index(&span.attributes)).collect()
}

/// One refusal of each kind that passes, in the words of the protocol.
fn throttled(protocol: &str, seconds: u64) -> Reply {
    // RESOURCE_EXHAUSTED.
    if protocol == "grpc" { Reply::GrpcAfter(8, seconds) } else { Reply::Status(429, Some(seconds)) }
}

fn refused(protocol: &str) -> Reply {
    // INVALID_ARGUMENT.
    if protocol == "grpc" { Reply::Grpc(3) } else { Reply::Status(400, None) }
}

fn unavailable(protocol: &str) -> Reply {
    if protocol == "grpc" { Reply::Grpc(14) } else { Reply::Status(503, None) }
}

fn wait_until(what: &str, mut over: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !over() {
        assert!(begun.elapsed() < LONG, "waited for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// By default an outage of a second and a half; `LLMTAP_OUTAGE_SECONDS` makes it as long as one likes.
#[test]
fn an_endpoint_that_is_down_for_a_while_gets_what_waited() {
    let outage = std::env::var("LLMTAP_OUTAGE_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(1.5);
    let run = |protocol: &'static str| {
        let (held, address) = nowhere();
        let limits = [("OTEL_BSP_MAX_QUEUE_SIZE", "40"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")];
        let handle = start(&format!("http://{address}"), protocol, &limits);
        // A batch on its way and a full queue.
        send_from(&handle, 0, 10);
        wait_until("the batch", || handle.sender.capacity() == 40);
        send_from(&handle, 10, 40);
        std::thread::sleep(Duration::from_secs_f64(outage / 2.0));
        // More than the queue holds: said at once.
        send_from(&handle, 50, 100);
        assert_eq!(handle.progress(), Progress { exported: 0, dropped: 100, waiting: 50 }, "{protocol}");
        std::thread::sleep(Duration::from_secs_f64(outage / 2.0));
        drop(held);
        let fake = Fake::start_at(address, &[Reply::Ok], protocol == "grpc", None);
        wait_until("recovery", || handle.progress().waiting == 0);
        // As if nothing had been.
        send_from(&handle, 150, 5);
        let stats = handle.shutdown(LONG);
        assert_eq!((stats.exported, stats.dropped), (55, 100), "{protocol}");
        assert_eq!(taken(&fake.rest()), (0..50).chain(150..155).collect::<Vec<_>>(), "{protocol}");
    };
    std::thread::scope(|scope| {
        PROTOCOLS.map(|protocol| scope.spawn(move || run(protocol))).map(|run| run.join().unwrap())
    });
}

#[test]
fn the_end_of_the_run_does_not_wait_for_the_next_pause() {
    for protocol in PROTOCOLS {
        let (held, address) = nowhere();
        let handle = start(&format!("http://{address}"), protocol, &[]);
        send_from(&handle, 0, 3);
        // The pauses have grown to more than the time that is left.
        std::thread::sleep(Duration::from_millis(1500));
        drop(held);
        let fake = Fake::start_at(address, &[Reply::Ok], protocol == "grpc", None);
        assert_eq!(handle.shutdown(Duration::from_millis(800)).exported, 3, "{protocol}");
        assert_eq!(taken(&fake.rest()), [0, 1, 2]);
    }
}

#[test]
fn a_slow_endpoint_gets_all_of_it() {
    for protocol in PROTOCOLS {
        let fake = fake(protocol, &[Reply::Slow(150)]);
        let handle = start(&url(&fake), protocol, &[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")]);
        send_from(&handle, 0, 18);
        assert_eq!(handle.shutdown(LONG), stats(18, 0), "{protocol}");
        assert_eq!(taken(&fake.rest()), (0..18).collect::<Vec<_>>());
    }
}

#[test]
fn an_endpoint_that_does_not_answer_or_resets_is_asked_again() {
    for protocol in PROTOCOLS {
        for fault in [Reply::Hang, Reply::Reset] {
            let fake = fake(protocol, &[fault, fault, Reply::Ok, fault, Reply::Ok]);
            let limits = [("OTEL_EXPORTER_OTLP_TIMEOUT", "300"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "6")];
            let handle = start(&url(&fake), protocol, &limits);
            send_from(&handle, 0, 20);
            let stats = handle.shutdown(LONG);
            assert_eq!((stats.exported, stats.dropped), (20, 0), "{protocol} {fault:?}: {stats:?}");
            assert_eq!(taken(&fake.rest()), (0..20).collect::<Vec<_>>(), "{protocol} {fault:?}");
        }
    }
}

#[test]
fn an_endpoint_that_asks_for_time_gets_it() {
    for protocol in PROTOCOLS {
        let fake = fake(protocol, &[throttled(protocol, 1), Reply::Ok]);
        // What the endpoint asks for is not counted against the batch.
        let limits = [("OTEL_BSP_EXPORT_TIMEOUT", "600"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")];
        let handle = start(&url(&fake), protocol, &limits);
        send_from(&handle, 0, 15);
        assert_eq!(handle.shutdown(LONG).exported, 15, "{protocol}");
        let received = fake.rest();
        let pause = received[1].at - received[0].at;
        assert!(pause >= Duration::from_secs(1) && pause < Duration::from_secs(3), "{protocol}: {pause:?}");
        assert_eq!(taken(&received), (0..15).collect::<Vec<_>>());
    }
}

#[test]
fn pauses_grow_and_differ() {
    let fake = fake("http/protobuf", &[Reply::Status(503, None)]);
    let handle = start(&url(&fake), "http/protobuf", &[("OTEL_BSP_EXPORT_TIMEOUT", "3500")]);
    send_from(&handle, 0, 1);
    wait_until("the loss", || handle.progress().dropped == 1);
    let times: Vec<Instant> = fake.rest().iter().map(|received| received.at).collect();
    let pauses: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    assert!(pauses.len() >= 2, "{pauses:?}");
    for (number, pause) in pauses.iter().enumerate() {
        let middle = 0.2 * f64::from(1 << number);
        assert!(*pause >= middle * 0.5 && *pause < middle * 1.5 + 0.3, "{number}: {pauses:?}");
    }
    handle.shutdown(LONG);
}

#[test]
fn a_refusal_costs_its_batch_and_no_other() {
    for protocol in PROTOCOLS {
        let fake = fake(protocol, &[Reply::Ok, refused(protocol), Reply::Ok]);
        let handle = start(&url(&fake), protocol, &[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")]);
        send_from(&handle, 0, 20);
        let stats = handle.shutdown(LONG);
        assert_eq!((stats.exported, stats.dropped), (15, 5), "{protocol}");
        assert_eq!(taken(&fake.rest()), (0..5).chain(10..20).collect::<Vec<_>>(), "{protocol}");
    }
}

#[test]
fn a_replay_bears_a_passing_failure() {
    for protocol in PROTOCOLS {
        let failure = unavailable(protocol);
        let fake = fake(protocol, &[Reply::Ok, failure, failure, Reply::Ok, failure, Reply::Ok]);
        let limits = |name: &str| match name {
            "OTEL_BSP_MAX_QUEUE_SIZE" | "OTEL_BSP_MAX_EXPORT_BATCH_SIZE" => Some("8".to_owned()),
            "OTEL_BSP_SCHEDULE_DELAY" => Some("1".to_owned()),
            "OTEL_EXPORTER_OTLP_PROTOCOL" => Some(protocol.to_owned()),
            _ => None,
        };
        let otlp = Otlp::new(Some(&url(&fake)), &limits).unwrap().unwrap().when_full(WhenFull::Wait);
        let handle = otlp.start(Arc::new(SystemResolver)).unwrap();
        send_from(&handle, 0, 100);
        assert_eq!(handle.shutdown(LONG).exported, 100, "{protocol}");
        assert_eq!(taken(&fake.rest()), (0..100).collect::<Vec<_>>());
    }
}

#[test]
fn everything_at_once_adds_up() {
    for protocol in PROTOCOLS {
        let (throttled, refused, unavailable) = (throttled(protocol, 1), refused(protocol), unavailable(protocol));
        let replies = [
            Reply::Ok,
            unavailable,
            Reply::Partial(3),
            Reply::Reset,
            refused,
            throttled,
            Reply::Hang,
            Reply::Slow(100),
            refused,
            Reply::Reset,
            unavailable,
            Reply::Partial(100),
            Reply::Ok,
        ];
        let fake = fake(protocol, &replies);
        let limits = [("OTEL_EXPORTER_OTLP_TIMEOUT", "400"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")];
        let handle = start(&url(&fake), protocol, &limits);
        send_from(&handle, 0, 100);
        let stats = handle.shutdown(LONG);
        let received = fake.rest();
        // Ten batches: two refused, one rejected in part, one as a whole: more it cannot reject.
        assert_eq!((stats.exported, stats.dropped), (100 - 20 - 3 - 10, 33), "{protocol}: {stats:?}");
        let taken = taken(&received);
        assert_eq!(taken.len() as u64, stats.exported + 13, "{protocol}");
        assert!(taken.is_sorted_by(|one, other| one < other), "{protocol}: {taken:?}");
    }
}

#[test]
fn a_certificate_that_becomes_good_is_enough() {
    for protocol in PROTOCOLS {
        let grpc = protocol == "grpc";
        let alpn: &[&[u8]] = if grpc { &[b"h2"] } else { &[b"http/1.1"] };
        let (good, bad) = (pki(alpn), pki(alpn));
        let fake = Fake::start(&[Reply::Ok], grpc, Some(bad.acceptor.clone()));
        let address = fake.address;
        let Pki { ca, client_certificate, client_key, .. } = &good;
        let files = [path(ca), path(client_certificate), path(client_key)];
        let names =
            ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"].map(|name| format!("OTEL_EXPORTER_OTLP_{name}"));
        let variables: Vec<_> = names.iter().zip(&files).map(|(name, file)| (name.as_str(), file.as_str())).collect();
        let handle = start(&format!("https://localhost:{}", address.port()), protocol, &variables);
        send_from(&handle, 0, 7);
        wait_until("the error", || handle.stats().last_error.is_some());
        let error = handle.stats().last_error.unwrap().to_lowercase();
        assert!(error.contains("certificate"), "{protocol}: {error}");
        assert_eq!(handle.progress(), Progress { exported: 0, dropped: 0, waiting: 7 });
        drop(fake);
        let fake = rebind(address, grpc, good.acceptor.clone());
        wait_until("recovery", || handle.progress().waiting == 0);
        assert_eq!(handle.shutdown(LONG).exported, 7, "{protocol}");
        assert_eq!(taken(&fake.rest()), (0..7).collect::<Vec<_>>(), "{protocol}");
    }
}

/// The first fake's thread may take a moment to let go of its address.
fn rebind(address: SocketAddr, grpc: bool, tls: tokio_rustls::TlsAcceptor) -> Fake {
    wait_until("the address", || TcpListener::bind(address).is_ok());
    Fake::start_at(address, &[Reply::Ok], grpc, Some(tls))
}

/// Finds nothing so many times, and then this address.
struct Failing(AtomicU32, SocketAddr);

impl Resolve for Failing {
    fn resolve(&self, _: &str, _: u16) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let fails = self.0.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let found = if fails { Err(io::Error::new(io::ErrorKind::NotFound, "no such host")) } else { Ok(vec![self.1]) };
        Box::pin(async move { found })
    }
}

#[test]
fn a_name_that_resolves_later_is_enough() {
    for protocol in PROTOCOLS {
        let fake = fake(protocol, &[Reply::Ok]);
        let resolver = Arc::new(Failing(AtomicU32::new(3), fake.address));
        let handle = start_with("http://collector.test:4318", protocol, &[], resolver);
        send_from(&handle, 0, 7);
        wait_until("the spans", || handle.progress().waiting == 0);
        let stats = handle.shutdown(LONG);
        assert_eq!((stats.exported, stats.dropped), (7, 0), "{protocol}");
        assert_eq!(stats.last_error.unwrap(), "cannot resolve collector.test: no such host", "{protocol}");
        assert_eq!(taken(&fake.rest()), (0..7).collect::<Vec<_>>());
    }
}

#[test]
fn an_answer_without_end_is_not_read_to_its_end() {
    use std::io::{Read as _, Write as _};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let handle = start(&format!("http://{}", listener.local_addr().unwrap()), "http/protobuf", &[]);
    send_from(&handle, 0, 1);
    let (mut stream, _) = listener.accept().unwrap();
    assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n").unwrap();
    // Until the other end has had enough.
    let mut sent = 0_usize;
    while stream.write_all(&[0; 16 << 10]).is_ok() {
        sent += 16 << 10;
        assert!(sent < 64 << 20, "it reads on");
    }
    assert_eq!(handle.shutdown(LONG).exported, 1);
}
