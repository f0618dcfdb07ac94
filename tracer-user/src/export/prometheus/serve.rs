//! `GET /metrics`.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs as _},
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;

use super::{Format, text};
use crate::metrics::Sums;

/// Scrapers at a time; others wait.
const MAX_CONNECTIONS: usize = 16;

/// How long a scraper may take to send a request, and how long one that says nothing keeps its connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a scraper may keep a connection, so that none keeps the others out for good.
const CONNECTION_TIME: Duration = Duration::from_secs(120);

/// How long to wait after an accept that failed, for want of descriptors for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound address.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Binds `host:port`. Port 0 is any that is free.
    pub fn bind(address: &str) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the host has no address");
        for address in address.to_socket_addrs()? {
            match TcpListener::bind(address) {
                Ok(listener) => {
                    listener.set_nonblocking(true)?;
                    return Ok(Self(listener));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Serves until it is dropped. Call it within a runtime.
pub async fn serve(listener: Listener, sums: Arc<Sums>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener.0)?;
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return Ok(()) };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let sums = Arc::clone(&sums);
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let response = answer(&request, &sums);
                async { Ok::<_, Infallible>(response) }
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            // Whoever breaks off has what it wanted.
            let _ = tokio::time::timeout(CONNECTION_TIME, server.serve_connection(TokioIo::new(stream), answer)).await;
            drop(permit);
        });
    }
}

fn answer(request: &Request<Incoming>, sums: &Sums) -> Response<Full<Bytes>> {
    let plain = |status: StatusCode, text: &'static str| {
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "the metrics are at /metrics\n");
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET it\n");
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let accept = request.headers().get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::of(&accept.collect::<Vec<_>>().join(","));
    let mut response = Response::new(Full::from(text(&sums.snapshot(), format)));
    let kind = header::HeaderValue::from_static(format.content_type());
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
