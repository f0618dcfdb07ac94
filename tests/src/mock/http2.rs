//! The server's side of HTTP/2 (RFC 9113): framing by the `h2` crate, one task a stream.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use h2::{
    Reason, RecvStream, SendStream,
    server::{self, SendResponse},
};
use tokio::sync::mpsc;

use super::{
    directive::End,
    http1::{Request, Wire},
    reply::{Afterwards, BodyEnd, Reply},
    serve::Shared,
    truth::{Ended, now},
};

/// Stream and connection windows: large, so that requests come without pauses.
const WINDOW: u32 = 16 << 20;

/// Serves a connection whose client speaks HTTP/2, up to its end.
pub async fn converse(wire: impl Wire + 'static, peer: SocketAddr, connection: u64, shared: Arc<Shared>) {
    let mut builder = server::Builder::new();
    builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW).max_concurrent_streams(256);
    let Ok(mut http) = builder.handshake::<_, Bytes>(wire).await else { return };
    // A script can end the connection: the task of its stream says how.
    let (endings, mut ending) = mpsc::channel(1);
    let indices = AtomicU64::new(0);
    loop {
        tokio::select! {
            accepted = http.accept() => {
                let Some(Ok((request, respond))) = accepted else { return };
                let first = now();
                let index = indices.fetch_add(1, Ordering::Relaxed);
                shared.begin();
                let (shared, endings) = (Arc::clone(&shared), endings.clone());
                tokio::spawn(async move {
                    if let Ok(request) = read_request(request, first).await {
                        let mut reply = StreamReply { respond, body: None, split: 0, written: 0 };
                        if shared.exchange(&mut reply, &request, peer, connection, index).await == Afterwards::Drop {
                            let _ = endings.send(()).await;
                        }
                    }
                    shared.end();
                });
            }
            _ = ending.recv() => return,
        }
    }
}

async fn read_request(request: http::Request<RecvStream>, first: u64) -> Result<Request, h2::Error> {
    let (parts, mut stream) = request.into_parts();
    let mut body = BytesMut::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        let _ = stream.flow_control().release_capacity(data.len());
        body.extend_from_slice(&data);
    }
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut headers: Vec<_> =
        parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    if let Some(authority) = parts.uri.authority() {
        headers.push(("host".to_owned(), authority.to_string()));
    }
    Ok(Request {
        method: parts.method.to_string(),
        target: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        version: 1,
        headers,
        wire_bytes: body.len() as u64,
        body: body.freeze(),
        first,
        last: now(),
    })
}

/// One stream's response.
struct StreamReply {
    respond: SendResponse<Bytes>,
    body: Option<SendStream<Bytes>>,
    /// Bytes of a DATA frame, 0 for no limit.
    split: usize,
    written: u64,
}

impl Reply for StreamReply {
    async fn head(&mut self, status: u16, headers: &[(&str, String)], _: bool, end: BodyEnd) -> io::Result<()> {
        let mut head = http::Response::builder().status(status);
        for (name, value) in headers {
            head = head.header(*name, value);
        }
        if let BodyEnd::Length(length) = end {
            head = head.header("content-length", length);
        }
        let head = head.body(()).map_err(io::Error::other)?;
        self.body = Some(self.respond.send_response(head, false).map_err(io::Error::other)?);
        Ok(())
    }

    async fn body(&mut self, data: &[u8]) -> io::Result<()> {
        let stream = self.body.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let size = if self.split == 0 { data.len().max(1) } else { self.split };
        let mut rest = Bytes::copy_from_slice(data);
        while !rest.is_empty() {
            let wanted = size.min(rest.len());
            stream.reserve_capacity(wanted);
            while stream.capacity() == 0 {
                match poll_fn(|context| stream.poll_capacity(context)).await {
                    Some(Ok(_)) => {}
                    _ => return Err(io::ErrorKind::ConnectionReset.into()),
                }
            }
            let piece = rest.split_to(wanted.min(stream.capacity()));
            self.written += piece.len() as u64;
            stream.send_data(piece, false).map_err(io::Error::other)?;
        }
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<()> {
        let stream = self.body.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        stream.send_data(Bytes::new(), true).map_err(io::Error::other)
    }

    async fn pause(&mut self, duration: Duration) -> io::Result<()> {
        let gone = poll_fn(|context| match &mut self.body {
            Some(stream) => stream.poll_reset(context),
            None => self.respond.poll_reset(context),
        });
        match tokio::time::timeout(duration, gone).await {
            Err(_) => Ok(()),
            Ok(_) => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }

    async fn break_off(&mut self, end: End, stall: Duration) -> (Ended, Afterwards) {
        match end {
            End::Normal | End::Error => (Ended::Complete, Afterwards::KeepAlive),
            // What was sent gets out before the connection ends.
            End::Close | End::CloseNotify => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                (Ended::Closed, Afterwards::Drop)
            }
            End::Reset => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                if let Some(stream) = &mut self.body {
                    stream.send_reset(Reason::INTERNAL_ERROR);
                }
                (Ended::Reset, Afterwards::KeepAlive)
            }
            End::Stall => match self.pause(stall).await {
                Ok(()) => (Ended::Stalled, Afterwards::Drop),
                Err(_) => (Ended::ClientGone, Afterwards::KeepAlive),
            },
        }
    }

    fn split(&mut self, bytes: usize) {
        self.split = bytes;
    }

    fn written(&self) -> u64 {
        self.written
    }
}
