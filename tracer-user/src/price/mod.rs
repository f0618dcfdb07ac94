//! Price: what a call cost, by a built-in table that names its source, or by the user's own.
//!
//! A cost is told only when it is known: a model without a price, a service tier without a price and a call whose
//! tokens are not all stated (a stream that was cut before its usage) get none, since a cost of the input alone is a lower
//! bound that reads like a sum. A cost that the provider states beats a computed one.

mod amount;
mod bill;
mod litellm;
mod names;
mod place;
mod rates;
mod table;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

pub use amount::Currency;
pub use names::strip_date;
pub use table::PriceFileError;

use self::{
    amount::Amount,
    bill::{Bill, Quantities},
    place::Makers,
    rates::Prices as ModelPrices,
    table::Table,
};
use crate::llm::call::{Billing, LlmCall};

/// What one call cost, in USD or the price file's currency. A part that cannot be told is absent, never 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// The sum of the parts below, and of fees for searches, requests, pictures and the like, which have no part of their
    /// own.
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
    /// The price file's currency; `None` is USD.
    pub currency: Option<Currency>,
}

impl Cost {
    fn add(&mut self, other: &Self) {
        let sum = |one: Option<f64>, two: Option<f64>| match (one, two) {
            (Some(one), Some(two)) => Some((Amount::stated(one) + Amount::stated(two)).value()),
            _ => one.or(two),
        };
        self.total = (Amount::stated(self.total) + Amount::stated(other.total)).value();
        self.input = sum(self.input, other.input);
        self.output = sum(self.output, other.output);
        self.cache_read = sum(self.cache_read, other.cache_read);
        self.cache_write = sum(self.cache_write, other.cache_write);
    }
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

/// Calls whose model, service tier or fee has no price.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unpriced {
    pub calls: u64,
    /// Model (with the service tier or the fee, where that is what has no price) and its number of calls, by name.
    pub models: BTreeMap<String, u64>,
    /// Calls of models past the cap on names.
    pub unnamed: u64,
}

/// Most models without a price that are kept by name. Names come from the wire.
const MAX_UNPRICED_NAMES: usize = 256;
/// Look-ups that are remembered. Programs ask few models, again and again; past it all are forgotten.
const MAX_FOUND: usize = 16;
/// Longest name kept, in characters.
const MAX_UNPRICED_NAME: usize = 96;

static BUILTIN: &str = include_str!("table.json");
static BUILTIN_TABLE: LazyLock<Table> =
    LazyLock::new(|| Table::read(BUILTIN.as_bytes(), "built-in").unwrap_or_default());

/// The prices in force: the user's own over the built-in table.
#[derive(Debug, Default)]
pub struct Prices {
    own: Option<Table>,
    found: Mutex<Vec<Found>>,
    unpriced: Mutex<Unpriced>,
}

/// A look-up and what it found: a row of the user's own table if `is_own`, else of the built-in one.
#[derive(Debug)]
struct Found {
    provider: Cow<'static, str>,
    answered: Option<String>,
    asked: Option<String>,
    makers: Makers,
    row: Option<(bool, usize)>,
}

impl Prices {
    /// The built-in table. It is parsed when the first call is priced.
    pub fn builtin() -> Self {
        Self::default()
    }

    /// `text` is a price file, in our format or LiteLLM's, that goes before the built-in table; `name` is what messages
    /// and `llmtap.price.version` call it.
    pub fn with_override(text: impl AsRef<[u8]>, name: &str) -> Result<Self, PriceFileError> {
        Ok(Self { own: Some(Table::read(text.as_ref(), name)?), ..Self::default() })
    }

    /// What `call` cost, with everything that it took, if that is known.
    pub fn cost(&self, call: &LlmCall) -> Option<Cost> {
        let mut cost = self.cost_alone(call)?;
        if cost.source == CostSource::Provider {
            return Some(cost);
        }
        for aside in &call.asides {
            let mut other = LlmCall { usage: aside.usage, asides: Vec::new(), ..call.clone() };
            if aside.model.is_some() {
                other.request.model = aside.model.clone();
                other.response.model = aside.model.clone();
            }
            cost.add(&self.cost_alone(&other)?);
        }
        Some(cost)
    }

    /// What `call` cost without what its usage leaves out.
    fn cost_alone(&self, call: &LlmCall) -> Option<Cost> {
        let own = self.own.as_ref();
        if let Some(stated) = call.provider_cost.filter(|usd| usd.is_finite() && *usd >= 0.0) {
            let total = match own.and_then(Table::per_usd) {
                Some(rate) => Amount::stated(stated).times(rate).value(),
                None => stated,
            };
            return Some(self.told(Bill::default(), total, CostSource::Provider, None));
        }
        let quantities = Quantities::of(call)?;
        let Some((prices, table, is_own)) = self.find(call) else {
            // Nobody bills for a model on one's own machines.
            if !place::is_own_server(call) {
                self.count_unpriced(call, None);
            }
            return None;
        };
        let tier = paid_tier(call);
        let rates = prices.rates(tier.as_deref(), quantities.threshold(&call.provider), call.times.start);
        let priced = match rates {
            None => Err(tier.as_deref().unwrap_or_default()),
            Some(rates) => quantities.bill(&rates),
        };
        let mut bill = match priced {
            Ok(bill) => bill,
            Err(missing) => {
                self.count_unpriced(call, Some(missing));
                return None;
            }
        };
        if let Some(factor) = prices.regional.filter(|_| place::is_regional(call)) {
            bill.scale_tokens(factor);
        }
        // A contract's factor in the user's file holds for the built-in prices too: that is where it is most needed.
        let factor = own.and_then(|own| own.multiplier(&call.provider));
        let exchange = own.and_then(Table::per_usd).filter(|_| !is_own);
        for factor in [factor, exchange].into_iter().flatten() {
            bill.scale(factor);
        }
        let changed = factor.is_some() || exchange.is_some();
        let subscription = call.billing == Billing::Subscription
            || own.is_some_and(|own| own.is_subscription(&call.provider))
            || is_prepaid(call);
        let source = match (subscription, is_own || changed) {
            (true, _) => CostSource::ListPrice,
            (false, true) => CostSource::Override,
            (false, false) => CostSource::Table,
        };
        let version = match own {
            Some(own) if !is_own && changed => format!("{}*{}", table.version, own.version).into(),
            _ => table.version.clone(),
        };
        Some(self.told(bill, bill.total().value(), source, Some(version)))
    }

    /// `bill` in the form of a [`Cost`]. A cost that the provider states has no parts.
    fn told(&self, bill: Bill, total: f64, source: CostSource, version: Option<Arc<str>>) -> Cost {
        let value = |part: Option<Amount>| part.map(Amount::value);
        Cost {
            total,
            input: version.as_ref().map(|_| bill.input.value()),
            output: value(bill.output),
            cache_read: value(bill.cache_read),
            cache_write: value(bill.cache_write),
            source,
            version,
            currency: self.currency(),
        }
    }

    /// The currency of all costs; `None` is USD.
    pub fn currency(&self) -> Option<Currency> {
        self.own.as_ref().and_then(Table::currency)
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
        let makers = place::makers(call);
        let (answered, asked) = (&call.response.model, &call.request.model);
        let same = |found: &&Found| {
            found.provider == call.provider
                && (&found.answered, &found.asked) == (answered, asked)
                && found.makers == makers
        };
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let row = match found.iter().find(same) {
            Some(found) => found.row,
            None => {
                let row = self.look_up(call, makers);
                if found.len() >= MAX_FOUND {
                    found.clear();
                }
                let (provider, answered, asked) = (call.provider.clone(), answered.clone(), asked.clone());
                found.push(Found { provider, answered, asked, makers, row });
                row
            }
        };
        let (is_own, row) = row?;
        let table = if is_own { self.own.as_ref()? } else { &*BUILTIN_TABLE };
        Some((table.prices(row)?, table, is_own))
    }

    /// The row of the call's model, and whether it is one of the user's own table.
    fn look_up(&self, call: &LlmCall, makers: Makers) -> Option<(bool, usize)> {
        let models = model_names(call);
        let own = self.own.as_ref().and_then(|own| find_in(own, &call.provider, &models, makers));
        match own {
            Some(row) => Some((true, row)),
            None => find_in(&BUILTIN_TABLE, &call.provider, &models, makers).map(|row| (false, row)),
        }
    }

    /// `what` is the service tier or the fee that has no price, when the model has one.
    fn count_unpriced(&self, call: &LlmCall, what: Option<&str>) {
        let model = call.response.model.as_deref().or(call.request.model.as_deref());
        let mut unpriced = self.unpriced.lock().unwrap_or_else(PoisonError::into_inner);
        unpriced.calls += 1;
        let Some(model) = model else {
            unpriced.unnamed += 1;
            return;
        };
        let what = what.filter(|what| !what.is_empty());
        // Names are kept without what is cut below: one that is known by itself is not cut.
        if what.is_none()
            && let Some(calls) = unpriced.models.get_mut(model)
        {
            *calls += 1;
            return;
        }
        let mut name: String = model.chars().filter(|c| !c.is_control()).take(MAX_UNPRICED_NAME).collect();
        if let Some(what) = what {
            name.push_str(" (");
            name.extend(what.chars().filter(|c| !c.is_control()).take(MAX_UNPRICED_NAME));
            name.push(')');
        }
        if let Some(calls) = unpriced.models.get_mut(&name) {
            *calls += 1;
        } else if unpriced.models.len() < MAX_UNPRICED_NAMES {
            tracing::info!(provider = ?call.provider, "no price for model {name:?}: give one with --prices");
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

fn find_in(table: &Table, provider: &str, models: &[String], makers: Makers) -> Option<usize> {
    if let Some(row) = models.iter().find_map(|model| table.exact(provider, model)) {
        return Some(row);
    }
    let candidates: Vec<Vec<String>> = models.iter().map(|model| names::candidates(model)).collect();
    let providers = |model: &str| [Some(provider), makers.fallback(provider, model)];
    for (model, candidates) in models.iter().zip(&candidates) {
        for provider in providers(model).into_iter().flatten() {
            if let Some(row) = candidates.iter().find_map(|name| table.exact(provider, name)) {
                return Some(row);
            }
        }
    }
    for (model, candidates) in models.iter().zip(&candidates) {
        for provider in providers(model).into_iter().flatten() {
            if let Some(row) = candidates.iter().find_map(|name| table.pattern(provider, name)) {
                return Some(row);
            }
        }
    }
    None
}

/// The service tier that has its own price; `None` is the standard price. The response says what was billed.
fn paid_tier(call: &LlmCall) -> Option<String> {
    // Anthropic's fast mode is a speed, not a tier.
    if call.response.speed.as_deref().is_some_and(|speed| speed.eq_ignore_ascii_case("fast")) {
        return Some("fast".to_owned());
    }
    let tier = call.response.service_tier.as_deref()?.trim().to_ascii_lowercase();
    // Vertex AI's `trafficType` says how the capacity was bought: `ON_DEMAND_PRIORITY`.
    let tier = tier.strip_prefix("on_demand_").unwrap_or(&tier);
    match tier {
        ""
        | "default"
        | "standard"
        | "auto"
        | "on_demand"
        | "on-demand"
        | "standard_only"
        | "unspecified"
        | "traffic_type_unspecified" => None,
        // Reserved capacity: see `is_prepaid`.
        "provisioned_throughput" | "reserved" => None,
        // Groq bills its flex and performance tiers at the on-demand price.
        "flex" | "performance" if call.provider == "groq" => None,
        _ => Some(tier.to_owned()),
    }
}

/// Whether the call used capacity that is paid for by time, whoever uses it: Vertex AI's provisioned throughput,
/// Bedrock's reserved tier. Nothing is billed for the call itself.
fn is_prepaid(call: &LlmCall) -> bool {
    let tier = call.response.service_tier.as_deref().unwrap_or_default();
    ["provisioned_throughput", "reserved"].iter().any(|prepaid| tier.eq_ignore_ascii_case(prepaid))
}
