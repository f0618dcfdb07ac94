//! The client against a scripted server on loopback.

use std::{future::Future, sync::Mutex, time::Instant};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    fake::{End, Fake, Turn},
    *,
};
use crate::{export::otlp::SystemResolver, kubernetes::Trust};

const PAUSES: Pauses = Pauses { first: Duration::from_millis(10), longest: Duration::from_millis(100) };

/// A test's end of what the client needs.
struct Surroundings {
    token: Mutex<Option<Token>>,
    told: mpsc::UnboundedSender<News>,
}

impl Outside for Surroundings {
    fn token(&self) -> BoxFuture<Option<Token>> {
        let token = self.token.lock().unwrap().clone();
        Box::pin(async move { token })
    }

    fn tell(&self, news: News) {
        let _ = self.told.send(news);
    }
}

/// A client that runs.
struct Running {
    surroundings: Arc<Surroundings>,
    told: mpsc::UnboundedReceiver<News>,
    wanted: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(endpoint: Endpoint) -> Self {
        let (sender, told) = mpsc::unbounded_channel();
        let surroundings = Arc::new(Surroundings { token: Mutex::new(Some(Token("t1\n".into()))), told: sender });
        let wanted = Arc::new(Notify::new());
        let outside = Arc::clone(&surroundings);
        let client = Client::new(endpoint, Arc::new(SystemResolver), outside, Arc::clone(&wanted)).unwrap();
        let task = tokio::spawn(client.with_pauses(PAUSES).run());
        Self { surroundings, told, wanted, task }
    }

    /// The next news, as one word: `+name` and `+name label`, `-uid`, `complete`, `!trouble`.
    async fn next(&mut self) -> String {
        let news = time::timeout(Duration::from_secs(20), self.told.recv()).await.expect("nothing is told").unwrap();
        match news {
            News::Pod(pod) => {
                let label = pod.labels.get("v").map(|label| format!(" {label}")).unwrap_or_default();
                format!("+{}{label}", pod.name)
            }
            News::Gone(uid) => format!("-{uid}"),
            News::Complete => "complete".into(),
            News::Trouble(why) => format!("!{why}"),
        }
    }

    async fn expect(&mut self, words: &[&str]) {
        for word in words {
            assert_eq!(self.next().await, *word);
        }
    }

    fn token(&self, token: &str) {
        *self.surroundings.token.lock().unwrap() = Some(Token(token.into()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn test(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

fn endpoint(fake: &Fake, scheme: &str, authorities: &[u8]) -> Endpoint {
    Endpoint {
        url: format!("{scheme}://{}", fake.address).parse().unwrap(),
        kubelet: false,
        node: "node-1".into(),
        trust: if scheme == "https" { Trust::Authorities(authorities.to_vec()) } else { Trust::Anybody },
        token_file: "/nowhere".into(),
        poll: Duration::from_secs(60),
    }
}

async fn start(turns: Vec<Turn>) -> (Fake, Running) {
    let fake = Fake::start(None, turns).await;
    let running = Running::start(endpoint(&fake, "http", b""));
    (fake, running)
}

fn pod(name: &str, label: &str) -> Value {
    json!({ "metadata": { "name": name, "namespace": "shop", "uid": format!("u-{name}"), "labels": { "v": label } } })
}

fn event(kind: &str, name: &str, label: &str, version: &str) -> Value {
    let mut object = pod(name, label);
    object["metadata"]["resourceVersion"] = version.into();
    json!({ "type": kind, "object": object })
}

fn bookmark(version: &str) -> Value {
    json!({ "type": "BOOKMARK", "object": { "kind": "Pod", "metadata": { "resourceVersion": version } } })
}

fn expired() -> Value {
    json!({ "type": "ERROR", "object": { "kind": "Status", "status": "Failure", "code": 410, "reason": "Expired" } })
}

/// The value of a query's key in the n-th request.
fn asked(fake: &Fake, n: usize, key: &str) -> Option<String> {
    let (path, _) = fake.asked().get(n)?.clone();
    let query = path.split_once('?')?.1.to_owned();
    query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
}

/// A server's certificate for this address, and its authority's.
fn tls() -> (tokio_rustls::TlsAcceptor, Vec<u8>) {
    tls_of("127.0.0.1")
}

fn tls_of(name: &str) -> (tokio_rustls::TlsAcceptor, Vec<u8>) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&ca_key).unwrap().pem().into_bytes();
    let issuer = rcgen::Issuer::new(params, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    (acceptor(&certificate, &key), authority)
}

/// A certificate that nobody but its own key has signed.
fn self_signed() -> (tokio_rustls::TlsAcceptor, Vec<u8>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (acceptor(&certificate, &key), certificate.pem().into_bytes())
}

fn acceptor(certificate: &rcgen::Certificate, key: &rcgen::KeyPair) -> tokio_rustls::TlsAcceptor {
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}

#[test]
fn lists_and_follows_over_tls_with_the_token_of_the_moment() {
    test(async {
        let (acceptor, authority) = tls();
        let turns = vec![
            Turn::List(vec![pod("a", "1"), pod("b", "1")], "100", ""),
            Turn::Watch(
                vec![
                    event("ADDED", "c", "1", "101"),
                    event("MODIFIED", "a", "2", "102"),
                    // Nothing of it that is kept has changed.
                    event("MODIFIED", "a", "2", "103"),
                    event("DELETED", "b", "1", "104"),
                    bookmark("200"),
                ],
                End::Closed,
            ),
            Turn::Watch(vec![event("ADDED", "d", "1", "201")], End::Open),
        ];
        let fake = Fake::start(Some(acceptor), turns).await;
        fake.accept(&["t1", "t2"]);
        let mut running = Running::start(endpoint(&fake, "https", &authority));
        let mut first = [running.next().await, running.next().await];
        first.sort();
        assert_eq!(first, ["+a 1", "+b 1"]);
        running.token("t2");
        running.expect(&["complete", "+c 1", "+a 2", "-u-b", "+d 1"]).await;
        let tokens: Vec<_> = fake.asked().into_iter().map(|(_, token)| token.unwrap()).collect();
        assert_eq!(tokens.first().unwrap(), "t1");
        assert_eq!(tokens.last().unwrap(), "t2");
        assert!(
            fake.asked().iter().all(|(path, _)| path.starts_with("/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1&"))
        );
        assert_eq!(asked(&fake, 0, "resourceVersion").as_deref(), Some("0"));
        assert_eq!(asked(&fake, 0, "watch"), None);
        assert_eq!(asked(&fake, 1, "resourceVersion").as_deref(), Some("100"));
        assert_eq!(asked(&fake, 1, "allowWatchBookmarks").as_deref(), Some("true"));
        // The bookmark's.
        assert_eq!(asked(&fake, 2, "resourceVersion").as_deref(), Some("200"));
    });
}

#[test]
fn nobody_but_the_authority_s_server_gets_the_token() {
    test(async {
        let (acceptor, _) = tls();
        let (_, other) = tls();
        let fake = Fake::start(Some(acceptor), vec![Turn::List(vec![], "1", "")]).await;
        let mut running = Running::start(endpoint(&fake, "https", &other));
        let trouble = running.next().await;
        assert!(
            trouble.starts_with("!the API server does not tell of pods: ") && trouble.contains("certificate"),
            "{trouble}"
        );
        assert!(!trouble.contains("t1"));
        assert!(fake.asked().is_empty());
    });
}

#[test]
fn a_forgotten_version_is_listed_anew_and_not_from_the_cache() {
    test(async {
        // Once as a status, once as a line.
        let (fake, mut running) = start(vec![
            Turn::List(vec![pod("a", "1")], "1", ""),
            Turn::Status(410, None),
            Turn::List(vec![pod("b", "1")], "2", ""),
            Turn::Watch(vec![event("ADDED", "c", "1", "3"), expired()], End::Closed),
            Turn::List(vec![pod("b", "1")], "4", ""),
            Turn::Watch(vec![], End::Open),
        ])
        .await;
        running.expect(&["+a 1", "complete", "-u-a", "+b 1", "+c 1", "-u-c"]).await;
        assert_eq!(asked(&fake, 2, "resourceVersion"), None);
        assert_eq!(asked(&fake, 4, "resourceVersion"), None);
        while fake.asked().len() < 6 {
            time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(asked(&fake, 5, "resourceVersion").as_deref(), Some("4"));
    });
}

#[test]
fn a_broken_watch_goes_on_where_it_was_and_is_no_trouble() {
    test(async {
        let (fake, mut running) = start(vec![
            Turn::List(vec![], "7", ""),
            Turn::Watch(vec![event("ADDED", "a", "1", "8")], End::Broken),
            Turn::Watch(vec![event("ADDED", "b", "1", "9")], End::Open),
        ])
        .await;
        running.expect(&["complete", "+a 1", "+b 1"]).await;
        assert_eq!(asked(&fake, 2, "resourceVersion").as_deref(), Some("8"));
    });
}

#[test]
fn a_refusal_is_told_once_and_ends_with_a_token_that_is_accepted() {
    test(async {
        let fake = Fake::start(None, vec![Turn::List(vec![pod("a", "1")], "1", "")]).await;
        fake.accept(&["t9"]);
        let mut running = Running::start(endpoint(&fake, "http", b""));
        running.expect(&["!the API server does not tell of pods: the token is not accepted (401)"]).await;
        while fake.asked().len() < 3 {
            time::sleep(Duration::from_millis(5)).await;
        }
        running.token("t9");
        running.expect(&["+a 1", "complete"]).await;
    });
}

#[test]
fn missing_rights_are_named() {
    test(async {
        let (_fake, mut running) = start(vec![Turn::Status(403, None)]).await;
        assert!(running.next().await.contains("may not list and watch pods"));
    });
}

#[test]
fn failures_are_waited_out_longer_each_time_and_as_the_server_asks() {
    test(async {
        let (fake, mut running) = start(vec![
            Turn::Status(500, None),
            Turn::Nonsense,
            Turn::Status(503, None),
            // More than the longest pause: that is as long as anybody waits.
            Turn::Status(429, Some(60)),
            Turn::List(vec![], "1", ""),
        ])
        .await;
        let began = Instant::now();
        assert!(running.next().await.contains("answered 500"));
        running.expect(&["complete"]).await;
        assert_eq!(fake.asked().len().min(5), 5);
        // 10, 20 and 40 ms, each a quarter less at least; then 100 ms.
        let least = Duration::from_millis(52 + 100);
        assert!(began.elapsed() >= least, "{:?}", began.elapsed());
    });
}

#[test]
fn a_list_has_pages() {
    test(async {
        let (fake, mut running) = start(vec![
            Turn::List(vec![pod("a", "1")], "1", "a=/b"),
            Turn::List(vec![pod("b", "1")], "1", ""),
            Turn::Watch(vec![], End::Open),
        ])
        .await;
        let mut told = [running.next().await, running.next().await];
        told.sort();
        assert_eq!(told, ["+a 1", "+b 1"]);
        running.expect(&["complete"]).await;
        assert_eq!(asked(&fake, 1, "continue").as_deref(), Some("a%3D%2Fb"));
        assert_eq!(asked(&fake, 1, "resourceVersion"), None);
    });
}

#[test]
fn the_kubelet_is_asked_again_when_somebody_waits() {
    test(async {
        let turns =
            vec![Turn::List(vec![], "", ""), Turn::List(vec![pod("a", "1")], "", ""), Turn::List(vec![], "", "")];
        let fake = Fake::start(None, turns).await;
        let endpoint = Endpoint { kubelet: true, node: String::new(), ..endpoint(&fake, "http", b"") };
        let mut running = Running::start(endpoint);
        running.expect(&["complete"]).await;
        running.wanted.notify_one();
        running.expect(&["+a 1"]).await;
        running.wanted.notify_one();
        running.expect(&["-u-a"]).await;
        let asked = fake.asked();
        assert!(asked.iter().all(|(path, _)| path == "/pods"), "{asked:?}");
    });
}

/// A kubelet on loopback, asked with this trust: what is told first, and what came.
async fn ask_kubelet(acceptor: tokio_rustls::TlsAcceptor, trust: Trust) -> (String, usize) {
    let fake = Fake::start(Some(acceptor), vec![Turn::List(vec![pod("a", "1")], "", "")]).await;
    let endpoint = Endpoint { kubelet: true, trust, ..endpoint(&fake, "https", b"") };
    let first = Running::start(endpoint).next().await;
    (first, fake.asked().len())
}

/// As kubeadm leaves them: of an authority of the node's own, whose certificate stands beside it in one file.
#[test]
fn a_kubelet_with_a_certificate_of_its_own_is_believed_by_its_file_or_when_asked_to() {
    test(async {
        let (acceptor, authority) = tls();
        assert_eq!(ask_kubelet(acceptor, Trust::Authorities(authority)).await, ("+a 1".to_owned(), 1));
        let (acceptor, own) = self_signed();
        assert_eq!(ask_kubelet(acceptor.clone(), Trust::Authorities(own)).await, ("+a 1".to_owned(), 1));
        assert_eq!(ask_kubelet(acceptor.clone(), Trust::Anybody).await, ("+a 1".to_owned(), 1));
        // It names the node, and is asked by the node's address.
        let (named, authority) = tls_of("node-1");
        assert_eq!(ask_kubelet(named.clone(), Trust::Anybody).await, ("+a 1".to_owned(), 1));
        for (acceptor, authority) in [(acceptor, tls().1), (named, authority)] {
            let (first, asked) = ask_kubelet(acceptor, Trust::Authorities(authority)).await;
            assert!(
                first.starts_with("!the kubelet does not tell of pods: ") && first.contains("certificate"),
                "{first}"
            );
            assert_eq!(asked, 0);
        }
    });
}

#[test]
fn lines_are_found_however_they_are_cut_and_long_ones_left_out() {
    let text = b"{\"a\":1}\n\n{\"b\":2}\nrest";
    for size in 1..text.len() {
        let mut lines = Lines::default();
        let found: Vec<Vec<u8>> = text.chunks(size).flat_map(|chunk| lines.push(chunk)).collect();
        assert_eq!(found, [b"{\"a\":1}".to_vec(), Vec::new(), b"{\"b\":2}".to_vec()], "{size}");
    }
    let mut lines = Lines::default();
    let piece = vec![b'x'; MAX_LINE / 2 + 1];
    assert!(lines.push(&piece).is_empty() && lines.push(&piece).is_empty() && lines.push(&piece).is_empty());
    assert!(lines.begun.is_empty());
    assert_eq!(lines.push(b"x\nnext\n"), [b"next".to_vec()]);
}

#[test]
fn a_token_is_shown_nowhere() {
    assert_eq!(format!("{:?}", Token("s3cret".into())), "Token");
}
