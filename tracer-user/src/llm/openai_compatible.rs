//! Services by their hosts: the provider's name, and where a service deviates from OpenAI's shapes. One row a service.
//!
//! The table only names what is already recognised by path and bodies. A service that is not in it is traced as well,
//! under the name of the API that it speaks.

use super::call::Billing;

/// One service.
#[derive(Debug)]
pub struct Service {
    /// Host names; `*` stands for one or more characters other than `/`.
    pub hosts: &'static [&'static str],
    /// `gen_ai.provider.name`.
    pub provider: &'static str,
    /// When several rows share a host: the path must begin with this.
    pub prefix: &'static str,
    /// Paths of chat completions other than `…/chat/completions`.
    pub chat_paths: &'static [&'static str],
    pub reasoning: Reasoning,
    pub billing: Billing,
}

/// Whether the stated output tokens include the reasoning tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reasoning {
    Included,
    /// They come on top, unless the stated total says otherwise.
    Additional,
    /// They are stated beside the output, always.
    Apart,
}

const fn service(provider: &'static str, hosts: &'static [&'static str]) -> Service {
    Service { hosts, provider, prefix: "", chat_paths: &[], reasoning: Reasoning::Included, billing: Billing::Metered }
}

/// The first row that fits is used.
pub static SERVICES: &[Service] = &[
    service("openai", &["api.openai.com", "*.api.openai.com"]),
    // Codex with a ChatGPT plan.
    Service {
        prefix: "/backend-api/",
        billing: Billing::Subscription,
        ..service("openai", &["chatgpt.com", "*.chatgpt.com", "chat.openai.com"])
    },
    service("anthropic", &["api.anthropic.com", "*.api.anthropic.com"]),
    service("azure.ai.openai", &["*.openai.azure.com", "*.openai.azure.us", "*.openai.azure.cn"]),
    Service {
        prefix: "/openai/",
        ..service("azure.ai.openai", &["*.services.ai.azure.com", "*.cognitiveservices.azure.com"])
    },
    service(
        "azure.ai.inference",
        &[
            "*.services.ai.azure.com",
            "*.inference.ai.azure.com",
            "*.models.ai.azure.com",
            "models.inference.ai.azure.com",
        ],
    ),
    service(
        "aws.bedrock",
        &[
            "bedrock-runtime.*.amazonaws.com",
            "bedrock-runtime-fips.*.amazonaws.com",
            "bedrock-runtime.*.api.aws",
            "bedrock-runtime-fips.*.api.aws",
            "bedrock-runtime.*.amazonaws.com.cn",
            "bedrock-mantle.*.api.aws",
            // Interface endpoints of a private network.
            "*.bedrock-runtime.*.vpce.amazonaws.com",
            "*.bedrock-runtime-fips.*.vpce.amazonaws.com",
            "*.bedrock-mantle.*.vpce.amazonaws.com",
        ],
    ),
    service(
        "gcp.vertex_ai",
        &["aiplatform.googleapis.com", "*-aiplatform.googleapis.com", "aiplatform.*.googleapis.com"],
    ),
    service("gcp.gemini", &["generativelanguage.googleapis.com"]),
    // Gemini Code Assist, which Gemini CLI and others sign in to.
    Service {
        billing: Billing::Subscription,
        ..service(
            "gcp.gemini",
            &["cloudcode-pa.googleapis.com", "*-cloudcode-pa.googleapis.com", "*-cloudcode-pa.sandbox.googleapis.com"],
        )
    },
    service("cohere", &["api.cohere.com", "api.cohere.ai", "*.api.cohere.com"]),
    service("mistral_ai", &["api.mistral.ai", "codestral.mistral.ai", "*.api.mistral.ai"]),
    service("groq", &["api.groq.com"]),
    service("deepseek", &["api.deepseek.com"]),
    Service { reasoning: Reasoning::Additional, ..service("x_ai", &["api.x.ai", "*.api.x.ai"]) },
    Service { reasoning: Reasoning::Additional, ..service("perplexity", &["api.perplexity.ai"]) },
    service("ibm.watsonx.ai", &["*.ml.cloud.ibm.com"]),
    service("moonshot_ai", &["api.moonshot.ai", "api.moonshot.cn"]),
    service("openrouter", &["openrouter.ai", "*.openrouter.ai"]),
    service("together_ai", &["api.together.xyz", "api.together.ai"]),
    service("fireworks_ai", &["api.fireworks.ai", "*.api.fireworks.ai"]),
    Service { chat_paths: &["/v1/chat"], ..service("writer", &["api.writer.com"]) },
    service("ollama", &["ollama.com", "*.ollama.com"]),
    service("cerebras", &["api.cerebras.ai"]),
    service("sambanova", &["api.sambanova.ai"]),
    service("nvidia_nim", &["integrate.api.nvidia.com"]),
    service("huggingface", &["router.huggingface.co", "api-inference.huggingface.co", "*.endpoints.huggingface.cloud"]),
    service("deepinfra", &["api.deepinfra.com"]),
    service("hyperbolic", &["api.hyperbolic.xyz"]),
    service("novita", &["api.novita.ai"]),
    service("dashscope", &["dashscope.aliyuncs.com", "dashscope-*.aliyuncs.com", "*.maas.aliyuncs.com"]),
    service("zhipu_ai", &["open.bigmodel.cn", "api.z.ai"]),
    service("minimax", &["api.minimax.chat", "api.minimaxi.com", "api.minimax.io"]),
    service("github_models", &["models.github.ai"]),
    Service {
        billing: Billing::Subscription,
        ..service(
            "github_copilot",
            &[
                "api.githubcopilot.com",
                "api.*.githubcopilot.com",
                "copilot-proxy.githubusercontent.com",
                "proxy.*.githubcopilot.com",
            ],
        )
    },
    service("vercel_ai_gateway", &["ai-gateway.vercel.sh"]),
    service("voyage_ai", &["api.voyageai.com", "ai.mongodb.com"]),
    service("jina_ai", &["api.jina.ai", "deepsearch.jina.ai"]),
    service("nomic", &["api-atlas.nomic.ai"]),
    service("ai21", &["api.ai21.com"]),
    Service { chat_paths: &["/v1/chat"], ..service("reka", &["api.reka.ai"]) },
    service("upstage", &["api.upstage.ai"]),
    service("stepfun", &["api.stepfun.com", "api.stepfun.ai"]),
    service("baichuan", &["api.baichuan-ai.com"]),
    service("volcengine", &["ark.*.volces.com", "ark.*.bytepluses.com"]),
    service("siliconflow", &["api.siliconflow.cn", "api.siliconflow.com"]),
    service("tencent_hunyuan", &["api.hunyuan.cloud.tencent.com", "hunyuan.tencentcloudapi.com"]),
    service("databricks", &["*.cloud.databricks.com", "*.gcp.databricks.com", "*.azuredatabricks.net"]),
    service("snowflake", &["*.snowflakecomputing.com"]),
    service("baseten", &["inference.baseten.co", "*.api.baseten.co"]),
    service("anyscale", &["api.endpoints.anyscale.com", "*.anyscaleuserdata.com"]),
    service("nebius", &["api.studio.nebius.ai", "api.studio.nebius.com", "api.tokenfactory.nebius.com"]),
    service("lambda", &["api.lambda.ai", "api.lambdalabs.com"]),
    service("friendli", &["api.friendli.ai"]),
    service("featherless", &["api.featherless.ai"]),
    service("inception", &["api.inceptionlabs.ai"]),
    service("venice", &["api.venice.ai"]),
    service("chutes", &["llm.chutes.ai"]),
    service("scaleway", &["api.scaleway.ai", "*.ifr.fr-par.scaleway.com"]),
    service("ovhcloud", &["*.ai.cloud.ovh.net"]),
    service("cloudflare_workers_ai", &["api.cloudflare.com"]),
    service("requesty", &["router.requesty.ai"]),
    service("helicone", &["ai-gateway.helicone.ai"]),
    service("portkey", &["api.portkey.ai"]),
    service("openai", &["oai.helicone.ai"]),
    service("anthropic", &["anthropic.helicone.ai"]),
];

/// What gateways call providers, where it is not the provider's name with other punctuation.
const GATEWAY_NAMES: &[(&str, &str)] = &[
    ("azure_openai", "azure.ai.openai"),
    ("azure_ai", "azure.ai.inference"),
    ("aws_bedrock", "aws.bedrock"),
    ("bedrock", "aws.bedrock"),
    ("google", "gcp.gemini"),
    ("google_ai_studio", "gcp.gemini"),
    ("google_vertex_ai", "gcp.vertex_ai"),
    ("vertex_ai", "gcp.vertex_ai"),
    ("grok", "x_ai"),
    ("mistral", "mistral_ai"),
    ("perplexity_ai", "perplexity"),
    ("together", "together_ai"),
    ("fireworks", "fireworks_ai"),
    ("moonshot", "moonshot_ai"),
    ("workers_ai", "cloudflare_workers_ai"),
];

/// `gen_ai.provider.name` of what a gateway calls a provider.
pub fn gateway_provider(name: &str) -> Option<&'static str> {
    let name = name.trim().to_ascii_lowercase().replace('-', "_");
    let known = GATEWAY_NAMES.iter().find(|(gateway, _)| *gateway == name).map(|(_, provider)| *provider);
    known.or_else(|| SERVICES.iter().map(|service| service.provider).find(|provider| *provider == name))
}

/// Whether a known service answers at this host, in lower case and without port.
pub fn is_model_host(host: &str) -> bool {
    SERVICES.iter().any(|service| service.hosts.iter().any(|pattern| host_fits(pattern, host)))
}

/// `host` is in lower case, without port.
pub fn service_at(host: &str, path: &str) -> Option<&'static Service> {
    SERVICES.iter().find(|service| {
        service.hosts.iter().any(|pattern| host_fits(pattern, host)) && path.starts_with(service.prefix)
    })
}

fn host_fits(pattern: &str, host: &str) -> bool {
    // The table is gone through for every request, and nearly every row ends in another way.
    let mut ends = pattern.bytes().rev().zip(host.bytes().rev());
    if ends.find(|(pattern, host)| *pattern == b'*' || pattern != host).is_some_and(|(pattern, _)| pattern != b'*') {
        return false;
    }
    match pattern.split_once('*') {
        None => pattern == host,
        Some((before, after)) => host.strip_prefix(before).is_some_and(|rest| {
            // A star stands for one character at least. After the last one only the end can fit.
            let ends = rest.char_indices().skip(1).map(|(at, _)| at).chain([rest.len()]);
            match after.contains('*') {
                true => ends.into_iter().any(|end| host_fits(after, &rest[end..])),
                false => rest.len() > after.len() && rest.ends_with(after),
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(host: &str, path: &str) -> Option<&'static str> {
        service_at(host, path).map(|service| service.provider)
    }

    #[test]
    fn names_services_by_host_and_prefix() {
        let chat = "/v1/chat/completions";
        assert_eq!(provider("api.openai.com", chat), Some("openai"));
        assert_eq!(provider("eu.api.openai.com", chat), Some("openai"));
        assert_eq!(provider("res.openai.azure.com", "/openai/v1/responses"), Some("azure.ai.openai"));
        assert_eq!(provider("res.services.ai.azure.com", "/openai/v1/responses"), Some("azure.ai.openai"));
        assert_eq!(provider("res.services.ai.azure.com", "/models/chat/completions"), Some("azure.ai.inference"));
        assert_eq!(provider("bedrock-runtime.us-east-1.amazonaws.com", "/model/m/converse"), Some("aws.bedrock"));
        for host in ["vpce-1-a.bedrock-runtime.eu-west-1.vpce.amazonaws.com", "bedrock-runtime.eu-west-1.api.aws"] {
            assert_eq!(provider(host, "/model/m/invoke"), Some("aws.bedrock"), "{host}");
        }
        assert_eq!(provider(".bedrock-runtime.eu-west-1.vpce.amazonaws.com", ""), None);
        assert_eq!(provider("us-central1-aiplatform.googleapis.com", "/v1"), Some("gcp.vertex_ai"));
    }

    #[test]
    fn plans_of_agents_are_subscriptions() {
        let billing = |host, path| service_at(host, path).map(|service| (service.provider, service.billing));
        let codex = billing("chatgpt.com", "/backend-api/codex/responses");
        assert_eq!(codex, Some(("openai", Billing::Subscription)));
        assert_eq!(billing("chatgpt.com", "/other"), None);
        for host in ["api.githubcopilot.com", "api.business.githubcopilot.com", "copilot-proxy.githubusercontent.com"] {
            assert_eq!(billing(host, "/responses"), Some(("github_copilot", Billing::Subscription)), "{host}");
        }
        let gemini = billing("cloudcode-pa.googleapis.com", "/v1internal:generateContent");
        assert_eq!(gemini, Some(("gcp.gemini", Billing::Subscription)));
        assert_eq!(billing("api.openai.com", "/v1/responses"), Some(("openai", Billing::Metered)));
    }

    #[test]
    fn does_not_take_a_look_alike() {
        for host in ["api.openai.com.example.org", "myapi.openai.com.evil", "openai.azure.com", "localhost", ""] {
            assert_eq!(provider(host, "/v1/chat/completions"), None, "{host}");
        }
    }
}
