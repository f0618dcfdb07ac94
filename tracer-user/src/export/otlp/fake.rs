//! An OTLP endpoint on loopback for tests: gRPC over HTTP/2, or HTTP/1.1, with scripted replies.

use std::{
    collections::VecDeque,
    io::Read,
    net::SocketAddr,
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use hyper::{HeaderMap, Response, header::HeaderValue};
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest,
        metrics::v1::ExportMetricsServiceRequest,
        trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse},
    },
    trace::v1::Span,
};
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tonic_types::{ErrorDetails, StatusExt as _};

#[derive(Debug, Clone, Copy)]
pub enum Reply {
    Ok,
    /// Takes the request but rejects so many spans.
    Partial(i64),
    /// HTTP status with `Retry-After` seconds.
    Status(u16, Option<u64>),
    /// gRPC status.
    Grpc(u8),
    /// gRPC status with the seconds of a `RetryInfo`.
    GrpcAfter(u8, u64),
    /// Takes the request, after so many milliseconds.
    Slow(u64),
    /// Closes the connection with a reset once it has the request.
    Reset,
    /// Never answers.
    Hang,
}

impl Reply {
    /// Whether what came with the request counts as delivered.
    fn takes(self) -> bool {
        matches!(self, Self::Ok | Self::Partial(_) | Self::Slow(_))
    }
}

#[derive(Debug)]
pub struct Received {
    pub at: Instant,
    pub reply: Reply,
    pub path: String,
    pub headers: HeaderMap,
    pub body: ExportTraceServiceRequest,
    pub metrics: ExportMetricsServiceRequest,
    pub logs: ExportLogsServiceRequest,
}

impl Received {
    pub fn spans(&self) -> Vec<&Span> {
        self.body
            .resource_spans
            .iter()
            .flat_map(|resource| &resource.scope_spans)
            .flat_map(|scope| &scope.spans)
            .collect()
    }

    pub fn is_taken(&self) -> bool {
        self.reply.takes()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

pub struct Fake {
    pub address: SocketAddr,
    received: mpsc::Receiver<Received>,
    /// Dropped with the fake: ends its thread.
    _stop: tokio::sync::oneshot::Sender<()>,
}

#[derive(Clone)]
struct Script {
    /// The last one stays.
    replies: Arc<Mutex<VecDeque<Reply>>>,
    sender: mpsc::Sender<Received>,
    grpc: bool,
    tls: Option<TlsAcceptor>,
}

impl Script {
    fn next(&self) -> Reply {
        let mut replies = self.replies.lock().unwrap();
        if replies.len() > 1 { replies.pop_front().unwrap() } else { replies[0] }
    }

    fn received(&self, path: &str, headers: &HeaderMap, message: &[u8], reply: Reply) {
        let json = headers["content-type"] == "application/json";
        let mut received = Received {
            at: Instant::now(),
            reply,
            path: path.to_owned(),
            headers: headers.clone(),
            body: ExportTraceServiceRequest::default(),
            metrics: ExportMetricsServiceRequest::default(),
            logs: ExportLogsServiceRequest::default(),
        };
        if path.ends_with("/v1/logs") || path.ends_with("LogsService/Export") {
            received.logs =
                if json { serde_json::from_slice(message).unwrap() } else { Message::decode(message).unwrap() };
            let _ = self.sender.send(received);
            return;
        }
        if path.ends_with("/v1/metrics") || path.ends_with("MetricsService/Export") {
            received.metrics =
                if json { serde_json::from_slice(message).unwrap() } else { Message::decode(message).unwrap() };
        } else {
            received.body =
                if json { serde_json::from_slice(message).unwrap() } else { Message::decode(message).unwrap() };
        }
        // The test may have seen enough.
        let _ = self.sender.send(received);
    }
}

impl Fake {
    pub fn grpc(replies: &[Reply]) -> Self {
        Self::start(replies, true, None)
    }

    pub fn http(replies: &[Reply]) -> Self {
        Self::start(replies, false, None)
    }

    pub fn start(replies: &[Reply], grpc: bool, tls: Option<TlsAcceptor>) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), replies, grpc, tls)
    }

    pub fn start_at(address: SocketAddr, replies: &[Reply], grpc: bool, tls: Option<TlsAcceptor>) -> Self {
        let (sender, received) = mpsc::channel();
        let script = Script { replies: Arc::new(Mutex::new(replies.iter().copied().collect())), sender, grpc, tls };
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, script) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, received, _stop: stop }
    }

    pub fn next(&self) -> Received {
        self.received.recv_timeout(Duration::from_secs(20)).expect("no request came")
    }

    pub fn rest(&self) -> Vec<Received> {
        self.received.try_iter().collect()
    }
}

async fn accept(listener: TcpListener, script: Script) {
    while let Ok((stream, _)) = listener.accept().await {
        let script = script.clone();
        // What is closed with unread or unsent bytes, as `Reply::Reset` does, is closed by a reset.
        stream.set_zero_linger().unwrap();
        tokio::spawn(async move {
            match script.tls.clone() {
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, script).await;
                    }
                }
                None => serve(stream, script).await,
            }
        });
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, script: Script) {
    if script.grpc { serve_grpc(stream, script).await } else { serve_http(stream, script).await }
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

fn answer(reply: Reply) -> ExportTraceServiceResponse {
    let partial_success = match reply {
        Reply::Partial(rejected_spans) => {
            Some(ExportTracePartialSuccess { rejected_spans, error_message: "too old".to_owned() })
        }
        _ => None,
    };
    ExportTraceServiceResponse { partial_success }
}

async fn serve_grpc<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, script: Script) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let (reset, mut is_reset) = tokio::sync::mpsc::channel::<()>(1);
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            // The connection goes with this function.
            _ = is_reset.recv() => return,
        };
        let Some(Ok((request, mut respond))) = accepted else { return };
        let (script, reset) = (script.clone(), reset.clone());
        tokio::spawn(async move {
            let (parts, mut stream) = request.into_parts();
            let mut body = BytesMut::new();
            while let Some(data) = stream.data().await {
                let Ok(data) = data else { return };
                stream.flow_control().release_capacity(data.len()).unwrap();
                body.put(data);
            }
            // gRPC over HTTP/2: a flag byte (compressed or not), a big-endian length, the message.
            let message = if body[0] == 1 { gunzip(&body[5..]) } else { body[5..].to_vec() };
            let reply = script.next();
            if let Reply::Slow(milliseconds) = reply {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            }
            script.received(parts.uri.path(), &parts.headers, &message, reply);
            let mut trailers = HeaderMap::new();
            let status = match reply {
                Reply::Hang => std::future::pending().await,
                Reply::Reset => {
                    // The receiver may be gone.
                    let _ = reset.send(()).await;
                    return;
                }
                Reply::Grpc(code) => code,
                Reply::GrpcAfter(code, seconds) => {
                    let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(seconds)));
                    let status = tonic::Status::with_error_details(i32::from(code).into(), "", details);
                    status.add_header(&mut trailers).unwrap();
                    code
                }
                _ => 0,
            };
            let response = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
            let Ok(mut send) = respond.send_response(response, false) else { return };
            if status == 0 {
                let message = answer(reply).encode_to_vec();
                let mut frame = BytesMut::new();
                frame.put_u8(0);
                frame.put_u32(message.len() as u32);
                frame.put_slice(&message);
                send.send_data(frame.freeze(), false).unwrap();
            }
            trailers.insert("grpc-status", HeaderValue::from(u16::from(status)));
            send.send_trailers(trailers).unwrap();
        });
    }
}

async fn serve_http<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, script: Script) {
    let mut buffer = BytesMut::new();
    loop {
        let (path, headers, length, head_size) = loop {
            let mut fields = [httparse::EMPTY_HEADER; 32];
            let mut request = httparse::Request::new(&mut fields);
            if let httparse::Status::Complete(size) = request.parse(&buffer).unwrap() {
                let mut headers = HeaderMap::new();
                for field in request.headers.iter() {
                    let name = hyper::header::HeaderName::try_from(field.name).unwrap();
                    headers.insert(name, HeaderValue::from_bytes(field.value).unwrap());
                }
                let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
                break (request.path.unwrap().to_owned(), headers, length, size);
            }
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        };
        while buffer.len() < head_size + length {
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let body: Bytes = buffer.split_to(head_size + length).freeze().slice(head_size..);
        let gzip = headers.get("content-encoding").is_some_and(|value| value == "gzip");
        let body = if gzip { gunzip(&body) } else { body.to_vec() };
        let json = headers["content-type"] == "application/json";
        let reply = script.next();
        if let Reply::Slow(milliseconds) = reply {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        }
        script.received(&path, &headers, &body, reply);
        let (status, retry_after) = match reply {
            Reply::Hang => std::future::pending().await,
            Reply::Reset => return,
            Reply::Status(status, retry_after) => (status, retry_after),
            _ => (200, None),
        };
        let body = if status != 200 {
            Vec::new()
        } else if json {
            serde_json::to_vec(&answer(reply)).unwrap()
        } else {
            answer(reply).encode_to_vec()
        };
        let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
        if let Some(seconds) = retry_after {
            head.push_str(&format!("retry-after: {seconds}\r\n"));
        }
        head.push_str("\r\n");
        if stream.write_all(head.as_bytes()).await.is_err() || stream.write_all(&body).await.is_err() {
            return;
        }
    }
}
