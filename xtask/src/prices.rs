//! Regenerates the built-in price table from the figures in the PyPI packages `litellm` and `genai-prices`.
//!
//! Figures are facts; the table is our own selection of them: the providers that llmtap knows, models billed by the token,
//! LiteLLM's figures first because they know service tiers, `genai-prices` for what LiteLLM leaves out. Where the two
//! differ, this prints both, so that a person looks before the table is committed.

// Both are shared with the reader of price files: one place knows LiteLLM's keys.
#[expect(dead_code, reason = "the reader of price files uses more of it")]
#[path = "../../tracer-user/src/price/litellm.rs"]
mod litellm;
#[expect(dead_code, reason = "the reader of price files uses more of it")]
#[path = "../../tracer-user/src/price/rates.rs"]
mod rates;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use rates::{Band, Hours, Prices, Rate, Rates};
use serde_json::{Map, Value};

/// Reads the wheels without running anything in them and prints both price lists as one JSON object.
const EXTRACT: &str = include_str!("prices.py");

/// Providers in the table: `gen_ai.provider.name`, and the id of `genai-prices` where it has one.
const PROVIDERS: [(&str, &str); 34] = [
    ("openai", "openai"),
    ("anthropic", "anthropic"),
    ("aws.bedrock", "aws"),
    ("azure.ai.openai", "azure"),
    ("azure.ai.inference", ""),
    ("cohere", "cohere"),
    ("deepseek", "deepseek"),
    ("gcp.gemini", "google"),
    ("gcp.vertex_ai", ""),
    ("groq", "groq"),
    ("ibm.watsonx.ai", ""),
    ("mistral_ai", "mistral"),
    ("perplexity", "perplexity"),
    ("x_ai", "x-ai"),
    ("moonshot_ai", "moonshotai"),
    ("openrouter", "openrouter"),
    ("together_ai", "together"),
    ("fireworks_ai", "fireworks"),
    ("cerebras", "cerebras"),
    ("deepinfra", ""),
    ("dashscope", ""),
    ("databricks", "databricks"),
    ("novita", "novita"),
    ("sambanova", ""),
    ("hyperbolic", ""),
    ("nebius", ""),
    ("zai", "zai"),
    ("minimax", "minimax"),
    ("ai21", ""),
    ("voyage", "voyageai"),
    ("baseten", "baseten"),
    ("cloudflare", "cloudflare"),
    ("ovhcloud", "ovhcloud"),
    ("meta", "meta"),
];

/// Providers whose "starts with" clauses are taken over as patterns: they release new names of one model.
const PATTERN_PROVIDERS: [&str; 4] = ["openai", "anthropic", "gcp.gemini", "mistral_ai"];

/// Kinds of models whose calls state what they are billed by.
const MODES: [&str; 9] = [
    "chat",
    "responses",
    "embedding",
    "completion",
    "realtime",
    "image_generation",
    "image_edit",
    "audio_transcription",
    "rerank",
];

/// Fees that providers publish for all their models and that the lists leave out for some or all of them, in USD for
/// 1,000: OpenAI and Anthropic, pricing pages, November 2026.
const FEES: [(&str, Rate, f64); 2] = [("anthropic", Rate::WebSearch, 10.0), ("openai", Rate::FileSearch, 2.5)];

/// Figures that the lists have wrong or give for another case, by the providers' own pages.
const CORRECTIONS: [(&str, &str, Rate, f64); 6] = [
    ("openai", "gpt-4o-transcribe", Rate::InputAudio, 6.0),
    ("openai", "gpt-4o-mini-transcribe", Rate::InputAudio, 3.0),
    // By the size of the search's context; this is the smallest, which holds when a request does not say.
    ("perplexity", "sonar", Rate::Request, 5.0),
    ("perplexity", "sonar-pro", Rate::Request, 6.0),
    ("perplexity", "sonar-reasoning", Rate::Request, 5.0),
    ("perplexity", "sonar-reasoning-pro", Rate::Request, 6.0),
];

type Rows = BTreeMap<(String, String), Prices>;

/// `wheels`: a directory that holds the two wheels; without it they are downloaded with pip.
pub fn run(wheels: Option<PathBuf>) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask stands in the workspace")?;
    let wheels = match wheels {
        Some(wheels) => wheels,
        None => download(&root.join("target/prices"))?,
    };
    let lists = extract(&wheels)?;
    let today = lists["today"].as_str().context("the extract names no date")?;
    let mut rows = from_litellm(&lists["litellm"])?;
    let from_litellm = rows.len();
    let differing = merge_genai(&mut rows, &lists["genai"], today)?;
    for ((provider, model), prices) in &mut rows {
        for (_, _, rate, price) in CORRECTIONS.iter().filter(|(of, name, ..)| of == provider && name == model) {
            prices.base.rates[*rate] = Some(*price);
        }
        for (_, rate, fee) in FEES.iter().filter(|(of, ..)| of == provider) {
            prices.base.rates[*rate].get_or_insert(*fee);
        }
    }
    let table = write_table(&rows, &lists, today);
    let path = root.join("tracer-user/src/price/table.json");
    std::fs::write(&path, &table).with_context(|| format!("cannot write {}", path.display()))?;
    for line in &differing {
        println!("differs: {line}");
    }
    println!(
        "{} names ({from_litellm} by litellm), {} differ between the sources (litellm's figures taken), {} kB: {}",
        rows.len(),
        differing.len(),
        table.len() / 1000,
        path.display()
    );
    Ok(())
}

fn download(into: &Path) -> Result<PathBuf> {
    // Old wheels would make it unclear which version the table is of.
    if into.exists() {
        std::fs::remove_dir_all(into).with_context(|| format!("cannot empty {}", into.display()))?;
    }
    std::fs::create_dir_all(into).with_context(|| format!("cannot create {}", into.display()))?;
    let status = Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest"])
        .arg(into)
        .args(["litellm", "genai-prices"])
        .status()
        .context("cannot run python3: install python3 with pip")?;
    if !status.success() {
        bail!("pip download failed: check pip's configuration, or give a directory with both wheels");
    }
    Ok(into.to_owned())
}

fn extract(wheels: &Path) -> Result<Value> {
    let output =
        Command::new("python3").args(["-c", EXTRACT]).arg(wheels).output().context("cannot run python3: install it")?;
    if !output.status.success() {
        bail!("cannot read the wheels: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("the extract is not JSON")
}

fn from_litellm(list: &Value) -> Result<Rows> {
    let map = list["models"].as_object().context("litellm's price list is missing")?;
    let mut rows = Rows::new();
    for (key, entry) in map {
        let Some(entry) = entry.as_object() else { continue };
        if !entry.get("mode").and_then(Value::as_str).is_none_or(|mode| MODES.contains(&mode)) {
            continue;
        }
        let row = litellm::row(key, entry).map_err(|what| anyhow::anyhow!("litellm's {key}: {what}"))?;
        let Some(mut row) = row else { continue };
        let Some(provider) = row.provider.take().filter(|name| PROVIDERS.iter().any(|(ours, _)| ours == name)) else {
            continue;
        };
        // A price of 0 stands for "not known" or "free while in preview" there: neither is a fact to bill by.
        let rates = &mut row.prices.base.rates;
        if rates[Rate::Input].unwrap_or(0.0) == 0.0 && rates[Rate::Output].unwrap_or(0.0) == 0.0 {
            (rates[Rate::Input], rates[Rate::Output]) = (None, None);
            let piece = [Rate::Image, Rate::AudioMinute, Rate::SearchUnit, Rate::OutputImage].map(|rate| rates[rate]);
            if piece.iter().all(|rate| rate.unwrap_or(0.0) == 0.0) {
                continue;
            }
        }
        for model in row.models {
            // Keys with a region or a commitment (`eu/gpt-4o`, `us-east-1/1-month-commitment/…`) never stand on the wire.
            let regional = matches!(provider.as_str(), "azure.ai.openai" | "aws.bedrock") && model.contains('/');
            // Nor do keys with a picture's size and quality (`hd/1024-x-1024/…`).
            let sized = model.contains("-x-");
            if !regional && !sized {
                rows.entry((provider.clone(), model)).or_insert_with(|| row.prices.clone());
            }
        }
    }
    Ok(rows)
}

/// Adds what `genai-prices` alone knows; gives back the models on which the two lists differ.
fn merge_genai(rows: &mut Rows, list: &Value, today: &str) -> Result<Vec<String>> {
    let providers = list["providers"].as_array().context("genai-prices' list is missing")?;
    let mut differing = Vec::new();
    let mut patterns = Rows::new();
    for provider in providers {
        let id = provider["id"].as_str().unwrap_or_default();
        let Some((ours, _)) = PROVIDERS.iter().find(|(_, theirs)| *theirs == id) else { continue };
        let models = provider["models"].as_array().map(Vec::as_slice).unwrap_or_default();
        for model in models {
            let Some(prices) = genai_prices(model, today) else { continue };
            let id = model["id"].as_str().unwrap_or_default().to_ascii_lowercase();
            let mut names = BTreeSet::from([id.clone()]);
            let mut starts = BTreeSet::new();
            clause_names(&model["match"], &mut names, &mut starts);
            names.retain(|name| !name.is_empty() && !name.contains('*') && !name.ends_with('@'));
            let mut known = None;
            for name in &names {
                let key = ((*ours).to_owned(), name.clone());
                match rows.get_mut(&key) {
                    Some(row) => {
                        if agree(&row.base.rates, &prices.base.rates) {
                            fill(row, &prices);
                        } else {
                            let (a, b) = (&row.base.rates, &prices.base.rates);
                            differing.push(format!(
                                "{ours} {name}: litellm {:?}/{:?}, genai-prices {:?}/{:?}",
                                a[Rate::Input],
                                a[Rate::Output],
                                b[Rate::Input],
                                b[Rate::Output]
                            ));
                        }
                        known.get_or_insert_with(|| row.clone());
                    }
                    None => {
                        rows.insert(key, prices.clone());
                    }
                }
            }
            if PATTERN_PROVIDERS.contains(ours) {
                let prices = known.unwrap_or(prices);
                for start in starts {
                    // The spelling itself is a name; names that go on after it are variants of the model.
                    rows.entry(((*ours).to_owned(), start.clone())).or_insert_with(|| prices.clone());
                    patterns.insert(((*ours).to_owned(), format!("{start}-*")), prices.clone());
                }
            }
        }
    }
    // `claude-x-4-*` would also take a later `claude-x-4-9`, whose price nobody knows yet: no pattern then.
    for ((provider, pattern), prices) in patterns {
        let stem = pattern.trim_end_matches('*');
        let versioned = rows.keys().any(|(other, name)| {
            *other == provider
                && name.strip_prefix(stem).is_some_and(|rest| {
                    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                    (1..=2).contains(&digits)
                })
        });
        if !versioned {
            rows.insert((provider, pattern), prices);
        }
    }
    Ok(differing)
}

fn agree(a: &Rates, b: &Rates) -> bool {
    let same = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() < 1e-6,
        _ => true,
    };
    same(a[Rate::Input], b[Rate::Input]) && same(a[Rate::Output], b[Rate::Output])
}

fn fill(row: &mut Prices, other: &Prices) {
    fill_band(&mut row.base, &other.base);
    for (tier, band) in &other.tiers {
        match row.tiers.get_mut(tier) {
            Some(ours) if agree(&ours.rates, &band.rates) => fill_band(ours, band),
            Some(_) => {}
            None => {
                row.tiers.insert(tier.clone(), band.clone());
            }
        }
    }
}

/// A long-prompt step that only the other list has is left out: it may be of a time that is over.
fn fill_band(band: &mut Band, other: &Band) {
    band.rates = band.rates.or(&other.rates);
    for (tokens, rates) in &mut band.above {
        if let Some((_, theirs)) = other.above.iter().find(|(other, _)| other == tokens)
            && agree(rates, theirs)
        {
            *rates = rates.or(theirs);
        }
    }
}

/// Whole names and beginnings in a match clause. Other clauses (contains, regex) say too little about what they match.
fn clause_names(clause: &Value, names: &mut BTreeSet<String>, starts: &mut BTreeSet<String>) {
    if let Some(name) = clause["equals"].as_str() {
        names.insert(name.to_ascii_lowercase());
    }
    if let Some(start) = clause["starts_with"].as_str() {
        starts.insert(start.trim_end_matches(['-', '@']).to_ascii_lowercase());
    }
    for clause in clause["or_"].as_array().into_iter().flatten() {
        clause_names(clause, names, starts);
    }
}

/// Today's prices of a model of `genai-prices`; `None` when it has none by the token.
fn genai_prices(model: &Value, today: &str) -> Option<Prices> {
    let in_force = |item: &Value| match &item["constraint"] {
        Value::Null => true,
        constraint => constraint["start_date"].as_str().is_some_and(|start| start <= today),
    };
    let current = match &model["prices"] {
        // Later entries go first; those for hours of the day are left out.
        Value::Array(list) => &list.iter().rev().find(|item| in_force(item))?["prices"],
        prices => prices,
    };
    let mut prices = Prices { base: genai_band(current.as_object()?), ..Prices::default() };
    for variant in model["price_variants"].as_array().into_iter().flatten() {
        let tier = variant["when"]["service_tier"].as_str().or(variant["when"]["processing"].as_str());
        let (Some(tier), Some(rates)) = (tier, variant["prices"].as_object()) else { continue };
        let band = genai_band(rates);
        if tier != "default" && in_force(variant) && !band.rates.is_empty() {
            prices.tiers.entry(tier.to_owned()).or_insert(band);
        }
    }
    let rates = &prices.base.rates;
    (rates[Rate::Input].unwrap_or(0.0) > 0.0 || rates[Rate::Output].unwrap_or(0.0) > 0.0).then_some(prices)
}

fn genai_band(map: &Map<String, Value>) -> Band {
    let mut band = Band::default();
    for (key, value) in map {
        let name = match key.as_str() {
            "input_mtok" => "input",
            "output_mtok" => "output",
            "cache_read_mtok" => "cache_read",
            "cache_write_mtok" => "cache_write",
            "cache_write_1h_mtok" => "cache_write_1h",
            "input_audio_mtok" => "input_audio",
            "output_audio_mtok" => "output_audio",
            "cache_audio_read_mtok" => "cache_read_audio",
            "input_image_mtok" => "input_image",
            "output_image_mtok" => "output_image",
            "cache_image_read_mtok" => "cache_read_image",
            "web_searches_kcount" => "web_search",
            "requests_kcount" => "request",
            _ => continue,
        };
        let base = value.as_f64().or_else(|| value["base"].as_f64());
        if let Some(field) = band.rates.field(name) {
            *field = base;
        }
        for tier in value["tiers"].as_array().into_iter().flatten() {
            let (Some(start), Some(price)) = (tier["start"].as_u64(), tier["price"].as_f64()) else { continue };
            // 199999 is how that list writes "from 200000 on"; ours writes it by the provider.
            let tokens = start.next_multiple_of(1000);
            let tokens = if tokens - start == 1 { tokens } else { start };
            let at = band.above.iter().position(|(step, _)| *step == tokens).unwrap_or_else(|| {
                band.above.push((tokens, Rates::default()));
                band.above.len() - 1
            });
            if let Some(field) = band.above[at].1.field(name) {
                *field = Some(price);
            }
        }
    }
    band.above.sort_by_key(|(tokens, _)| *tokens);
    band
}

/// One line for each set of names with the same prices, so that a change of one price is a change of one line.
fn write_table(rows: &Rows, lists: &Value, today: &str) -> String {
    let mut groups: BTreeMap<(&str, String), Vec<&str>> = BTreeMap::new();
    for ((provider, model), prices) in rows {
        let mut text = String::new();
        write_band(&mut text, &prices.base);
        if !prices.tiers.is_empty() {
            text.push_str(",\"tiers\":{");
            for (at, (tier, band)) in prices.tiers.iter().enumerate() {
                let mut inner = String::new();
                write_band(&mut inner, band);
                let comma = if at > 0 { "," } else { "" };
                let _ = write!(text, "{comma}{}:{{{}}}", quote(tier), inner.trim_start_matches(','));
            }
            text.push('}');
        }
        if let Some(quiet) = &prices.off_peak {
            let _ = write!(text, ",\"off_peak\":{{\"hours\":[{}]", hours(&quiet.hours));
            write_rates(&mut text, &quiet.rates);
            text.push('}');
        }
        if let Some(factor) = prices.regional {
            let _ = write!(text, ",\"regional\":{factor}");
        }
        groups.entry((provider, text)).or_default().push(model);
    }
    let mut lines: Vec<String> = Vec::new();
    for ((provider, prices), mut models) in groups {
        // Patterns go last, the longer first: the first that fits holds.
        models.sort_by_key(|model| {
            (model.contains('*'), std::cmp::Reverse(if model.contains('*') { model.len() } else { 0 }), *model)
        });
        let names: Vec<String> = models.iter().map(|model| quote(model)).collect();
        let names = if names.len() == 1 { names.concat() } else { format!("[{}]", names.join(",")) };
        lines.push(format!("{{\"provider\":{},\"model\":{names}{prices}}}", quote(provider)));
    }
    lines.sort();
    let version = |list: &str| lists[list]["version"].as_str().unwrap_or_default().to_owned();
    format!(
        "{{\"version\":{},\n\"sources\":[{},\n{}],\n\"models\":[\n{}\n]}}\n",
        quote(today),
        quote(&format!(
            "Figures as of {today}, USD per million tokens, from litellm {} (MIT, Berri AI)",
            version("litellm")
        )),
        quote(&format!("and genai-prices {} (MIT, Pydantic Services Inc.), both on PyPI", version("genai"))),
        lines.join(",\n")
    )
}

fn hours(hours: &[Hours]) -> String {
    let spans: Vec<String> = hours
        .iter()
        .map(|hours| {
            let days: Vec<String> =
                (0..7).filter(|day| hours.days & (1 << day) != 0).map(|day| (day + 1).to_string()).collect();
            let clock = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
            let span = format!("{}-{}", clock(hours.from), clock(hours.to));
            format!("{{\"weekdays\":[{}],\"utc\":[{}]}}", days.join(","), quote(&span))
        })
        .collect();
    spans.join(",")
}

fn write_band(text: &mut String, band: &Band) {
    write_rates(text, &band.rates);
    if !band.above.is_empty() {
        text.push_str(",\"above\":[");
        for (at, (tokens, rates)) in band.above.iter().enumerate() {
            let _ = write!(text, "{}{{\"tokens\":{tokens}", if at > 0 { "," } else { "" });
            write_rates(text, rates);
            text.push('}');
        }
        text.push(']');
    }
}

fn write_rates(text: &mut String, rates: &Rates) {
    for (name, value) in Rates::NAMES.iter().zip(rates.values()) {
        if let Some(value) = value {
            let _ = write!(text, ",\"{name}\":{}", litellm::round(value));
        }
    }
}

fn quote(text: &str) -> String {
    Value::from(text).to_string()
}
