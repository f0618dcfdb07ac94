//! From our plain span to the types of the OpenTelemetry SDK and of OTLP.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry::{
    Array, InstrumentationScope, KeyValue, StringValue, Value as SdkValue,
    trace::{self, SpanContext, TraceFlags, TraceState},
};
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, ArrayValue, KeyValue as ProtoKeyValue, KeyValueList, any_value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    metrics::v1::{
        AggregationTemporality, Exemplar as ProtoExemplar, Gauge, Histogram, HistogramDataPoint, Metric as ProtoMetric,
        NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, exemplar, metric::Data, number_data_point,
    },
    resource::v1::Resource as ProtoResource,
    trace::v1::{ResourceSpans, ScopeSpans, Span as ProtoSpan},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use serde::Serialize;

use crate::{
    metrics::store::{Exemplar, Label, Point, Series, Service, Snapshot},
    span::{
        EventRecord, Kind as SpanKind, Resource, SpanRecord, Status, Value,
        ids::{SpanId, TraceId},
        semconv::{
            self,
            metric::{Kind, Metric},
        },
    },
};

/// The SDK's form of a span, as its exporters take it.
pub fn span_data(record: SpanRecord) -> SpanData {
    // A `tracestate` that breaks the W3C rules is dropped, as the specification demands; the trace stays.
    let state = record.trace_state.as_deref().and_then(|state| state.parse().ok()).unwrap_or(TraceState::NONE);
    let parent = record.parent;
    let mut links = SpanLinks::default();
    links.links.extend(record.links.iter().map(|link| {
        let context = span_context(link.trace_id, link.span_id, 0, TraceState::NONE);
        trace::Link::new(context, Vec::new(), 0)
    }));
    SpanData {
        span_context: span_context(record.trace_id, record.span_id, record.flags, state),
        parent_span_id: parent.map_or(trace::SpanId::INVALID, |parent| trace::SpanId::from_bytes(parent.span_id.0)),
        parent_span_is_remote: parent.is_some_and(|parent| parent.remote),
        span_kind: match record.kind {
            SpanKind::Internal => trace::SpanKind::Internal,
            SpanKind::Client => trace::SpanKind::Client,
        },
        name: record.name,
        start_time: time(record.start),
        end_time: time(record.end),
        attributes: record.attributes.into_iter().map(|(name, value)| KeyValue::new(name, sdk_value(value))).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links,
        status: match record.status {
            Status::Unset => trace::Status::Unset,
            // What failed stands in `error.type`; more would be payload.
            Status::Error => trace::Status::Error { description: Cow::Borrowed("") },
        },
        instrumentation_scope: scope(),
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(semconv::SCOPE_NAME)
        .with_version(semconv::SCOPE_VERSION)
        .with_schema_url(semconv::SCHEMA_URL)
        .build()
}

/// OTLP's form of spans, in the order of the records: one entry a traced process, where its first span stands.
pub fn resource_spans(records: impl IntoIterator<Item = SpanRecord>) -> Vec<ResourceSpans> {
    let spans = records.into_iter().map(|record| (Arc::clone(&record.resource), ProtoSpan::from(span_data(record))));
    let of_process = |(resource, spans)| ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![ScopeSpans {
            scope: Some((scope(), None).into()),
            spans,
            schema_url: semconv::SCHEMA_URL.to_owned(),
        }],
        schema_url: semconv::SCHEMA_URL.to_owned(),
    };
    by_process(spans).map(of_process).collect()
}

/// OTLP's form of events: one entry a traced process, where its first event stands.
pub fn resource_logs(records: impl IntoIterator<Item = EventRecord>) -> Vec<ResourceLogs> {
    let events = records.into_iter().map(|record| (Arc::clone(&record.resource), log_record(record)));
    let of_process = |(resource, log_records)| ResourceLogs {
        resource: Some(resource),
        scope_logs: vec![ScopeLogs {
            scope: Some((scope(), None).into()),
            log_records,
            schema_url: semconv::SCHEMA_URL.to_owned(),
        }],
        schema_url: semconv::SCHEMA_URL.to_owned(),
    };
    by_process(events).map(of_process).collect()
}

/// What each process tells, in the order in which they first tell something.
fn by_process<T>(told: impl Iterator<Item = (Arc<Resource>, T)>) -> impl Iterator<Item = (ProtoResource, Vec<T>)> {
    let mut groups: Vec<(Arc<Resource>, Vec<T>)> = Vec::new();
    for (resource, one) in told {
        // A process shares one resource, so that its address most often tells.
        match groups.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &resource) || *known == resource) {
            Some((_, all)) => all.push(one),
            None => groups.push((resource, vec![one])),
        }
    }
    groups.into_iter().map(|(resource, all)| {
        (ProtoResource { attributes: resource_attributes(&resource), ..ProtoResource::default() }, all)
    })
}

fn log_record(record: EventRecord) -> LogRecord {
    let plain = record.attributes.into_iter().map(|(name, value)| key_value(name.to_owned(), sdk_value(value)));
    let structured = record.structured.into_iter().filter_map(|(name, text)| {
        let value = any_value(serde_json::from_str(&text).ok()?);
        Some(ProtoKeyValue { key: name.to_owned(), value: Some(value), key_strindex: 0 })
    });
    LogRecord {
        time_unix_nano: record.at,
        observed_time_unix_nano: record.at,
        attributes: plain.chain(structured).collect(),
        flags: u32::from(record.flags),
        trace_id: record.trace_id.0.to_vec(),
        span_id: record.span_id.0.to_vec(),
        event_name: semconv::DETAILS_EVENT.to_owned(),
        ..LogRecord::default()
    }
}

/// The conventions want contents of events structured.
fn any_value(json: serde_json::Value) -> AnyValue {
    use serde_json::Value as Json;
    let value = match json {
        Json::Null => None,
        Json::Bool(flag) => Some(any_value::Value::BoolValue(flag)),
        Json::Number(number) => Some(match number.as_i64() {
            Some(whole) => any_value::Value::IntValue(whole),
            None => any_value::Value::DoubleValue(number.as_f64().unwrap_or_default()),
        }),
        Json::String(text) => Some(any_value::Value::StringValue(text)),
        Json::Array(items) => {
            let values = items.into_iter().map(self::any_value).collect();
            Some(any_value::Value::ArrayValue(ArrayValue { values }))
        }
        Json::Object(members) => {
            let member = |(key, value)| ProtoKeyValue { key, value: Some(self::any_value(value)), key_strindex: 0 };
            Some(any_value::Value::KvlistValue(KeyValueList { values: members.into_iter().map(member).collect() }))
        }
    };
    AnyValue { value }
}

/// OTLP's form of the sums; `is_delta` says which of them tell what came since the last time.
pub fn resource_metrics(snapshot: &Snapshot, is_delta: impl Fn(&Metric) -> bool) -> Vec<ResourceMetrics> {
    let mut by_service: BTreeMap<Service, Vec<ProtoMetric>> = BTreeMap::new();
    for (metric, series) in &snapshot.metrics {
        for series in series.chunk_by(|one, other| one.service == other.service) {
            let Some(service) = series.first().map(|series| series.service) else { continue };
            let metric = proto_metric(metric, series, snapshot, is_delta(metric));
            by_service.entry(service).or_default().push(metric);
        }
    }
    let of_service = |(service, metrics): (Service, Vec<ProtoMetric>)| {
        let attributes = snapshot.resources.get(service).map(|resource| resource_attributes(resource));
        ResourceMetrics {
            resource: Some(ProtoResource { attributes: attributes.unwrap_or_default(), ..ProtoResource::default() }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some((scope(), None).into()),
                metrics,
                schema_url: semconv::SCHEMA_URL.to_owned(),
            }],
            schema_url: semconv::SCHEMA_URL.to_owned(),
        }
    };
    by_service.into_iter().map(of_service).collect()
}

fn proto_metric(metric: &Metric, series: &[Series], snapshot: &Snapshot, delta: bool) -> ProtoMetric {
    let temporality = if delta { AggregationTemporality::Delta } else { AggregationTemporality::Cumulative };
    let since = if delta { snapshot.since_delta } else { snapshot.since };
    let numbers = || series.iter().filter_map(|series| number_point(metric, series, since, snapshot.at)).collect();
    let data = match metric.kind {
        Kind::Counter | Kind::UpDownCounter => Data::Sum(Sum {
            data_points: numbers(),
            aggregation_temporality: temporality.into(),
            is_monotonic: metric.kind == Kind::Counter,
        }),
        Kind::Gauge => Data::Gauge(Gauge { data_points: numbers() }),
        Kind::Histogram(bounds) => Data::Histogram(Histogram {
            data_points: series
                .iter()
                .filter_map(|series| histogram_point(bounds, series, since, snapshot.at))
                .collect(),
            aggregation_temporality: temporality.into(),
        }),
    };
    ProtoMetric {
        name: metric.name.to_owned(),
        description: metric.brief.to_owned(),
        unit: metric.unit.to_owned(),
        metadata: Vec::new(),
        data: Some(data),
    }
}

fn number_point(metric: &Metric, series: &Series, since: u64, at: u64) -> Option<NumberDataPoint> {
    let Point::Number { value, exemplar } = &series.point else { return None };
    let whole = metric.whole;
    Some(NumberDataPoint {
        attributes: series_attributes(series),
        // A gauge has no beginning.
        start_time_unix_nano: if metric.kind == Kind::Gauge { 0 } else { since },
        time_unix_nano: at,
        exemplars: exemplar.iter().map(proto_exemplar).collect(),
        flags: 0,
        value: Some(if whole {
            number_data_point::Value::AsInt(*value as i64)
        } else {
            number_data_point::Value::AsDouble(*value)
        }),
    })
}

fn histogram_point(bounds: &[f64], series: &Series, since: u64, at: u64) -> Option<HistogramDataPoint> {
    let Point::Histogram { sum, counts, exemplars } = &series.point else { return None };
    Some(HistogramDataPoint {
        attributes: series_attributes(series),
        start_time_unix_nano: since,
        time_unix_nano: at,
        count: counts.iter().sum(),
        sum: Some(*sum),
        bucket_counts: counts.to_vec(),
        explicit_bounds: bounds.to_vec(),
        exemplars: exemplars.iter().flatten().map(proto_exemplar).collect(),
        flags: 0,
        min: None,
        max: None,
    })
}

fn proto_exemplar(exemplar: &Exemplar) -> ProtoExemplar {
    ProtoExemplar {
        filtered_attributes: Vec::new(),
        time_unix_nano: exemplar.at,
        span_id: exemplar.span_id.0.to_vec(),
        trace_id: exemplar.trace_id.0.to_vec(),
        value: Some(exemplar::Value::AsDouble(exemplar.value)),
    }
}

fn series_attributes(series: &Series) -> Vec<ProtoKeyValue> {
    let value = |label: &Label| match label {
        Label::Text(text) => SdkValue::String(Arc::clone(text).into()),
        Label::Int(number) => SdkValue::I64(*number),
        Label::Bool(flag) => SdkValue::Bool(*flag),
    };
    series.attributes.iter().map(|(name, label)| key_value((*name).to_owned(), value(label))).collect()
}

/// OTLP/JSON. Optional numbers that are absent must not be there as `null`, which the Collector does not read.
pub fn json<R: Serialize>(request: &R) -> serde_json::Result<Vec<u8>> {
    fn without_nulls(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(members) => {
                members.retain(|_, member| !member.is_null());
                members.values_mut().for_each(without_nulls);
            }
            serde_json::Value::Array(elements) => elements.iter_mut().for_each(without_nulls),
            _ => {}
        }
    }
    let mut json = serde_json::to_value(request)?;
    without_nulls(&mut json);
    serde_json::to_vec(&json)
}

fn resource_attributes(resource: &Resource) -> Vec<ProtoKeyValue> {
    resource.attributes.iter().map(|(name, value)| key_value(name.to_string(), sdk_value(value.clone()))).collect()
}

fn key_value(key: String, value: SdkValue) -> ProtoKeyValue {
    ProtoKeyValue { key, value: Some(AnyValue::from(value)), key_strindex: 0 }
}

fn span_context(trace_id: TraceId, span_id: SpanId, flags: u8, state: TraceState) -> SpanContext {
    SpanContext::new(
        trace::TraceId::from_bytes(trace_id.0),
        trace::SpanId::from_bytes(span_id.0),
        TraceFlags::new(flags),
        false,
        state,
    )
}

fn time(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanos)
}

fn sdk_value(value: Value) -> SdkValue {
    match value {
        Value::Text(Cow::Borrowed(text)) => SdkValue::String(text.into()),
        Value::Text(Cow::Owned(text)) => SdkValue::String(text.into()),
        Value::Content(text) => SdkValue::String(text.into()),
        Value::Shared(text) => SdkValue::String(text.into()),
        Value::Int(number) => SdkValue::I64(number),
        Value::Double(number) => SdkValue::F64(number),
        Value::Bool(flag) => SdkValue::Bool(flag),
        Value::Texts(texts) => SdkValue::Array(Array::String(texts.into_iter().map(StringValue::from).collect())),
    }
}
