//! The connections to one endpoint, for as long as llmtap runs.

use std::sync::Arc;

use opentelemetry_http::{HttpClient, hyper::HyperClient};
use tonic::transport::{Channel, Endpoint};

use super::{
    config::{ConfigError, Protocol, Settings},
    connect::{self, Connector, Resolve, Tcp},
    report::Report,
};

pub enum Client {
    Grpc(Channel),
    Http(Arc<dyn HttpClient>),
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
            return Ok(Self::Http(Arc::new(HyperClient::new(connector, settings.timeout, None))));
        }
        // TLS is the connector's, for gRPC and HTTP alike: the channel must not look for its own.
        let plain = connect::with_scheme(&settings.endpoint, false)
            .map_err(|error| ConfigError::new("endpoint", format!(": {error}")))?;
        let endpoint = Endpoint::from(plain).origin(settings.endpoint.clone()).timeout(settings.timeout);
        Ok(Self::Grpc(endpoint.connect_with_connector_lazy(connector)))
    }
}
