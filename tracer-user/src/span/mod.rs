//! Span: from model calls to OpenTelemetry spans.
