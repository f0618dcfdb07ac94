//! Reads LiteLLM's flat price map: one key a model, USD per token, variants as suffixes of the key's name.

use serde_json::{Map, Value};

use super::rates::{Band, Hours, OffPeak, Prices, Rate, Rates, Row};

/// Suffixes of a rate's key that name a service tier, and the tier as a response states it.
const TIERS: [(&str, &str); 6] = [
    ("_batches", "batch"),
    ("_flex", "flex"),
    ("_priority", "priority"),
    ("_ultrafast", "ultrafast"),
    ("_balanced", "balanced"),
    ("_fast", "fast"),
];

/// Keys in USD per token or other unit, the rate that each one states, and how many of LiteLLM's units are one of ours.
const KEYS: [(&str, Rate, f64); 16] = [
    ("input_cost_per_token", Rate::Input, 1e6),
    ("output_cost_per_token", Rate::Output, 1e6),
    ("cache_read_input_token_cost", Rate::CacheRead, 1e6),
    ("cache_creation_input_token_cost", Rate::CacheWrite, 1e6),
    ("cache_creation_input_token_cost_above_1hr", Rate::CacheWrite1h, 1e6),
    ("input_cost_per_audio_token", Rate::InputAudio, 1e6),
    ("output_cost_per_audio_token", Rate::OutputAudio, 1e6),
    ("input_cost_per_image_token", Rate::InputImage, 1e6),
    ("output_cost_per_image_token", Rate::OutputImage, 1e6),
    ("cache_read_input_audio_token_cost", Rate::CacheReadAudio, 1e6),
    ("cache_read_input_image_token_cost", Rate::CacheReadImage, 1e6),
    ("output_cost_per_reasoning_token", Rate::Reasoning, 1e6),
    ("output_cost_per_image", Rate::Image, 1.0),
    ("input_cost_per_second", Rate::AudioMinute, 60.0),
    ("input_cost_per_query", Rate::SearchUnit, 1e3),
    ("input_cost_per_request", Rate::Request, 1e3),
];

/// Factors for processing in one region. Where there is one for each region, they are the same.
const REGIONAL: [&str; 2] = ["regional_endpoint_uplift_multiplier", "regional_processing_uplift_multiplier_eu"];

/// LiteLLM's provider names that differ from `gen_ai.provider.name`.
const PROVIDERS: [(&str, &str); 25] = [
    ("text-completion-openai", "openai"),
    ("azure", "azure.ai.openai"),
    ("azure_text", "azure.ai.openai"),
    ("azure_ai", "azure.ai.inference"),
    ("bedrock", "aws.bedrock"),
    ("bedrock_converse", "aws.bedrock"),
    ("bedrock_mantle", "aws.bedrock"),
    ("amazon_nova", "aws.bedrock"),
    ("gemini", "gcp.gemini"),
    ("vertex_ai", "gcp.vertex_ai"),
    ("xai", "x_ai"),
    ("mistral", "mistral_ai"),
    ("text-completion-codestral", "mistral_ai"),
    ("codestral", "mistral_ai"),
    ("cohere_chat", "cohere"),
    ("watsonx", "ibm.watsonx.ai"),
    ("moonshot", "moonshot_ai"),
    ("fireworks_ai-embedding-models", "fireworks_ai"),
    ("together_computer", "together_ai"),
    ("palm", "gcp.gemini"),
    ("chatgpt", "openai"),
    ("ai21_chat", "ai21"),
    ("deepseek_chat", "deepseek"),
    ("novita_ai", "novita"),
    ("voyage_ai", "voyage"),
];

/// `gen_ai.provider.name` for LiteLLM's `litellm_provider`.
pub fn provider(name: &str) -> &str {
    if name.starts_with("vertex_ai") {
        return "gcp.vertex_ai";
    }
    PROVIDERS.iter().find(|(theirs, _)| *theirs == name).map_or(name, |(_, ours)| ours)
}

/// Whether `map` looks like LiteLLM's file: entries are objects with keys that LiteLLM uses.
pub fn recognise(map: &Map<String, Value>) -> bool {
    map.values()
        .filter_map(Value::as_object)
        .any(|entry| entry.contains_key("litellm_provider") || KEYS.iter().any(|(key, ..)| entry.contains_key(*key)))
}

/// The row for one entry, or `None` when it states no rate. The error names the key inside the entry.
pub fn row(key: &str, entry: &Map<String, Value>) -> Result<Option<Row>, String> {
    let litellm_provider = entry.get("litellm_provider").and_then(Value::as_str);
    let mut prices = Prices::default();
    let mode = entry.get("mode").and_then(Value::as_str).unwrap_or_default();
    for (name, value) in entry {
        let Some(Key { rate, units, tier, above }) = parse_key(name) else { continue };
        // These two mean other things for other kinds of models: seconds of video, queries of a data base.
        let elsewhere = match rate {
            Rate::AudioMinute => mode != "audio_transcription",
            Rate::SearchUnit => mode != "rerank",
            _ => false,
        };
        if value.is_null() || elsewhere {
            continue;
        }
        let price = number(value).ok_or_else(|| format!("`{name}` is not a number of USD"))?;
        let band = match tier {
            None => &mut prices.base,
            Some(tier) => prices.tiers.entry(tier.to_owned()).or_default(),
        };
        set(band, above, rate, round(price * units));
    }
    if let Some(steps) = entry.get("tiered_pricing").and_then(Value::as_array) {
        read_steps(steps, &mut prices.base)?;
    }
    if let Some(search) = entry.get("search_context_cost_per_query").and_then(Value::as_object) {
        prices.base.rates[Rate::WebSearch] = flat_search_fee(search);
    }
    if let Some(quiet) = entry.get("off_peak_pricing").and_then(Value::as_object) {
        prices.off_peak = Some(off_peak(quiet)?);
    }
    prices.regional = REGIONAL.iter().find_map(|key| entry.get(*key).and_then(number));
    if let Some(factors) = entry.get("provider_specific_entry").and_then(Value::as_object) {
        // Anthropic: calls that must stay in the United States, and those in fast mode, cost so many times as much.
        prices.regional = prices.regional.or_else(|| factors.get("us").and_then(number));
        if let Some(factor) = factors.get("fast").and_then(number) {
            let fast = |rates: &Rates| rates.scaled(|rate| round(rate * factor));
            let above = prices.base.above.iter().map(|(tokens, rates)| (*tokens, fast(rates))).collect();
            prices.tiers.entry("fast".to_owned()).or_insert(Band { rates: fast(&prices.base.rates), above });
        }
    }
    // Makers of pictures that bill neither tokens nor what comes out bill by the request for a picture.
    let rates = &mut prices.base.rates;
    if rates.is_empty() && mode == "image_generation" {
        rates[Rate::Image] = entry.get("input_cost_per_image").and_then(number).map(round);
    }
    forget_same_reasoning(&mut prices);
    if prices.base.rates.is_empty() {
        return Ok(None);
    }
    sort(&mut prices);
    let model = litellm_provider.and_then(|prefix| strip_provider(key, prefix)).unwrap_or(key);
    Ok(Some(Row {
        provider: litellm_provider.map(|name| provider(name).to_owned()),
        models: vec![model.to_ascii_lowercase()],
        prices,
    }))
}

/// `anthropic/claude-x` of provider `anthropic` is the model `claude-x`.
fn strip_provider<'a>(key: &'a str, provider: &str) -> Option<&'a str> {
    let (first, rest) = key.split_once('/')?;
    let family = provider.split('-').next()?;
    (first == provider || first == family || self::provider(first) == self::provider(provider)).then_some(rest)
}

struct Key {
    rate: Rate,
    units: f64,
    tier: Option<&'static str>,
    above: Option<u64>,
}

/// Splits `input_cost_per_token_above_272k_tokens_priority` into the rate, the tier and the threshold.
fn parse_key(name: &str) -> Option<Key> {
    let (name, tier) = TIERS
        .iter()
        .find_map(|(suffix, tier)| name.strip_suffix(suffix).map(|rest| (rest, Some(*tier))))
        .unwrap_or((name, None));
    let (name, above) = match name.strip_suffix("k_tokens").and_then(|rest| rest.rsplit_once("_above_")) {
        Some((rest, thousands)) => (rest, Some(thousands.parse::<u64>().ok()?.checked_mul(1000)?)),
        None => (name, None),
    };
    let (_, rate, units) = KEYS.iter().find(|(key, ..)| *key == name)?;
    Some(Key { rate: *rate, units: *units, tier, above })
}

/// The rate of a key without tier and threshold.
fn plain_key(name: &str) -> Option<(Rate, f64)> {
    let Key { rate, units, tier: None, above: None } = parse_key(name)? else { return None };
    Some((rate, units))
}

fn set(band: &mut Band, above: Option<u64>, rate: Rate, usd: f64) {
    let rates = match above {
        None => &mut band.rates,
        Some(tokens) => {
            let at = band.above.iter().position(|(step, _)| *step == tokens).unwrap_or_else(|| {
                band.above.push((tokens, Rates::default()));
                band.above.len() - 1
            });
            &mut band.above[at].1
        }
    };
    rates[rate] = Some(usd);
}

/// Reasoning is part of the output that the wire counts: only a price of its own is worth a row's space. A model whose
/// prompts or tiers change the output's price keeps none: the list has one figure for all of them.
fn forget_same_reasoning(prices: &mut Prices) {
    let rates = &mut prices.base.rates;
    let varies = !prices.base.above.is_empty() || !prices.tiers.is_empty();
    if varies || rates[Rate::Reasoning] == rates[Rate::Output] {
        rates[Rate::Reasoning] = None;
        prices.base.above.iter_mut().for_each(|(_, rates)| rates[Rate::Reasoning] = None);
        prices.tiers.values_mut().for_each(|band| band.rates[Rate::Reasoning] = None);
    }
}

/// `tiered_pricing`: a list of steps, each with the range of input tokens that it covers.
fn read_steps(steps: &[Value], band: &mut Band) -> Result<(), String> {
    for step in steps {
        let entry = step.as_object().ok_or("`tiered_pricing` holds something that is not an object")?;
        let Some(range) = entry.get("range").and_then(Value::as_array) else { continue };
        let start = range.first().and_then(number).ok_or("`tiered_pricing` has a range without a start")?;
        let above = (start >= 1.0).then_some(start as u64);
        for (name, value) in entry {
            let Some((rate, units)) = plain_key(name) else { continue };
            let price = number(value).ok_or_else(|| format!("`tiered_pricing`: `{name}` is not a number"))?;
            set(band, above, rate, round(price * units));
        }
    }
    Ok(())
}

fn off_peak(entry: &Map<String, Value>) -> Result<OffPeak, String> {
    let fail = |what: &str| format!("`off_peak_pricing`: {what}");
    let mut quiet = OffPeak::default();
    for (name, value) in entry {
        let Some((rate, units)) = plain_key(name) else { continue };
        let price = number(value).ok_or_else(|| fail(&format!("`{name}` is not a number")))?;
        quiet.rates[rate] = Some(round(price * units));
    }
    for window in entry.get("windows").and_then(Value::as_array).into_iter().flatten() {
        let days = match window["weekdays"].as_array() {
            None => Hours::ALL_DAYS,
            Some(days) => days.iter().filter_map(Value::as_u64).fold(0, |all, day| match day {
                1..=7 => all | 1 << (day - 1),
                _ => all,
            }),
        };
        let spans = match &window["hours_utc"] {
            Value::Array(spans) => spans.as_slice(),
            one => std::slice::from_ref(one),
        };
        for span in spans {
            let hours = span.as_str().and_then(|span| Hours::parse(days, span));
            quiet.hours.push(hours.ok_or_else(|| fail("a window's `hours_utc` is not like 00:00-06:00"))?);
        }
    }
    Ok(quiet)
}

/// USD per 1,000 searches, where the fee does not depend on the search context's size, which no answer states.
fn flat_search_fee(fees: &Map<String, Value>) -> Option<f64> {
    let mut fees = fees.values().filter_map(number);
    let first = fees.next()?;
    fees.all(|fee| fee == first).then(|| round(first * 1e3))
}

fn sort(prices: &mut Prices) {
    prices.base.above.sort_by_key(|(tokens, _)| *tokens);
    for band in prices.tiers.values_mut() {
        band.above.sort_by_key(|(tokens, _)| *tokens);
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        // Some hand-kept files quote their figures.
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
    .filter(|number: &f64| number.is_finite())
}

/// Takes binary dust off a product of decimal figures: 1.25e-07 · 1e6 is 0.125.
pub fn round(usd: f64) -> f64 {
    format!("{usd:.9}").parse().unwrap_or(usd)
}
