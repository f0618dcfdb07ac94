use std::borrow::Cow;

use super::{
    store::{MAX_SERIES, MAX_SERVICES, Point, Series},
    *,
};
use crate::{
    agent::CallRef,
    capture::Connection,
    llm::call::Operation,
    price::Currency,
    span::{
        Ids, Synth, Value,
        samples::{MS, T0, bare_call, cost, failed_call, full_call, process},
    },
};

/// Counts calls as the pipeline does.
struct Bench {
    metrics: Metrics,
    synth: Synth,
}

impl Bench {
    fn new(exemplars: Exemplars) -> Self {
        let host = Host { name: Some("node-7".to_owned()), id: Some("4f5e".to_owned()), ..Host::default() };
        let metrics = Metrics::new(&host, Clock::Calls, exemplars);
        let mut synth = Synth::new(Ids::replay(), host);
        synth.process(&process());
        Self { metrics, synth }
    }

    fn call(&mut self, call: &LlmCall, cost: Option<&Cost>) -> SpanRecord {
        let span = self.synth.call(call, None, cost);
        self.metrics.call(call, cost, &span, span.sampled());
        span
    }

    fn series(&self, metric: &Metric) -> Vec<Series> {
        let snapshot = self.metrics.sums().snapshot();
        let found = snapshot.metrics.into_iter().find(|(other, _)| other.index == metric.index);
        found.map(|(_, series)| series).unwrap_or_default()
    }

    /// The value of the series with this attribute.
    fn number(&self, metric: &Metric, own: Option<(&str, &str)>) -> Option<f64> {
        let wanted = |series: &&Series| own.is_none_or(|(name, text)| label(series, name) == Some(Label::from(text)));
        let series = self.series(metric);
        let mut found = series.iter().filter(wanted);
        let Point::Number { value, .. } = found.next()?.point else { panic!("{} is a histogram", metric.name) };
        assert!(found.next().is_none(), "{} has several such series", metric.name);
        Some(value)
    }

    /// Sum and count.
    fn histogram(&self, metric: &Metric, own: Option<(&str, &str)>) -> Option<(f64, [u64; 15])> {
        let series = self.series(metric);
        let found = series
            .iter()
            .find(|series| own.is_none_or(|(name, text)| label(series, name) == Some(Label::from(text))))?;
        let Point::Histogram { sum, counts, .. } = found.point else { panic!("{} is a number", metric.name) };
        Some((sum, counts))
    }
}

fn label(series: &Series, name: &str) -> Option<Label> {
    series.attributes.iter().find(|(key, _)| *key == name).map(|(_, label)| label.clone())
}

fn only(bucket: usize) -> [u64; 15] {
    let mut counts = [0; 15];
    counts[bucket] = 1;
    counts
}

#[test]
fn each_metric_of_a_full_call() {
    let mut bench = Bench::new(Exemplars::default());
    bench.call(&full_call(), Some(&cost()));
    assert_eq!(bench.histogram(&metric::OPERATION_DURATION, None), Some((1.7, only(8))));
    let tokens = |kind| bench.histogram(&metric::TOKEN_USAGE, Some((semconv::TOKEN_TYPE, kind)));
    assert_eq!(tokens("input"), Some((1200.0, only(6))));
    assert_eq!(tokens("output"), Some((300.0, only(5))));
    assert_eq!(bench.histogram(&metric::TIME_TO_FIRST_CHUNK, None), Some((0.102, only(4))));
    assert_eq!(bench.histogram(&metric::TIME_TO_FIRST_TOKEN, None), Some((0.150, only(4))));
    let (sum, gaps) = bench.histogram(&metric::TIME_PER_OUTPUT_CHUNK, None).unwrap();
    assert_eq!((sum, gaps[2], gaps[3], gaps.iter().sum::<u64>()), (1.5, 10, 20, 30));
    assert_eq!(bench.number(&metric::COST, None), Some(0.0125));
    assert_eq!(bench.number(&metric::TOKENS_CACHED, None), Some(1000.0));
    // A stated 0 is 0.
    assert_eq!(bench.number(&metric::TOKENS_REASONING, None), Some(0.0));
    assert_eq!(bench.number(&metric::FALLBACKS, None), Some(1.0));
    for reason in ["tool_calls", "stop"] {
        assert_eq!(bench.number(&metric::FINISH_REASONS, Some((semconv::FINISH_REASON, reason))), Some(1.0));
    }
    for tool in ["weather", "clock"] {
        assert_eq!(bench.number(&metric::TOOL_CALLS, Some((semconv::TOOL_NAME, tool))), Some(1.0));
    }
    let left = |kind| bench.number(&metric::RATELIMIT_REMAINING, Some((semconv::RATELIMIT_KIND, kind)));
    assert_eq!((left("requests"), left("tokens")), (Some(499.0), Some(199_000.0)));
    for absent in [&metric::ERRORS, &metric::RETRIES, &metric::ABORTED, &metric::MODEL_CHANGES] {
        assert_eq!(bench.series(absent), [], "{}", absent.name);
    }
}

#[test]
fn what_is_not_stated_is_not_counted() {
    let mut bench = Bench::new(Exemplars::default());
    bench.call(&bare_call(), None);
    let told: Vec<&str> = bench.metrics.sums().snapshot().metrics.iter().map(|(metric, _)| metric.name).collect();
    assert_eq!(told, [metric::OPERATION_DURATION.name]);
}

#[test]
fn a_failed_call() {
    let mut bench = Bench::new(Exemplars::default());
    let call = LlmCall { attempt: Some(2), ..failed_call() };
    bench.call(&call, None);
    let error = Some((semconv::ERROR_TYPE, "rate_limit_exceeded"));
    assert_eq!(bench.number(&metric::ERRORS, error), Some(1.0));
    assert_eq!(bench.histogram(&metric::OPERATION_DURATION, error), Some((0.005, only(0))));
    assert_eq!(bench.number(&metric::RETRIES, None), Some(1.0));
    assert_eq!(bench.number(&metric::ABORTED, None), Some(1.0));
    // Only its own metrics say why it failed.
    assert_eq!(label(&bench.series(&metric::RETRIES)[0], semconv::ERROR_TYPE), None);
}

#[test]
fn what_calls_have_in_common_and_who_made_them() {
    let mut bench = Bench::new(Exemplars::default());
    bench.call(&full_call(), None);
    let series = bench.series(&metric::OPERATION_DURATION).remove(0);
    let expected: Attributes = vec![
        ("gen_ai.operation.name", "chat".into()),
        ("gen_ai.provider.name", "openai".into()),
        ("gen_ai.request.model", "model-5".into()),
        ("gen_ai.response.model", "model-5-2026-01-01".into()),
        ("server.address", "api.example.com".into()),
        ("server.port", Label::Int(443)),
    ];
    assert_eq!(*series.attributes, expected);
    let snapshot = bench.metrics.sums().snapshot();
    let resource = &snapshot.resources[series.service];
    let of_one_process = |name: &str| name.starts_with("process.") || name == "container.id";
    assert!(resource.attributes.iter().all(|(name, _)| !of_one_process(name)), "{resource:?}");
    let text = |name: &str| resource.attribute(name).and_then(Value::as_str);
    assert_eq!(text("service.name"), Some("agent.py"));
    assert_eq!(text("service.namespace"), Some("shop"));
    assert_eq!(text("service.instance.id"), Some("4f5e"));
    assert_eq!(text("host.name"), Some("node-7"));
    let own = snapshot.resources[OWN].attribute("service.name").and_then(Value::as_str);
    assert_eq!(own, Some("llmtap"));
}

#[test]
fn processes_of_a_service_count_together_and_services_apart() {
    let mut bench = Bench::new(Exemplars::default());
    for pid in [42, 43, 44] {
        let service: Arc<str> = if pid == 44 { "other.py".into() } else { "agent.py".into() };
        let process = crate::capture::Process { pid, service: Some(service), ..(*process()).clone() };
        bench.synth.process(&Arc::new(process));
        let connection = Connection { pid: Some(pid), ..(*full_call().connection).clone() };
        bench.call(&LlmCall { connection: Arc::new(connection), ..full_call() }, None);
    }
    let counts: Vec<u64> = bench
        .series(&metric::OPERATION_DURATION)
        .iter()
        .map(|series| match &series.point {
            Point::Histogram { counts, .. } => counts.iter().sum(),
            Point::Number { .. } => 0,
        })
        .collect();
    assert_eq!(counts, [2, 1]);
}

#[test]
fn list_prices_are_in_no_sum_and_currencies_do_not_mix() {
    let mut bench = Bench::new(Exemplars::default());
    bench.call(&full_call(), Some(&Cost { source: CostSource::ListPrice, ..cost() }));
    assert_eq!(bench.series(&metric::COST), []);
    bench.call(&full_call(), Some(&cost()));
    let euros = Currency::new("EUR");
    bench.call(&full_call(), Some(&Cost { currency: euros, ..cost() }));
    assert_eq!(bench.number(&metric::COST, Some((semconv::COST_CURRENCY, "EUR"))), Some(0.0125));
    assert_eq!(bench.series(&metric::COST).len(), 2);
}

#[test]
fn a_change_of_the_response_model_counts_once() {
    let mut bench = Bench::new(Exemplars::default());
    for answered in ["m-1", "m-1", "m-2", "m-1", "m-2", "m-3"] {
        let mut call = full_call();
        call.response.model = Some(answered.to_owned());
        bench.call(&call, None);
    }
    let changes: Vec<Option<Label>> =
        bench.series(&metric::MODEL_CHANGES).iter().map(|series| label(series, semconv::RESPONSE_MODEL)).collect();
    assert_eq!(changes, [Some(Label::from("m-2")), Some(Label::from("m-3"))]);
}

#[test]
fn tools_are_timed() {
    let mut bench = Bench::new(Exemplars::default());
    let call = full_call();
    let run = ToolRun {
        asked_by: CallRef { id: call.id, connection: call.connection.clone(), trace_parent: None },
        turn: None,
        number: 0,
        name: "weather".to_owned(),
        id: "call_1".to_owned(),
        start: T0,
        end: T0 + 700 * MS,
    };
    let span = bench.synth.tool(&run);
    bench.metrics.tool(&run, &span, true);
    let (sum, counts) = bench.histogram(&metric::TOOL_ROUND_TRIP, Some((semconv::TOOL_NAME, "weather"))).unwrap();
    assert_eq!((sum, counts), (0.7, only(7)));
}

#[test]
fn open_calls_come_and_go() {
    let mut bench = Bench::new(Exemplars::default());
    let connection = (*full_call().connection).clone();
    let active = |count: usize| {
        (0..count).map(|_| Active {
            connection: &connection,
            provider: Cow::Borrowed("openai"),
            operation: Some(Operation::Chat),
            server_address: Some("api.example.com"),
            server_port: Some(443),
        })
    };
    for count in [2, 3, 0] {
        bench.metrics.active(active(count), |call| bench.synth.resource(call.connection));
        assert_eq!(bench.number(&metric::ACTIVE_REQUESTS, None), Some(count as f64));
    }
}

#[test]
fn verdicts_that_no_longer_hold_are_none() {
    let mut bench = Bench::new(Exemplars::default());
    bench.metrics.processes([(Some("openssl 3.5.1"), "ok", 4), (None, "gnutls", 1)].into_iter());
    bench.metrics.processes([(Some("openssl 3.5.1"), "ok", 3)].into_iter());
    let of = |reason| bench.number(&metric::SELF_PROCESSES, Some((semconv::REASON, reason)));
    assert_eq!((of("ok"), of("gnutls")), (Some(3.0), Some(0.0)));
}

#[test]
fn exemplars_are_of_sampled_traces_unless_told_otherwise() {
    let exemplar_of = |filter, flags| {
        let mut bench = Bench::new(filter);
        let mut call = failed_call();
        call.trace_parent.as_mut().unwrap().flags = flags;
        let span = bench.call(&call, None);
        let Point::Number { exemplar, .. } = bench.series(&metric::ERRORS)[0].point else { panic!("a histogram") };
        exemplar.inspect(|exemplar| {
            assert_eq!((exemplar.trace_id, exemplar.span_id, exemplar.value), (span.trace_id, span.span_id, 1.0));
        })
    };
    assert!(exemplar_of(Exemplars::TraceBased, 1).is_some());
    assert!(exemplar_of(Exemplars::TraceBased, 0).is_none());
    assert!(exemplar_of(Exemplars::AlwaysOn, 0).is_some());
    assert!(exemplar_of(Exemplars::AlwaysOff, 1).is_none());
}

#[test]
fn series_past_the_cap_share_one() {
    let mut bench = Bench::new(Exemplars::default());
    for number in 0..MAX_SERIES + 50 {
        let mut call = bare_call();
        call.request.model = Some(format!("model-{number}"));
        bench.call(&call, None);
    }
    // Those that have one keep it.
    let mut call = bare_call();
    call.request.model = Some("model-0".to_owned());
    bench.call(&call, None);
    let series = bench.series(&metric::OPERATION_DURATION);
    assert_eq!(series.len(), MAX_SERIES + 1);
    let count = |wanted: (&'static str, Label)| {
        let found = series.iter().find(|series| series.attributes.contains(&wanted)).unwrap();
        match &found.point {
            Point::Histogram { counts, .. } => counts.iter().sum::<u64>(),
            Point::Number { .. } => 0,
        }
    };
    assert_eq!(count((semconv::METRIC_OVERFLOW, Label::Bool(true))), 50);
    assert_eq!(count((semconv::REQUEST_MODEL, "model-0".into())), 2);
}

#[test]
fn services_past_the_cap_share_one_without_a_name() {
    let mut store = Store::new(Resource::own(&Host::default()), Resource::unknown(&Host::default()));
    let resource = |number: usize| Resource { attributes: vec![("service.name".into(), number.to_string().into())] };
    let services: Vec<Service> = (0..MAX_SERVICES + 3).map(|number| store.service(resource(number))).collect();
    assert_eq!(services[MAX_SERVICES..], [1; 3]);
    assert_eq!(store.service(resource(0)), services[0]);
    let other = store.snapshot().resources[1].attribute("service.name").cloned();
    assert_eq!(other, Some(Value::from("unknown_service")));
}

#[test]
fn every_cause_of_loss_is_told_from_the_start() {
    let mut bench = Bench::new(Exemplars::default());
    bench.metrics.health(&[("ring_full".to_owned(), 7)], 0, &[]);
    let lost = |cause| bench.number(&metric::SELF_EVENTS_LOST, Some((semconv::REASON, cause)));
    assert_eq!((lost("ring_full"), lost("unreadable"), lost("no_such_cause")), (Some(7.0), Some(0.0), None));
}

#[test]
fn a_long_value_is_cut() {
    let Label::Text(text) = Label::from("ä".repeat(200).as_str()) else { panic!("no text") };
    assert_eq!(text.len(), 256);
}

#[test]
fn a_delta_is_what_came_since() {
    let mut bench = Bench::new(Exemplars::default());
    let sums = bench.metrics.sums();
    let all = |_: &Metric| true;
    bench.call(&full_call(), Some(&cost()));
    let first = sums.snapshot();
    assert_eq!(first.delta(&Snapshot::default(), all).metrics, first.metrics);
    assert!(first.delta(&first, all).metrics.is_empty());

    let mut later = full_call();
    later.request.model = Some("model-4".to_owned());
    later.times.end += 3000 * MS;
    bench.call(&later, Some(&cost()));
    bench.call(&full_call(), Some(&cost()));
    let second = sums.snapshot();
    let delta = second.delta(&first, all);
    assert_eq!((delta.since, delta.since_delta, delta.at), (T0, T0 + 1700 * MS, T0 + 4700 * MS));
    let (_, costs) = delta.metrics.iter().find(|(metric, _)| metric.name == metric::COST.name).unwrap();
    for series in costs {
        assert!(matches!(series.point, Point::Number { value, .. } if (value - 0.0125).abs() < 1e-12), "{series:?}");
    }
    assert_eq!(costs.len(), 2);
    // A gauge is what it is.
    let kept = second.delta(&first, |metric| metric.kind != metric::Kind::Gauge);
    assert!(kept.metrics.iter().any(|(metric, _)| metric.name == metric::RATELIMIT_REMAINING.name));
}

#[test]
fn what_calls_show_is_counted_by_kind() {
    let mut bench = Bench::new(Exemplars::AlwaysOff);
    let call = full_call();
    let span = bench.call(&call, None);
    let hit = |place, name: &str, count| ((place, std::sync::Arc::from(name)), count);
    let observed = Observations {
        refusal: Some(crate::observe::Refusal::ContentFilter),
        limit: Some(crate::observe::Limit::Quota),
        system_prompt_changed: true,
        structured_output: Some(false),
        hits: [
            hit(crate::observe::Place::Prompt, "injection.override", 3),
            hit(crate::observe::Place::Answer, "secret.jwt", 1),
        ]
        .into(),
    };
    bench.metrics.observed(&call, &observed, &span, true);
    bench.metrics.observed(&call, &Observations::default(), &span, true);
    for (metric, own) in [
        (&metric::REFUSALS, Some((semconv::REFUSAL, "content_filter"))),
        (&metric::LIMITS, Some((semconv::LIMIT_KIND, "quota"))),
        (&metric::SYSTEM_PROMPT_CHANGES, None),
        (&metric::STRUCTURED_OUTPUTS, None),
        (&metric::OBSERVATIONS, Some((semconv::OBSERVATION_PLACE, "prompt"))),
        (&metric::OBSERVATIONS, Some((semconv::OBSERVATION_RULE, "secret.jwt"))),
    ] {
        assert_eq!(bench.number(metric, own), Some(1.0), "{} {own:?}", metric.name);
    }
}
