//! Compares the spans of a trace with what the mock really sent.
//!
//! Response ids are the mock's own and unique, so that they pair spans with exchanges. What has no id on the wire
//! (errors, aborted before the first event) is paired by request model and status, in the order of time.

use std::{collections::HashMap, fmt};

use crate::{
    mock::{Ended, ToolCall, Truth},
    spans::Span,
};

/// One disagreement.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Number of the exchange in the mock's log; none for a span that belongs to none.
    pub exchange: Option<u64>,
    pub field: &'static str,
    pub wanted: String,
    pub found: String,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Model calls in the mock's log.
    pub calls: usize,
    /// Calls with exactly one span that agrees in every field.
    pub exact: usize,
    /// Exchanges that were no model calls.
    pub others: usize,
    pub differences: Vec<Difference>,
    /// Tracer's first-token time minus the mock's, in nanoseconds, of each whole stream of text.
    pub first_token_errors: Vec<i64>,
}

impl Report {
    pub fn exact(&self) -> bool {
        self.differences.is_empty() && self.calls == self.exact
    }

    /// The size of the first-token error at quantile `q`, in milliseconds.
    pub fn first_token_error(&self, q: f64) -> Option<f64> {
        let mut sizes: Vec<u64> = self.first_token_errors.iter().map(|error| error.unsigned_abs()).collect();
        sizes.sort_unstable();
        let last = sizes.len().checked_sub(1)?;
        Some(sizes[((last as f64) * q).round() as usize] as f64 / 1e6)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in self.differences.iter().take(40) {
            let Difference { exchange, field, wanted, found } = difference;
            match exchange {
                Some(exchange) => writeln!(f, "call {exchange}: {field}: sent {wanted}, traced {found}")?,
                None => writeln!(f, "{field}: {found}")?,
            }
        }
        if self.differences.len() > 40 {
            writeln!(f, "… and {} more differences", self.differences.len() - 40)?;
        }
        if let (Some(p50), Some(p99)) = (self.first_token_error(0.5), self.first_token_error(0.99)) {
            writeln!(
                f,
                "first token beside the mock's clock: p50 {p50:.2} ms, p99 {p99:.2} ms apart, the client's own delay included ({} streams)",
                self.first_token_errors.len()
            )?;
        }
        writeln!(f, "{} calls, {} exact", self.calls, self.exact)
    }
}

pub fn compare(truth: &[Truth], spans: &[Span]) -> Report {
    let mut report = Report::default();
    let mut calls: Vec<&Truth> = truth.iter().filter(|truth| truth.provider.is_some()).collect();
    calls.sort_by_key(|truth| truth.times.request_first);
    report.calls = calls.len();
    report.others = truth.len() - calls.len();

    let mut spans: Vec<&Span> = spans.iter().filter(|span| span.is_call()).collect();
    spans.sort_by_key(|span| span.start);
    let mut by_id: HashMap<&str, Vec<&Span>> = HashMap::new();
    let mut unnamed: Vec<Option<&Span>> = Vec::new();
    for span in spans {
        match span.text("gen_ai.response.id") {
            Some(id) => by_id.entry(id).or_default().push(span),
            None => unnamed.push(Some(span)),
        }
    }

    for call in calls {
        let named = call.response_id.as_deref().and_then(|id| by_id.remove(id));
        let found = match named {
            Some(found) => found,
            None => take_unnamed(call, &mut unnamed).into_iter().collect(),
        };
        let before = report.differences.len();
        match found.as_slice() {
            [] => report.differences.push(difference(call, "span", "one", "none")),
            [span, rest @ ..] => {
                if !rest.is_empty() {
                    report.differences.push(difference(call, "span", "one", found.len()));
                }
                check(call, span, &mut report.differences);
                first_token(call, span, &mut report.first_token_errors);
            }
        }
        report.exact += usize::from(report.differences.len() == before);
    }

    let strays = by_id.into_values().flatten().chain(unnamed.into_iter().flatten());
    report.differences.extend(strays.map(|span| Difference {
        exchange: None,
        field: "a span that belongs to no call",
        wanted: String::new(),
        found: format!("{} {:?}", span.name, span.text("gen_ai.response.id")),
    }));
    report
}

/// The first span without an id that fits: a request that failed, or ended before its id came. When the client left
/// early it may not have read the id that the mock had written.
fn take_unnamed<'a>(call: &Truth, unnamed: &mut [Option<&'a Span>]) -> Option<&'a Span> {
    if call.response_id.is_some() && call.ended == Ended::Complete {
        return None;
    }
    let fits = |span: &&Span| {
        let status = span.integer("http.response.status_code");
        span.text("gen_ai.request.model") == call.request_model.as_deref()
            && (status == Some(u64::from(call.status)) || (status.is_none() && call.ended != Ended::Complete))
    };
    unnamed.iter_mut().find(|slot| slot.as_ref().is_some_and(fits))?.take()
}

fn difference(call: &Truth, field: &'static str, wanted: impl fmt::Debug, found: impl fmt::Debug) -> Difference {
    Difference { exchange: Some(call.exchange), field, wanted: format!("{wanted:?}"), found: format!("{found:?}") }
}

fn check(call: &Truth, span: &Span, differences: &mut Vec<Difference>) {
    // What the client did not read cannot be in the trace, so that an abandoned answer may state less than was sent,
    // never something else.
    let abandoned = call.ended == Ended::ClientGone || call.ended == Ended::Reset;
    let mut text = |field: &'static str, wanted: Option<&str>, found: Option<&str>| {
        if found != wanted && !(abandoned && found.is_none()) {
            differences.push(difference(call, field, wanted, found));
        }
    };
    text("provider", call.provider.as_deref(), span.text("gen_ai.provider.name"));
    text("operation", call.operation.as_deref(), span.text("gen_ai.operation.name"));
    text("request model", call.request_model.as_deref(), span.text("gen_ai.request.model"));
    text("response model", call.response_model.as_deref(), span.text("gen_ai.response.model"));
    text("response id", call.response_id.as_deref(), span.text("gen_ai.response.id"));

    let reasons = span.list("gen_ai.response.finish_reasons");
    if reasons != call.finish_reasons && !(abandoned && reasons.is_empty()) {
        differences.push(difference(call, "finish reasons", &call.finish_reasons, reasons));
    }
    let names = span.list("llmtap.tool_calls.names");
    let ids = span.list("llmtap.tool_calls.ids").into_iter().chain(std::iter::repeat(String::new()));
    let tools: Vec<ToolCall> = names.into_iter().zip(ids).map(|(name, id)| ToolCall { name, id }).collect();
    if tools != call.tool_calls && !(abandoned && call.tool_calls.starts_with(&tools)) {
        differences.push(difference(call, "tool calls", &call.tool_calls, tools));
    }

    let usage = [
        ("input tokens", call.usage.input, "gen_ai.usage.input_tokens"),
        ("output tokens", call.usage.output, "gen_ai.usage.output_tokens"),
        ("cached tokens", call.usage.cache_read, "gen_ai.usage.cache_read.input_tokens"),
        ("written tokens", call.usage.cache_write, "gen_ai.usage.cache_creation.input_tokens"),
        ("reasoning tokens", call.usage.reasoning, "gen_ai.usage.reasoning.output_tokens"),
    ];
    for (field, wanted, key) in usage {
        let found = span.integer(key);
        if found != wanted && !(abandoned && found.is_none()) {
            differences.push(difference(call, field, wanted, found));
        }
    }

    let status = span.integer("http.response.status_code");
    if status != Some(u64::from(call.status)) && !(abandoned && status.is_none()) {
        differences.push(difference(call, "status", call.status, status));
    }
    if span.boolean("gen_ai.request.stream").unwrap_or(false) != call.stream {
        differences.push(difference(call, "stream", call.stream, span.boolean("gen_ai.request.stream")));
    }
    let attempt = call.retry.map(|retry| u64::from(retry) + 1);
    // What the client does not count is inferred from what it sends again.
    if attempt.is_some() && span.integer("llmtap.attempt") != attempt {
        differences.push(difference(call, "attempt", attempt, span.integer("llmtap.attempt")));
    }
    check_outcome(call, span, differences);

    // One clock, and the span starts before the mock has the request: handshake and network lie outside.
    if span.start > call.times.request_last {
        differences.push(difference(call, "start", format!("before {}", call.times.request_last), span.start));
    }
    if call.ended == Ended::Complete && span.end < call.times.last_token.max(call.times.first_byte) {
        differences.push(difference(call, "end", format!("after {}", call.times.first_byte), span.end));
    }
}

/// How the call ended: the provider's own error, or that the answer broke off.
fn check_outcome(call: &Truth, span: &Span, differences: &mut Vec<Difference>) {
    let error = span.text("error.type");
    match call.ended {
        Ended::Complete | Ended::ErrorEvent => {
            if error != call.error_type.as_deref() {
                differences.push(difference(call, "error type", &call.error_type, error));
            }
            let failed = call.error_type.is_some();
            if (span.status == 2) != failed {
                differences.push(difference(call, "span status", if failed { "error" } else { "unset" }, span.status));
            }
        }
        // Who broke it off and how shows at the client in more than one way; that it broke off must show.
        Ended::Closed | Ended::Reset | Ended::Stalled | Ended::ClientGone => {
            if span.boolean("llmtap.aborted") != Some(true) && error.is_none() {
                differences.push(difference(call, "aborted", true, span.boolean("llmtap.aborted")));
            }
        }
    }
}

/// `llmtap.time.first_token` runs from the last request byte to the first event with content, both as the client has
/// them. The mock's moments of the same lie inside: the difference is the network, the client's reading, and the
/// tracer's error together.
fn first_token(call: &Truth, span: &Span, errors: &mut Vec<i64>) {
    let text_stream = call.stream && call.tool_calls.is_empty() && call.times.first_token > 0;
    if !text_stream || call.ended != Ended::Complete {
        return;
    }
    if let Some(seconds) = span.double("llmtap.time.first_token") {
        let mine = call.times.first_token as i64 - call.times.request_last as i64;
        errors.push((seconds * 1e9) as i64 - mine);
    }
}

#[cfg(test)]
mod tests;
