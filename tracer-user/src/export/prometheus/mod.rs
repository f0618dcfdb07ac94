//! The metrics as text that Prometheus reads: its own format 0.0.4, or OpenMetrics 1.0 with exemplars.
//!
//! Names follow OpenTelemetry's translation (dots to underscores, the unit and `_total` at the end). Services are told
//! apart as the Collector's exporter does it: `job` and `instance` on every series, the rest of the resource on
//! `target_info`.

mod serve;

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
};

pub use serve::page;

use crate::{
    metrics::store::{Exemplar, Label, Point, Series, Snapshot},
    span::{
        Resource, Value, semconv,
        semconv::metric::{Kind, Metric},
    },
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    OpenMetrics,
}

impl Format {
    /// What a scraper prefers, by its `Accept` header.
    pub fn of(accept: &str) -> Self {
        if accept.to_ascii_lowercase().contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All sums as text.
pub fn text(snapshot: &Snapshot, format: Format) -> String {
    let mut writer = Writer { out: String::new(), format };
    // A String takes everything.
    let _ = writer.all(snapshot);
    writer.out
}

struct Writer {
    out: String,
    format: Format,
}

impl Writer {
    fn all(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let targets: Vec<String> = snapshot.resources.iter().map(|resource| target(resource)).collect();
        let used: BTreeSet<usize> =
            snapshot.metrics.iter().flat_map(|(_, series)| series).map(|series| series.service).collect();
        let (family, kind) = match self.format {
            Format::Text => ("target_info", "gauge"),
            Format::OpenMetrics => ("target", "info"),
        };
        if !used.is_empty() {
            writeln!(self.out, "# HELP {family} What is known of each service.\n# TYPE {family} {kind}")?;
        }
        for service in used {
            let (Some(resource), Some(target)) = (snapshot.resources.get(service), targets.get(service)) else {
                continue;
            };
            writeln!(self.out, "target_info{{{target}{}}} 1", info(resource))?;
        }
        for (metric, series) in &snapshot.metrics {
            self.head(metric)?;
            for series in series {
                let target = targets.get(series.service).map_or("", String::as_str);
                self.series(metric, series, target)?;
            }
        }
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        Ok(())
    }

    fn head(&mut self, metric: &Metric) -> fmt::Result {
        let family = family(metric);
        let named = match self.format {
            Format::Text => name(metric),
            Format::OpenMetrics => family.clone(),
        };
        writeln!(self.out, "# HELP {named} {}.", escape(metric.brief, self.format == Format::OpenMetrics))?;
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::UpDownCounter | Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        writeln!(self.out, "# TYPE {named} {kind}")?;
        if let (Format::OpenMetrics, Some(unit)) = (self.format, unit(metric)) {
            writeln!(self.out, "# UNIT {named} {unit}")?;
        }
        Ok(())
    }

    fn series(&mut self, metric: &Metric, series: &Series, target: &str) -> fmt::Result {
        let name = name(metric);
        let mut labels = target.to_owned();
        for (key, label) in &*series.attributes {
            let value = match label {
                Label::Text(text) => escape(text, true),
                Label::Int(number) => number.to_string(),
                Label::Bool(flag) => flag.to_string(),
            };
            push_label(&mut labels, &label_name(key), &value);
        }
        match (&series.point, metric.kind) {
            (Point::Number { value, exemplar }, kind) => {
                write!(self.out, "{name}{{{labels}}} {value}")?;
                self.exemplar(exemplar.filter(|_| kind == Kind::Counter))
            }
            (Point::Histogram { sum, counts, exemplars }, Kind::Histogram(bounds)) => {
                let mut total = 0;
                let bounds = bounds.iter().map(|bound| self.bound(*bound)).chain(["+Inf".to_owned()]);
                for ((bound, count), exemplar) in bounds.collect::<Vec<_>>().iter().zip(counts).zip(&**exemplars) {
                    total += count;
                    let comma = if labels.is_empty() { "" } else { "," };
                    write!(self.out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {total}")?;
                    self.exemplar(*exemplar)?;
                }
                writeln!(self.out, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {total}")
            }
            (Point::Histogram { .. }, _) => Ok(()),
        }
    }

    /// OpenMetrics wants a number with a fraction.
    fn bound(&self, bound: f64) -> String {
        match self.format {
            Format::Text => bound.to_string(),
            Format::OpenMetrics => format!("{bound:?}"),
        }
    }

    /// Ends the line, with the exemplar where the format has them.
    fn exemplar(&mut self, exemplar: Option<Exemplar>) -> fmt::Result {
        if let (Some(Exemplar { value, at, trace_id, span_id }), Format::OpenMetrics) = (exemplar, self.format) {
            let (seconds, millis) = (at / 1_000_000_000, at / 1_000_000 % 1000);
            write!(self.out, " # {{trace_id=\"{trace_id:?}\",span_id=\"{span_id:?}\"}} {value} {seconds}.{millis:03}")?;
        }
        self.out.push('\n');
        Ok(())
    }
}

/// The name without what the kind of metric appends.
fn family(metric: &Metric) -> String {
    let mut name = label_name(metric.name);
    if let Some(unit) = unit(metric) {
        name.push('_');
        name.push_str(unit);
    }
    name
}

fn name(metric: &Metric) -> String {
    let family = family(metric);
    if metric.kind == Kind::Counter { family + "_total" } else { family }
}

/// Prometheus' word for a unit; what stands in braces is none.
fn unit(metric: &Metric) -> Option<&'static str> {
    match metric.unit {
        "s" => Some("seconds"),
        "By" => Some("bytes"),
        _ => None,
    }
}

/// `job` and `instance`, as OpenTelemetry's compatibility specification makes them.
fn target(resource: &Resource) -> String {
    let text = |name: &str| resource.attribute(name).and_then(Value::as_str);
    let mut labels = String::new();
    let service = text(semconv::SERVICE_NAME).unwrap_or_default();
    let job = match text(semconv::SERVICE_NAMESPACE) {
        Some(namespace) => format!("{namespace}/{service}"),
        None => service.to_owned(),
    };
    push_label(&mut labels, "job", &escape(&job, true));
    if let Some(instance) = text(semconv::SERVICE_INSTANCE_ID) {
        push_label(&mut labels, "instance", &escape(instance, true));
    }
    labels
}

/// All else of the resource. Names are what traced processes say of themselves.
fn info(resource: &Resource) -> String {
    let told = [semconv::SERVICE_NAME, semconv::SERVICE_NAMESPACE, semconv::SERVICE_INSTANCE_ID];
    let mut names = BTreeSet::from(["job".to_owned(), "instance".to_owned()]);
    let mut labels = String::new();
    for (name, value) in resource.attributes.iter().filter(|(name, _)| !told.contains(&&**name)) {
        let name = label_name(name);
        if let (Some(text), true) = (value.as_str(), names.insert(name.clone())) {
            labels.push(',');
            let _ = write!(labels, "{name}=\"{}\"", escape(text, true));
        }
    }
    labels
}

fn push_label(labels: &mut String, name: &str, value: &str) {
    if !labels.is_empty() {
        labels.push(',');
    }
    let _ = write!(labels, "{name}=\"{value}\"");
}

/// A name that both formats take: `[a-zA-Z_][a-zA-Z0-9_]*`, and none that is theirs (`__…`).
fn label_name(name: &str) -> String {
    let mut legal = String::with_capacity(name.len());
    for letter in name.chars() {
        let letter = if letter.is_ascii_alphanumeric() { letter } else { '_' };
        if !(letter == '_' && legal.ends_with('_')) {
            legal.push(letter);
        }
    }
    if legal.starts_with(|first: char| !first.is_ascii_alphabetic()) || legal.is_empty() {
        legal.insert_str(0, "key_");
    }
    legal
}

fn escape(text: &str, quotes: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if quotes => escaped.push_str("\\\""),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
