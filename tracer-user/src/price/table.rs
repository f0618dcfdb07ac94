//! Reads price files (our own format, or LiteLLM's) and finds a model in them.

use std::{collections::HashMap, fmt, sync::Arc};

use serde::{
    Deserialize,
    de::{self, Deserializer, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use super::{
    amount::Currency,
    litellm, names,
    rates::{Band, Hours, OffPeak, Prices, Rates, Row},
};

/// No price file is this large: LiteLLM's, the largest known, has 3 MB.
const MAX_BYTES: usize = 64 << 20;
/// USD per million tokens. A figure above it is a figure in another unit.
const MAX_RATE: f64 = 1e6;

/// What is wrong with a price file and what to do. It quotes the file's own keys, never traffic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("price file {file}: {what}")]
pub struct PriceFileError {
    pub file: String,
    pub what: String,
}

/// A price table, ready for look-ups.
#[derive(Debug, Default)]
pub struct Table {
    pub version: Arc<str>,
    rows: Vec<Row>,
    /// Row of a whole name, by provider (empty for rows that hold for any).
    exact: HashMap<String, HashMap<String, usize>>,
    /// Rows with patterns, in the file's order.
    patterns: Vec<(usize, String)>,
    /// Contract factor for every price, and by provider.
    multiplier: Option<f64>,
    multipliers: HashMap<String, f64>,
    subscriptions: Vec<String>,
    currency: Option<Currency>,
    per_usd: Option<f64>,
}

/// A price file in our own format, for example a contract with 15 % off everything and a model of one's own:
///
/// ```json
/// { "version": "contract 2026",
///   "multiplier": 0.85,
///   "models": [
///     { "provider": "openai", "model": ["house-blend", "house-blend-*"], "input": 2.5, "output": 10, "cache_read": 1.25,
///       "above": [{ "tokens": 200000, "input": 5, "output": 15 }],
///       "tiers": { "batch": { "input": 1.25, "output": 5 } } } ] }
/// ```
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "for the file's readers: where its figures come from")]
    sources: Vec<String>,
    /// Factor on every price that this table or a table below it states: 0.85 for a contract with 15 % off.
    #[serde(default)]
    multiplier: Option<f64>,
    /// The same by `gen_ai.provider.name`; it wins over `multiplier`.
    #[serde(default)]
    multipliers: HashMap<String, f64>,
    /// Providers whose calls a subscription pays for: their cost is told as a list price.
    #[serde(default)]
    subscriptions: Vec<String>,
    /// ISO 4217 code of the currency of this file's figures and of all costs that are told; USD without it.
    #[serde(default)]
    currency: Option<String>,
    /// How much of `currency` one USD is: for the built-in prices and for costs that providers state, which are in USD.
    #[serde(default)]
    per_usd: Option<f64>,
    #[serde(default)]
    models: Vec<Entry>,
}

/// One row of `models`: rates, and what stands beside them.
struct Entry {
    rates: Rates,
    beside: Beside,
}

/// Rates of the quieter hours.
struct RawOffPeak {
    rates: Rates,
    hours: Vec<RawHours>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHours {
    /// Monday is 1; absent means every day.
    #[serde(default)]
    weekdays: Option<Vec<u8>>,
    /// `["00:00-06:00", …]`.
    utc: Vec<String>,
}

/// Rates and long-prompt steps of a service tier.
struct RawBand {
    rates: Rates,
    above: Vec<Step>,
}

/// Rates above `tokens` input tokens.
struct Step {
    tokens: u64,
    rates: Rates,
}

impl File {
    fn is_empty(&self) -> bool {
        self.models.is_empty()
            && self.multiplier.is_none()
            && self.multipliers.is_empty()
            && self.subscriptions.is_empty()
            && self.currency.is_none()
            && self.per_usd.is_none()
    }
}

/// Keys that tell a file in our format from a map of models: no model is called so.
const OWN_KEYS: [&str; 6] = ["models", "multiplier", "multipliers", "subscriptions", "currency", "per_usd"];

/// One name, or a list of names that share their prices.
struct Names(Vec<String>);

impl Table {
    /// Reads a price file in either format. `name` is how messages call it.
    pub fn read(text: &[u8], name: &str) -> Result<Self, PriceFileError> {
        let fail = |what: String| PriceFileError { file: name.to_owned(), what };
        if text.len() > MAX_BYTES {
            return Err(fail(format!("larger than {} MiB: give a file with prices only", MAX_BYTES >> 20)));
        }
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        // Our own format first, and straight into its types: the built-in table is read while a first call waits.
        let typed = match serde_json::from_slice::<File>(text) {
            Ok(file) if !file.is_empty() => return Self::from_file(file, text, name),
            Ok(_) => None,
            Err(error) => Some(error),
        };
        let value: Value = serde_json::from_slice(text)
            .map_err(|error| fail(format!("not valid JSON: {error}; correct that line")))?;
        let Value::Object(map) = value else {
            return Err(fail("not a JSON object: give `{\"models\": [...]}` or LiteLLM's map of models".to_owned()));
        };
        if let Some(error) = typed.filter(|_| OWN_KEYS.iter().any(|key| map.contains_key(*key))) {
            return Err(fail(error.to_string()));
        }
        if litellm::recognise(&map) {
            return Self::from_litellm(&map, text, name);
        }
        Err(fail(
            "neither llmtap's price format (an object with `models`: [...]) nor LiteLLM's (model names with \
             `input_cost_per_token`, in USD per token)"
                .to_owned(),
        ))
    }

    fn from_file(file: File, text: &[u8], name: &str) -> Result<Self, PriceFileError> {
        let fail = |what: String| PriceFileError { file: name.to_owned(), what };
        let mut table = Table {
            version: file.version.unwrap_or_else(|| fingerprint(text, name)).into(),
            multiplier: file.multiplier,
            multipliers: file.multipliers,
            subscriptions: file.subscriptions,
            per_usd: file.per_usd,
            ..Self::default()
        };
        let factors = table.multipliers.iter().map(|(provider, factor)| (format!("multipliers.{provider}"), *factor));
        for (key, factor) in table.multiplier.map(|factor| ("multiplier".to_owned(), factor)).into_iter().chain(factors)
        {
            if !(factor.is_finite() && (0.0..=1000.0).contains(&factor)) {
                return Err(fail(format!("`{key}` is {factor}: give a factor such as 0.85 for 15 % off")));
            }
        }
        table.currency = currency(file.currency.as_deref(), table.per_usd).map_err(fail)?;
        for (at, entry) in file.models.into_iter().enumerate() {
            let label = entry.beside.model.iter().flat_map(|names| names.0.first()).next().cloned().unwrap_or_default();
            let row = entry.row().and_then(|row| check(&row).map(|()| row));
            let row = row.map_err(|what| fail(format!("models[{at}] ({label}): {what}")))?;
            table.add(row);
        }
        table.add_undated();
        Ok(table)
    }

    fn from_litellm(map: &serde_json::Map<String, Value>, text: &[u8], name: &str) -> Result<Self, PriceFileError> {
        let fail = |key: &str, what: String| PriceFileError { file: name.to_owned(), what: format!("`{key}`: {what}") };
        let mut table = Table { version: fingerprint(text, name).into(), ..Self::default() };
        for (key, entry) in map {
            // The file's own documentation of its fields, with words in place of figures.
            if key == "sample_spec" {
                continue;
            }
            let entry = entry.as_object().ok_or_else(|| fail(key, "is not an object with prices".to_owned()))?;
            let Some(row) = litellm::row(key, entry).map_err(|what| fail(key, what))? else { continue };
            check(&row).map_err(|what| fail(key, what))?;
            table.add(row);
        }
        table.add_undated();
        Ok(table)
    }

    fn add(&mut self, row: Row) {
        let at = self.rows.len();
        for model in &row.models {
            if model.contains('*') {
                self.patterns.push((at, model.clone()));
            } else {
                let provider = row.provider.clone().unwrap_or_default();
                // The first row of a name holds, as with patterns.
                self.exact.entry(provider).or_default().entry(model.clone()).or_insert(at);
            }
        }
        self.rows.push(row);
    }

    /// Lets `claude-x` find `claude-x-20250929` when the table knows it with a date only; the newest date wins.
    fn add_undated(&mut self) {
        for models in self.exact.values_mut() {
            let mut undated: HashMap<&str, (&str, usize)> = HashMap::new();
            for (model, at) in models.iter() {
                let Some(plain) = names::strip_date(model) else { continue };
                let newest = undated.entry(plain).or_insert((model, *at));
                if model.as_str() > newest.0 {
                    *newest = (model, *at);
                }
            }
            let undated: Vec<_> = undated.into_iter().map(|(plain, (_, at))| (plain.to_owned(), at)).collect();
            for (plain, at) in undated {
                models.entry(plain).or_insert(at);
            }
        }
    }

    /// The row of exactly this name, at this provider or at any.
    pub fn exact(&self, provider: &str, model: &str) -> Option<usize> {
        [provider, ""].iter().find_map(|provider| self.exact.get(*provider)?.get(model).copied())
    }

    /// The row of the first pattern that this name fits.
    pub fn pattern(&self, provider: &str, model: &str) -> Option<usize> {
        self.patterns.iter().find_map(|(at, pattern)| {
            let row = self.rows.get(*at)?;
            let holds = row.provider.as_deref().is_none_or(|row| row == provider);
            (holds && names::fits(pattern, model)).then_some(*at)
        })
    }

    pub fn prices(&self, row: usize) -> Option<&Prices> {
        self.rows.get(row).map(|row| &row.prices)
    }

    pub fn multiplier(&self, provider: &str) -> Option<f64> {
        self.multipliers.get(provider).copied().or(self.multiplier)
    }

    /// `None` is USD.
    pub fn currency(&self) -> Option<Currency> {
        self.currency
    }

    pub fn per_usd(&self) -> Option<f64> {
        self.per_usd
    }

    pub fn is_subscription(&self, provider: &str) -> bool {
        self.subscriptions.iter().any(|name| name == provider)
    }
}

/// Tells two versions of a user's file apart: its name and the first 8 hex digits of its SHA-256.
fn fingerprint(text: &[u8], name: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(text);
    let hex: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let file = name.rsplit('/').next().unwrap_or(name);
    format!("{file}@{hex}")
}

/// A currency without its rate would leave most costs untold, and a rate without a currency would call them USD.
fn currency(code: Option<&str>, per_usd: Option<f64>) -> Result<Option<Currency>, String> {
    let Some(code) = code.filter(|code| *code != "USD") else {
        return match per_usd {
            None => Ok(None),
            Some(_) => Err("`per_usd` without a `currency` other than USD: give one, such as EUR".to_owned()),
        };
    };
    let currency = Currency::new(code)
        .ok_or("`currency` is not an ISO 4217 code: give three capital letters, such as EUR".to_owned())?;
    match per_usd {
        Some(rate) if (1e-6..=1e6).contains(&rate) => Ok(Some(currency)),
        _ => Err(format!("`per_usd` is missing or no rate: give how much {code} one USD is")),
    }
}

fn check(row: &Row) -> Result<(), String> {
    if row.models.iter().any(|model| model.trim().is_empty()) || row.models.is_empty() {
        return Err("`model` is empty: give a name, a pattern with `*`, or a list of them".to_owned());
    }
    check_band(&row.prices.base, "")?;
    if let Some(quiet) = &row.prices.off_peak {
        check_band(&Band { rates: quiet.rates, above: Vec::new() }, "off_peak.")?;
    }
    if let Some(factor) = row.prices.regional
        && !(1.0..=10.0).contains(&factor)
    {
        return Err(format!("`regional` is {factor}: give a factor such as 1.1 for 10 % more"));
    }
    for (tier, band) in &row.prices.tiers {
        check_band(band, &format!("tiers.{tier}."))?;
    }
    if row.prices.base.rates.is_empty() && row.prices.base.above.is_empty() {
        return Err("states no price: give `input` and `output` in USD per million tokens".to_owned());
    }
    Ok(())
}

fn check_band(band: &Band, prefix: &str) -> Result<(), String> {
    let steps = band.above.iter().map(|(_, rates)| rates);
    for rates in std::iter::once(&band.rates).chain(steps) {
        for (name, value) in Rates::NAMES.iter().zip(rates.values()) {
            let Some(value) = value else { continue };
            if !(value.is_finite() && (0.0..=MAX_RATE).contains(&value)) {
                return Err(format!("`{prefix}{name}` is {value}: give USD per million tokens, 0 to {MAX_RATE}"));
            }
        }
    }
    Ok(())
}

impl Entry {
    fn row(self) -> Result<Row, String> {
        let Beside { provider, model, above, tiers, off_peak, regional, .. } = self.beside;
        let tiers = tiers.into_iter().map(|(tier, raw)| (tier.to_ascii_lowercase(), band(raw.rates, raw.above)));
        let off_peak = off_peak.map(RawOffPeak::read).transpose()?;
        let base = band(self.rates, above);
        Ok(Row {
            provider,
            models: model.map(|names| names.0).unwrap_or_default(),
            prices: Prices { base, off_peak, regional, tiers: tiers.collect() },
        })
    }
}

impl RawOffPeak {
    fn read(self) -> Result<OffPeak, String> {
        let mut hours = Vec::new();
        for raw in self.hours {
            let mut days = if raw.weekdays.is_none() { Hours::ALL_DAYS } else { 0 };
            for day in raw.weekdays.into_iter().flatten() {
                if !(1..=7).contains(&day) {
                    return Err(format!("`off_peak.hours.weekdays` has {day}: Monday is 1, Sunday 7"));
                }
                days |= 1 << (day - 1);
            }
            for span in raw.utc {
                let parsed = Hours::parse(days, &span);
                hours.push(
                    parsed.ok_or_else(|| format!("`off_peak.hours.utc` has {span:?}: give it like 00:00-06:00"))?,
                );
            }
        }
        Ok(OffPeak { rates: self.rates, hours })
    }
}

fn band(rates: Rates, above: Vec<Step>) -> Band {
    let mut above: Vec<_> = above.into_iter().map(|step| (step.tokens, step.rates)).collect();
    above.sort_by_key(|(tokens, _)| *tokens);
    Band { rates, above }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct NamesVisitor;
        impl<'de> Visitor<'de> for NamesVisitor {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a model name, or a list of model names")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Names, E> {
                Ok(Names(vec![name.to_ascii_lowercase()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element::<String>()? {
                    names.push(name.to_ascii_lowercase());
                }
                Ok(Names(names))
            }
        }
        from.deserialize_any(NamesVisitor)
    }
}

/// What may stand beside rates in one object; which of it, says [`RatesVisitor`].
#[derive(Default)]
struct Beside {
    provider: Option<String>,
    model: Option<Names>,
    tokens: Option<u64>,
    above: Vec<Step>,
    tiers: HashMap<String, RawBand>,
    hours: Vec<RawHours>,
    off_peak: Option<RawOffPeak>,
    regional: Option<f64>,
}

/// Reads an object of rates in which these other keys may stand, too.
struct RatesVisitor {
    others: &'static [&'static str],
}

impl<'de> Visitor<'de> for RatesVisitor {
    type Value = (Rates, Beside);

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "an object with rates and `{}`", self.others.join("`, `"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut rates, mut beside) = (Rates::default(), Beside::default());
        while let Some(key) = map.next_key::<String>()? {
            if let Some(field) = rates.field(&key) {
                *field = map.next_value()?;
                continue;
            }
            let other = self.others.iter().find(|other| **other == key);
            match other.copied() {
                Some("provider") => beside.provider = map.next_value()?,
                Some("model") => beside.model = Some(map.next_value()?),
                Some("tokens") => beside.tokens = Some(map.next_value()?),
                Some("above") => beside.above = map.next_value()?,
                Some("tiers") => beside.tiers = map.next_value()?,
                Some("hours") => beside.hours = map.next_value()?,
                Some("off_peak") => beside.off_peak = map.next_value()?,
                Some("regional") => beside.regional = map.next_value()?,
                _ => {
                    let known = [self.others, &Rates::NAMES].concat().join("`, `");
                    return Err(de::Error::custom(format!("unknown key `{key}`: expected one of `{known}`")));
                }
            }
        }
        Ok((rates, beside))
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let others = &["provider", "model", "above", "tiers", "off_peak", "regional"];
        let (rates, beside) = from.deserialize_map(RatesVisitor { others })?;
        if beside.model.is_none() {
            return Err(de::Error::missing_field("model"));
        }
        Ok(Self { rates, beside })
    }
}

impl<'de> Deserialize<'de> for RawBand {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (rates, beside) = from.deserialize_map(RatesVisitor { others: &["above"] })?;
        Ok(Self { rates, above: beside.above })
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (rates, beside) = from.deserialize_map(RatesVisitor { others: &["tokens"] })?;
        let tokens = beside.tokens.ok_or_else(|| de::Error::missing_field("tokens"))?;
        Ok(Self { tokens, rates })
    }
}

impl<'de> Deserialize<'de> for RawOffPeak {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (rates, beside) = from.deserialize_map(RatesVisitor { others: &["hours"] })?;
        Ok(Self { rates, hours: beside.hours })
    }
}
