//! The process that asks the cluster for the node's pods, and the end of it that the half with privileges holds.
//!
//! It is as confined as the half that parses, and apart from it: it holds the service account's token, and its word
//! decides which processes are traced. It opens no file: the half with privileges reads the token for it, each time, and
//! resolves names. When it is gone nothing more is known of pods, and tracing goes on.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read as _},
    net::{SocketAddr, ToSocketAddrs as _},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd},
    path::{Path, PathBuf},
    process,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot};

use crate::{
    capture::seam::{Channel, User, confine, fork_parser, ignore, poll},
    export::otlp::{BoxFuture, Resolve},
    kubernetes::{
        Endpoint, Options, Trust,
        client::{Client, News, Outside, Token},
    },
};

/// Longest token, bytes. Those of service accounts have about a thousand.
const MAX_TOKEN: u64 = 32 << 10;

/// To the process that asks.
#[derive(Serialize, Deserialize)]
enum Answer {
    Token {
        id: u64,
        token: Option<Token>,
    },
    /// Empty when the name is unknown.
    Resolved {
        id: u64,
        addresses: Vec<SocketAddr>,
    },
    /// A process is in a pod that is not known.
    Wanted,
}

/// From it.
#[derive(Serialize, Deserialize)]
enum Question {
    Token { id: u64 },
    Resolve { id: u64, host: String, port: u16 },
    News(News),
}

/// The process that asks, as the half with privileges sees it.
pub struct Cluster {
    channel: Channel,
    token_file: PathBuf,
}

impl Cluster {
    /// Starts it, where there is somebody to ask. Call it while this process has one thread.
    pub fn start(options: &Options, user: &User) -> Option<Self> {
        let endpoint = match options.endpoint(&|name| std::env::var(name).ok()) {
            Ok(endpoint) => endpoint?,
            Err(why) => {
                tracing::warn!("Kubernetes is not asked for pods: {why}");
                return None;
            }
        };
        let token_file = endpoint.token_file.clone();
        if endpoint.trust == Trust::Anybody {
            tracing::warn!("whoever answers at {} is believed to be the kubelet, and gets the token", endpoint.url);
        }
        let started = Channel::pair().and_then(|(ours, theirs)| Ok((ours, theirs, fork_parser()?)));
        match started {
            Ok((ours, theirs, Some(_))) => {
                drop(theirs);
                tracing::info!(url = %endpoint.url, "pods are asked for");
                Some(Self { channel: ours, token_file })
            }
            Ok((ours, theirs, None)) => {
                // The links to probes are descriptors: they must not live on here.
                std::mem::forget(ours);
                ignore(&[libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP]);
                let asked = confine(&[2, theirs.as_fd().as_raw_fd()], user)
                    .map_err(|error| format!("cannot give up privileges: {error}"))
                    .and_then(|()| ask(theirs, endpoint));
                if let Err(why) = asked {
                    tracing::warn!("Kubernetes is not asked for pods: {why}");
                }
                process::exit(1)
            }
            Err(error) => {
                tracing::warn!("Kubernetes is not asked for pods: {error}");
                None
            }
        }
    }

    /// Takes what it says: answers its questions, and returns what it tells of pods.
    ///
    /// # Errors
    /// It is gone.
    pub fn news(&self) -> io::Result<Vec<News>> {
        let mut news = Vec::new();
        while poll(&[self.channel.as_fd()], Some(std::time::Duration::ZERO))?.first() == Some(&true) {
            match self.channel.receive::<Question>()? {
                None => break,
                Some(Question::News(told)) => news.push(told),
                Some(Question::Token { id }) => {
                    let token = read_token(&self.token_file);
                    self.channel.send(&Answer::Token { id, token })?;
                }
                Some(Question::Resolve { id, host, port }) => {
                    let channel = self.channel.try_clone()?;
                    // The C library may wait for a name server. It asks for one name at a time.
                    thread::spawn(move || {
                        let addresses = (host.as_str(), port).to_socket_addrs();
                        let addresses = addresses.map(Iterator::collect).unwrap_or_default();
                        let _ = channel.send(&Answer::Resolved { id, addresses });
                    });
                }
            }
        }
        Ok(news)
    }

    /// A process is in a pod that is not known.
    pub fn wanted(&self) {
        let _ = self.channel.send(&Answer::Wanted);
    }
}

impl AsFd for Cluster {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

fn read_token(file: &Path) -> Option<Token> {
    let mut text = String::new();
    fs::File::open(file).ok()?.take(MAX_TOKEN).read_to_string(&mut text).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| Token(text.to_owned()))
}

/// In the process that asks: until the other side is gone.
fn ask(channel: Channel, endpoint: Endpoint) -> Result<(), String> {
    let told = |error: io::Error| error.to_string();
    let wanted = Arc::new(Notify::new());
    let line = Line(Arc::new(State {
        channel: channel.try_clone().map_err(told)?,
        next: AtomicU64::new(0),
        tokens: Mutex::default(),
        names: Mutex::default(),
    }));
    let client = Client::new(endpoint, Arc::new(line.clone()), Arc::new(line.clone()), Arc::clone(&wanted))?;
    thread::spawn(move || {
        loop {
            match channel.receive::<Answer>() {
                Ok(Some(Answer::Token { id, token })) => State::answer(&line.0.tokens, id, token),
                Ok(Some(Answer::Resolved { id, addresses })) => State::answer(&line.0.names, id, addresses),
                Ok(Some(Answer::Wanted)) => wanted.notify_one(),
                Ok(None) => {}
                // Nobody wants to know any more.
                Err(_) => process::exit(0),
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(told)?;
    runtime.block_on(client.run());
    Ok(())
}

/// The way to the half with privileges.
#[derive(Clone)]
struct Line(Arc<State>);

struct State {
    channel: Channel,
    next: AtomicU64,
    tokens: Waiting<Option<Token>>,
    names: Waiting<Vec<SocketAddr>>,
}

type Waiting<T> = Mutex<HashMap<u64, oneshot::Sender<T>>>;

impl State {
    fn ask<T>(&self, waiting: &Waiting<T>, question: impl FnOnce(u64) -> Question) -> oneshot::Receiver<T> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id, sender);
        if self.channel.send(&question(id)).is_err() {
            // The asker learns it by the end of its channel.
            waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        }
        answer
    }

    fn answer<T>(waiting: &Waiting<T>, id: u64, answer: T) {
        if let Some(asker) = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
            // It may have given up.
            let _ = asker.send(answer);
        }
    }
}

impl Outside for Line {
    fn token(&self) -> BoxFuture<Option<Token>> {
        let answer = self.0.ask(&self.0.tokens, |id| Question::Token { id });
        Box::pin(async move { answer.await.ok().flatten() })
    }

    fn tell(&self, news: News) {
        let Err(error) = self.0.channel.send(&Question::News(news.clone())) else { return };
        // More than a message holds: then without what its author wrote into it.
        if let (io::ErrorKind::InvalidInput, News::Pod(mut pod)) = (error.kind(), news) {
            pod.labels.clear();
            pod.annotations.clear();
            pod.containers.clear();
            let _ = self.0.channel.send(&Question::News(News::Pod(pod)));
        }
    }
}

impl Resolve for Line {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let answer = self.0.ask(&self.0.names, |id| Question::Resolve { id, host: host.to_owned(), port });
        Box::pin(async move {
            let addresses = answer.await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            if addresses.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the host name is unknown"));
            }
            Ok(addresses)
        })
    }
}
