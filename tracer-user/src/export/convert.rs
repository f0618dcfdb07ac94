//! From our plain span to the types of the OpenTelemetry SDK and of OTLP.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry::{
    Array, InstrumentationScope, KeyValue, StringValue, Value as SdkValue,
    trace::{self, SpanContext, TraceFlags, TraceState},
};
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue as ProtoKeyValue},
    resource::v1::Resource as ProtoResource,
    trace::v1::{ResourceSpans, ScopeSpans, Span as ProtoSpan},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::span::{
    Kind, Resource, SpanRecord, Status, Value,
    ids::{SpanId, TraceId},
    semconv,
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
            Kind::Internal => trace::SpanKind::Internal,
            Kind::Client => trace::SpanKind::Client,
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

/// The SDK's form of a resource. It keeps no order.
pub fn sdk_resource(resource: &Resource) -> opentelemetry_sdk::Resource {
    let attributes = resource.attributes.iter().map(|(name, value)| {
        let name: StringValue = std::sync::Arc::clone(name).into();
        KeyValue::new(name.as_str().to_owned(), sdk_value(value.clone()))
    });
    opentelemetry_sdk::Resource::builder_empty().with_schema_url(attributes, semconv::SCHEMA_URL).build()
}

/// OTLP's form of one span with its resource, in the order of the record.
pub fn resource_spans(record: SpanRecord) -> ResourceSpans {
    let attributes = record.resource.attributes.iter().map(|(name, value)| ProtoKeyValue {
        key: name.to_string(),
        value: Some(AnyValue::from(sdk_value(value.clone()))),
        key_strindex: 0,
    });
    let resource = ProtoResource { attributes: attributes.collect(), ..ProtoResource::default() };
    let scope = ScopeSpans {
        scope: Some((scope(), None).into()),
        spans: vec![ProtoSpan::from(span_data(record))],
        schema_url: semconv::SCHEMA_URL.to_owned(),
    };
    ResourceSpans { resource: Some(resource), scope_spans: vec![scope], schema_url: semconv::SCHEMA_URL.to_owned() }
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
        Value::Shared(text) => SdkValue::String(text.into()),
        Value::Int(number) => SdkValue::I64(number),
        Value::Double(number) => SdkValue::F64(number),
        Value::Bool(flag) => SdkValue::Bool(flag),
        Value::Texts(texts) => SdkValue::Array(Array::String(texts.into_iter().map(StringValue::from).collect())),
    }
}
