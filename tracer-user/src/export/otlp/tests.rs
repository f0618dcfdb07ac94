use std::{
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    time::Instant,
};

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value as AnyValue};
use tokio::net::TcpSocket;
use tokio_rustls::{TlsAcceptor, rustls as tls};

use super::{
    fake::{Fake, Received, Reply},
    *,
};
use crate::export::convert;
use crate::span::{
    Host, Ids, Synth,
    samples::{cost, full_call, process},
};

pub const PROTOCOLS: [&str; 3] = ["grpc", "http/protobuf", "http/json"];
pub const LONG: Duration = Duration::from_secs(20);

pub fn fake(protocol: &str, replies: &[Reply]) -> Fake {
    if protocol == "grpc" { Fake::grpc(replies) } else { Fake::http(replies) }
}

/// Starts an exporter with these variables; batches leave at once.
pub fn start(endpoint: &str, protocol: &str, more: &[(&str, &str)]) -> ExportHandle {
    start_with(endpoint, protocol, more, Arc::new(SystemResolver))
}

pub fn start_with(endpoint: &str, protocol: &str, more: &[(&str, &str)], resolver: Arc<dyn Resolve>) -> ExportHandle {
    let variables: Vec<(String, String)> =
        [("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), ("OTEL_BSP_SCHEDULE_DELAY", "10")]
            .iter()
            .chain(more)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
    let env = move |name: &str| Some(variables.iter().rev().find(|(key, _)| key == name)?.1.clone());
    Otlp::new(Some(endpoint), &env).unwrap().unwrap().start(resolver).unwrap()
}

/// An address at which nothing listens, and nothing can as long as the socket lives: tests run side by side.
pub fn nowhere() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

pub fn url(fake: &Fake) -> String {
    format!("http://{}", fake.address)
}

/// Spans of one process.
fn records(numbers: Range<u32>) -> Vec<SpanRecord> {
    let mut synth = Synth::new(Ids::replay(), Host::default());
    synth.process(&process());
    numbers
        .map(|index| {
            let mut call = full_call();
            call.id.index = index;
            synth.call(&call, None, Some(&cost()))
        })
        .collect()
}

/// Sends so many spans, numbered from `first`.
pub fn send_from(handle: &ExportHandle, first: u32, count: u32) {
    for record in records(first..first + count) {
        handle.send(record);
    }
}

fn send_all(handle: &ExportHandle, count: u32) {
    send_from(handle, 0, count);
}

/// The number that [`send_from`] gave a span.
pub fn index(attributes: &[KeyValue]) -> i64 {
    let AnyValue::IntValue(index) = find(attributes, "llmtap.exchange.index") else { panic!("no number") };
    index
}

pub fn stats(exported: u64, dropped: u64) -> ExportStats {
    ExportStats { exported, dropped, last_error: None }
}

fn find(attributes: &[KeyValue], name: &str) -> AnyValue {
    attributes.iter().find(|attribute| attribute.key == name).unwrap().value.clone().unwrap().value.unwrap()
}

fn text(attributes: &[KeyValue], name: &str) -> String {
    let AnyValue::StringValue(text) = find(attributes, name) else { panic!("{name} is no text") };
    text
}

/// The service, and of the first span the name and the input tokens.
fn read(received: &Received) -> (String, String, i64) {
    let resource = received.body.resource_spans[0].resource.as_ref().unwrap();
    let span = received.spans()[0];
    let AnyValue::IntValue(tokens) = find(&span.attributes, "gen_ai.usage.input_tokens") else { panic!() };
    (text(&resource.attributes, "service.name"), span.name.clone(), tokens)
}

#[test]
fn spans_arrive_by_every_protocol() {
    for protocol in PROTOCOLS {
        let fake = fake(protocol, &[Reply::Ok]);
        let handle = start(&url(&fake), protocol, &[("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b,x-team=llm")]);
        send_all(&handle, 1);
        let received = fake.next();
        assert_eq!(read(&received), ("agent.py".to_owned(), "chat model-5".to_owned(), 1200));
        let (path, content) = match protocol {
            "grpc" => ("/opentelemetry.proto.collector.trace.v1.TraceService/Export", "application/grpc"),
            "http/protobuf" => ("/v1/traces", "application/x-protobuf"),
            _ => ("/v1/traces", "application/json"),
        };
        assert_eq!(received.path, path);
        assert_eq!(received.header("content-type"), Some(content));
        assert_eq!(received.header("api-key"), Some("a b"));
        assert_eq!(received.header("x-team"), Some("llm"));
        assert_eq!(handle.shutdown(LONG), stats(1, 0), "{protocol}");
    }
}

#[test]
fn what_arrives_is_what_jsonl_writes() {
    for protocol in PROTOCOLS {
        let fake = fake(protocol, &[Reply::Ok]);
        let handle = start(&url(&fake), protocol, &[]);
        send_all(&handle, 1);
        let received = fake.next();
        let written = convert::resource_spans(records(0..1)).remove(0);
        let (got, wanted) = (&received.body.resource_spans[0], &written);
        assert_eq!(got.scope_spans, wanted.scope_spans, "{protocol}");
        assert_eq!(got.schema_url, wanted.schema_url);
        assert_eq!(got.resource, wanted.resource);
        handle.shutdown(LONG);
    }
}

#[test]
fn gzip_is_used_when_asked_for() {
    for protocol in PROTOCOLS {
        let fake = fake(protocol, &[Reply::Ok]);
        let handle = start(&url(&fake), protocol, &[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")]);
        send_all(&handle, 3);
        let received = fake.next();
        let header = if protocol == "grpc" { "grpc-encoding" } else { "content-encoding" };
        assert_eq!(received.header(header), Some("gzip"));
        assert_eq!(received.spans().len(), 3);
        assert_eq!(handle.shutdown(LONG), stats(3, 0));
    }
}

#[test]
fn each_process_has_its_own_resource() {
    for protocol in PROTOCOLS {
        let fake = fake(protocol, &[Reply::Ok]);
        let handle = start(&url(&fake), protocol, &[("OTEL_BSP_SCHEDULE_DELAY", "60000")]);
        let mut synth = Synth::new(Ids::replay(), Host::default());
        for pid in 0..20_u32 {
            let process =
                crate::capture::Process { pid, service: Some(format!("s{pid}").into()), ..Default::default() };
            synth.process(&Arc::new(process));
            for index in 0..2 {
                let mut call = full_call();
                call.id.index = index;
                call.connection = Arc::new(crate::capture::Connection { pid: Some(pid), ..(*call.connection).clone() });
                handle.send(synth.call(&call, None, None));
            }
        }
        assert_eq!(handle.shutdown(LONG), stats(40, 0));
        // One request has them all, each process once.
        let [received] = &fake.rest()[..] else { panic!("not one request") };
        let mut services = Vec::new();
        for resource in &received.body.resource_spans {
            let spans: usize = resource.scope_spans.iter().map(|scope| scope.spans.len()).sum();
            assert_eq!(spans, 2);
            services.push(text(&resource.resource.as_ref().unwrap().attributes, "service.name"));
        }
        assert_eq!(services, (0..20).map(|pid| format!("s{pid}")).collect::<Vec<_>>());
    }
}

#[test]
fn a_passing_failure_is_retried() {
    for (protocol, failure) in [
        ("grpc", Reply::Grpc(14)),
        ("http/protobuf", Reply::Status(503, None)),
        ("http/json", Reply::Status(429, None)),
    ] {
        let fake = fake(protocol, &[failure, failure, Reply::Ok]);
        let handle = start(&url(&fake), protocol, &[]);
        send_all(&handle, 2);
        for _ in 0..3 {
            assert_eq!(fake.next().spans().len(), 2);
        }
        let stats = handle.shutdown(LONG);
        assert_eq!((stats.exported, stats.dropped), (2, 0), "{protocol}");
    }
}

#[test]
fn retry_after_is_honoured() {
    let fake = Fake::http(&[Reply::Status(503, Some(1)), Reply::Ok]);
    let handle = start(&url(&fake), "http/protobuf", &[]);
    send_all(&handle, 1);
    let (first, second) = (fake.next().at, fake.next().at);
    assert!(second - first >= Duration::from_millis(1000), "{:?}", second - first);
    assert_eq!(handle.shutdown(LONG).exported, 1);
}

#[test]
fn a_lasting_failure_is_not_retried() {
    for (protocol, failure, word) in [
        ("grpc", Reply::Grpc(16), "Unauthenticated"),
        ("http/protobuf", Reply::Status(401, None), "401"),
        ("http/json", Reply::Status(400, None), "400"),
    ] {
        let fake = fake(protocol, &[failure, Reply::Ok]);
        let handle = start(&url(&fake), protocol, &[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")]);
        send_all(&handle, 4);
        let stats = handle.shutdown(LONG);
        assert_eq!((stats.exported, stats.dropped), (2, 2), "{protocol}");
        assert!(stats.last_error.as_ref().unwrap().contains(word), "{stats:?}");
        fake.next();
        fake.next();
        assert!(fake.rest().is_empty());
    }
}

#[test]
fn retrying_ends_with_the_timeout() {
    for (protocol, failure) in [("grpc", Reply::Grpc(14)), ("http/protobuf", Reply::Status(503, None))] {
        let fake = fake(protocol, &[failure]);
        let handle = start(&url(&fake), protocol, &[("OTEL_BSP_EXPORT_TIMEOUT", "1000")]);
        let begun = Instant::now();
        send_all(&handle, 1);
        let stats = handle.shutdown(LONG);
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!((stats.exported, stats.dropped), (0, 1));
        assert!(fake.rest().len() >= 2);
    }
}

#[test]
fn rejected_spans_are_counted() {
    for protocol in PROTOCOLS {
        let fake = fake(protocol, &[Reply::Partial(2), Reply::Ok]);
        let handle = start(&url(&fake), protocol, &[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")]);
        send_all(&handle, 10);
        let stats = handle.shutdown(LONG);
        assert_eq!((stats.exported, stats.dropped), (8, 2), "{protocol}");
        assert!(stats.last_error.unwrap().contains("rejected 2 spans"));
    }
}

#[test]
fn a_full_queue_drops_and_counts() {
    let fake = Fake::http(&[Reply::Hang]);
    let limits = [("OTEL_BSP_MAX_QUEUE_SIZE", "10"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")];
    let handle = start(&url(&fake), "http/protobuf", &limits);
    send_all(&handle, 5);
    fake.next();
    let begun = Instant::now();
    send_all(&handle, 1000);
    assert!(begun.elapsed() < Duration::from_secs(5), "sending must not wait");
    // 5 are in flight, 10 wait; the deadline passes over them too.
    assert_eq!(handle.sender.capacity(), 0);
    let begun = Instant::now();
    let stats = handle.shutdown(Duration::from_millis(200));
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!((stats.exported, stats.dropped), (0, 1005));
    assert_eq!(stats.last_error, Some(format!("{} took too long", url(&fake))));
}

#[test]
fn a_replay_waits_for_room_while_the_endpoint_takes_spans() {
    let limits = |name: &str| match name {
        "OTEL_BSP_MAX_QUEUE_SIZE" | "OTEL_BSP_MAX_EXPORT_BATCH_SIZE" => Some("8".to_owned()),
        "OTEL_BSP_SCHEDULE_DELAY" => Some("1".to_owned()),
        "OTEL_BSP_EXPORT_TIMEOUT" => Some("300".to_owned()),
        _ => None,
    };
    let fake = Fake::http(&[Reply::Ok]);
    let otlp = Otlp::new(Some(&url(&fake)), &limits).unwrap().unwrap().when_full(WhenFull::Wait);
    let handle = otlp.start(Arc::new(SystemResolver)).unwrap();
    send_all(&handle, 500);
    assert_eq!(handle.shutdown(LONG), stats(500, 0));

    let (_held, closed) = nowhere();
    let otlp = Otlp::new(Some(&format!("http://{closed}")), &limits).unwrap().unwrap().when_full(WhenFull::Wait);
    let handle = otlp.start(Arc::new(SystemResolver)).unwrap();
    let begun = Instant::now();
    send_all(&handle, 500);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(handle.shutdown(LONG).dropped, 500);
}

#[test]
fn queued_memory_is_bounded_in_bytes_too() {
    let fake = Fake::http(&[Reply::Hang]);
    let handle = start(&url(&fake), "http/protobuf", &[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")]);
    for mut record in records(0..40) {
        record.attributes.push(("llmtap.test", "x".repeat(4 << 20).into()));
        handle.send(record);
    }
    assert!(handle.queued_bytes.load(Ordering::Relaxed) <= handle.settings().batch.memory);
    assert!(handle.sender.max_capacity() - handle.sender.capacity() < 20);
    assert_eq!(handle.shutdown(Duration::ZERO).dropped, 40);
}

#[test]
fn an_unreachable_endpoint_costs_nothing_but_spans() {
    for protocol in PROTOCOLS {
        let (_held, closed) = nowhere();
        let timeout = [("OTEL_BSP_EXPORT_TIMEOUT", "500")];
        let handle = start(&format!("http://{closed}"), protocol, &timeout);
        send_all(&handle, 3);
        let begun = Instant::now();
        let stats = handle.shutdown(LONG);
        assert!(begun.elapsed() < Duration::from_secs(3), "{protocol}");
        assert_eq!((stats.exported, stats.dropped), (0, 3));
        let error = stats.last_error.unwrap();
        assert!(error.contains("refused") && error.contains(&closed.to_string()), "{error}");
    }
}

#[test]
fn an_outage_is_told_in_one_line() {
    #[derive(Clone, Default)]
    struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);
    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        let (_held, closed) = nowhere();
        let limits = [("OTEL_BSP_EXPORT_TIMEOUT", "700"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")];
        let handle = start(&format!("http://{closed}"), "http/protobuf", &limits);
        send_all(&handle, 3);
        handle.shutdown(LONG);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(&format!("cannot send spans to http://{closed}: connect to {closed}")), "{text}");
    });
}

#[test]
fn waiting_spans_leave_at_shutdown() {
    for protocol in PROTOCOLS {
        let fake = fake(protocol, &[Reply::Ok]);
        let handle = start(&url(&fake), protocol, &[("OTEL_BSP_SCHEDULE_DELAY", "600000")]);
        send_all(&handle, 700);
        assert_eq!(handle.shutdown(LONG), stats(700, 0));
        let sizes: Vec<usize> = fake.rest().iter().map(|received| received.spans().len()).collect();
        assert_eq!(sizes, [512, 188]);
    }
}

/// Knows one name.
struct OneHost {
    address: SocketAddr,
    dead: (TcpSocket, SocketAddr),
}

impl Resolve for OneHost {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let answer = if host == "collector.test" && port == 4318 {
            // The first address does not answer: the next one must be tried.
            Ok(vec![self.dead.1, self.address])
        } else {
            Err(io::Error::new(io::ErrorKind::NotFound, "no such host"))
        };
        Box::pin(async move { answer })
    }
}

#[test]
fn names_are_resolved_by_the_caller() {
    for protocol in PROTOCOLS {
        let fake = fake(protocol, &[Reply::Ok]);
        let resolver = Arc::new(OneHost { address: fake.address, dead: nowhere() });
        let handle = start_with("http://collector.test:4318", protocol, &[], resolver.clone());
        send_all(&handle, 1);
        assert_eq!(handle.shutdown(LONG).exported, 1, "{protocol}");

        let timeout = [("OTEL_BSP_EXPORT_TIMEOUT", "300")];
        let handle = start_with("http://other.test:4318", protocol, &timeout, resolver);
        send_all(&handle, 1);
        let error = handle.shutdown(LONG).last_error.unwrap();
        assert_eq!(error, "cannot resolve other.test: no such host");
    }
}

pub struct Pki {
    pub ca: tempfile::NamedTempFile,
    pub client_certificate: tempfile::NamedTempFile,
    pub client_key: tempfile::NamedTempFile,
    pub acceptor: TlsAcceptor,
}

pub fn path(file: &tempfile::NamedTempFile) -> String {
    file.path().to_str().unwrap().to_owned()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

/// A CA, a server certificate for localhost, and a client certificate that the server demands.
pub fn pki(alpn: &[&[u8]]) -> Pki {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(params, ca_key);
    let signed = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &issuer).unwrap(), key)
    };
    let (server, server_key) = signed("localhost");
    let (client, client_key) = signed("client");
    let provider = Arc::new(tls::crypto::ring::default_provider());
    let mut roots = tls::RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let verifier = tls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
    let mut config = tls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![server.der().clone()],
            tls::pki_types::PrivatePkcs8KeyDer::from(server_key.serialize_der()).into(),
        )
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Pki {
        ca: file(&ca.pem()),
        client_certificate: file(&client.pem()),
        client_key: file(&client_key.serialize_pem()),
        acceptor: TlsAcceptor::from(Arc::new(config)),
    }
}

#[test]
fn tls_with_own_roots_and_a_client_certificate() {
    for protocol in PROTOCOLS {
        let grpc = protocol == "grpc";
        let pki = pki(if grpc { &[b"h2"] } else { &[b"http/1.1"] });
        let fake = Fake::start(&[Reply::Ok], grpc, Some(pki.acceptor.clone()));
        let url = format!("https://localhost:{}", fake.address.port());
        let (ca, certificate, key) = (path(&pki.ca), path(&pki.client_certificate), path(&pki.client_key));
        let files = [
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.as_str()),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate.as_str()),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", key.as_str()),
        ];
        let handle = start(&url, protocol, &files);
        send_all(&handle, 1);
        assert_eq!(handle.shutdown(LONG).exported, 1, "{protocol}");

        // A CA that did not sign the server's certificate.
        let other = self::pki(&[]);
        let other = path(&other.ca);
        let files = [("OTEL_EXPORTER_OTLP_CERTIFICATE", other.as_str()), ("OTEL_EXPORTER_OTLP_TIMEOUT", "9000")];
        let handle = start(&url, protocol, &files);
        send_all(&handle, 1);
        // The cause is known at once, not only when the exporter gives up.
        let begun = Instant::now();
        while handle.stats().last_error.is_none() && begun.elapsed() < LONG {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        let stats = handle.shutdown(Duration::ZERO);
        assert_eq!((stats.exported, stats.dropped), (0, 1));
        let error = stats.last_error.unwrap();
        assert!(error.to_lowercase().contains("certificate"), "{protocol}: {error}");
    }
}

/// Refuses this thread, and those that it starts, to open files and start programs.
fn refuse_files() {
    let refused = [libc::SYS_openat, libc::SYS_execve, libc::SYS_execveat];
    let filter = seccompiler::SeccompFilter::new(
        refused.into_iter().map(|call| (call, Vec::new())).collect(),
        seccompiler::SeccompAction::Allow,
        seccompiler::SeccompAction::Errno(libc::EPERM.cast_unsigned()),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: seccompiler::BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
    assert!(std::fs::read("/etc/hostname").is_err());
}

#[test]
fn once_made_it_opens_no_file() {
    for protocol in PROTOCOLS {
        for tls in [false, true] {
            let grpc = protocol == "grpc";
            let pki = pki(if grpc { &[b"h2"] } else { &[b"http/1.1"] });
            let fake = Fake::start(&[Reply::Ok], grpc, tls.then(|| pki.acceptor.clone()));
            let scheme = if tls { "https" } else { "http" };
            // The certificate is for a name, and the name is the caller's to resolve.
            let endpoint = format!("{scheme}://localhost:4318");
            let address = fake.address;
            let files = [
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", &pki.ca),
                ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &pki.client_certificate),
                ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &pki.client_key),
            ]
            .map(|(name, file)| (name, file.path().to_str().unwrap().to_owned()));
            let stats = std::thread::spawn(move || {
                let env = |name: &str| match name {
                    "OTEL_EXPORTER_OTLP_PROTOCOL" => Some(protocol.to_owned()),
                    _ => Some(files.iter().find(|(key, _)| *key == name)?.1.clone()),
                };
                let otlp = Otlp::new(Some(&endpoint), &env).unwrap().unwrap();
                refuse_files();
                let handle = otlp.start(Arc::new(Always(address))).unwrap();
                send_all(&handle, 2);
                handle.shutdown(LONG)
            });
            assert_eq!(stats.join().unwrap(), self::stats(2, 0), "{protocol} {tls}");
        }
    }
}

/// Every name is this address.
struct Always(SocketAddr);

impl Resolve for Always {
    fn resolve(&self, _: &str, _: u16) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let address = self.0;
        Box::pin(async move { Ok(vec![address]) })
    }
}
