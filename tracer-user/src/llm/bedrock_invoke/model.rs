//! Which shapes a model's bodies can have, by its id.

/// Readers to try: the bodies decide between those that are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bodies {
    /// No model call of a kind that is told: ranking, or what comes later and elsewhere.
    None,
    /// The vendor has only these.
    Known(&'static [Body]),
    /// An imported model, a profile of the account's own, a vendor that came later.
    Any,
}

/// A shape that has a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Anthropic,
    /// Amazon Nova: nearly Converse's.
    Nova,
    OpenAiChat,
    OpenAiCompletions,
    CohereChat,
    CohereGenerate,
    CohereEmbed,
    /// Small shapes of one vendor each.
    Native,
}

/// Every shape, in the order in which they are preferred when the bodies say too little.
pub const ALL: &[Body] = &[
    Body::Anthropic,
    Body::OpenAiChat,
    Body::OpenAiCompletions,
    Body::Nova,
    Body::CohereChat,
    Body::CohereGenerate,
    Body::CohereEmbed,
    Body::Native,
];

impl Bodies {
    pub fn of(model: &str) -> Self {
        let Some((vendor, name)) = vendor_and_name(model) else { return Self::Any };
        if name.contains("rerank") {
            return Self::None;
        }
        Self::Known(match vendor {
            "anthropic" => &[Body::Anthropic],
            // Answers of these come later, or over a stream in both directions.
            "amazon" if name.starts_with("nova-reel") || name.contains("sonic") => return Self::None,
            "amazon" if name.starts_with("nova") && !name.contains("embed") && !name.starts_with("nova-canvas") => {
                &[Body::Nova]
            }
            "amazon" | "meta" | "stability" | "twelvelabs" => &[Body::Native],
            "mistral" => &[Body::OpenAiChat, Body::Native],
            "cohere" if name.starts_with("embed") => &[Body::CohereEmbed],
            "cohere" => &[Body::CohereChat, Body::CohereGenerate],
            "ai21" => &[Body::OpenAiChat, Body::Native],
            "deepseek" | "qwen" | "openai" | "writer" => &[Body::OpenAiChat, Body::OpenAiCompletions],
            _ => return Self::Any,
        })
    }
}

/// `{vendor}.{name}` of a model's id, whatever stands before it: a region's or the global prefix of an inference profile,
/// the ARN of a foundation model or of a profile that is named after its model.
fn vendor_and_name(model: &str) -> Option<(&str, &str)> {
    const PREFIXES: [&str; 9] = ["us", "us-gov", "eu", "apac", "jp", "au", "ca", "sa", "global"];
    let id = match model.strip_prefix("arn:") {
        None => model,
        Some(arn) => {
            let (resource, id) = arn.rsplit_once('/')?;
            let named = resource.ends_with(":foundation-model") || resource.ends_with(":inference-profile");
            named.then_some(id)?
        }
    };
    let (first, rest) = id.split_once('.')?;
    if PREFIXES.contains(&first) { rest.split_once('.') } else { Some((first, rest)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_their_vendor() {
        const CLAUDE: Bodies = Bodies::Known(&[Body::Anthropic]);
        const NATIVE: Bodies = Bodies::Known(&[Body::Native]);
        for (model, bodies) in [
            ("anthropic.claude-x-v1:0", CLAUDE),
            ("global.anthropic.claude-x-v1:0", CLAUDE),
            ("arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-x", CLAUDE),
            ("arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/anthropic.claude-x", CLAUDE),
            ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc123", Bodies::Any),
            ("arn:aws:bedrock:us-east-1:1:imported-model/anthropic.abc", Bodies::Any),
            ("arn:aws:sagemaker:us-east-1:1:endpoint/mine", Bodies::Any),
            ("amazon.nova-lite-v1:0", Bodies::Known(&[Body::Nova])),
            ("us.amazon.nova-2-lite-v1:0", Bodies::Known(&[Body::Nova])),
            ("amazon.nova-2-multimodal-embeddings-v1:0", NATIVE),
            ("amazon.nova-canvas-v1:0", NATIVE),
            ("amazon.nova-2-sonic-v1:0", Bodies::None),
            ("amazon.titan-text-express-v1", NATIVE),
            ("us.meta.llama-x", NATIVE),
            ("cohere.rerank-v3-5:0", Bodies::None),
            ("newcomer.model-1", Bodies::Any),
            ("my-model", Bodies::Any),
        ] {
            assert_eq!(Bodies::of(model), bodies, "{model}");
        }
    }
}
