//! An API server of Kubernetes on loopback, over TLS, that knows the pods of one node and takes one token.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use anyhow::Context;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::mock::certificate;

/// It has no pods in its list; what it tells, it tells to a watch.
pub struct ApiServer {
    pub address: SocketAddr,
    /// Its authority's certificate, PEM.
    pub authority: String,
    events: mpsc::Sender<Option<Value>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    token: String,
    requests: Vec<Request>,
}

/// What came, and whether its token was the right one.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    pub accepted: bool,
}

impl ApiServer {
    pub fn start(token: &str) -> anyhow::Result<Self> {
        let identity = certificate::generate(false)?;
        let listener = TcpListener::bind("127.0.0.1:0").context("no port")?;
        let address = listener.local_addr()?;
        let (events, watched) = mpsc::channel();
        let state = Arc::new(Mutex::new(State { token: token.to_owned(), ..State::default() }));
        let (shared, watched) = (Arc::clone(&state), Arc::new(Mutex::new(watched)));
        let config = identity.server;
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (state, watched, config) = (Arc::clone(&shared), Arc::clone(&watched), Arc::clone(&config));
                thread::spawn(move || serve(stream, config, &state, &watched));
            }
        });
        Ok(Self { address, authority: identity.authority_pem, events, state })
    }

    /// Takes only this token from now on.
    pub fn accept(&self, token: &str) {
        token.clone_into(&mut lock(&self.state).token);
    }

    /// Tells the watch that is open, or the next one.
    pub fn tell(&self, kind: &str, pod: &Value) {
        let _ = self.events.send(Some(json!({ "type": kind, "object": pod })));
    }

    /// Ends the watch.
    pub fn end_watch(&self) {
        let _ = self.events.send(None);
    }

    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state).requests.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    state: &Mutex<State>,
    watched: &Mutex<mpsc::Receiver<Option<Value>>>,
) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(120))).ok()?;
    let mut stream = StreamOwned::new(ServerConnection::new(config).ok()?, stream);
    let mut received = Vec::new();
    loop {
        while !received.windows(4).any(|four| four == b"\r\n\r\n") {
            let mut piece = [0; 4096];
            match stream.read(&mut piece).ok()? {
                0 => return None,
                length => received.extend(piece.get(..length)?),
            }
        }
        // Requests have no bodies, and none comes before the answer.
        let head = String::from_utf8(std::mem::take(&mut received)).ok()?;
        let path = head.split(' ').nth(1)?.to_owned();
        let bearer = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer "));
        let accepted = {
            let mut state = lock(state);
            let accepted = bearer == Some(state.token.as_str());
            state.requests.push(Request { path: path.clone(), accepted });
            accepted
        };
        if !accepted {
            let body = json!({ "kind": "Status", "code": 401 }).to_string();
            write!(stream, "HTTP/1.1 401 X\r\ncontent-length: {}\r\n\r\n{body}", body.len()).ok()?;
        } else if path.contains("watch=1") {
            write!(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").ok()?;
            stream.flush().ok()?;
            let events = lock(watched);
            while let Some(event) = events.recv().ok()? {
                let line = format!("{event}\n");
                write!(stream, "{:x}\r\n{line}\r\n", line.len()).ok()?;
                stream.flush().ok()?;
            }
            write!(stream, "0\r\n\r\n").ok()?;
        } else {
            let body = json!({ "kind": "PodList", "metadata": { "resourceVersion": "1" }, "items": null }).to_string();
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).ok()?;
        }
        stream.flush().ok()?;
    }
}
