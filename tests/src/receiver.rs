//! An OTLP receiver over HTTP that keeps what it gets, and holds what comes as JSON against the registry.

use std::{
    io::Read,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::BytesMut;
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

use crate::{
    mock::http1::{self, Request},
    registry,
};

/// One export as it came, accepted ones only.
#[derive(Debug, Clone)]
pub struct Export {
    pub path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Export {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> anyhow::Result<Value> {
        if self.header("content-encoding") == Some("gzip") {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(self.body.as_slice()).read_to_end(&mut plain)?;
            return Ok(serde_json::from_slice(&plain)?);
        }
        Ok(serde_json::from_slice(&self.body)?)
    }
}

pub struct Receiver {
    address: SocketAddr,
    kept: Arc<Mutex<Vec<Export>>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Receiver {
    /// Answers the first `refusals` requests with 503, which OTLP says to repeat.
    pub fn start(refusals: u32) -> anyhow::Result<Self> {
        Self::start_at("127.0.0.1:0", refusals)
    }

    /// The same at an address that senders know already.
    pub fn start_at(address: &str, refusals: u32) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(address))?;
        let address = listener.local_addr()?;
        let kept = Arc::new(Mutex::default());
        let shared = Arc::clone(&kept);
        let refusals = Arc::new(AtomicU32::new(refusals));
        runtime.spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(receive(tcp, Arc::clone(&shared), Arc::clone(&refusals)));
            }
        });
        Ok(Self { address, kept, runtime: Some(runtime) })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What came so far. Panics when something of it is not as the registry has it.
    #[expect(clippy::panic, reason = "what is wrong with it fails the test")]
    pub fn received(&self) -> Vec<Export> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for export in kept.iter().filter(|export| export.header("content-type") == Some("application/json")) {
            if let Err(error) = export.json().and_then(|data| registry::check(&data)) {
                panic!("{}: {error:#}", export.path);
            }
        }
        kept
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn receive(mut tcp: TcpStream, kept: Arc<Mutex<Vec<Export>>>, refusals: Arc<AtomicU32>) {
    let mut inbound = BytesMut::new();
    while let Ok(Some(request)) = http1::read_request(&mut tcp, &mut inbound).await {
        let refuse = refusals.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let answer: &[u8] = if refuse {
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
        } else {
            let Request { headers, body, .. } = &request;
            let export = Export { path: request.path().to_owned(), headers: headers.clone(), body: body.to_vec() };
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(export);
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
        };
        if tcp.write_all(answer).await.is_err() {
            return;
        }
    }
}
