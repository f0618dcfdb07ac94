//! HTTP/1.1 over an older rustls, which the feature names: `client [tls12]`; wants OPENAI_BASE_URL and SSL_CERT_FILE.

use std::{
    env,
    error::Error,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    thread,
};

#[cfg(feature = "v20")]
use rustls20 as rustls;
#[cfg(feature = "v21")]
use rustls21 as rustls;
#[cfg(feature = "v22")]
use rustls22 as rustls;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, version};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn config() -> Outcome<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let pem = fs::read(env::var("SSL_CERT_FILE")?)?;
    for authority in rustls_pemfile::certs(&mut &*pem) {
        #[cfg(not(feature = "v22"))]
        roots.add(&rustls::Certificate(authority?.to_vec()))?;
        #[cfg(feature = "v22")]
        roots.add(authority?.to_vec().into())?;
    }
    let versions = if env::args().any(|argument| argument == "tls12") { [&version::TLS12] } else { [&version::TLS13] };
    #[cfg(not(feature = "v22"))]
    let builder = ClientConfig::builder()
        .with_safe_default_cipher_suites()
        .with_safe_default_kx_groups()
        .with_protocol_versions(&versions)?;
    #[cfg(feature = "v22")]
    let builder = ClientConfig::builder_with_protocol_versions(&versions);
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Where the model is.
struct Model {
    config: Arc<ClientConfig>,
    host: String,
    port: u16,
    path: String,
    key: String,
}

impl Model {
    fn of_environment() -> Outcome<Self> {
        let url = env::var("OPENAI_BASE_URL")?;
        let (authority, path) = url.strip_prefix("https://").and_then(|rest| rest.split_once('/')).ok_or("no URL")?;
        let (host, port) = authority.rsplit_once(':').ok_or("no port")?;
        Ok(Self {
            config: Arc::new(config()?),
            host: host.to_owned(),
            port: port.parse()?,
            path: format!("/{path}/chat/completions"),
            key: env::var("OPENAI_API_KEY")?,
        })
    }

    fn connect(&self) -> Outcome<Connection<'_>> {
        #[cfg(not(feature = "v22"))]
        let name = rustls::ServerName::try_from(self.host.as_str())?;
        #[cfg(feature = "v22")]
        let name = rustls::pki_types::ServerName::try_from(self.host.clone())?;
        let session = ClientConnection::new(self.config.clone(), name)?;
        let socket = TcpStream::connect((self.host.as_str(), self.port))?;
        Ok(Connection { model: self, stream: BufReader::new(StreamOwned::new(session, socket)) })
    }
}

struct Connection<'a> {
    model: &'a Model,
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Connection<'_> {
    fn ask(&mut self, stream: bool, text: &str, directive: &Value) -> Outcome<()> {
        let mut body = json!({ "model": "gpt-5", "messages": [{ "role": "user", "content": text }] });
        if stream {
            body["stream"] = true.into();
            body["stream_options"] = json!({ "include_usage": true });
        }
        let body = body.to_string();
        let Model { host, port, path, key, .. } = self.model;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}:{port}\r\nauthorization: Bearer {key}\r\nx-mock: {directive}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.stream.get_mut().write_all(head.as_bytes())?;
        self.stream.get_mut().write_all(body.as_bytes())?;
        self.stream.get_mut().flush()?;
        self.answer()
    }

    /// Reads one to its end, of stated length or in chunks.
    fn answer(&mut self) -> Outcome<()> {
        let mut length = None;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = Some(value.trim().parse()?);
            }
            if line.is_empty() {
                break;
            }
        }
        if let Some(length) = length {
            return self.pass(length);
        }
        loop {
            let length = u64::from_str_radix(&self.line()?, 16)?;
            self.pass(length)?;
            self.line()?;
            if length == 0 {
                return Ok(());
            }
        }
    }

    fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        Ok(line.strip_suffix("\r\n").ok_or("the connection has ended")?.to_owned())
    }

    fn pass(&mut self, mut left: u64) -> Outcome<()> {
        let mut piece = [0; 500];
        while left > 0 {
            let most = piece.len().min(usize::try_from(left)?);
            let read = self.stream.read(&mut piece[..most])?;
            left -= read as u64;
            if read == 0 {
                return Err("the connection has ended".into());
            }
        }
        Ok(())
    }

    fn close(mut self) -> Outcome<()> {
        let stream = self.stream.get_mut();
        stream.conn.send_close_notify();
        Ok(stream.flush()?)
    }
}

fn main() -> Outcome<()> {
    let slow = json!({ "tokens": 30, "interval_us": 1000 });
    let model = Arc::new(Model::of_environment()?);
    let mut one = model.connect()?;
    for _ in 0..3 {
        one.ask(false, "hello", &json!({}))?;
        one.ask(true, "hello", &slow)?;
    }
    one.ask(false, "hello", &json!({ "status": 429 }))?;
    one.ask(false, &"x".repeat(1_000_000), &json!({}))?;
    one.close()?;
    let threads: Vec<_> = (0..20)
        .map(|_| {
            let (model, slow) = (model.clone(), slow.clone());
            thread::spawn(move || -> Outcome<()> {
                let mut own = model.connect()?;
                own.ask(true, "hello", &slow)?;
                own.close()
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")??;
    }
    println!("done");
    Ok(())
}
