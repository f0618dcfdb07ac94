//! Where a call went, as far as that changes its price.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::names;
use crate::llm::call::LlmCall;

/// Programs that serve models on one's own machines.
const OWN_SERVERS: [&str; 8] =
    ["ollama", "vllm", "lm_studio", "llama_cpp", "text_generation_inference", "tgi", "sglang", "localai"];

/// Services that host others' models at prices of their own.
const HOSTS: [&str; 12] = [
    "groq",
    "together_ai",
    "fireworks_ai",
    "cerebras",
    "deepinfra",
    "novita",
    "sambanova",
    "nebius",
    "aws.bedrock",
    "ibm.watsonx.ai",
    "github_copilot",
    "perplexity",
];

/// Makers whose models nobody but they and their partners can run. Others publish weights.
const CLOSED: [&str; 6] = ["openai", "anthropic", "gcp.gemini", "x_ai", "cohere", "perplexity"];

/// Whose price lists may stand in when the provider itself has no price for a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Makers {
    /// Nobody's: the model runs on the user's own machine, or at a service with prices of its own.
    None,
    /// An unknown server in a private network: a gateway when the model is one that only its maker runs, else a model on
    /// one's own machines.
    Closed,
    /// The maker's: clouds and gateways sell models on at the maker's price.
    All,
}

impl Makers {
    pub fn fallback(self, provider: &str, model: &str) -> Option<&'static str> {
        let maker = names::maker(model).filter(|maker| *maker != provider)?;
        match self {
            Self::None => None,
            Self::Closed => Some(maker).filter(|maker| CLOSED.contains(maker)),
            Self::All => Some(maker),
        }
    }
}

pub fn makers(call: &LlmCall) -> Makers {
    let provider = &*call.provider;
    if OWN_SERVERS.contains(&provider) || HOSTS.contains(&provider) {
        Makers::None
    } else if is_unnamed(call) {
        Makers::Closed
    } else {
        Makers::All
    }
}

/// Whether the model runs on the user's own machine, as far as is known.
pub fn is_own_server(call: &LlmCall) -> bool {
    OWN_SERVERS.contains(&&*call.provider) || is_unnamed(call)
}

/// Whether nothing but its dialect tells the service, at an address that is nobody else's.
fn is_unnamed(call: &LlmCall) -> bool {
    matches!(&*call.provider, "openai" | "anthropic" | "cohere")
        && call.server_address.as_deref().is_some_and(is_private)
}

/// Whether the call was kept in one region, which costs more at some providers: Anthropic's answer says so, OpenAI's
/// address (`eu.api.openai.com`), Vertex AI's (`us-east5-aiplatform.googleapis.com` as opposed to its global address).
/// Bedrock says the same in the model's name.
pub fn is_regional(call: &LlmCall) -> bool {
    let host = call.server_address.as_deref().unwrap_or_default();
    match &*call.provider {
        "openai" => matches!(host, "eu.api.openai.com" | "us.api.openai.com"),
        "gcp.vertex_ai" => host.ends_with("-aiplatform.googleapis.com") || host.ends_with(".rep.googleapis.com"),
        _ => call.response.geography.as_deref().is_some_and(|place| !matches!(place, "global" | "not_available")),
    }
}

/// Addresses of one's own machine and network: loopback, RFC 1918, RFC 6598, link-local, unique local; names without a
/// dot and those of the special domains (RFC 6761, RFC 6762, `internal`, Kubernetes' services).
fn is_private(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => is_private_v4(address),
        Ok(IpAddr::V6(address)) => address.to_ipv4_mapped().map_or_else(|| is_private_v6(address), is_private_v4),
        Err(_) => {
            let last = bare.rsplit('.').next().unwrap_or(bare);
            !bare.contains('.') || matches!(last, "localhost" | "local" | "internal" | "lan" | "svc")
        }
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let shared = first == 100 && (64..128).contains(&second);
    address.is_loopback() || address.is_private() || address.is_link_local() || address.is_unspecified() || shared
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local() || address.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::is_private;

    #[test]
    fn private_addresses() {
        for host in [
            "localhost",
            "127.0.0.1",
            "::1",
            "[fd00::1]",
            "10.2.3.4",
            "172.31.0.1",
            "192.168.1.9",
            "100.64.0.1",
            "gpu-box",
            "llm.svc.cluster.local",
            "host.docker.internal",
            "fe80::1",
        ] {
            assert!(is_private(host), "{host}");
        }
        for host in ["api.openai.com", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1", "localhost.example.com"]
        {
            assert!(!is_private(host), "{host}");
        }
    }
}
