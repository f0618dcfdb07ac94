//! Asks for the pods of one node: the API server by a list and then a watch, the kubelet again and again.
//!
//! It follows what Kubernetes' own clients do ("Kubernetes API Concepts", efficient detection of changes): the list may
//! come from the server's cache (`resourceVersion=0`), the watch goes on from the list's version, bookmarks move that
//! version on, and when the server has forgotten it (410 Gone) the list is read anew. No client library: two requests
//! and a dozen fields are all that is needed, and the HTTP and TLS of the exporter are there already.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io,
    sync::Arc,
    time::Duration,
};

use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::{Bytes, Incoming},
    header::{ACCEPT, AUTHORIZATION, HeaderValue, RETRY_AFTER, USER_AGENT},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{client::legacy, rt::TokioExecutor};
use serde::{Deserialize, Serialize};
use tokio::{sync::Notify, time};

use super::{
    Endpoint,
    api::{List, WatchEvent},
    pod::Pod,
    tls,
};
use crate::export::otlp::{BoxFuture, Resolve, Tcp};

/// Pods that are followed; a node has some hundred at most.
pub const MAX_PODS: usize = 4096;

/// Longest page of a list, bytes.
const MAX_PAGE: usize = 32 << 20;

/// Longest line of a watch, bytes. etcd holds objects of 1.5 MiB at most.
const MAX_LINE: usize = 4 << 20;

/// Pages of one list.
const MAX_PAGES: usize = 64;

/// How long the server keeps a watch open, seconds. The token is read again for the next one.
const WATCH_SECONDS: u64 = 290;

/// How long nothing may come: bookmarks come about once a minute, and a watch ends by itself before.
const SILENCE: Duration = Duration::from_secs(300);

/// How long an answer may take to begin, and a page to end.
const ANSWER: Duration = Duration::from_secs(30);

/// A watch that ends sooner is as good as none.
const SHORT_WATCH: Duration = Duration::from_secs(2);

/// The kubelet is not asked more often, whoever waits.
const KUBELET_PAUSE: Duration = Duration::from_secs(1);

/// A bearer token. It is shown nowhere.
#[derive(Clone, Serialize, Deserialize)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// What is told of the node's pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    /// A pod is new, or something that is kept of it has changed.
    Pod(Box<Pod>),
    /// A pod, by the uid in its cgroups' paths, was deleted.
    Gone(Arc<str>),
    /// All pods have been told once.
    Complete,
    /// Pods are not known, or no longer, for this reason: for people.
    Trouble(String),
}

/// What the client cannot do itself where it runs.
pub trait Outside: Send + Sync + 'static {
    /// The token as it is now; `None` without one.
    fn token(&self) -> BoxFuture<Option<Token>>;

    fn tell(&self, news: News);
}

/// How long to wait after a failure: twice as long each time, give or take a quarter.
#[derive(Debug, Clone, Copy)]
pub struct Pauses {
    pub first: Duration,
    pub longest: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { first: Duration::from_millis(500), longest: Duration::from_secs(30) }
    }
}

pub struct Client {
    endpoint: Endpoint,
    http: legacy::Client<HttpsConnector<Tcp>, Empty<Bytes>>,
    outside: Arc<dyn Outside>,
    /// By the uid in the cgroups' paths.
    pods: HashMap<Arc<str>, Pod>,
    pauses: Pauses,
    failures: u32,
    troubled: bool,
    complete: bool,
    /// Somebody waits for a pod that is not known.
    wanted: Arc<Notify>,
}

/// Why a request gave nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The server has forgotten the version that was asked for.
    #[error("the version has expired")]
    Expired,
    #[error("{}", refused(*.0))]
    Refused(StatusCode, Option<Duration>),
    #[error("{0}")]
    Broken(String),
}

fn refused(status: StatusCode) -> String {
    match status {
        StatusCode::UNAUTHORIZED => "the token is not accepted (401)".into(),
        StatusCode::FORBIDDEN => "the token's account may not list and watch pods (403)".into(),
        status => format!("answered {}", status.as_u16()),
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

impl Client {
    /// # Errors
    /// What is wrong with the authorities' certificates.
    pub fn new(
        endpoint: Endpoint,
        resolver: Arc<dyn Resolve>,
        outside: Arc<dyn Outside>,
        wanted: Arc<Notify>,
    ) -> Result<Self, String> {
        let tls = tls::config(&endpoint.trust)?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(Tcp(resolver));
        let http = legacy::Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector);
        Ok(Self {
            endpoint,
            http,
            outside,
            pods: HashMap::new(),
            pauses: Pauses::default(),
            failures: 0,
            troubled: false,
            complete: false,
            wanted,
        })
    }

    #[must_use]
    pub fn with_pauses(self, pauses: Pauses) -> Self {
        Self { pauses, ..self }
    }

    /// Tells of the node's pods for as long as it is polled.
    pub async fn run(mut self) {
        if self.endpoint.kubelet {
            return self.poll().await;
        }
        // What the server's cache holds is good enough, unless it is what the server says it has forgotten.
        let mut from_cache = true;
        loop {
            match self.list(from_cache).await {
                Ok(version) => {
                    self.well();
                    self.follow(version).await;
                    from_cache = false;
                }
                Err(failure) => {
                    from_cache &= !matches!(failure, Failure::Expired);
                    self.failed(failure).await;
                }
            }
        }
    }

    /// Watches from `version` on, until the server has forgotten where we are.
    async fn follow(&mut self, mut version: String) {
        loop {
            let began = time::Instant::now();
            match self.watch(&mut version).await {
                Ok(()) if began.elapsed() >= SHORT_WATCH => self.well(),
                Ok(()) => self.failed(Failure::Broken("a watch ended at once".into())).await,
                Err(Failure::Expired) => return,
                Err(failure) => self.failed(failure).await,
            }
        }
    }

    async fn poll(mut self) {
        loop {
            match self.list(true).await {
                Ok(_) => {
                    self.well();
                    time::sleep(KUBELET_PAUSE).await;
                    let _ =
                        time::timeout(self.endpoint.poll.saturating_sub(KUBELET_PAUSE), self.wanted.notified()).await;
                }
                Err(failure) => self.failed(failure).await,
            }
        }
    }

    fn well(&mut self) {
        self.failures = 0;
        self.troubled = false;
    }

    /// Says it once, and waits.
    async fn failed(&mut self, failure: Failure) {
        self.failures = self.failures.saturating_add(1);
        // A connection that breaks once is nothing to tell.
        let matters = self.failures > 1 || matches!(failure, Failure::Refused(..)) || !self.complete;
        if matters && !self.troubled {
            self.troubled = true;
            let who = if self.endpoint.kubelet { "the kubelet" } else { "the API server" };
            self.outside.tell(News::Trouble(format!("{who} does not tell of pods: {failure}")));
        }
        let asked = match failure {
            Failure::Refused(_, after) => after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let doubled = self.pauses.first.saturating_mul(1 << (self.failures - 1).min(16));
        let pause = doubled.min(self.pauses.longest).mul_f64(jitter()).max(asked.min(self.pauses.longest));
        time::sleep(pause).await;
    }

    /// Reads all pods. Returns the version of what was read.
    async fn list(&mut self, from_cache: bool) -> Result<String, Failure> {
        let mut found = HashMap::new();
        let mut next = String::new();
        for _ in 0..MAX_PAGES {
            let mut query = vec![("limit", "500")];
            if !self.endpoint.kubelet && next.is_empty() && from_cache {
                query.push(("resourceVersion", "0"));
            }
            if !next.is_empty() {
                query.push(("continue", &next));
            }
            let response = self.ask(&query).await?;
            let page = time::timeout(ANSWER, read_page(response)).await.map_err(|_| silent())??;
            let items = page.items.unwrap_or_default();
            for pod in items.into_iter().filter_map(super::api::Item::pod) {
                if found.len() < MAX_PODS {
                    found.insert(Arc::clone(&pod.cgroup_uid), pod);
                }
            }
            next = page.metadata.next;
            if next.is_empty() {
                self.replace(found);
                return Ok(page.metadata.resource_version);
            }
        }
        Err(Failure::Broken("a list has no end".into()))
    }

    /// What a list has shown is all there is.
    fn replace(&mut self, found: HashMap<Arc<str>, Pod>) {
        let gone: Vec<_> = self.pods.keys().filter(|uid| !found.contains_key(*uid)).cloned().collect();
        for uid in gone {
            self.forget(uid);
        }
        for pod in found.into_values() {
            self.learn(pod);
        }
        if !std::mem::replace(&mut self.complete, true) {
            self.outside.tell(News::Complete);
        }
    }

    fn learn(&mut self, pod: Pod) {
        let known = self.pods.get(&pod.cgroup_uid);
        if known == Some(&pod) || (known.is_none() && self.pods.len() >= MAX_PODS) {
            return;
        }
        self.outside.tell(News::Pod(Box::new(pod.clone())));
        self.pods.insert(Arc::clone(&pod.cgroup_uid), pod);
    }

    fn forget(&mut self, uid: Arc<str>) {
        if self.pods.remove(&uid).is_some() {
            self.outside.tell(News::Gone(uid));
        }
    }

    /// One watch, until the server ends it.
    async fn watch(&mut self, version: &mut String) -> Result<(), Failure> {
        let seconds = WATCH_SECONDS.to_string();
        let query = [
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", seconds.as_str()),
            ("resourceVersion", version.as_str()),
        ];
        let mut body = self.ask(&query).await?.into_body();
        let mut lines = Lines::default();
        loop {
            let frame = match time::timeout(SILENCE, body.frame()).await {
                Err(_) => return Err(silent()),
                Ok(None) => return Ok(()),
                Ok(Some(frame)) => frame.map_err(|error| Failure::Broken(error.to_string()))?,
            };
            let Ok(data) = frame.into_data() else { continue };
            for line in lines.push(&data) {
                self.take(&line, version)?;
            }
        }
    }

    fn take(&mut self, line: &[u8], version: &mut String) -> Result<(), Failure> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let event: WatchEvent =
            serde_json::from_slice(line).map_err(|_| Failure::Broken("a watch does not tell JSON".into()))?;
        if event.kind == "ERROR" {
            return Err(match StatusCode::from_u16(event.object.code) {
                Ok(StatusCode::GONE) => Failure::Expired,
                Ok(status) => Failure::Refused(status, None),
                Err(_) => Failure::Broken("a watch ended with an error".into()),
            });
        }
        if !event.object.metadata.resource_version.is_empty() {
            version.clone_from(&event.object.metadata.resource_version);
        }
        match event.kind.as_str() {
            "ADDED" | "MODIFIED" => {
                if let Some(pod) = event.object.pod() {
                    self.learn(pod);
                }
            }
            "DELETED" => {
                if let Some(pod) = event.object.pod() {
                    self.forget(pod.cgroup_uid);
                }
            }
            // BOOKMARK has only the version.
            _ => {}
        }
        Ok(())
    }

    async fn ask(&self, query: &[(&str, &str)]) -> Result<Response<Incoming>, Failure> {
        let broken = |error: hyper::http::Error| Failure::Broken(error.to_string());
        let base = &self.endpoint.url;
        let prefix = base.path().trim_end_matches('/');
        let path = if self.endpoint.kubelet {
            format!("{prefix}/pods")
        } else {
            let mut path = format!("{prefix}/api/v1/pods?fieldSelector=spec.nodeName%3D{}", self.endpoint.node);
            for (name, value) in query {
                path.extend(["&", name, "=", &encoded(value)]);
            }
            path
        };
        let mut parts = base.clone().into_parts();
        parts.path_and_query = Some(path.parse().map_err(|_| Failure::Broken("no path".into()))?);
        let mut request = Request::get(Uri::from_parts(parts).map_err(|error| broken(error.into()))?)
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("llmtap/", env!("CARGO_PKG_VERSION")));
        let token = time::timeout(ANSWER, self.outside.token()).await.map_err(|_| silent())?;
        if let Some(Token(token)) = token {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.trim()))
                .map_err(|_| Failure::Broken("the token's file holds no token".into()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let request = request.body(Empty::new()).map_err(broken)?;
        let answer = time::timeout(ANSWER, self.http.request(request)).await.map_err(|_| silent())?;
        let response = answer.map_err(|error| Failure::Broken(told(&error)))?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::GONE => Err(Failure::Expired),
            status => {
                let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
                Err(Failure::Refused(status, after.map(Duration::from_secs)))
            }
        }
    }
}

fn silent() -> Failure {
    Failure::Broken("no answer in time".into())
}

/// The error with its causes: the outermost only says that there is one.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// For a query (RFC 3986 section 2.1): `continue` is whatever the server likes.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

/// From 0.75 to 1.25, so that the nodes of a cluster do not come all at once.
fn jitter() -> f64 {
    let random = RandomState::new().build_hasher().finish() >> 40;
    0.75 + random as f64 / f64::from(1 << 24) / 2.0
}

async fn read_page(response: Response<Incoming>) -> Result<List, Failure> {
    let body = http_body_util::Limited::new(response.into_body(), MAX_PAGE);
    let bytes = body.collect().await.map_err(|error| Failure::Broken(error.to_string()))?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|_| Failure::Broken("the answer is no list of pods".into()))
}

/// Cuts a stream into lines; one that is too long is left out.
#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
    too_long: bool,
}

impl Lines {
    fn push(&mut self, mut data: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        while let Some(end) = memchr::memchr(b'\n', data) {
            self.grow(data.get(..end).unwrap_or_default());
            data = data.get(end + 1..).unwrap_or_default();
            let line = std::mem::take(&mut self.begun);
            if !std::mem::take(&mut self.too_long) {
                lines.push(line);
            }
        }
        self.grow(data);
        lines
    }

    fn grow(&mut self, data: &[u8]) {
        self.too_long |= self.begun.len() + data.len() > MAX_LINE;
        if self.too_long {
            self.begun = Vec::new();
        } else {
            self.begun.extend_from_slice(data);
        }
    }
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
