//! Connections to the OTLP endpoint. Name resolution is the caller's: the process that exports may not be allowed to
//! open the resolver's files.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::{Uri, http::uri::Scheme};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::net::TcpStream;
use tower_service::Service;

use super::{
    config::{ConfigError, TlsFiles},
    report::Report,
};

pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Finds the addresses of a host.
pub trait Resolve: Send + Sync + 'static {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<io::Result<Vec<SocketAddr>>>;
}

/// The C library's resolver, on a thread of the runtime's.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// Time for one address to answer, so that a dead one leaves time for the next.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Opens TCP connections.
#[derive(Clone)]
pub struct Tcp(pub Arc<dyn Resolve>);

impl Service<Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = BoxFuture<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let resolver = Arc::clone(&self.0);
        Box::pin(async move { connect(&*resolver, &uri).await.map(TokioIo::new) })
    }
}

async fn connect(resolver: &dyn Resolve, uri: &Uri) -> io::Result<TcpStream> {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => resolver
            .resolve(host, port)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("cannot resolve {host}: {error}")))?,
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    for address in addresses {
        match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = io::Error::new(error.kind(), format!("connect to {address}: {error}")),
            Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("connect to {address}: no answer")),
        }
    }
    Err(last)
}

/// Connects, with TLS on top where the endpoint wants it. It reports what fails, which the layers above hide or tell
/// only when they give up.
#[derive(Clone)]
pub struct Connector {
    inner: HttpsConnector<Tcp>,
    tls: bool,
    report: Arc<Report>,
}

impl Connector {
    /// `http2` for gRPC, which speaks nothing else.
    pub fn new(tcp: Tcp, tls: Option<ClientConfig>, http2: bool, report: Arc<Report>) -> Result<Self, ConfigError> {
        let (config, tls) = match tls {
            Some(config) => (config, true),
            // Never used: the endpoint is not https.
            None => (client_config(RootCertStore::empty(), None, "")?, false),
        };
        let builder = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
        let inner =
            if http2 { builder.enable_http2().wrap_connector(tcp) } else { builder.enable_http1().wrap_connector(tcp) };
        Ok(Self { inner, tls, report })
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl Service<Uri> for Connector {
    type Response = <HttpsConnector<Tcp> as Service<Uri>>::Response;
    type Error = <HttpsConnector<Tcp> as Service<Uri>>::Error;
    type Future = BoxFuture<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = with_scheme(&uri, self.tls).map(|uri| self.inner.call(uri));
        let report = Arc::clone(&self.report);
        Box::pin(async move {
            let result = match connecting {
                Ok(connecting) => connecting.await,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = &result {
                report.failed(&error.to_string());
            }
            result
        })
    }
}

/// The same place by `https` or `http`.
pub fn with_scheme(uri: &Uri, tls: bool) -> Result<Uri, hyper::http::Error> {
    let mut parts = uri.clone().into_parts();
    parts.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
    Ok(Uri::from_parts(parts)?)
}

/// TLS to a peer whose certificate one of these authorities (PEM) has signed. `name` is what they came from, for the
/// error's text.
pub fn roots_config(authorities: &[u8], name: &str) -> Result<ClientConfig, ConfigError> {
    tls_config(&TlsFiles { roots: authorities.to_vec(), identity: None, roots_name: name.to_owned() })
}

/// TLS as the settings want it.
pub fn tls_config(files: &TlsFiles) -> Result<ClientConfig, ConfigError> {
    let mut roots = RootCertStore::empty();
    // A bundle can hold certificates of forms that are not understood; one good certificate is enough to try.
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&files.roots).flatten());
    if roots.is_empty() {
        return Err(ConfigError::new(&files.roots_name, " holds no certificate in PEM form"));
    }
    client_config(roots, files.identity.as_ref(), &files.roots_name)
}

fn client_config(
    roots: RootCertStore,
    identity: Option<&(Vec<u8>, Vec<u8>)>,
    name: &str,
) -> Result<ClientConfig, ConfigError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ConfigError::new(name, format!(": {error}")))?
        .with_root_certificates(roots);
    let Some((certificates, key)) = identity else { return Ok(builder.with_no_client_auth()) };
    let bad = |problem: &str| ConfigError::new("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", problem);
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificates).flatten().collect();
    if chain.is_empty() {
        return Err(bad(" holds no certificate in PEM form"));
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| ConfigError::new("OTEL_EXPORTER_OTLP_CLIENT_KEY", " holds no private key in PEM form"))?;
    builder.with_client_auth_cert(chain, key).map_err(|_| bad(" and its key do not fit together"))
}
