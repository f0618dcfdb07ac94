use std::{sync::Arc, time::Duration};

use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Metric as ProtoMetric, metric::Data, number_data_point,
};

use super::{
    super::{
        SystemResolver,
        fake::{Fake, Received, Reply},
    },
    *,
};
use crate::{
    export::MetricsThread,
    metrics::{Clock, Exemplars, Metrics},
    span::{
        Host, Ids, Synth,
        samples::{cost, full_call, process},
        semconv::metric,
    },
};

const PROTOCOLS: [&str; 3] = ["grpc", "http/protobuf", "http/json"];
const LONG: Duration = Duration::from_secs(20);

struct Bench {
    metrics: Metrics,
    synth: Synth,
}

impl Bench {
    fn new() -> Self {
        let metrics = Metrics::new(&Host::default(), Clock::Wall, Exemplars::default());
        let mut synth = Synth::new(Ids::replay(), Host::default());
        synth.process(&process());
        Self { metrics, synth }
    }

    fn call(&mut self) {
        let span = self.synth.call(&full_call(), None, Some(&cost()));
        self.metrics.call(&full_call(), Some(&cost()), &span, span.sampled());
    }

    fn start(&self, fake: &Fake, protocol: &str, more: &[(&str, &str)]) -> MetricsThread {
        let variables = [&[("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)], more].concat();
        let env = |name: &str| Some(variables.iter().find(|(key, _)| *key == name)?.1.to_owned());
        let otlp = OtlpMetrics::new(Some(&format!("http://{}", fake.address)), &env).unwrap().unwrap();
        MetricsThread::start(self.metrics.sums(), Snapshot::default(), otlp, Arc::new(SystemResolver)).unwrap()
    }
}

fn fake(protocol: &str, replies: &[Reply]) -> Fake {
    if protocol == "grpc" { Fake::grpc(replies) } else { Fake::http(replies) }
}

fn find(received: &Received, wanted: &Metric) -> Option<ProtoMetric> {
    let metrics = received.metrics.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    metrics.flat_map(|scope| &scope.metrics).find(|metric| metric.name == wanted.name).cloned()
}

/// Temporality, value and number of exemplars of the cost's only point.
fn cost_of(received: &Received) -> (i32, f64, usize) {
    let metric = find(received, &metric::COST).expect("no cost");
    let Some(Data::Sum(sum)) = metric.data else { panic!("no sum") };
    assert!(sum.is_monotonic && metric.unit == "{USD}");
    let [point] = &sum.data_points[..] else { panic!("not one point") };
    let Some(number_data_point::Value::AsDouble(value)) = point.value else { panic!("not a double") };
    assert!(point.start_time_unix_nano <= point.time_unix_nano && point.start_time_unix_nano > 0);
    (sum.aggregation_temporality, value, point.exemplars.len())
}

#[test]
fn every_protocol_carries_all_of_it() {
    for protocol in PROTOCOLS {
        let (mut bench, fake) = (Bench::new(), fake(protocol, &[Reply::Ok]));
        bench.call();
        let more =
            [("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-tenant=blue"), ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")];
        bench.start(&fake, protocol, &more).shutdown(None, LONG);
        let received = fake.next();
        assert_eq!(received.header("x-tenant"), Some("blue"), "{protocol}");
        let path = if protocol == "grpc" {
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
        } else {
            "/v1/metrics"
        };
        assert_eq!(received.path, path);
        let encoding = if protocol == "grpc" { "grpc-encoding" } else { "content-encoding" };
        assert_eq!(received.header(encoding), Some("gzip"), "{protocol}");
        assert_eq!(cost_of(&received), (AggregationTemporality::Cumulative.into(), 0.0125, 1));
        let duration = find(&received, &metric::OPERATION_DURATION).unwrap();
        let Some(Data::Histogram(histogram)) = duration.data else { panic!("no histogram") };
        let point = &histogram.data_points[0];
        assert_eq!(
            (point.count, point.sum, point.explicit_bounds.len(), point.bucket_counts.len()),
            (1, Some(1.7), 14, 15)
        );
        assert_eq!(point.exemplars[0].trace_id.len(), 16);
        assert!(fake.rest().is_empty());
    }
}

#[test]
fn deltas_add_up_over_refusals() {
    for protocol in PROTOCOLS {
        let refusal = if protocol == "grpc" { Reply::Grpc(14) } else { Reply::Status(503, None) };
        let (mut bench, fake) = (Bench::new(), fake(protocol, &[refusal, Reply::Ok]));
        bench.call();
        let more =
            [("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"), ("OTEL_METRIC_EXPORT_INTERVAL", "20")];
        let thread = bench.start(&fake, protocol, &more);
        let refused = fake.next();
        let taken = fake.next();
        assert_eq!(cost_of(&refused), cost_of(&taken));
        bench.call();
        thread.shutdown(None, LONG);
        let rest = fake.rest();
        let costs: Vec<_> =
            rest.iter().filter(|received| find(received, &metric::COST).is_some()).map(cost_of).collect();
        let total: f64 = costs.iter().map(|(_, value, _)| value).sum();
        assert!((total - 0.0125).abs() < 1e-12, "{protocol}: {costs:?}");
        assert!(costs.iter().all(|cost| cost.0 == i32::from(AggregationTemporality::Delta)));
    }
}

#[test]
fn an_endpoint_without_metrics_is_not_asked_again_for_the_same() {
    for (protocol, refusal) in [("grpc", Reply::Grpc(12)), ("http/protobuf", Reply::Status(404, None))] {
        let (mut bench, fake) = (Bench::new(), fake(protocol, &[refusal]));
        bench.call();
        bench.start(&fake, protocol, &[]).shutdown(None, LONG);
        fake.next();
        assert!(fake.rest().is_empty(), "{protocol}");
    }
}

#[test]
fn an_endpoint_that_hangs_is_left_at_the_deadline() {
    let (mut bench, fake) = (Bench::new(), fake("http/protobuf", &[Reply::Hang]));
    bench.call();
    let thread = bench.start(&fake, "http/protobuf", &[]);
    thread.shutdown(None, Duration::from_millis(300));
    fake.next();
}

#[test]
fn bad_values_are_told() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "sometimes"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "base2_exponential_bucket_histogram"),
    ] {
        let env = |asked: &str| (asked == name).then(|| value.to_owned());
        let error = OtlpMetrics::new(Some("http://localhost:4318"), &env).map(drop).unwrap_err().to_string();
        assert!(error.starts_with(name), "{error}");
    }
}
