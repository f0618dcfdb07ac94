//! An API server or kubelet on loopback that plays a script, one turn a request.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

pub enum Turn {
    /// Pods, the list's version, and where the next page begins.
    List(Vec<Value>, &'static str, &'static str),
    Watch(Vec<Value>, End),
    Status(u16, Option<u64>),
    /// An answer that is no JSON.
    Nonsense,
}

/// How a watch ends.
#[derive(PartialEq, Eq)]
pub enum End {
    /// In order.
    Closed,
    /// In the middle of a line.
    Broken,
    /// Not at all.
    Open,
}

/// What came: the path with its query, and the token.
pub type Asked = (String, Option<String>);

pub struct Fake {
    pub address: SocketAddr,
    script: Script,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Script {
    turns: Arc<Mutex<VecDeque<Turn>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Tokens that are accepted; all, when there are none.
    tokens: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    pub async fn start(tls: Option<TlsAcceptor>, turns: Vec<Turn>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script =
            Script { turns: Arc::new(Mutex::new(turns.into())), asked: Arc::default(), tokens: Arc::default() };
        let served = script.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (script, tls) = (served.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        // A client that does not believe us goes away.
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, script).await,
                            Err(_) => None,
                        },
                        None => serve(stream, script).await,
                    }
                });
            }
        });
        Self { address, script, task }
    }

    /// Only these are accepted from now on.
    pub fn accept(&self, tokens: &[&str]) {
        *self.script.tokens.lock().unwrap() = tokens.iter().map(|token| (*token).to_owned()).collect();
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.script.asked.lock().unwrap().clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, script: Script) -> Option<()> {
    let mut received = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = memchr::memmem::find(&received, b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut received).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8(received.drain(..end).collect()).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let authorization = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer "));
        let token = authorization.map(str::to_owned);
        script.asked.lock().unwrap().push((path, token.clone()));
        let refused = {
            let tokens = script.tokens.lock().unwrap();
            !tokens.is_empty() && !token.is_some_and(|token| tokens.contains(&token))
        };
        let turn = if refused { Some(Turn::Status(401, None)) } else { script.turns.lock().unwrap().pop_front() };
        // When the script is over, nothing is answered.
        let Some(turn) = turn else { return std::future::pending().await };
        match turn {
            Turn::List(items, version, next) => {
                let items = if items.is_empty() { Value::Null } else { Value::Array(items) };
                let list = json!({ "kind": "PodList", "metadata": { "resourceVersion": version, "continue": next }, "items": items });
                whole(&mut stream, 200, "", &list.to_string()).await?;
            }
            Turn::Nonsense => whole(&mut stream, 200, "", "<html>").await?,
            Turn::Status(status, after) => {
                let after = after.map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
                let body = json!({ "kind": "Status", "status": "Failure", "code": status });
                whole(&mut stream, status, &after, &body.to_string()).await?;
            }
            Turn::Watch(events, end) => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.ok()?;
                for event in events {
                    let line = format!("{event}\n");
                    // A line comes in two pieces.
                    let (one, other) = line.split_at(line.len() / 2);
                    for piece in [one, other] {
                        stream.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes()).await.ok()?;
                        stream.flush().await.ok()?;
                    }
                }
                match end {
                    End::Closed => stream.write_all(b"0\r\n\r\n").await.ok()?,
                    End::Broken => {
                        stream.write_all(b"5\r\n{\"ty").await.ok()?;
                        stream.flush().await.ok()?;
                        return None;
                    }
                    End::Open => return std::future::pending().await,
                }
                stream.flush().await.ok()?;
            }
        }
    }
}

async fn whole(stream: &mut (impl AsyncWrite + Unpin), status: u16, headers: &str, body: &str) -> Option<()> {
    let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(body.as_bytes()).await.ok()?;
    stream.flush().await.ok()
}
