//! Price: what a call cost, by a built-in table that names its source, or by the user's own.
//!
//! A cost is told only when it is known: a model without a price, a service tier without a price and a call whose
//! tokens are not all stated (a stream that was cut before its usage) get none, since a cost of the input alone is a lower
//! bound that reads like a sum. A cost that the provider states beats a computed one.

mod litellm;
mod names;
mod rates;
mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

pub use names::strip_date;
pub use table::PriceFileError;

use self::{
    rates::{Prices as ModelPrices, Rates},
    table::Table,
};
use crate::llm::call::{Billing, LlmCall, Operation, Usage};

/// What one call cost, in USD. A part that cannot be told is absent, never 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// The sum of the parts below, and of fees for web searches and requests, which have no part of their own.
    pub total: f64,
    /// Input tokens that were neither read from nor written to a cache, audio included.
    pub input: Option<f64>,
    /// Output tokens, reasoning and audio included.
    pub output: Option<f64>,
    pub cache_read: Option<f64>,
    pub cache_write: Option<f64>,
    pub source: CostSource,
    /// `llmtap.price.version`: which table said so. Absent where the provider itself stated the cost.
    pub version: Option<Arc<str>>,
}

/// `llmtap.cost.source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CostSource {
    /// The provider states the cost on the wire.
    Provider,
    /// The built-in table.
    Table,
    /// The user's own prices.
    Override,
    /// A subscription pays for the call: what it would have cost at the list price.
    ListPrice,
}

impl CostSource {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Table => "table",
            Self::Override => "override",
            Self::ListPrice => "list_price",
        }
    }
}

/// Calls whose model or service tier has no price.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unpriced {
    pub calls: u64,
    /// Model (with the service tier, where that is what has no price) and its number of calls, by name.
    pub models: BTreeMap<String, u64>,
    /// Calls of models past the cap on names.
    pub unnamed: u64,
}

/// Most models without a price that are kept by name. Names come from the wire.
const MAX_UNPRICED_NAMES: usize = 256;
/// Longest name kept, in characters.
const MAX_UNPRICED_NAME: usize = 96;

static BUILTIN: &str = include_str!("table.json");
static BUILTIN_TABLE: LazyLock<Table> =
    LazyLock::new(|| Table::read(BUILTIN.as_bytes(), "built-in").unwrap_or_default());

/// The prices in force: the user's own over the built-in table.
#[derive(Debug, Default)]
pub struct Prices {
    own: Option<Table>,
    unpriced: Mutex<Unpriced>,
}

impl Prices {
    /// The built-in table. It is parsed when the first call is priced.
    pub fn builtin() -> Self {
        Self::default()
    }

    /// `text` is a price file, in our format or LiteLLM's, that goes before the built-in table; `name` is what messages
    /// and `llmtap.price.version` call it.
    pub fn with_override(text: impl AsRef<[u8]>, name: &str) -> Result<Self, PriceFileError> {
        Ok(Self { own: Some(Table::read(text.as_ref(), name)?), unpriced: Mutex::default() })
    }

    /// What `call` cost, if that is known.
    pub fn cost(&self, call: &LlmCall) -> Option<Cost> {
        let subscription = call.billing == Billing::Subscription
            || self.own.as_ref().is_some_and(|own| own.is_subscription(&call.provider));
        if let Some(total) = call.provider_cost.filter(|usd| usd.is_finite() && *usd >= 0.0) {
            return Some(Cost {
                total,
                input: None,
                output: None,
                cache_read: None,
                cache_write: None,
                source: CostSource::Provider,
                version: None,
            });
        }
        let tokens = Tokens::of(call)?;
        let Some((prices, table, own)) = self.find(call) else {
            self.count_unpriced(call, None);
            return None;
        };
        let tier = paid_tier(call);
        let priced = prices
            .rates(tier.as_deref(), tokens.threshold(&call.provider), call.times.start)
            .and_then(|rates| tokens.cost(&rates));
        let Some(mut cost) = priced else {
            self.count_unpriced(call, tier.as_deref());
            return None;
        };
        if let Some(factor) = prices.regional.filter(|_| is_regional(call)) {
            cost.multiply(factor);
        }
        // A contract's factor in the user's file holds for the built-in prices too: that is where it is most needed.
        let factor = self.own.as_ref().and_then(|own| own.multiplier(&call.provider));
        if let Some(factor) = factor {
            cost.multiply(factor);
        }
        cost.source = match (subscription, own || factor.is_some()) {
            (true, _) => CostSource::ListPrice,
            (false, true) => CostSource::Override,
            (false, false) => CostSource::Table,
        };
        cost.version = Some(match (&self.own, own) {
            (Some(own), false) if factor.is_some() => format!("{}*{}", table.version, own.version).into(),
            _ => table.version.clone(),
        });
        Some(cost)
    }

    /// Calls that got no cost for want of a price, so far.
    pub fn unpriced(&self) -> Unpriced {
        self.unpriced.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The version of the table that goes first.
    pub fn version(&self) -> Arc<str> {
        self.own.as_ref().unwrap_or(&BUILTIN_TABLE).version.clone()
    }

    /// The prices of the call's model, and whether they are the user's own.
    fn find(&self, call: &LlmCall) -> Option<(&ModelPrices, &Table, bool)> {
        let models = model_names(call);
        if let Some(own) = &self.own
            && let Some(prices) = find_in(own, &call.provider, &models)
        {
            return Some((prices, own, true));
        }
        let table = &*BUILTIN_TABLE;
        find_in(table, &call.provider, &models).map(|prices| (prices, table, false))
    }

    fn count_unpriced(&self, call: &LlmCall, tier: Option<&str>) {
        let model = call.response.model.as_deref().or(call.request.model.as_deref());
        let mut unpriced = self.unpriced.lock().unwrap_or_else(PoisonError::into_inner);
        unpriced.calls += 1;
        let Some(model) = model else {
            unpriced.unnamed += 1;
            return;
        };
        let mut name: String = model.chars().filter(|c| !c.is_control()).take(MAX_UNPRICED_NAME).collect();
        if let Some(tier) = tier {
            name.extend([" (", tier, ")"]);
        }
        if let Some(calls) = unpriced.models.get_mut(&name) {
            *calls += 1;
        } else if unpriced.models.len() < MAX_UNPRICED_NAMES {
            tracing::info!(model = ?name, provider = ?call.provider, "no price for this model: give one with --prices");
            unpriced.models.insert(name, 1);
        } else {
            unpriced.unnamed += 1;
        }
    }
}

/// The model that answered, then the one that was asked for, in lower case.
fn model_names(call: &LlmCall) -> Vec<String> {
    // On Azure the request names a deployment, which its owner may call anything.
    let asked = call.request.model.as_deref().filter(|_| !call.provider.starts_with("azure."));
    let mut names: Vec<String> = Vec::with_capacity(2);
    for name in [call.response.model.as_deref(), asked].into_iter().flatten() {
        let name = name.trim().to_ascii_lowercase();
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn find_in<'a>(table: &'a Table, provider: &str, models: &[String]) -> Option<&'a ModelPrices> {
    if let Some(prices) = models.iter().find_map(|model| table.exact(provider, model)) {
        return Some(prices);
    }
    let candidates: Vec<Vec<String>> = models.iter().map(|model| names::candidates(model)).collect();
    let providers = |model: &str| [Some(provider), fallback(provider, model)];
    for (model, candidates) in models.iter().zip(&candidates) {
        for provider in providers(model).into_iter().flatten() {
            if let Some(prices) = candidates.iter().find_map(|name| table.exact(provider, name)) {
                return Some(prices);
            }
        }
    }
    for (model, candidates) in models.iter().zip(&candidates) {
        for provider in providers(model).into_iter().flatten() {
            if let Some(prices) = candidates.iter().find_map(|name| table.pattern(provider, name)) {
                return Some(prices);
            }
        }
    }
    None
}

/// Whose price list holds when the provider itself has no price for a model: that of the model's maker, for clouds and
/// gateways that sell it on at the maker's price. Models that run on the user's own machines have no price.
fn fallback(provider: &str, model: &str) -> Option<&'static str> {
    match provider {
        "ollama" | "vllm" | "lm_studio" | "llama_cpp" | "tgi" | "sglang" | "localai" => None,
        // The services below host others' models at prices of their own.
        "groq" | "together_ai" | "fireworks_ai" | "cerebras" | "deepinfra" | "novita" | "sambanova" | "nebius"
        | "aws.bedrock" | "ibm.watsonx.ai" | "github_copilot" | "perplexity" => None,
        _ => names::maker(model),
    }
    .filter(|other| *other != provider)
}

/// The service tier that has its own price; `None` is the standard price. The response says what was billed.
fn paid_tier(call: &LlmCall) -> Option<String> {
    let tier = call.response.service_tier.as_deref()?.trim().to_ascii_lowercase();
    match tier.as_str() {
        "" | "default" | "standard" | "auto" | "on_demand" | "on-demand" | "standard_only" | "unspecified" => None,
        // Groq bills its flex and performance tiers at the on-demand price.
        "flex" | "performance" if call.provider == "groq" => None,
        _ => Some(tier),
    }
}

/// Whether the call went to an address that keeps it in one region, which costs more at some providers: OpenAI's
/// `eu.api.openai.com`, Vertex AI's `us-east5-aiplatform.googleapis.com` as opposed to its global address. Bedrock says the
/// same in the model's name.
fn is_regional(call: &LlmCall) -> bool {
    let Some(host) = call.server_address.as_deref() else { return false };
    match &*call.provider {
        "openai" => matches!(host, "eu.api.openai.com" | "us.api.openai.com"),
        "gcp.vertex_ai" => host.ends_with("-aiplatform.googleapis.com") || host.ends_with(".rep.googleapis.com"),
        _ => false,
    }
}

/// Disjoint counts of what is billed.
struct Tokens {
    input: u64,
    plain: u64,
    audio: u64,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    cache_write_1h: u64,
    output: Option<u64>,
    output_audio: u64,
    web_searches: u64,
}

impl Tokens {
    /// `None` unless both sides are stated: a sum that leaves a side out would be too small and look right.
    fn of(call: &LlmCall) -> Option<Self> {
        let usage: &Usage = &call.usage;
        let input = usage.input?;
        // Embeddings have no output tokens; a response that states none is whole.
        if usage.output.is_none() && call.operation != Operation::Embeddings {
            return None;
        }
        let cached = usage.cache_read.unwrap_or(0).saturating_add(usage.cache_write.unwrap_or(0));
        // Audio that was read from the cache is in both counts; it is billed as cached.
        let stated_audio = usage.input_audio.unwrap_or(0);
        let overlap = cached.saturating_add(stated_audio).saturating_sub(input);
        let audio = stated_audio.saturating_sub(overlap);
        Some(Self {
            input,
            plain: input.saturating_sub(cached).saturating_sub(audio),
            audio,
            cache_read: usage.cache_read,
            cache_write: usage.cache_write,
            cache_write_1h: usage.cache_write_1h.unwrap_or(0).min(usage.cache_write.unwrap_or(0)),
            output: usage.output,
            output_audio: usage.output_audio.unwrap_or(0).min(usage.output.unwrap_or(0)),
            web_searches: usage.web_searches.unwrap_or(0),
        })
    }

    /// Input tokens as a long-prompt step sees them: xAI's begins at its threshold, everyone else's after it.
    fn threshold(&self, provider: &str) -> u64 {
        if provider == "x_ai" { self.input.saturating_add(1) } else { self.input }
    }

    /// `None` when something that was used has no rate.
    fn cost(&self, rates: &Rates) -> Option<Cost> {
        let input_rate = rates.input;
        let plain = usd(self.plain, input_rate)?;
        let audio = usd(self.audio, rates.input_audio.or(input_rate))?;
        // A provider that publishes no price for cached tokens bills them as input.
        let read_rate = rates.cache_read.or(input_rate);
        let write_rate = rates.cache_write.or(input_rate);
        let read = self.cache_read.map_or(Some(None), |tokens| usd(tokens, read_rate).map(Some))?;
        let write = match self.cache_write {
            None => None,
            Some(tokens) => Some(
                usd(tokens - self.cache_write_1h, write_rate)?
                    + usd(self.cache_write_1h, rates.cache_write_1h.or(write_rate))?,
            ),
        };
        let output = match self.output {
            None => None,
            Some(tokens) => Some(
                usd(tokens - self.output_audio, rates.output)?
                    + usd(self.output_audio, rates.output_audio.or(rates.output))?,
            ),
        };
        let searches = match self.web_searches {
            0 => 0.0,
            searches => searches as f64 * rates.web_search? / 1e3,
        };
        let request = rates.request.unwrap_or(0.0) / 1e3;
        let input = plain + audio;
        Some(Cost {
            total: input + read.unwrap_or(0.0) + write.unwrap_or(0.0) + output.unwrap_or(0.0) + searches + request,
            input: Some(input),
            output,
            cache_read: read,
            cache_write: write,
            source: CostSource::Table,
            version: None,
        })
    }
}

/// Tokens at a rate per million. No tokens cost nothing whether or not a rate is known.
fn usd(tokens: u64, per_million: Option<f64>) -> Option<f64> {
    if tokens == 0 { Some(0.0) } else { Some(tokens as f64 * per_million? / 1e6) }
}

impl Cost {
    fn multiply(&mut self, factor: f64) {
        self.total *= factor;
        for part in [&mut self.input, &mut self.output, &mut self.cache_read, &mut self.cache_write] {
            *part = part.map(|usd| usd * factor);
        }
    }
}
