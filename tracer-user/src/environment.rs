//! Values of OpenTelemetry's environment variables, ours and those of the traced processes.

/// A variable of this process, what is no UTF-8 in it replaced.
pub fn variable(name: &str) -> Option<String> {
    Some(std::env::var_os(name)?.to_string_lossy().into_owned())
}

/// `OTEL_RESOURCE_ATTRIBUTES`: `key=value` pairs, comma separated, values percent-encoded (OpenTelemetry resource SDK
/// specification). As it says, one bad pair makes the whole value void.
pub fn parse_resource_attributes(text: &str) -> Vec<(String, String)> {
    let mut attributes = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=') else { return Vec::new() };
        let (Some(key), Some(value)) = (percent_decode(key.trim()), percent_decode(value.trim())) else {
            return Vec::new();
        };
        if key.is_empty() {
            return Vec::new();
        }
        attributes.push((key, value));
    }
    attributes
}

/// Variables by which SDKs and the usual instrumentations for models are set up: where they are set, calls are told.
const OF_MODELS: &[&str] = &[
    // OpenTelemetry's own instrumentations for models.
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
    "OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT",
    // OpenLLMetry.
    "TRACELOOP_TRACE_CONTENT",
    "TRACELOOP_BASE_URL",
    // LangSmith with OpenTelemetry.
    "LANGSMITH_OTEL_ENABLED",
];

/// Whether a process with these variables exports telemetry of its model calls itself: it has an OTLP exporter for
/// spans, and an instrumentation that tells of models. Variables that are empty count as not set.
pub fn tells_of_models<'a>(variable: &dyn Fn(&str) -> Option<&'a str>) -> bool {
    let is_off = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let exports = match variable("OTEL_TRACES_EXPORTER") {
        Some(exporters) => exporters.split(',').any(|exporter| exporter.trim() == "otlp"),
        None => ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "TRACELOOP_BASE_URL"]
            .iter()
            .any(|name| variable(name).is_some()),
    };
    let contains = |name: &str, text: &str| variable(name).is_some_and(|value| value.contains(text));
    let instrumented = OF_MODELS.iter().any(|name| variable(name).is_some())
        || contains("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai")
        // How `opentelemetry-instrument` and the Kubernetes operator load OpenTelemetry into Python and Node.js.
        || contains("PYTHONPATH", "opentelemetry/instrumentation/auto_instrumentation")
        || contains("NODE_OPTIONS", "@opentelemetry/auto-instrumentations-node")
        || contains("NODE_OPTIONS", "otel-auto-instrumentation-nodejs");
    exports && instrumented && !is_off
}

/// RFC 3986 section 2.1. `None` when an escape is broken or the result is not UTF-8.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_exports_and_is_instrumented_tells_of_models() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        let content = ("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true");
        let python = ("PYTHONPATH", "/x/opentelemetry/instrumentation/auto_instrumentation:/y");
        for (variables, expected) in [
            (&[endpoint, content][..], true),
            (&[endpoint, python], true),
            (&[("OTEL_TRACES_EXPORTER", "console, otlp"), python], true),
            (&[endpoint, ("OTEL_SEMCONV_STABILITY_OPT_IN", "http,gen_ai_latest_experimental")], true),
            (&[("TRACELOOP_BASE_URL", "https://example.com")], true),
            (&[endpoint], false),
            (&[content], false),
            (&[endpoint, ("PYTHONPATH", "/y")], false),
            (&[endpoint, content, ("OTEL_TRACES_EXPORTER", "none")], false),
            (&[endpoint, content, ("OTEL_SDK_DISABLED", "TRUE")], false),
            (&[], false),
        ] {
            let variable = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
            assert_eq!(tells_of_models(&variable), expected, "{variables:?}");
        }
    }
}
