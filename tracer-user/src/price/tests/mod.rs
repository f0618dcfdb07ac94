mod billing;

use std::sync::Arc;

use super::*;
use crate::{
    capture::{Connection, ConnectionKey},
    exchange::{ExchangeId, Outcome},
    llm::call::{Aside, Chunks, Completeness, Operation, Request, Response, Times, Usage},
};

fn call(provider: &'static str, model: &str, usage: Usage) -> LlmCall {
    LlmCall {
        id: ExchangeId { connection: ConnectionKey(1), index: 0 },
        connection: Arc::new(Connection::default()),
        provider: provider.into(),
        operation: Operation::Chat,
        api_type: None,
        server_address: None,
        server_port: None,
        protocol_version: "1.1",
        request: Request::default(),
        response: Response { model: Some(model.to_owned()), ..Response::default() },
        usage,
        provider_cost: None,
        asides: Vec::new(),
        cache_hit: None,
        fallback: None,
        billing: crate::llm::call::Billing::Metered,
        error: None,
        times: Times::default(),
        chunks: Chunks::default(),
        completeness: Completeness::Full,
        lost_bytes: None,
        aborted: false,
        outcome: Outcome::Complete,
        attempt: None,
        trace_parent: None,
        content: None,
    }
}

fn tokens(input: u64, output: u64) -> Usage {
    Usage { input: Some(input), output: Some(output), ..Usage::default() }
}

fn cached(input: u64, read: u64, write: u64, output: u64) -> Usage {
    Usage { cache_read: Some(read), cache_write: Some(write), ..tokens(input, output) }
}

#[track_caller]
fn near(actual: f64, expected: f64) {
    assert!((actual - expected).abs() < 1e-9, "{actual} instead of {expected}");
}

#[track_caller]
fn total(provider: &'static str, model: &str, usage: Usage) -> f64 {
    Prices::builtin().cost(&call(provider, model, usage)).unwrap().total
}

#[track_caller]
fn tier_total(provider: &'static str, model: &str, tier: &str, usage: Usage) -> Option<f64> {
    let mut call = call(provider, model, usage);
    call.response.service_tier = Some(tier.to_owned());
    Prices::builtin().cost(&call).map(|cost| cost.total)
}

// Each expected figure is the provider's published price per million tokens times the count, worked out by hand.

#[test]
fn a_million_tokens_of_each_kind_cost_the_published_price() {
    const M: u64 = 1_000_000;
    // OpenAI: gpt-4o 2.50 in, 10.00 out; gpt-4o-mini 0.15 / 0.60; gpt-5 1.25 / 10; o3 2 / 8.
    near(total("openai", "gpt-4o", tokens(M, M)), 12.50);
    near(total("openai", "gpt-4o-mini", tokens(M, M)), 0.75);
    near(total("openai", "gpt-5", tokens(M, M)), 11.25);
    near(total("openai", "o3", tokens(M, M)), 10.0);
    // Anthropic: Sonnet 4.5 3 / 15, Haiku 4.5 1 / 5, Opus 4.1 15 / 75.
    near(total("anthropic", "claude-sonnet-4-5", tokens(M, M)), 18.0);
    near(total("anthropic", "claude-haiku-4-5", tokens(M, M)), 6.0);
    near(total("anthropic", "claude-opus-4-1", tokens(M, M)), 90.0);
    // Mistral Large 3 (2512) 0.50 / 1.50; DeepSeek chat 0.28 / 0.42; Command A 2.50 / 10; gpt-oss-120b at Groq 0.15 / 0.60.
    near(total("mistral_ai", "mistral-large-2512", tokens(M, M)), 2.0);
    near(total("deepseek", "deepseek-chat", tokens(M, M)), 0.70);
    near(total("cohere", "command-a-03-2025", tokens(M, M)), 12.50);
    near(total("groq", "openai/gpt-oss-120b", tokens(M, M)), 0.75);
}

#[test]
fn cached_input_is_billed_once_at_its_own_price() {
    // gpt-4o, 10,000 in of which 8,000 cached: 2,000 · 2.50 + 8,000 · 1.25 + 500 · 10 per million.
    let usage = Usage { cache_read: Some(8_000), ..tokens(10_000, 500) };
    let cost = Prices::builtin().cost(&call("openai", "gpt-4o", usage)).unwrap();
    near(cost.total, 0.02);
    near(cost.input.unwrap(), 0.005);
    near(cost.cache_read.unwrap(), 0.01);
    near(cost.output.unwrap(), 0.005);
    assert_eq!(cost.cache_write, None, "the wire says nothing of writes");
    assert_eq!(cost.source, CostSource::Table);
    assert_eq!(cost.version, Some(Prices::builtin().version()));
}

#[test]
fn cache_writes_for_five_minutes_and_for_an_hour() {
    // Sonnet 4.5: write 3.75, for an hour 6.00, read 0.30. 20,000 in = 1,000 plain + 9,000 read + 6,000 (5m) + 4,000 (1h).
    let usage = Usage { cache_write_1h: Some(4_000), ..cached(20_000, 9_000, 10_000, 1_000) };
    let cost = Prices::builtin().cost(&call("anthropic", "claude-sonnet-4-5-20250929", usage)).unwrap();
    near(cost.input.unwrap(), 0.003);
    near(cost.cache_read.unwrap(), 0.0027);
    near(cost.cache_write.unwrap(), 0.0225 + 0.024);
    near(cost.output.unwrap(), 0.015);
    near(cost.total, 0.003 + 0.0027 + 0.0465 + 0.015);
}

#[test]
fn long_prompts_reprice_all_tokens_above_the_threshold() {
    // Gemini 2.5 Pro: up to 200,000 tokens 1.25 / 10, above 2.50 / 15, for the whole prompt.
    near(total("gcp.gemini", "gemini-2.5-pro", tokens(200_000, 1_000)), 0.25 + 0.01);
    near(total("gcp.gemini", "gemini-2.5-pro", tokens(200_001, 1_000)), 0.500_002_5 + 0.015);
    // The cache counts: 150,000 + 60,000 cached is one prompt of 210,000.
    near(
        total("gcp.gemini", "gemini-2.5-pro", Usage { cache_read: Some(60_000), ..tokens(210_000, 0) }),
        0.375 + 0.015,
    );
    // xAI's step begins at its threshold: Grok 4.3 1.25 / 2.50, from 200,000 on 2.50 / 5.
    near(total("x_ai", "grok-4.3", tokens(199_999, 0)), 0.249_998_75);
    near(total("x_ai", "grok-4.3", tokens(200_000, 0)), 0.5);
}

#[test]
fn the_service_tier_of_the_response_chooses_the_price() {
    const M: u64 = 1_000_000;
    near(tier_total("openai", "gpt-5", "default", tokens(M, M)).unwrap(), 11.25);
    near(tier_total("openai", "gpt-5", "flex", tokens(M, M)).unwrap(), 5.625);
    near(tier_total("openai", "gpt-5", "batch", tokens(M, M)).unwrap(), 5.625);
    near(tier_total("openai", "gpt-5", "priority", tokens(M, M)).unwrap(), 22.5);
    near(tier_total("anthropic", "claude-haiku-4-5", "standard", tokens(M, M)).unwrap(), 6.0);
    near(tier_total("anthropic", "claude-haiku-4-5", "batch", cached(M, 0, M, M)).unwrap(), 0.625 + 2.5);
    // An hour's cache write in a batch: half of 2.00.
    let usage = Usage { cache_write_1h: Some(M), ..cached(M, 0, M, 0) };
    near(tier_total("anthropic", "claude-haiku-4-5", "batch", usage).unwrap(), 1.0);
    // OpenAI's batch list has no cached column: gpt-4o's cached input stays at 1.25.
    near(tier_total("openai", "gpt-4o", "batch", Usage { cache_read: Some(M), ..tokens(M, 0) }).unwrap(), 1.25);
    // Reserved capacity is not billed by the token.
    assert_eq!(tier_total("openai", "gpt-4o", "scale", tokens(M, M)), None);
    // Tier and long prompt together: Gemini 2.5 Pro priority above 200,000 is 4.50.
    near(tier_total("gcp.gemini", "gemini-2.5-pro", "priority", tokens(M, 0)).unwrap(), 4.5);
}

#[test]
fn quiet_hours_and_regions_have_their_price() {
    const HOUR: u64 = 3_600_000_000_000;
    // DeepSeek v4 flash: 0.30 by day in China, 0.15 otherwise. 2026-03-16T00:00:00Z is a Monday.
    const MONDAY: u64 = 1_773_619_200_000_000_000;
    let at = |time: u64| {
        let mut call = call("deepseek", "deepseek-v4-flash", tokens(1_000_000, 0));
        call.times.start = time;
        Prices::builtin().cost(&call).unwrap().total
    };
    for (hour, expected) in [(0, 0.15), (1, 0.30), (3, 0.30), (4, 0.15), (6, 0.30), (9, 0.30), (10, 0.15), (23, 0.15)] {
        near(at(MONDAY + hour * HOUR), expected);
    }
    near(at(MONDAY - 24 * HOUR + 2 * HOUR), 0.15);
    near(at(MONDAY + 5 * 24 * HOUR + 2 * HOUR), 0.15);
    near(at(MONDAY + 4 * 24 * HOUR + 2 * HOUR), 0.30);
    // OpenAI adds 10 % for processing in the EU to models from GPT-5.4 on: 0.75 for gpt-5.4-mini.
    for (model, host, expected) in [
        ("gpt-5.4-mini", "api.openai.com", 0.75),
        ("gpt-5.4-mini", "eu.api.openai.com", 0.825),
        ("gpt-4o", "eu.api.openai.com", 2.5),
    ] {
        let mut call = call("openai", model, tokens(1_000_000, 0));
        call.server_address = Some(host.to_owned());
        near(Prices::builtin().cost(&call).unwrap().total, expected);
    }
}

#[test]
fn audio_has_its_own_price() {
    // gpt-audio: text 2.50 / 10, audio 32 / 64.
    let usage = Usage { input_audio: Some(600), output_audio: Some(100), ..tokens(1_000, 150) };
    near(total("openai", "gpt-audio", usage), (400.0 * 2.5 + 600.0 * 32.0 + 50.0 * 10.0 + 100.0 * 64.0) / 1e6);
}

#[test]
fn audio_from_the_cache_is_billed_once() {
    // 1,000 in, 800 audio, 500 cached: at least 300 of the cached are audio. 500 remain as audio, none as text.
    let usage = Usage { input_audio: Some(800), cache_read: Some(500), ..tokens(1_000, 0) };
    let cost = Prices::builtin().cost(&call("openai", "gpt-audio", usage)).unwrap();
    near(cost.input.unwrap(), 500.0 * 32.0 / 1e6);
    // No cached price is published: as input.
    near(cost.cache_read.unwrap(), 500.0 * 2.5 / 1e6);
}

#[test]
fn impossible_counts_never_give_a_negative_cost() {
    let usage = Usage {
        input_audio: Some(u64::MAX),
        output_audio: Some(u64::MAX),
        cache_write_1h: Some(u64::MAX),
        ..cached(10, u64::MAX, u64::MAX, 5)
    };
    for (provider, model) in [("openai", "gpt-4o"), ("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-audio")] {
        let cost = Prices::builtin().cost(&call(provider, model, usage)).unwrap();
        let parts = [Some(cost.total), cost.input, cost.output, cost.cache_read, cost.cache_write];
        assert!(parts.into_iter().flatten().all(|usd| usd >= 0.0 && usd.is_finite()), "{cost:?}");
    }
}

#[test]
fn web_searches_add_their_fee() {
    // Anthropic: 10 USD per 1,000 searches.
    let usage = Usage { web_searches: Some(3), ..tokens(1_000, 100) };
    near(total("anthropic", "claude-sonnet-4-5", usage), 0.003 + 0.0015 + 0.03);
}

#[test]
fn embeddings_have_no_output() {
    let mut embeddings = call("openai", "text-embedding-3-small", Usage { input: Some(1_000_000), ..Usage::default() });
    embeddings.operation = Operation::Embeddings;
    let cost = Prices::builtin().cost(&embeddings).unwrap();
    near(cost.total, 0.02);
    assert_eq!(cost.output, None);
}

#[test]
fn half_known_usage_has_no_cost_and_is_not_unpriced() {
    let prices = Prices::builtin();
    for usage in [
        Usage::default(),
        Usage { input: Some(1_000), ..Usage::default() },
        Usage { output: Some(10), ..Usage::default() },
    ] {
        assert_eq!(prices.cost(&call("openai", "gpt-4o", usage)), None);
    }
    assert_eq!(prices.unpriced(), Unpriced::default());
}

#[test]
fn stated_zeros_cost_zero() {
    let cost = Prices::builtin().cost(&call("openai", "gpt-4o", cached(0, 0, 0, 0))).unwrap();
    assert_eq!((cost.total, cost.cache_read, cost.cache_write), (0.0, Some(0.0), Some(0.0)));
}

#[test]
fn the_providers_own_figure_wins() {
    let mut stated = call("openrouter", "anthropic/claude-sonnet-4.5", tokens(1_000, 1_000));
    stated.provider_cost = Some(0.0123);
    let cost = Prices::builtin().cost(&stated).unwrap();
    assert_eq!((cost.total, cost.source, cost.version), (0.0123, CostSource::Provider, None));
    stated.provider_cost = Some(f64::NAN);
    assert_eq!(Prices::builtin().cost(&stated).unwrap().source, CostSource::Table);
}

#[test]
fn names_are_found_as_clouds_and_gateways_write_them() {
    let usage = tokens(1_000_000, 0);
    for (provider, model, expected) in [
        ("openai", "gpt-4o-2024-08-06", 2.5),
        ("openai", "gpt-4o-2031-01-31", 2.5),
        ("openai", "GPT-4o", 2.5),
        ("openai", "o3-2025-04-16", 2.0),
        ("openai", "ft:gpt-4o-2024-08-06:acme:helpdesk:Ab12", 3.75),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::x", 0.3),
        ("anthropic", "claude-sonnet-4-5-20250929", 3.0),
        ("anthropic", "claude-3-5-haiku-latest", 0.8),
        ("anthropic", "claude-haiku-4.5", 1.0),
        ("gcp.gemini", "models/gemini-2.5-flash", 0.3),
        ("gcp.vertex_ai", "claude-sonnet-4-5@20250929", 6.0),
        ("gcp.vertex_ai", "publishers/google/models/gemini-2.5-flash", 0.3),
        // Bedrock: the base model, a cross-region profile that costs 10 % more, one by its ARN. A prompt of a million
        // tokens pays its long-prompt price.
        ("aws.bedrock", "anthropic.claude-haiku-4-5-20251001-v1:0", 1.0),
        ("aws.bedrock", "us.anthropic.claude-haiku-4-5-20251001-v1:0", 1.1),
        ("aws.bedrock", "eu.amazon.nova-lite-v1:0", 0.078),
        ("aws.bedrock", "ca.anthropic.claude-haiku-4-5-20251001-v1:0", 1.1),
        ("aws.bedrock", "global.anthropic.claude-sonnet-4-5-20250929-v1:0", 6.0),
        (
            "aws.bedrock",
            "arn:aws:bedrock:us-east-1:111122223333:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0",
            1.1,
        ),
        // Gateways, and services that speak OpenAI's dialect under another model's name.
        ("openai", "claude-sonnet-4-5", 3.0),
        ("litellm", "anthropic/claude-haiku-4-5", 1.0),
        ("litellm", "bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0", 1.1),
        ("openai", "openrouter/openai/gpt-4o", 2.5),
        ("azure.ai.openai", "gpt-4o-2024-08-06", 2.5),
        ("groq", "openai/gpt-oss-120b", 0.15),
    ] {
        let cost = Prices::builtin().cost(&call(provider, model, usage));
        let cost = cost.unwrap_or_else(|| panic!("{provider} {model} has no price"));
        assert!((cost.total - expected).abs() < 1e-9, "{provider} {model}: {} instead of {expected}", cost.total);
    }
}

#[test]
fn the_answering_model_is_billed_not_the_one_asked_for() {
    let mut renamed = call("openai", "gpt-4o-mini", tokens(1_000_000, 0));
    renamed.request.model = Some("gpt-4o".to_owned());
    near(Prices::builtin().cost(&renamed).unwrap().total, 0.15);
    renamed.response.model = Some("house-model".to_owned());
    near(Prices::builtin().cost(&renamed).unwrap().total, 2.5);
    // On Azure the request names a deployment, which may be called like another model.
    renamed.provider = "azure.ai.openai".into();
    assert_eq!(Prices::builtin().cost(&renamed), None);
}

#[test]
fn unknown_models_are_counted_and_named_once() {
    let prices = Prices::builtin();
    for _ in 0..3 {
        assert_eq!(prices.cost(&call("openai", "gpt-77-moon", tokens(10, 10))), None);
    }
    let mut flex = call("openai", "gpt-4o", tokens(10, 10));
    flex.response.service_tier = Some("scale".to_owned());
    assert_eq!(prices.cost(&flex), None);
    let unpriced = prices.unpriced();
    assert_eq!(unpriced.calls, 4);
    assert_eq!(unpriced.models.get("gpt-77-moon"), Some(&3));
    assert_eq!(unpriced.models.get("gpt-4o (scale)"), Some(&1));
}

#[test]
fn the_list_of_unpriced_names_is_bounded() {
    let prices = Prices::builtin();
    for at in 0..2_000 {
        prices.cost(&call("openai", &format!("m\u{1b}[31m{at}-{}", "x".repeat(500)), tokens(1, 1)));
    }
    let unpriced = prices.unpriced();
    assert_eq!((unpriced.calls, unpriced.models.len()), (2_000, MAX_UNPRICED_NAMES));
    assert_eq!(unpriced.unnamed, 2_000 - MAX_UNPRICED_NAMES as u64);
    assert!(unpriced.models.keys().all(|name| name.chars().count() <= MAX_UNPRICED_NAME && !name.contains('\u{1b}')));
}

#[test]
fn models_on_the_users_own_machine_have_no_price() {
    for provider in ["ollama", "vllm"] {
        assert_eq!(Prices::builtin().cost(&call(provider, "deepseek-chat", tokens(10, 10))), None);
    }
}

#[test]
fn an_own_price_file_goes_first() {
    let text = r#"{
        "version": "acme-2026",
        "models": [
            { "provider": "openai", "model": ["gpt-4o", "house-*"], "input": 1, "output": 2,
              "above": [{ "tokens": 1000, "input": 10 }], "tiers": { "flex": { "input": 0.5 } } },
            { "model": "anywhere", "input": 7, "output": 0 }
        ]
    }"#;
    let prices = Prices::with_override(text, "acme.json").unwrap();
    let cost = prices.cost(&call("openai", "gpt-4o-2024-08-06", tokens(1_000, 1_000))).unwrap();
    near(cost.total, 0.003);
    assert_eq!((cost.source, cost.version.as_deref()), (CostSource::Override, Some("acme-2026")));
    near(prices.cost(&call("openai", "house-blend-7", tokens(1_001, 0))).unwrap().total, 0.010_01);
    near(prices.cost(&call("vllm", "anywhere", tokens(1_000, 5))).unwrap().total, 0.007);
    // What the file does not name keeps the built-in price.
    let other = prices.cost(&call("anthropic", "claude-haiku-4-5", tokens(1_000_000, 0))).unwrap();
    assert_eq!((other.total, other.source), (1.0, CostSource::Table));
    assert_eq!(other.version, Some(Prices::builtin().version()));
}

#[test]
fn a_contract_multiplies_every_price() {
    let text =
        r#"{"version": "c1", "multiplier": 0.9, "multipliers": {"anthropic": 0.5}, "subscriptions": ["mistral_ai"]}"#;
    let prices = Prices::with_override(text, "contract.json").unwrap();
    let cost = prices.cost(&call("openai", "gpt-4o", tokens(1_000_000, 0))).unwrap();
    near(cost.total, 2.25);
    near(cost.input.unwrap(), 2.25);
    assert_eq!(cost.source, CostSource::Override);
    assert!(cost.version.unwrap().ends_with("*c1"));
    near(prices.cost(&call("anthropic", "claude-haiku-4-5", tokens(1_000_000, 0))).unwrap().total, 0.5);
    let subscribed = prices.cost(&call("mistral_ai", "mistral-large-2512", tokens(1_000_000, 0))).unwrap();
    assert_eq!(subscribed.source, CostSource::ListPrice);
    let plan =
        LlmCall { billing: crate::llm::call::Billing::Subscription, ..call("openai", "gpt-4o", tokens(1_000, 0)) };
    assert_eq!(Prices::builtin().cost(&plan).unwrap().source, CostSource::ListPrice);
}

#[test]
fn litellms_file_is_read_as_it_is() {
    let text = r#"{
        "sample_spec": { "input_cost_per_token": "words, not a figure", "mode": "one of: chat" },
        "acme/blend": {
            "litellm_provider": "acme", "mode": "chat",
            "input_cost_per_token": 1e-06, "output_cost_per_token": 0.000004, "cache_read_input_token_cost": 1e-07,
            "cache_creation_input_token_cost_above_1hr": 3e-06,
            "input_cost_per_token_above_128k_tokens": 2e-06, "input_cost_per_token_flex": 5e-07
        },
        "xai/grok-house": { "litellm_provider": "xai", "input_cost_per_token": 1e-06, "output_cost_per_token": 0 },
        "steps": { "litellm_provider": "acme", "tiered_pricing": [
            { "range": [0, 32000], "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06 },
            { "range": [32000, 128000], "input_cost_per_token": 2e-06, "output_cost_per_token": 2e-06 } ] },
        "dall-e": { "litellm_provider": "openai", "mode": "image_generation", "output_cost_per_image": 0.04 },
        "bare": { "input_cost_per_token": 1e-06, "output_cost_per_token": null }
    }"#;
    let prices = Prices::with_override(text, "/etc/llmtap/litellm.json").unwrap();
    let blend = |usage| prices.cost(&call("acme", "blend", usage)).unwrap();
    near(blend(tokens(1_000, 1_000)).total, 0.005);
    near(blend(tokens(200_000, 0)).total, 0.4);
    near(blend(Usage { cache_write_1h: Some(1_000), ..cached(1_000, 0, 1_000, 0) }).total, 0.003);
    let version = blend(tokens(1, 1)).version.unwrap();
    assert!(version.starts_with("litellm.json@") && version.len() == "litellm.json@".len() + 8, "{version}");
    near(prices.cost(&call("x_ai", "grok-house", tokens(1_000, 5))).unwrap().total, 0.001);
    near(prices.cost(&call("acme", "steps", tokens(32_000, 0))).unwrap().total, 0.032);
    near(prices.cost(&call("acme", "steps", tokens(32_001, 0))).unwrap().total, 0.064_002);
    near(prices.cost(&call("whoever", "bare", tokens(1_000, 0))).unwrap().total, 0.001);
    assert_eq!(prices.cost(&call("whoever", "bare", tokens(1_000, 1))), None, "no output price is known");
}

#[test]
fn bad_price_files_say_what_and_where() {
    let deep = "[".repeat(100_000);
    for (text, expected) in [
        ("", "not valid JSON"),
        ("{", "line 1"),
        ("\u{0}\u{1}", "not valid JSON"),
        (deep.as_str(), "not valid JSON"),
        ("[]", "not a JSON object"),
        ("{}", "neither"),
        (r#"{"models": []}"#, "neither"),
        (r#"{"gpt-4o": 3}"#, "neither"),
        ("{\"models\": [\n{\"model\": \"a\", \"inptu\": 3}]}", "`inptu`"),
        ("{\"models\": [\n{\"model\": \"a\", \"input\": \"3\"}]}", "line 2"),
        (r#"{"models": [{"model": 3}]}"#, "a model name, or a list of model names"),
        (r#"{"models": [{"model": "a", "input": -3}]}"#, "models[0] (a): `input` is -3"),
        (r#"{"models": [{"model": "a", "input": 1e300}]}"#, "`input`"),
        (r#"{"models": [{"model": "a"}]}"#, "states no price"),
        (r#"{"models": [{"model": [], "input": 1}]}"#, "`model` is empty"),
        (r#"{"models": [{"model": "a", "input": 1, "tiers": {"flex": {"outptu": 1}}}]}"#, "`outptu`"),
        (r#"{"models": [{"model": "a", "input": 1, "above": [{"input": 1}]}]}"#, "tokens"),
        (r#"{"models": [{"model": "a", "input": 1, "regional": 0}]}"#, "`regional` is 0"),
        (r#"{"models": [{"model": "a", "input": 1, "off_peak": {"hours": [{"utc": ["9-5"]}]}}]}"#, "\"9-5\""),
        (r#"{"models": [{"model": "a", "input": 1, "off_peak": {"hours": [{"weekdays": [8], "utc": []}]}}]}"#, "has 8"),
        (r#"{"multiplier": -1, "models": []}"#, "`multiplier` is -1"),
        (r#"{"multipliers": {"openai": 1e9}}"#, "`multipliers.openai`"),
        (r#"{"m": {"input_cost_per_token": [1]}}"#, "`m`: `input_cost_per_token`"),
        (r#"{"m": {"input_cost_per_token": -1}}"#, "`m`: `input`"),
        (r#"{"m": {"input_cost_per_token": 1e-6}, "n": 3}"#, "`n`: is not an object"),
    ] {
        let error = Prices::with_override(text, "own.json").unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("price file own.json: "), "{message}");
        let start = &text[..text.len().min(60)];
        assert!(message.contains(expected), "{start}: {message} does not say {expected}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn the_built_in_table_is_whole() {
    let table = Table::read(BUILTIN.as_bytes(), "built-in").unwrap();
    assert!(BUILTIN.len() < 1_000_000);
    assert_eq!(table.version.len(), "2026-01-31".len());
    for provider in ["openai", "anthropic", "gcp.gemini", "aws.bedrock", "mistral_ai", "x_ai", "groq", "deepseek"] {
        assert!(BUILTIN.contains(&format!("\"provider\":\"{provider}\"")), "{provider}");
    }
}

#[test]
fn patterns() {
    for (pattern, name, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a*", "ab", true),
        ("*b", "ab", true),
        ("a*c*e", "abcde", true),
        ("a*c*e", "abde", false),
        ("*", "", true),
        ("ab*ba", "aba", false),
        ("**", "x", true),
    ] {
        assert_eq!(names::fits(pattern, name), expected, "{pattern} {name}");
    }
}

#[test]
fn names_of_any_shape_are_safe_to_look_up() {
    use proptest::prelude::*;
    proptest!(|(model in "\\PC{0,40}", provider in "[a-z_.]{0,12}")| {
        let prices = Prices::builtin();
        let mut any = call("openai", &model, tokens(1, 1));
        any.provider = provider.into();
        if let Some(cost) = prices.cost(&any) {
            prop_assert!(cost.total >= 0.0);
        }
    });
}
