//! An OTLP endpoint over HTTP that takes everything and counts it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::Result;

/// What came so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Taken {
    /// Requests with spans.
    pub traces: u64,
    /// Their bytes, heads included.
    pub trace_bytes: u64,
}

pub struct Sink {
    url: String,
    taken: Arc<Mutex<Taken>>,
}

impl Sink {
    /// Serves until this program ends.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let taken = Arc::default();
        let shared = Arc::clone(&taken);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let taken = Arc::clone(&shared);
                // A connection that breaks is the other end's affair.
                thread::spawn(move || drop(serve(stream, &taken)));
            }
        });
        Ok(Self { url, taken })
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    pub fn taken(&self) -> Taken {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(stream: TcpStream, taken: &Mutex<Taken>) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut length, mut line) = (0, 0_u64, String::new());
        let mut is_traces = false;
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            is_traces |= head == 0 && line.contains("/v1/traces");
            head += line.len() as u64;
            let field = line.to_ascii_lowercase();
            if let Some(value) = field.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line == "\r\n" {
                break;
            }
        }
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
        if is_traces {
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            taken.traces += 1;
            taken.trace_bytes += head + length;
        }
        writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}
