//! Model names on the wire, and the names under which a table may know them.

/// Cross-region prefixes of Bedrock inference profiles.
const REGIONS: [&str; 12] =
    ["us.", "eu.", "apac.", "jp.", "au.", "ca.", "sa.", "me.", "af.", "global.", "us-gov.", "regional."];

/// Makers whose own models other services pass on, and the name's beginnings that tell them.
const MAKERS: [(&str, &str); 22] = [
    ("gpt-", "openai"),
    ("chatgpt-", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
    ("codex-", "openai"),
    ("text-embedding-3", "openai"),
    ("text-embedding-ada", "openai"),
    ("claude", "anthropic"),
    ("gemini", "gcp.gemini"),
    ("grok", "x_ai"),
    ("deepseek", "deepseek"),
    ("mistral", "mistral_ai"),
    ("magistral", "mistral_ai"),
    ("codestral", "mistral_ai"),
    ("devstral", "mistral_ai"),
    ("ministral", "mistral_ai"),
    ("pixtral", "mistral_ai"),
    ("command", "cohere"),
    ("kimi", "moonshot_ai"),
    ("sonar", "perplexity"),
    ("voyage", "voyage"),
];

/// First path segments with which gateways name the provider behind them.
const GATEWAY_PREFIXES: [(&str, &str); 34] = [
    ("openai", "openai"),
    ("anthropic", "anthropic"),
    ("google", "gcp.gemini"),
    ("gemini", "gcp.gemini"),
    ("google_genai", "gcp.gemini"),
    ("google-ai-studio", "gcp.gemini"),
    ("vertex_ai", "gcp.vertex_ai"),
    ("vertex", "gcp.vertex_ai"),
    ("google-vertex-ai", "gcp.vertex_ai"),
    ("azure", "azure.ai.openai"),
    ("azure-openai", "azure.ai.openai"),
    ("azure_ai", "azure.ai.inference"),
    ("bedrock", "aws.bedrock"),
    ("bedrock_converse", "aws.bedrock"),
    ("aws-bedrock", "aws.bedrock"),
    ("amazon-bedrock", "aws.bedrock"),
    ("converse", "aws.bedrock"),
    ("x-ai", "x_ai"),
    ("xai", "x_ai"),
    ("grok", "x_ai"),
    ("mistral", "mistral_ai"),
    ("mistralai", "mistral_ai"),
    ("deepseek", "deepseek"),
    ("deepseek-ai", "deepseek"),
    ("groq", "groq"),
    ("cohere", "cohere"),
    ("perplexity", "perplexity"),
    ("moonshot", "moonshot_ai"),
    ("moonshotai", "moonshot_ai"),
    ("together_ai", "together_ai"),
    ("fireworks_ai", "fireworks_ai"),
    ("cerebras", "cerebras"),
    ("openrouter", "openrouter"),
    ("voyage", "voyage"),
];

/// The provider that sells `model` under its own name, by a gateway's prefix or by the maker's way of naming.
pub fn maker(model: &str) -> Option<&'static str> {
    if let Some((first, _)) = model.split_once('/')
        && let Some((_, provider)) = GATEWAY_PREFIXES.iter().find(|(prefix, _)| *prefix == first)
    {
        return Some(provider);
    }
    let model = model.rsplit('/').next().unwrap_or(model);
    let model = model.strip_prefix("ft:").unwrap_or(model);
    MAKERS.iter().find(|(start, _)| model.starts_with(start)).map(|(_, provider)| *provider)
}

/// Names to look `model` up by, likeliest first: as it is, then with what gateways, clouds and releases put around it
/// taken off step by step. `model` is in lower case.
pub fn candidates(model: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(8);
    let mut add = |name: &str| {
        if !name.is_empty() && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    };
    add(model);
    // An ARN ends in the model or profile id; so do Gemini's `models/x` and Vertex's `publishers/google/models/x`.
    let mut name = model;
    if name.starts_with("arn:") {
        name = name.rsplit('/').next().unwrap_or(name);
        add(name);
    }
    if let Some((_, rest)) = name.rsplit_once("models/")
        && !name.starts_with("accounts/")
    {
        name = rest;
        add(name);
    }
    add_variants(name, &mut add);
    // Gateways: `openrouter/anthropic/claude-x`, `bedrock/us.anthropic.claude-x`.
    while let Some((_, rest)) = name.split_once('/') {
        name = rest;
        add_variants(name, &mut add);
    }
    names
}

fn add_variants(name: &str, add: &mut impl FnMut(&str)) {
    add(name);
    let mut name = name;
    if let Some(region) = REGIONS.iter().find(|region| name.starts_with(**region)) {
        name = &name[region.len()..];
        // Price lists tell the regions apart, or only "within a region" from "wherever there is room".
        if *region != "global." {
            add(&format!("regional.{name}"));
        }
        add(name);
    }
    // `ft:gpt-4o-mini-2024-07-18:org:name:id`: a fine-tuned model may have a price of its own.
    let mut tuned = None;
    if let Some(rest) = name.strip_prefix("ft:") {
        let base = rest.split(':').next().unwrap_or(rest);
        name = &name[..3 + base.len()];
        add(name);
        add(strip_release(name));
        tuned = Some(base);
    }
    let plain = tuned.unwrap_or(name);
    add(plain);
    // OpenRouter's `:free`, `:nitro` and the like choose a route; `-v1:0` is Bedrock's version.
    let mut short = plain;
    loop {
        let next = strip_release(short);
        if next == short {
            break;
        }
        short = next;
        add(short);
    }
}

/// Takes one of `@date`, `-v1:0`, `:0`, `-latest`, `-YYYY-MM-DD`, `-YYYYMMDD` off the end.
fn strip_release(name: &str) -> &str {
    if let Some((head, _)) = name.split_once('@') {
        return head;
    }
    if let Some((head, version)) = name.rsplit_once(':')
        && !version.is_empty()
        && version.bytes().all(|byte| byte.is_ascii_digit())
    {
        return head;
    }
    if let Some((head, version)) = name.rsplit_once("-v")
        && !head.is_empty()
        && matches!(version, "1" | "2")
        && head.contains('.')
    {
        return head;
    }
    if let Some(head) = name.strip_suffix("-latest") {
        return head;
    }
    strip_date(name).unwrap_or(name)
}

/// `gpt-4o-2024-08-06` and `claude-x-20250929` without the date.
pub fn strip_date(name: &str) -> Option<&str> {
    let bytes = name.as_bytes();
    let date = |at: usize, shape: &[u8]| {
        let tail = &bytes[at..];
        tail.len() == shape.len()
            && tail.iter().zip(shape).all(|(byte, kind)| match kind {
                b'9' => byte.is_ascii_digit(),
                kind => byte == kind,
            })
    };
    for shape in [b"-9999-99-99".as_slice(), b"-99999999"] {
        if let Some(at) = bytes.len().checked_sub(shape.len())
            && at > 0
            && date(at, shape)
        {
            let year = bytes[at + 1..at + 3] == *b"20";
            return year.then(|| &name[..at]);
        }
    }
    None
}

/// Whether `name` fits `pattern`, in which `*` stands for any characters.
pub fn fits(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let Some((middle, last)) = rest.rsplit_once('*') else { return name.ends_with(rest) };
    for part in middle.split('*') {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(last)
}
