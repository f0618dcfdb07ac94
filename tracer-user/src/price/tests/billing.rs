//! What is billed beside plain tokens: modalities, pieces, fees, regions, speeds, places, currencies. Expected figures
//! are worked out by hand from the providers' price lists.

use super::*;

const M: u64 = 1_000_000;

#[track_caller]
fn cost(call: &LlmCall) -> Cost {
    Prices::builtin().cost(call).expect("a cost")
}

#[test]
fn figures_are_decimals_to_the_last_digit() {
    // gpt-4o-mini: 0.15 and 0.60 per million: 12,345 · 0.15 + 678 · 0.60 = 1,851.75 + 406.8 millionths.
    let cost = cost(&call("openai", "gpt-4o-mini", tokens(12_345, 678)));
    assert_eq!(cost.total, 0.002_258_55);
    assert_eq!((cost.input, cost.output), (Some(0.001_851_75), Some(0.000_406_8)));
    // Three tokens at 0.1 per million are 3e-7, which three additions of doubles miss.
    let own = r#"{"models": [{"model": "m", "input": 0.1, "cache_read": 0.1, "output": 0.1}]}"#;
    let prices = Prices::with_override(own, "own.json").unwrap();
    let usage = Usage { cache_read: Some(1), ..tokens(2, 1) };
    assert_eq!(prices.cost(&call("acme", "m", usage)).unwrap().total, 3e-7);
}

#[test]
fn long_prompts_of_openai_and_anthropic() {
    // gpt-5.6 above 272,000: 8 in, 30 out, 0.80 cached, of the whole request.
    near(total("openai", "gpt-5.6", tokens(272_000, 1_000)), 1.088 + 0.02);
    near(
        total("openai", "gpt-5.6", Usage { cache_read: Some(100_000), ..tokens(272_001, 1_000) }),
        172_001.0 * 8e-6 + 0.08 + 0.03,
    );
    // Its flex tier has a step of its own: 4 / 15; its priority tier 16 / 60.
    near(tier_total("openai", "gpt-5.6", "flex", tokens(300_000, 1_000)).unwrap(), 1.2 + 0.015);
    near(tier_total("openai", "gpt-5.6", "priority", tokens(300_000, 1_000)).unwrap(), 4.8 + 0.06);
    // Haiku 5.5 above 100,000: 0.50 / 2.50 in place of 0.10 / 0.50; written for an hour 1.00 in place of 0.20.
    near(total("anthropic", "claude-haiku-5-5", tokens(100_000, 1_000)), 0.01 + 0.000_5);
    let usage = Usage { cache_write_1h: Some(50_000), ..cached(100_001, 0, 50_000, 1_000) };
    near(total("anthropic", "claude-haiku-5-5", usage), 50_001.0 * 0.5e-6 + 0.05 + 0.002_5);
}

#[test]
fn fast_mode_and_regions_of_anthropic() {
    // Opus 5: 5 / 25; fast mode doubles it; inference in the United States costs 10 % more.
    let mut opus = call("anthropic", "claude-opus-5", tokens(M, M));
    near(cost(&opus).total, 30.0);
    opus.response.speed = Some("fast".to_owned());
    near(cost(&opus).total, 60.0);
    opus.response.geography = Some("us".to_owned());
    near(cost(&opus).total, 66.0);
    opus.response.speed = Some("standard".to_owned());
    near(cost(&opus).total, 33.0);
    for place in ["global", "not_available"] {
        opus.response.geography = Some(place.to_owned());
        near(cost(&opus).total, 30.0);
    }
    // The factor is on tokens: a web search costs a cent everywhere.
    opus.response.geography = Some("us".to_owned());
    opus.usage = Usage { web_searches: Some(1), ..tokens(M, 0) };
    near(cost(&opus).total, 5.5 + 0.01);
}

#[test]
fn what_an_advisor_and_compaction_take_is_billed_with_the_call() {
    // Sonnet 4.5: 3 / 15 per million; Opus 5: 5 / 25.
    let mut sonnet = call("anthropic", "claude-sonnet-4-5", tokens(1_000, 100));
    near(cost(&sonnet).total, 0.003 + 0.001_5);
    let aside = |model: Option<&str>, usage| Aside { model: model.map(str::to_owned), usage };
    sonnet.asides = vec![aside(None, tokens(2_000, 200)), aside(Some("claude-opus-5"), tokens(1_000, 10))];
    near(cost(&sonnet).total, 0.009 + 0.004_5 + 0.005 + 0.000_25);
    near(cost(&sonnet).output.unwrap(), 0.004_5 + 0.000_25);
    // A sum that leaves one of them out would be too small and look right.
    sonnet.asides.push(aside(Some("a-model-without-a-price"), tokens(1, 1)));
    assert_eq!(Prices::builtin().cost(&sonnet), None);
    sonnet.provider_cost = Some(0.5);
    near(cost(&sonnet).total, 0.5);
}

#[test]
fn capacity_that_is_reserved_has_a_list_price() {
    let mut reserved = call("gcp.vertex_ai", "gemini-2.5-flash", tokens(M, M));
    for (traffic, total, source) in [
        ("ON_DEMAND", 2.8, CostSource::Table),
        ("PROVISIONED_THROUGHPUT", 2.8, CostSource::ListPrice),
        ("ON_DEMAND_PRIORITY", 5.04, CostSource::Table),
        ("ON_DEMAND_FLEX", 1.4, CostSource::Table),
    ] {
        reserved.response.service_tier = Some(traffic.to_owned());
        let cost = cost(&reserved);
        near(cost.total, total);
        assert_eq!(cost.source, source, "{traffic}");
    }
}

#[test]
fn audio_and_pictures_by_the_token() {
    // gpt-realtime: text 4 / 16, audio 32 / 64, picture 5, all cached 0.40 but pictures 0.50.
    let usage = Usage {
        input_audio: Some(700),
        input_image: Some(200),
        cache_read: Some(600),
        cache_read_audio: Some(400),
        cache_read_image: Some(50),
        output_audio: Some(90),
        ..tokens(1_000, 100)
    };
    let realtime = cost(&call("openai", "gpt-realtime", usage));
    // Not cached: 300 audio, 150 picture, and no text: 1,000 less 600 less 450 is negative, so 50 fewer of audio.
    near(realtime.cache_read.unwrap(), (150.0 * 0.4 + 400.0 * 0.4 + 50.0 * 0.5) / 1e6);
    near(realtime.input.unwrap(), (250.0 * 32.0 + 150.0 * 5.0) / 1e6);
    near(realtime.output.unwrap(), (10.0 * 16.0 + 90.0 * 64.0) / 1e6);
    // gpt-image-1: text 5, picture in 10, picture out 40; it makes nothing else.
    let usage = Usage { input_image: Some(300), ..tokens(500, 4_160) };
    near(total("openai", "gpt-image-1", usage), (200.0 * 5.0 + 300.0 * 10.0 + 4_160.0 * 40.0) / 1e6);
}

#[test]
fn transcriptions_by_tokens_or_by_length() {
    // whisper-1: 0.006 a minute. 9 s.
    let mut whisper = call("openai", "whisper-1", Usage { audio_ms: Some(9_000), ..Usage::default() });
    near(cost(&whisper).total, 0.000_9);
    assert_eq!(cost(&whisper).output, None);
    // An answer that states tokens is billed by them: gpt-4o-transcribe 6 audio in, 10 out.
    whisper.response.model = Some("gpt-4o-transcribe".to_owned());
    whisper.usage = Usage { input_audio: Some(90), audio_ms: Some(9_000), ..tokens(90, 30) };
    near(cost(&whisper).total, (90.0 * 6.0 + 30.0 * 10.0) / 1e6);
}

#[test]
fn pictures_and_search_units_by_the_piece() {
    let pictures = call("x_ai", "grok-imagine-image", Usage { images: Some(3), ..Usage::default() });
    near(cost(&pictures).total, 0.06);
    // Cohere: 2 USD for 1,000 searches.
    near(total("cohere", "rerank-v3.5", Usage { search_units: Some(7), ..Usage::default() }), 0.014);
    // A piece without a price is named.
    let prices = Prices::builtin();
    assert_eq!(prices.cost(&call("openai", "gpt-4o", Usage { images: Some(1), ..Usage::default() })), None);
    assert_eq!(prices.unpriced().models.keys().collect::<Vec<_>>(), ["gpt-4o (image)"]);
}

#[test]
fn tools_of_the_service_have_fees() {
    // OpenAI: 10 USD for 1,000 web searches, 2.50 for 1,000 file searches.
    let usage = Usage { web_searches: Some(2), file_searches: Some(4), ..tokens(M, 0) };
    near(total("openai", "gpt-5", usage), 1.25 + 0.02 + 0.01);
    // A fee that nobody states is never 0.
    let prices = Prices::builtin();
    let usage = Usage { web_searches: Some(1), ..tokens(1, 1) };
    assert_eq!(prices.cost(&call("deepseek", "deepseek-chat", usage)), None);
    assert_eq!(prices.unpriced().models.keys().collect::<Vec<_>>(), ["deepseek-chat (web_search)"]);
}

#[test]
fn reasoning_may_cost_something_else() {
    // qwen-turbo: 0.05 in, 0.20 out, 0.50 while it reasons.
    let usage = Usage { reasoning: Some(600_000), ..tokens(0, M) };
    near(total("dashscope", "qwen-turbo", usage), 0.4 * 0.2 + 0.6 * 0.5);
    // Everyone else bills it as output.
    near(total("openai", "gpt-5", usage), 10.0);
}

#[test]
fn models_on_own_machines_have_no_price_and_are_not_nagged_about() {
    let prices = Prices::builtin();
    let at = |host: &str, model: &str| {
        let mut call = call("openai", model, tokens(M, 0));
        call.server_address = Some(host.to_owned());
        prices.cost(&call).map(|cost| cost.total)
    };
    for model in ["llama-3.3-70b", "deepseek-ai/DeepSeek-R1", "mistralai/Mistral-7B-Instruct-v0.3", "deepseek-chat"] {
        assert_eq!(at("10.0.0.7", model), None, "{model}");
    }
    assert_eq!(prices.cost(&call("ollama", "house-blend", tokens(1, 1))), None);
    assert_eq!(prices.unpriced(), Unpriced::default());
    // A gateway at such an address passes closed models on, at their makers' prices.
    assert_eq!(at("gateway.internal", "gpt-4o"), Some(2.5));
    assert_eq!(at("localhost", "anthropic/claude-haiku-4-5"), Some(1.0));
    // Elsewhere somebody sends a bill.
    assert_eq!(at("models.example.com", "llama-3.3-70b"), None);
    assert_eq!(prices.unpriced().calls, 1);
    let own =
        Prices::with_override(r#"{"models": [{"model": "llama-*", "input": 1, "output": 1}]}"#, "own.json").unwrap();
    let mut local = call("ollama", "llama-3.3", tokens(M, 0));
    local.server_address = Some("127.0.0.1".to_owned());
    assert_eq!(own.cost(&local).unwrap().total, 1.0);
}

#[test]
fn another_currency() {
    let text = r#"{"version": "c", "currency": "EUR", "per_usd": 0.8,
        "models": [{"provider": "openai", "model": "house", "input": 3, "output": 3}]}"#;
    let prices = Prices::with_override(text, "eur.json").unwrap();
    let own = prices.cost(&call("openai", "house", tokens(M, 0))).unwrap();
    assert_eq!((own.total, own.source), (3.0, CostSource::Override));
    assert_eq!(own.currency.unwrap().as_str(), "EUR");
    let listed = prices.cost(&call("openai", "gpt-4o", tokens(M, 0))).unwrap();
    assert_eq!((listed.total, listed.source), (2.0, CostSource::Override));
    let mut stated = call("openrouter", "x", tokens(1, 1));
    stated.provider_cost = Some(0.5);
    let stated = prices.cost(&stated).unwrap();
    assert_eq!((stated.total, stated.source, stated.input), (0.4, CostSource::Provider, None));
    for (text, expected) in [
        (r#"{"currency": "EUR"}"#, "`per_usd` is missing"),
        (r#"{"currency": "euro", "per_usd": 1}"#, "ISO 4217"),
        (r#"{"currency": "EUR", "per_usd": -1}"#, "`per_usd`"),
        (r#"{"per_usd": 2}"#, "`currency`"),
    ] {
        let error = Prices::with_override(text, "eur.json").unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert_eq!(Prices::with_override(r#"{"currency": "USD", "multiplier": 1}"#, "usd.json").unwrap().currency(), None);
}

#[test]
fn parts_and_fees_add_up() {
    use proptest::prelude::*;
    let count = || prop::option::of(0..50_000_000_u64);
    proptest!(|(input in 0..50_000_000_u64, output in 0..1_000_000_u64, read in count(), write in count(), audio in count(),
                image in count(), cached_audio in count(), hour in count())| {
        let usage = Usage {
            cache_read: read, cache_write: write, cache_write_1h: hour, input_audio: audio, input_image: image,
            cache_read_audio: cached_audio, ..tokens(input, output)
        };
        for (provider, model) in [("openai", "gpt-realtime"), ("anthropic", "claude-haiku-5-5"), ("gcp.gemini", "gemini-2.5-flash")] {
            let cost = cost(&call(provider, model, usage));
            let parts: f64 = [cost.input, cost.output, cost.cache_read, cost.cache_write].into_iter().flatten().sum();
            prop_assert!((cost.total - parts).abs() <= 1e-12 * cost.total.max(1.0), "{cost:?}");
        }
    });
}
