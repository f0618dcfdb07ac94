//! What of a request's head tells where it goes: path, host, service.

use crate::{
    capture::Connection,
    proto::{Headers, RequestHead},
};

use super::{
    Claim,
    call::Billing,
    openai_compatible::{Service, gateway_provider, service_at},
};

/// Provider names for hosts that the built-in table does not know, from the configuration.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Host in lower case, with or without port, and the provider's name. It goes before the built-in table.
    pub hosts: Vec<(String, String)>,
    /// Also read calls that a traced process answers as a server.
    pub server_side: bool,
}

/// Default port of Ollama.
const OLLAMA_PORT: u16 = 11434;

/// Where a request goes.
pub struct Target<'a> {
    pub head: &'a RequestHead,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub service: Option<&'static Service>,
    configured: Option<&'a str>,
    /// Whom the gateway at this host is asked to go on to.
    behind: Option<&'static str>,
    provider: Option<&'a str>,
}

impl<'a> Target<'a> {
    pub fn new(head: &'a RequestHead, connection: &Connection, options: &'a Options) -> Self {
        let authority = head.authority.as_deref().map(split_authority);
        let (host, stated_port) = match authority {
            Some((host, port)) if !host.is_empty() => (Some(host), port),
            _ => match (connection.sni.as_deref(), connection.peer.as_deref().map(split_authority)) {
                (None, Some((host, port))) => (Some(host), port),
                (name, _) => (name, None),
            },
        };
        let host = host.map(str::to_ascii_lowercase);
        let port = stated_port.or_else(|| default_port(connection));
        let service = host.as_deref().and_then(|host| service_at(host, &head.path));
        let configured = host.as_deref().and_then(|host| configured(host, port, options));
        let behind = behind_gateway(head, host.as_deref());
        let named = configured.or(behind).or(service.map(|service| service.provider));
        let provider = named.or_else(|| match port {
            Some(OLLAMA_PORT) => Some("ollama"),
            // No other service has this path.
            _ => azure_deployment(&head.path).map(|_| "azure.ai.openai"),
        });
        Self { head, host, port, service, configured, behind, provider }
    }

    /// The provider's name as host or path tell it.
    pub fn provider(&self) -> Option<&'a str> {
        self.provider
    }

    /// What pays for a call here, as far as the head tells.
    pub fn billing(&self) -> Billing {
        match self.service {
            _ if self.configured.is_some() => Billing::Metered,
            Some(service) if service.provider == "anthropic" && is_oauth(&self.head.headers) => Billing::Subscription,
            Some(service) => service.billing,
            None => Billing::Metered,
        }
    }

    /// Whether host or configuration say that models are served here.
    pub fn is_known(&self) -> bool {
        self.configured.is_some() || self.behind.is_some() || self.service.is_some()
    }
}

/// The provider that a request through a gateway names: Portkey by a header, Helicone by the address to go on to,
/// Cloudflare AI Gateway by the path, `/v1/{account}/{gateway}/{provider}/…`.
fn behind_gateway(head: &RequestHead, host: Option<&str>) -> Option<&'static str> {
    if let Some(name) = head.headers.get("x-portkey-provider") {
        return gateway_provider(name.trim_start_matches('@'));
    }
    if let Some(url) = head.headers.get("helicone-target-url") {
        let host = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next()?;
        return service_at(&split_authority(host).0.to_ascii_lowercase(), "/").map(|service| service.provider);
    }
    if host? == "gateway.ai.cloudflare.com" {
        return gateway_provider(head.path.split('/').filter(|segment| !segment.is_empty()).nth(3)?);
    }
    None
}

fn configured<'a>(host: &str, port: Option<u16>, options: &'a Options) -> Option<&'a str> {
    let with_port = port.map(|port| format!("{host}:{port}"));
    let fits = |name: &str| name == host || Some(name) == with_port.as_deref();
    options.hosts.iter().find(|(name, _)| fits(name)).map(|(_, provider)| provider.as_str())
}

/// Host without brackets, and port, of `host`, `host:port`, `[v6]:port`.
fn split_authority(authority: &str) -> (&str, Option<u16>) {
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host).trim();
    if let Some((host, rest)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

/// The port that the scheme stands for when the authority names none (RFC 9110 section 4.2).
fn default_port(connection: &Connection) -> Option<u16> {
    match connection.tls.as_deref() {
        Some("none") => Some(80),
        Some(_) => Some(443),
        None if connection.sni.is_some() => Some(443),
        None => connection.peer.as_deref().and_then(|peer| split_authority(peer).1),
    }
}

/// Path segments from the last to the first, without empty ones.
pub fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.rsplit('/').filter(|segment| !segment.is_empty())
}

/// Whether the path ends in these segments; letters' case does not matter, and neither do empty segments. Every dialect
/// asks this of every request: most are answered by the length or the letters of the last segment.
pub fn ends_with(path: &str, last: &[&str]) -> bool {
    let mut rest = path.as_bytes();
    last.iter().rev().all(|want| {
        while let [before @ .., b'/'] = rest {
            rest = before;
        }
        let Some((before, segment)) = rest.len().checked_sub(want.len()).map(|at| rest.split_at(at)) else {
            return false;
        };
        rest = before;
        segment.eq_ignore_ascii_case(want.as_bytes()) && matches!(before, [] | [.., b'/'])
    })
}

/// `{d}` of `…/openai/deployments/{d}/…`, percent-decoded.
pub fn azure_deployment(path: &str) -> Option<String> {
    let mut segments = path.split('/');
    while let Some(segment) = segments.next() {
        if segment.eq_ignore_ascii_case("openai") && segments.next()?.eq_ignore_ascii_case("deployments") {
            return segments.next().filter(|name| !name.is_empty()).map(percent_decoded);
        }
    }
    None
}

/// The claim to a path that `provider` has: sure where it is the provider, `elsewhere` where nobody knows the host, none at
/// another's.
pub(super) fn claim_own(target: Option<&Target<'_>>, provider: &str, elsewhere: Claim) -> Claim {
    match target {
        Some(target) if target.provider() == Some(provider) => Claim::Sure,
        Some(target) if target.service.is_some() => Claim::None,
        _ => elsewhere,
    }
}

/// A publisher's model on Vertex AI.
#[derive(Debug, PartialEq, Eq)]
pub struct VertexModel {
    pub publisher: String,
    pub model: String,
    pub stream: bool,
}

/// `…/publishers/{publisher}/models/{model}:rawPredict` or `:streamRawPredict`: the publisher's own API.
pub fn vertex_model(path: &str) -> Option<VertexModel> {
    // Asked of every request: hardly any path ends so.
    path.trim_end_matches('/').ends_with("awPredict").then_some(())?;
    let mut last = segments(path);
    let (model, method) = split_method(last.next()?)?;
    let stream = match method {
        "rawPredict" => false,
        "streamRawPredict" => true,
        _ => return None,
    };
    (last.next()? == "models").then_some(())?;
    let publisher = last.next()?.to_owned();
    (last.next()? == "publishers").then(|| VertexModel { publisher, model: percent_decoded(model), stream })
}

/// `model` and `method` of Google's `model:method`. Clients encode the colon or do not.
pub fn split_method(segment: &str) -> Option<(&str, &str)> {
    // Asked of every request, and hardly any has one: encoded ones are searched only where something is encoded.
    let encoded = || ["%3A", "%3a"].into_iter().find_map(|colon| segment.rsplit_once(colon));
    let plain = || segment.rsplit_once(':');
    let split = if segment.as_bytes().contains(&b'%') { encoded().or_else(plain) } else { plain() };
    split.filter(|(model, _)| !model.is_empty())
}

/// `{name}` of Databricks' `/serving-endpoints/{name}/invocations`.
pub fn databricks_endpoint(path: &str) -> Option<String> {
    let mut last = segments(path.trim_end_matches('/').strip_suffix("/invocations")?);
    let name = last.next()?;
    (last.next()? == "serving-endpoints").then(|| percent_decoded(name))
}

/// Undoes percent-encoding (RFC 3986 section 2.1); what does not decode to UTF-8 stays as it is.
pub fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digit = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high << 4 | low) as u8);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// Whether an Anthropic request is made with the sign-in of a plan (Claude Code, the Agent SDK) rather than with a key:
/// such a request has a bearer token and has to name this beta. The token itself is not looked at.
fn is_oauth(headers: &Headers) -> bool {
    let names_beta = |value: &[u8]| {
        let betas = std::str::from_utf8(value).unwrap_or_default();
        betas.split(',').any(|beta| beta.trim().starts_with("oauth-"))
    };
    headers.has("authorization") && !headers.has("x-api-key") && headers.all("anthropic-beta").any(names_beta)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_authorities() {
        assert_eq!(split_authority("api.openai.com"), ("api.openai.com", None));
        assert_eq!(split_authority("localhost:8000"), ("localhost", Some(8000)));
        assert_eq!(split_authority("[::1]:8080"), ("::1", Some(8080)));
        assert_eq!(split_authority("::1"), ("::1", None));
        assert_eq!(split_authority("host:none"), ("host", None));
    }

    #[test]
    fn ends_of_paths_are_whole_segments() {
        for path in ["/v1/chat/completions", "/v1/Chat/Completions/", "//v1//chat//completions//", "chat/completions"] {
            assert!(ends_with(path, &["chat", "completions"]), "{path}");
        }
        for path in ["/v1/mychat/completions", "/chat/xcompletions", "/completions", "/", "", "/chat/completions/x"] {
            assert!(!ends_with(path, &["chat", "completions"]), "{path}");
        }
    }

    #[test]
    fn decodes_percent_encoding() {
        assert_eq!(percent_decoded("anthropic.claude-v2%3A1"), "anthropic.claude-v2:1");
        assert_eq!(percent_decoded("100%"), "100%");
        assert_eq!(percent_decoded("%ff"), "%ff");
    }

    #[test]
    fn finds_azure_deployments() {
        assert_eq!(azure_deployment("/openai/deployments/gpt-x/chat/completions").as_deref(), Some("gpt-x"));
        assert_eq!(azure_deployment("/gateway/openai/deployments/a%20b/embeddings").as_deref(), Some("a b"));
        assert_eq!(azure_deployment("/openai/v1/chat/completions"), None);
        assert_eq!(azure_deployment("/openai"), None);
    }

    #[test]
    fn finds_models_in_paths_of_clouds() {
        let vertex =
            vertex_model("/v1/projects/p/locations/l/publishers/mistralai/models/m-large%402411:streamRawPredict");
        let model = VertexModel { publisher: "mistralai".into(), model: "m-large@2411".into(), stream: true };
        assert_eq!(vertex, Some(model));
        assert_eq!(vertex_model("/publishers/google/models/m:generateContent"), None);
        assert_eq!(vertex_model("/models/m:rawPredict"), None);
        assert_eq!(databricks_endpoint("/serving-endpoints/my-model/invocations").as_deref(), Some("my-model"));
        assert_eq!(databricks_endpoint("/endpoints/my-model/invocations"), None);
    }

    #[test]
    fn the_host_header_names_the_server_and_the_scheme_its_port() {
        let head = RequestHead { authority: Some("API.openai.com".into()), ..RequestHead::default() };
        let connection =
            Connection { peer: Some("10.0.0.1:3128".into()), tls: Some("openssl".into()), ..Connection::default() };
        let options = Options::default();
        let target = Target::new(&head, &connection, &options);
        assert_eq!((target.host.as_deref(), target.port), (Some("api.openai.com"), Some(443)));
        let head = RequestHead::default();
        let connection = Connection { sni: Some("api.openai.com".into()), ..connection };
        assert_eq!(Target::new(&head, &connection, &options).provider(), Some("openai"));
    }

    #[test]
    fn a_sign_in_at_anthropic_is_a_subscription() {
        let options = Options::default();
        let billing = |host: &str, fields: &[(&str, &str)]| {
            let headers = fields.iter().copied().collect();
            let head = RequestHead { authority: Some(host.into()), headers, ..RequestHead::default() };
            Target::new(&head, &Connection::default(), &options).billing()
        };
        let beta = ("anthropic-beta", "fine-grained-tool-streaming-2025-05-14, oauth-2025-04-20");
        assert_eq!(billing("api.anthropic.com", &[("authorization", ""), beta]), Billing::Subscription);
        assert_eq!(billing("api.anthropic.com", &[("x-api-key", ""), beta]), Billing::Metered);
        assert_eq!(billing("api.anthropic.com", &[("authorization", "")]), Billing::Metered);
        assert_eq!(billing("gateway.example", &[("authorization", ""), beta]), Billing::Metered);
    }

    #[test]
    fn a_gateway_is_named_by_whom_it_goes_on_to() {
        let provider = |authority: &str, path: &str, header: Option<(&str, &'static str)>| {
            let headers = header.into_iter().collect();
            let head =
                RequestHead { authority: Some(authority.into()), path: path.into(), headers, ..RequestHead::default() };
            Target::new(&head, &Connection::default(), &Options::default()).provider().map(str::to_owned)
        };
        let cloudflare = |path| provider("gateway.ai.cloudflare.com", path, None);
        assert_eq!(cloudflare("/v1/acc/gw/openai/chat/completions").as_deref(), Some("openai"));
        assert_eq!(
            cloudflare("/v1/acc/gw/google-ai-studio/v1/models/m:generateContent").as_deref(),
            Some("gcp.gemini")
        );
        assert_eq!(cloudflare("/v1/acc/gw/compat/chat/completions"), None);
        let portkey = |name| provider("api.portkey.ai", "/v1/chat/completions", Some(("x-portkey-provider", name)));
        assert_eq!(portkey("mistral-ai").as_deref(), Some("mistral_ai"));
        assert_eq!(portkey("somebody").as_deref(), Some("portkey"));
        let url = ("helicone-target-url", "https://api.groq.com/openai");
        assert_eq!(provider("gateway.helicone.ai", "/v1/chat/completions", Some(url)).as_deref(), Some("groq"));
    }

    #[test]
    fn configuration_goes_first() {
        let head = RequestHead { authority: Some("api.openai.com".into()), ..RequestHead::default() };
        let connection = Connection { tls: Some("openssl".into()), ..Connection::default() };
        let options = Options { hosts: vec![("api.openai.com:443".into(), "my_gateway".into())], ..Options::default() };
        assert_eq!(Target::new(&head, &connection, &options).provider(), Some("my_gateway"));
    }
}
