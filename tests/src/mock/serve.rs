//! Accepts connections and answers their requests.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::BytesMut;
use tokio_rustls::TlsAcceptor;

use super::{
    answer::answer,
    certificate,
    http1::{self, Request, Wire},
    http2,
    play::play,
    reply::{Afterwards, Reply},
    truth::{Log, Truth, now},
    websocket,
};

#[derive(Debug, Clone)]
pub struct Options {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where to write the certificate authority for clients to trust.
    pub authority_file: Option<PathBuf>,
    /// Where to write the server's certificate and key, for another server that its clients are to trust.
    pub server_file: Option<PathBuf>,
    /// Where to write the log of exchanges.
    pub log: Option<PathBuf>,
    /// Plain HTTP instead of TLS, as local inference servers have it.
    pub plaintext: bool,
    /// Offer HTTP/2 to clients that can (ALPN), as providers do.
    pub http2: bool,
    /// Worker threads of its own runtime.
    pub workers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            authority_file: None,
            server_file: None,
            log: None,
            plaintext: false,
            http2: false,
            workers: 2,
        }
    }
}

/// A running mock with a runtime of its own; dropping it stops everything.
pub struct MockProvider {
    address: SocketAddr,
    scheme: &'static str,
    authority_pem: String,
    shared: Arc<Shared>,
    // Dropped in the background: `Runtime`'s own drop must not run inside another runtime.
    runtime: Option<tokio::runtime::Runtime>,
}

pub struct Shared {
    log: Log,
    exchanges: AtomicU64,
    connections: AtomicU64,
    /// Requests read and not yet recorded.
    open: AtomicU64,
    repetitions: Repetitions,
    /// Makes ids differ from those of an earlier mock.
    epoch: u64,
}

/// Requests that are to fail some times, for clients that do not say which attempt one is: its hash, and how often it
/// came.
#[derive(Default)]
struct Repetitions(Mutex<HashMap<u64, u32>>);

impl Repetitions {
    /// How often the same request came before.
    fn count(&self, request: &Request) -> u32 {
        if !request.body.windows(FAIL_TIMES.len()).any(|window| window == FAIL_TIMES) {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        (request.path(), &request.body).hash(&mut hasher);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(hasher.finish()).or_default();
        *count += 1;
        *count - 1
    }
}

/// What the client says of this, by the header of the SDKs that one generator makes, or of those of AWS:
/// `attempt=1; max=5`.
fn repetitions(request: &Request) -> Option<u32> {
    if let Some(count) = request.header("x-stainless-retry-count") {
        return count.parse().ok();
    }
    let attempt =
        request.header("amz-sdk-request")?.split(';').find_map(|part| part.trim().strip_prefix("attempt="))?;
    attempt.parse::<u32>().ok()?.checked_sub(1)
}

const FAIL_TIMES: &[u8] = b"fail_times";

impl MockProvider {
    pub fn start(options: &Options) -> anyhow::Result<Self> {
        let identity = certificate::generate(options.http2)?;
        if let Some(path) = &options.authority_file {
            write_public(path, &identity.authority_pem)?;
        }
        if let Some(path) = &options.server_file {
            write_public(path, &identity.server_pem)?;
        }
        let listener =
            TcpListener::bind(options.listen).with_context(|| format!("cannot listen on {}", options.listen))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            log: Log::new(options.log.as_deref())?,
            exchanges: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            open: AtomicU64::new(0),
            repetitions: Repetitions::default(),
            epoch: now() / 1000,
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.workers.max(1))
            .thread_name("mock-provider")
            .enable_all()
            .build()?;
        let acceptor = (!options.plaintext).then(|| TlsAcceptor::from(identity.server));
        let task = accept(listener, acceptor, Arc::clone(&shared));
        runtime.spawn(async move {
            if let Err(error) = task.await {
                eprintln!("mock-provider: {error}");
            }
        });
        let scheme = if options.plaintext { "http" } else { "https" };
        Ok(Self { address, scheme, authority_pem: identity.authority_pem, shared, runtime: Some(runtime) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://localhost:PORT`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.address.port())
    }

    pub fn authority_pem(&self) -> &str {
        &self.authority_pem
    }

    /// All finished exchanges. Waits up to `patience` for those that are still open: a client can be done before the
    /// mock has written its record.
    pub fn truth(&self, patience: Duration) -> Vec<Truth> {
        let end = Instant::now() + patience;
        while self.shared.open.load(Ordering::SeqCst) > 0 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.shared.log.all()
    }
}

impl Drop for MockProvider {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Readable by everyone: clients may run as another user.
fn write_public(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let context = || format!("cannot write {}", path.display());
    std::fs::write(path, text).with_context(context)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).with_context(context)
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let Ok((tcp, peer)) = listener.accept().await else {
            // Out of descriptors, or a connection that died in the queue.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let _ = tcp.set_nodelay(true);
        let shared = Arc::clone(&shared);
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let connection = shared.connections.fetch_add(1, Ordering::Relaxed);
            match acceptor {
                None => converse(tcp, peer, connection, &shared).await,
                // A failed handshake is the client's matter: it may be testing its own trust.
                Some(acceptor) => match acceptor.accept(tcp).await {
                    Ok(tls) if tls.get_ref().1.alpn_protocol() == Some(b"h2") => {
                        http2::converse(tls, peer, connection, shared).await;
                    }
                    Ok(tls) => converse(tls, peer, connection, &shared).await,
                    Err(_) => {}
                },
            }
        });
    }
}

/// Serves a connection whose client speaks HTTP/1.x.
async fn converse(mut wire: impl Wire, peer: SocketAddr, connection: u64, shared: &Shared) {
    let mut inbound = BytesMut::with_capacity(16 * 1024);
    for index in 0.. {
        let request = match http1::read_request(&mut wire, &mut inbound).await {
            Ok(Some(request)) => request,
            Ok(None) | Err(_) => return http1::close(&mut wire).await,
        };
        if websocket::is_wanted(&request) {
            let afterwards = websocket::converse(&mut wire, &mut inbound, &request, peer, connection, shared).await;
            if afterwards == Afterwards::Close {
                http1::close(&mut wire).await;
            }
            return;
        }
        shared.begin();
        let mut reply = http1::ResponseWriter::new(&mut wire, &mut inbound);
        let afterwards = shared.exchange(&mut reply, &request, peer, connection, index).await;
        shared.end();
        match afterwards {
            Afterwards::KeepAlive => {}
            Afterwards::Close => return http1::close(&mut wire).await,
            Afterwards::Drop => return,
        }
    }
}

impl Shared {
    /// A request has come: the log is not complete before it has ended.
    pub fn begin(&self) {
        self.open.fetch_add(1, Ordering::SeqCst);
    }

    pub fn end(&self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    /// Answers one request and records what was sent.
    pub async fn exchange(
        &self,
        reply: &mut impl Reply,
        request: &Request,
        peer: SocketAddr,
        connection: u64,
        index: u64,
    ) -> Afterwards {
        let exchange = self.exchanges.fetch_add(1, Ordering::Relaxed);
        let mut truth = Truth {
            exchange,
            connection,
            index,
            client_port: peer.port(),
            method: request.method.clone(),
            path: request.path().to_owned(),
            host: request.header("host").map(str::to_owned),
            user_agent: request.header("user-agent").map(str::to_owned),
            retry: repetitions(request),
            request_bytes: request.wire_bytes,
            ..Truth::default()
        };
        truth.times.request_first = request.first;
        truth.times.request_last = request.last;
        truth.repeated = self.repetitions.count(request);
        let serial = format!("{:x}{exchange:06x}", self.epoch);
        let (directive, plan) = answer(request, &serial, &mut truth);
        let afterwards = play(reply, request, &directive, plan, &mut truth).await;
        if let Err(error) = self.log.record(truth) {
            eprintln!("mock-provider: log: {error}");
        }
        afterwards
    }
}
