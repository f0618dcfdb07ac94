//! The connections to one endpoint, for as long as llmtap runs.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use tonic::transport::{Channel, Endpoint};

use super::{
    config::{ConfigError, Protocol, Settings},
    connect::{self, Connector, Resolve, Tcp},
    report::Report,
};

pub type HttpClient = legacy::Client<Connector, Full<Bytes>>;

pub enum Client {
    Grpc(Channel),
    Http(Box<HttpClient>),
}

impl Client {
    /// Call it within a runtime: the channel of gRPC spawns its driver when it is made.
    pub fn new(
        settings: &Settings,
        tls: Option<rustls::ClientConfig>,
        resolver: Arc<dyn Resolve>,
        report: Arc<Report>,
    ) -> Result<Self, ConfigError> {
        let grpc = settings.protocol == Protocol::Grpc;
        let connector = Connector::new(Tcp(resolver), tls, grpc, report)?;
        if !grpc {
            let client = legacy::Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
            return Ok(Self::Http(Box::new(client)));
        }
        // TLS is the connector's, for gRPC and HTTP alike: the channel must not look for its own.
        let plain = connect::with_scheme(&settings.endpoint, false)
            .map_err(|error| ConfigError::new("endpoint", format!(": {error}")))?;
        let endpoint = Endpoint::from(plain).origin(settings.endpoint.clone());
        Ok(Self::Grpc(endpoint.connect_with_connector_lazy(connector)))
    }
}
