//! Kubernetes: which pod a process is in, and what the cluster knows of it.
//!
//! [`pod`] is what is known of a pod and how it names a service; [`client`] asks the API server or the kubelet; [`pods`]
//! remembers, and brings processes and pods together. The client runs in a process of its own (`live/cluster.rs`): it
//! holds a credential, which must not lie in the memory of the half that parses other people's bytes, and what it says
//! decides which processes are traced, which that half must not.

pub mod api;
pub mod client;
pub mod pod;
pub mod pods;
mod tls;

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

pub use pod::{InPod, Pod};
pub use pods::Pods;

use crate::config::values;

/// Where a service account's credentials are mounted in a pod.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Key of the configuration file: `kubernetes`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    pub source: Source,
    /// The API server's or the kubelet's address. Default: for the API server that of the pod's environment
    /// (`KUBERNETES_SERVICE_HOST` and `_PORT`); for the kubelet there is none.
    pub endpoint: Option<String>,
    /// The node's name in the cluster. Default: `NODE_NAME` or `K8S_NODE_NAME` of the environment.
    pub node: Option<String>,
    /// Holds the bearer token. It is read again for each connection, since kubelet replaces it.
    pub token_file: PathBuf,
    /// Certificates of the endpoint's authorities, PEM.
    pub ca_file: PathBuf,
    /// Believes the kubelet without a certificate of [`Self::ca_file`]. Not the API server.
    pub insecure_skip_verify: bool,
    /// Labels of pods that spans tell as `k8s.pod.label.KEY`: names, `*` for all.
    pub labels: Vec<String>,
    /// Annotations of pods that spans tell as `k8s.pod.annotation.KEY`: names, `*` for all.
    pub annotations: Vec<String>,
    /// Whether the labels `app.kubernetes.io/instance`, `/name` and `/version` name the service and its version.
    pub service_from_labels: bool,
    /// How long a process's spans wait until its pod is known.
    #[serde(with = "values::duration")]
    pub wait: Duration,
    /// How often the kubelet is asked. The API server tells by itself.
    #[serde(with = "values::duration")]
    pub poll: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            source: Source::Auto,
            endpoint: None,
            node: None,
            token_file: format!("{SERVICE_ACCOUNT}/token").into(),
            ca_file: format!("{SERVICE_ACCOUNT}/ca.crt").into(),
            insecure_skip_verify: false,
            labels: Vec::new(),
            annotations: Vec::new(),
            service_from_labels: true,
            wait: Duration::from_secs(5),
            poll: Duration::from_secs(10),
        }
    }
}

/// Who is asked for pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The API server where llmtap runs in a pod that has a token, else nobody.
    Auto,
    /// The API server.
    Api,
    /// This node's kubelet.
    Kubelet,
    None,
}

/// Whom to ask, once all is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `http` or `https`, host and port.
    pub url: hyper::Uri,
    pub kubelet: bool,
    pub node: String,
    pub trust: Trust,
    pub token_file: PathBuf,
    pub poll: Duration,
}

/// Whom an endpoint is believed to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Whoever has a certificate of these authorities, PEM.
    Authorities(Vec<u8>),
    /// Whoever answers there.
    Anybody,
}

/// Why nobody can be asked.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    #[error("the node's name is not known: set NODE_NAME from spec.nodeName, or kubernetes.node")]
    Node,
    #[error("{0} is not known: set kubernetes.endpoint")]
    Endpoint(&'static str),
    #[error("kubernetes.endpoint is no http or https address")]
    Url,
    #[error("the node's name is no name of Kubernetes' kind")]
    NodeName,
    #[error(
        "kubernetes.insecure_skip_verify is for the kubelet alone: the API server has a certificate of the cluster's \
         authority"
    )]
    Unverified,
    #[error("cannot read {}: {source}", path.display())]
    Authorities { path: PathBuf, source: std::io::Error },
}

impl Options {
    /// Whom to ask; `None` for nobody. Reads the authorities' file.
    ///
    /// # Errors
    /// What is missing.
    pub fn endpoint(&self, variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Endpoint>, OptionsError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let service = || {
            let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            Some(format!("https://{host}:{port}"))
        };
        let url = match self.source {
            Source::None => return Ok(None),
            Source::Auto if service().is_none() && self.endpoint.is_none() => return Ok(None),
            // A pod without a token is told nothing.
            Source::Auto if !self.token_file.exists() => return Ok(None),
            Source::Auto | Source::Api => {
                self.endpoint.clone().or_else(service).ok_or(OptionsError::Endpoint("the API server's address"))?
            }
            Source::Kubelet => self.endpoint.clone().ok_or(OptionsError::Endpoint("the kubelet's address"))?,
        };
        let url: hyper::Uri = url.parse().map_err(|_| OptionsError::Url)?;
        if self.insecure_skip_verify && self.source != Source::Kubelet {
            return Err(OptionsError::Unverified);
        }
        let trust = match url.scheme_str() {
            Some("https") if self.insecure_skip_verify => Trust::Anybody,
            Some("https") => std::fs::read(&self.ca_file)
                .map(Trust::Authorities)
                .map_err(|source| OptionsError::Authorities { path: self.ca_file.clone(), source })?,
            // Nothing proves who that is.
            Some("http") => Trust::Anybody,
            _ => return Err(OptionsError::Url),
        };
        let node = self.node.clone().or_else(|| variable("NODE_NAME")).or_else(|| variable("K8S_NODE_NAME"));
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if node.as_ref().is_some_and(|node| !node.bytes().all(is_of_name)) {
            return Err(OptionsError::NodeName);
        }
        Ok(Some(Endpoint {
            url,
            kubelet: self.source == Source::Kubelet,
            node: match (node, self.source) {
                (Some(node), _) => node,
                // It only knows its own pods.
                (None, Source::Kubelet) => String::new(),
                (None, _) => return Err(OptionsError::Node),
            },
            trust,
            token_file: self.token_file.clone(),
            poll: self.poll.max(Duration::from_secs(1)),
        }))
    }
}

#[cfg(test)]
mod tests;
