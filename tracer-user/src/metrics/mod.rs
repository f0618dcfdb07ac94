//! Metrics: what ended calls come to, by service and by what they have in common.
//!
//! The pipeline counts here and exporters take copies. The SDK's own aggregation does not serve: it knows one resource a
//! provider, no exemplars, and no measurements that are already counted by bucket.

mod models;
pub mod store;
mod values;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use tracer_common::counter::Counter;

use self::{
    models::Models,
    store::{Attributes, Exemplar, Label, OWN, Service, Snapshot, Store},
    values::Values,
};
use crate::{
    agent::ToolRun,
    llm::{Active, LlmCall},
    observe::Observations,
    price::{Cost, CostSource},
    redact,
    sampling::SampledOut,
    span::{
        Host, Resource, SpanRecord,
        semconv::{
            self,
            metric::{self, Metric},
        },
    },
};

const NANOS_PER_SECOND: f64 = 1e9;

/// Which calls may stand for others in an exemplar (`OTEL_METRICS_EXEMPLAR_FILTER`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exemplars {
    /// Those whose trace is sampled: one finds it.
    #[default]
    TraceBased,
    AlwaysOn,
    AlwaysOff,
}

/// What time the sums are told for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    Wall,
    /// That of the calls: a replay tells of then, not of now.
    Calls,
}

/// What exporters read.
#[derive(Debug)]
pub struct Sums {
    state: Mutex<State>,
    clock: Clock,
}

#[derive(Debug)]
struct State {
    store: Store,
    /// Nanoseconds since the Unix epoch, of [`Clock::Calls`]: first start and last end.
    times: Option<(u64, u64)>,
    began: u64,
}

impl Sums {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All sums as they are now.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state();
        let (since, at) = match self.clock {
            Clock::Wall => (state.began, now()),
            Clock::Calls => state.times.unwrap_or_default(),
        };
        Snapshot { since, at: at.max(since), ..state.store.snapshot() }
    }
}

fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

/// The pipeline's own counts of itself, since it began unless told otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Own {
    pub events: u64,
    pub bytes: u64,
    pub lost_bytes: u64,
    /// Now.
    pub connections: usize,
    pub grpc: u64,
    pub upgraded: u64,
    pub realtime: u64,
    pub not_http: u64,
    pub evicted: u64,
    pub refused_calls: u64,
    pub unpriced_calls: u64,
    pub unpriced_models: usize,
    pub sampled_out: SampledOut,
}

/// Counts; one thread does.
#[derive(Debug)]
pub struct Metrics {
    sums: Arc<Sums>,
    exemplars: Exemplars,
    models: Models,
    attributed: Values,
}

impl Metrics {
    pub fn new(host: &Host, clock: Clock, exemplars: Exemplars) -> Self {
        let store = Store::new(Resource::own(host), Resource::unknown(host));
        let state = State { store, times: None, began: now() };
        Self {
            sums: Arc::new(Sums { state: Mutex::new(state), clock }),
            exemplars,
            models: Models::default(),
            attributed: Values::default(),
        }
    }

    pub fn sums(&self) -> Arc<Sums> {
        Arc::clone(&self.sums)
    }

    /// A call has ended; `span` is its span, exported or not.
    pub fn call(&mut self, call: &LlmCall, cost: Option<&Cost>, span: &SpanRecord, exported: bool) {
        let mut state = self.sums.state();
        let (start, end) = (call.times.start, call.times.end.max(call.times.start));
        let (first, last) = state.times.unwrap_or((start, end));
        state.times = Some((first.min(start), last.max(end)));
        let service = state.store.service(span.resource.for_metrics());
        let mut common = common(call);
        common.extend(call.request.attributed.iter().filter_map(|attributed| self.attributed.label(attributed)));
        let common = common;
        let model_changed = self.models.changed(service, call);
        let mut series = Recording {
            store: &mut state.store,
            service,
            common: &common,
            exemplar: exemplar(self.exemplars, span, exported),
        };

        series.add(&metric::OPERATION_DURATION, error(call), seconds(end - start));
        for (kind, tokens) in [("input", call.usage.input), ("output", call.usage.output)] {
            if let Some(tokens) = tokens {
                series.add(&metric::TOKEN_USAGE, Some((semconv::TOKEN_TYPE, kind.into())), tokens as f64);
            }
        }
        if call.response.streamed {
            let between = |from: Option<u64>, to: Option<u64>| Some(seconds(to?.checked_sub(from?)?));
            if let Some(time) = between(Some(start), call.times.first_chunk) {
                series.add(&metric::TIME_TO_FIRST_CHUNK, None, time);
            }
            if let Some(time) = between(call.times.request_end, call.times.first_token) {
                series.add(&metric::TIME_TO_FIRST_TOKEN, None, time);
            }
            if call.chunks.count > 1 {
                let gaps = (seconds(call.chunks.gap_sum), &call.chunks.gaps);
                series.store.merge(&metric::TIME_PER_OUTPUT_CHUNK, service, common.clone(), gaps);
            }
        }
        // Nobody bills a list price.
        if let Some(cost) = cost.filter(|cost| cost.source != CostSource::ListPrice && cost.total.is_finite()) {
            let currency = cost.currency.map(|currency| (semconv::COST_CURRENCY, currency.as_str().into()));
            series.add(&metric::COST, currency, cost.total);
        }
        for (metric, tokens) in
            [(&metric::TOKENS_CACHED, call.usage.cache_read), (&metric::TOKENS_REASONING, call.usage.reasoning)]
        {
            if let Some(tokens) = tokens {
                series.add(metric, None, tokens as f64);
            }
        }
        if call.error.is_some() {
            series.add(&metric::ERRORS, error(call), 1.0);
        }
        for (metric, applies) in [
            (&metric::RETRIES, call.attempt.is_some_and(|attempt| attempt > 1)),
            (&metric::ABORTED, call.aborted),
            (&metric::FALLBACKS, call.fallback == Some(true)),
            (&metric::MODEL_CHANGES, model_changed),
        ] {
            if applies {
                series.add(metric, None, 1.0);
            }
        }
        for reason in &call.response.finish_reasons {
            series.add(&metric::FINISH_REASONS, Some((semconv::FINISH_REASON, reason.as_str().into())), 1.0);
        }
        for tool in &call.response.tool_calls {
            series.add(&metric::TOOL_CALLS, Some((semconv::TOOL_NAME, tool.name.as_str().into())), 1.0);
        }
        let limits = &call.response.rate_limits;
        for (kind, limit) in [("requests", &limits.requests), ("tokens", &limits.tokens)] {
            if let Some(remaining) = limit.remaining {
                let attributes = with(&common, Some((semconv::RATELIMIT_KIND, kind.into())));
                series.store.set(&metric::RATELIMIT_REMAINING, service, attributes, remaining as f64);
            }
        }
    }

    /// What the same call shows beside its numbers.
    pub fn observed(&mut self, call: &LlmCall, observed: &Observations, span: &SpanRecord, exported: bool) {
        if *observed == Observations::default() {
            return;
        }
        let mut state = self.sums.state();
        let service = state.store.service(span.resource.for_metrics());
        let common = common(call);
        let mut series = Recording {
            store: &mut state.store,
            service,
            common: &common,
            exemplar: exemplar(self.exemplars, span, exported),
        };
        if let Some(refusal) = observed.refusal {
            series.add(&metric::REFUSALS, Some((semconv::REFUSAL, refusal.as_str().into())), 1.0);
        }
        if let Some(limit) = observed.limit {
            series.add(&metric::LIMITS, Some((semconv::LIMIT_KIND, limit.as_str().into())), 1.0);
        }
        if observed.system_prompt_changed {
            series.add(&metric::SYSTEM_PROMPT_CHANGES, None, 1.0);
        }
        if let Some(valid) = observed.structured_output {
            let valid = Some((semconv::STRUCTURED_OUTPUT_VALID, Label::Bool(valid)));
            series.add(&metric::STRUCTURED_OUTPUTS, valid, 1.0);
        }
        for (place, rule) in observed.hits.keys() {
            let mut attributes = with(&common, Some((semconv::OBSERVATION_RULE, (&**rule).into())));
            attributes.push((semconv::OBSERVATION_PLACE, place.as_str().into()));
            series.store.add(&metric::OBSERVATIONS, service, attributes, 1.0, series.exemplar);
        }
    }

    /// A tool's run was concluded.
    pub fn tool(&mut self, run: &ToolRun, span: &SpanRecord, exported: bool) {
        let mut state = self.sums.state();
        let service = state.store.service(span.resource.for_metrics());
        let attributes =
            vec![(semconv::OPERATION_NAME, "execute_tool".into()), (semconv::TOOL_NAME, run.name.as_str().into())];
        let time = seconds(run.end.saturating_sub(run.start));
        let exemplar = exemplar(self.exemplars, span, exported);
        state.store.add(&metric::TOOL_ROUND_TRIP, service, attributes, time, exemplar);
    }

    /// The calls that are open now; `resource` gives the resource of each one's process.
    pub fn active<'a>(
        &mut self,
        calls: impl Iterator<Item = Active<'a>>,
        mut resource: impl FnMut(&Active<'a>) -> Arc<Resource>,
    ) {
        let mut state = self.sums.state();
        state.store.clear(&metric::ACTIVE_REQUESTS);
        for call in calls {
            let service = state.store.service(resource(&call).for_metrics());
            let mut attributes = Attributes::with_capacity(4);
            attributes.extend(call.operation.map(|operation| (semconv::OPERATION_NAME, operation.as_str().into())));
            attributes.push((semconv::PROVIDER_NAME, (&*call.provider).into()));
            // Of calls that have ended, the guard has seen to it.
            let address = call.server_address.map(|address| redact::told().redact(address));
            attributes.extend(address.map(|address| (semconv::SERVER_ADDRESS, (&*address).into())));
            attributes.extend(call.server_port.map(|port| (semconv::SERVER_PORT, Label::Int(port.into()))));
            state.store.add(&metric::ACTIVE_REQUESTS, service, attributes, 1.0, None);
        }
    }

    /// What the pipeline says of itself.
    pub fn own(&mut self, own: &Own) {
        let store = &mut self.sums.state().store;
        let mut state = |metric: &Metric, value: u64| store.set(metric, OWN, Attributes::new(), value as f64);
        state(&metric::SELF_EVENTS, own.events);
        state(&metric::SELF_BYTES, own.bytes);
        state(&metric::SELF_BYTES_LOST, own.lost_bytes);
        state(&metric::SELF_CONNECTIONS, own.connections as u64);
        state(&metric::SELF_CALLS_REFUSED, own.refused_calls);
        state(&metric::SELF_CALLS_UNPRICED, own.unpriced_calls);
        state(&metric::SELF_MODELS_UNPRICED, own.unpriced_models as u64);
        let out = own.sampled_out;
        for (reason, count) in
            [("parent", out.parent), ("head", out.head), ("ratio", out.ratio), ("no_room", out.no_room)]
        {
            let attributes = vec![(semconv::REASON, reason.into())];
            store.set(&metric::SELF_SPANS_SAMPLED_OUT, OWN, attributes, count as f64);
        }
        for (reason, count) in [
            ("grpc", own.grpc),
            ("h2c_upgrade", own.upgraded),
            ("realtime", own.realtime),
            ("not_http", own.not_http),
            ("evicted", own.evicted),
        ] {
            let attributes = vec![(semconv::REASON, reason.into())];
            store.set(&metric::SELF_CONNECTIONS_UNTRACED, OWN, attributes, count as f64);
        }
    }

    /// How the export of spans stands; `waiting` is of now.
    pub fn spans(&mut self, exported: u64, dropped: u64, waiting: u64) {
        let store = &mut self.sums.state().store;
        for (metric, count) in [
            (&metric::SELF_SPANS_EXPORTED, exported),
            (&metric::SELF_SPANS_DROPPED, dropped),
            (&metric::SELF_QUEUE_LENGTH, waiting),
        ] {
            store.set(metric, OWN, Attributes::new(), count as f64);
        }
    }

    /// What the half with privileges says of both halves and of the kernel side: events lost by cause, files whose hooks
    /// the kernel refused, resident memory in bytes by half.
    pub fn health(&mut self, lost: &[(String, u64)], attach_failures: u64, memory: &[(&str, u64)]) {
        let store = &mut self.sums.state().store;
        // Every cause from the start: a sum that begins with its first loss shows no increase.
        let none = Counter::ALL.into_iter().filter(|counter| counter.is_loss()).map(|counter| (counter.name(), 0));
        for (cause, count) in none.chain(lost.iter().map(|(cause, count)| (cause.as_str(), *count))) {
            let attributes = vec![(semconv::REASON, cause.into())];
            store.set(&metric::SELF_EVENTS_LOST, OWN, attributes, count as f64);
        }
        store.set(&metric::SELF_ATTACH_FAILURES, OWN, Attributes::new(), attach_failures as f64);
        for (half, bytes) in memory {
            let attributes = vec![(semconv::SELF_HALF, (*half).into())];
            store.set(&metric::SELF_MEMORY, OWN, attributes, *bytes as f64);
        }
    }

    /// What it says that no event shows: bytes that were not copied because nobody would have read them, and how often a
    /// traced process may have spoken before hooks stopped it, by reason.
    pub fn passed_over(&mut self, unread: u64, unwatched: &[(String, u64)]) {
        let store = &mut self.sums.state().store;
        store.set(&metric::SELF_BYTES_UNREAD, OWN, Attributes::new(), unread as f64);
        for (reason, count) in unwatched {
            let attributes = vec![(semconv::REASON, reason.as_str().into())];
            store.set(&metric::SELF_UNWATCHED, OWN, attributes, *count as f64);
        }
    }

    /// Traced processes by TLS library, where one is hooked, and `doctor`'s reason.
    pub fn processes<'a>(&mut self, counts: impl Iterator<Item = (Option<&'a str>, &'a str, u64)>) {
        let store = &mut self.sums.state().store;
        store.clear(&metric::SELF_PROCESSES);
        for (library, reason, processes) in counts {
            let mut attributes = Attributes::new();
            attributes.extend(library.map(|library| (semconv::TLS_LIBRARY, library.into())));
            attributes.push((semconv::REASON, reason.into()));
            store.add(&metric::SELF_PROCESSES, OWN, attributes, processes as f64, None);
        }
    }
}

/// One call on its way into the store.
struct Recording<'a> {
    store: &'a mut Store,
    service: Service,
    common: &'a Attributes,
    exemplar: Option<Exemplar>,
}

impl Recording<'_> {
    fn add(&mut self, metric: &Metric, own: Option<(&'static str, Label)>, value: f64) {
        self.store.add(metric, self.service, with(self.common, own), value, self.exemplar);
    }
}

fn with(common: &Attributes, own: Option<(&'static str, Label)>) -> Attributes {
    let mut attributes = Attributes::with_capacity(common.len() + 1);
    attributes.extend_from_slice(common);
    attributes.extend(own);
    attributes
}

/// What all metrics of a call tell it by.
fn common(call: &LlmCall) -> Attributes {
    let mut attributes = vec![
        (semconv::OPERATION_NAME, call.operation.as_str().into()),
        (semconv::PROVIDER_NAME, (&*call.provider).into()),
    ];
    let texts = [
        (semconv::REQUEST_MODEL, &call.request.model),
        (semconv::RESPONSE_MODEL, &call.response.model),
        (semconv::SERVER_ADDRESS, &call.server_address),
    ];
    attributes.extend(texts.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?.into()))));
    attributes.extend(call.server_port.map(|port| (semconv::SERVER_PORT, Label::Int(port.into()))));
    attributes
}

fn error(call: &LlmCall) -> Option<(&'static str, Label)> {
    call.error.as_ref().map(|error| (semconv::ERROR_TYPE, (&*error.kind).into()))
}

fn exemplar(filter: Exemplars, span: &SpanRecord, exported: bool) -> Option<Exemplar> {
    let applies = match filter {
        Exemplars::TraceBased => exported,
        Exemplars::AlwaysOn => true,
        Exemplars::AlwaysOff => false,
    };
    // The value is that of each metric.
    applies.then_some(Exemplar { value: 0.0, at: span.end, trace_id: span.trace_id, span_id: span.span_id })
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / NANOS_PER_SECOND
}

#[cfg(test)]
mod tests;
