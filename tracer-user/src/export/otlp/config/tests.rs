use super::*;

fn read(flag: Option<&str>, variables: &[(&str, &str)]) -> Result<Option<Settings>, ConfigError> {
    read_for(Signal::Traces, flag, variables)
}

fn read_for(signal: Signal, flag: Option<&str>, variables: &[(&str, &str)]) -> Result<Option<Settings>, ConfigError> {
    Settings::read(signal, flag, &|name| Some(variables.iter().find(|(key, _)| *key == name)?.1.to_owned()), &|path| {
        std::fs::read(path)
    })
}

fn settings(flag: Option<&str>, variables: &[(&str, &str)]) -> Settings {
    read(flag, variables).unwrap().unwrap()
}

fn error(flag: Option<&str>, variables: &[(&str, &str)]) -> String {
    let error = read(flag, variables).unwrap_err().to_string();
    assert!(!error.contains('\n'));
    error
}

const GENERAL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";

#[test]
fn without_an_endpoint_nothing_is_exported() {
    assert_eq!(read(None, &[]), Ok(None));
    assert_eq!(read(None, &[(GENERAL, " "), (PROTOCOL, "grpc")]), Ok(None));
}

#[test]
fn each_signal_has_variables_and_a_path_of_its_own() {
    let variables = [
        (GENERAL, "http://both:4318/base/"),
        (TRACES, "http://traces:4318/t"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "7"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "b=2"),
    ];
    let metrics = read_for(Signal::Metrics, None, &variables).unwrap().unwrap();
    assert_eq!(metrics.endpoint.to_string(), "http://both:4318/base/v1/metrics");
    assert_eq!(metrics.timeout, Duration::from_millis(7));
    assert!(metrics.headers.contains_key("b") && !metrics.headers.contains_key("a"));
    let traces = read_for(Signal::Traces, None, &variables).unwrap().unwrap();
    assert_eq!(traces.endpoint.to_string(), "http://traces:4318/t");
    assert_eq!(read_for(Signal::Metrics, None, &[(TRACES, "http://traces:4318/t")]), Ok(None));
    // The option is for both.
    let metrics = read_for(Signal::Metrics, Some("http://here:4318"), &variables).unwrap().unwrap();
    assert_eq!(metrics.endpoint.to_string(), "http://here:4318/v1/metrics");
}

#[test]
fn a_signal_can_be_left_out() {
    let variables = [(GENERAL, "http://h:4318"), ("OTEL_METRICS_EXPORTER", "none"), ("OTEL_TRACES_EXPORTER", "otlp")];
    assert_eq!(read_for(Signal::Metrics, None, &variables), Ok(None));
    assert!(read_for(Signal::Traces, None, &variables).unwrap().is_some());
    let wrong = read_for(Signal::Metrics, None, &[("OTEL_METRICS_EXPORTER", "prometheus")]).unwrap_err();
    assert!(wrong.to_string().contains("OTEL_METRICS_EXPORTER"), "{wrong}");
}

#[test]
fn defaults_are_those_of_the_specification_but_for_the_time_of_a_batch() {
    let settings = settings(None, &[(GENERAL, "http://h:4318")]);
    assert_eq!(settings.protocol, Protocol::HttpProtobuf);
    assert_eq!(settings.endpoint, "http://h:4318/v1/traces");
    assert_eq!(settings.timeout, Duration::from_secs(10));
    assert!(!settings.gzip && settings.headers.is_empty() && settings.tls.is_none());
    let batch = Batch {
        delay: Duration::from_secs(5),
        queue: 2048,
        size: 512,
        timeout: Duration::from_mins(5),
        memory: 64 << 20,
    };
    assert_eq!(settings.batch, batch);
}

#[test]
fn endpoints_get_the_signal_s_path_unless_they_are_its_own() {
    let endpoint = |flag, variables: &[_]| settings(flag, variables).endpoint.to_string();
    assert_eq!(endpoint(None, &[(GENERAL, "http://h:1/base/")]), "http://h:1/base/v1/traces");
    assert_eq!(endpoint(None, &[(TRACES, "http://h:1/own"), (GENERAL, "http://g:2")]), "http://h:1/own");
    assert_eq!(endpoint(None, &[(TRACES, "http://h:1")]), "http://h:1/");
    assert_eq!(endpoint(Some("http://f:3"), &[(TRACES, "http://h:1/own")]), "http://f:3/v1/traces");
    assert_eq!(endpoint(Some("http://f:3"), &[(PROTOCOL, "grpc")]), "http://f:3/");
    let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", "true");
    assert_eq!(endpoint(None, &[(GENERAL, "h:4317"), insecure]), "http://h:4317/");
}

#[test]
fn the_port_of_grpc_means_grpc_unless_a_protocol_is_stated() {
    let protocol = |variables: &[_]| settings(None, variables).protocol;
    assert_eq!(protocol(&[(GENERAL, "http://h:4317")]), Protocol::Grpc);
    assert_eq!(protocol(&[(GENERAL, "http://h:4317"), (PROTOCOL, "http/json")]), Protocol::HttpJson);
    assert_eq!(protocol(&[(GENERAL, "http://[::1]:4317/")]), Protocol::Grpc);
    assert_eq!(protocol(&[(GENERAL, "http://h")]), Protocol::HttpProtobuf);
    let signal = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc");
    assert_eq!(protocol(&[(GENERAL, "http://h"), (PROTOCOL, "http/json"), signal]), Protocol::Grpc);
}

#[test]
fn numbers_and_headers() {
    let settings = settings(
        Some("http://h:4318"),
        &[
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2500"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "GZIP"),
            ("OTEL_EXPORTER_OTLP_HEADERS", " Authorization = Bearer%20t=1 , x-b=50%,"),
            ("OTEL_BSP_SCHEDULE_DELAY", "20"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "77"),
        ],
    );
    assert_eq!(settings.timeout, Duration::from_millis(2500));
    assert!(settings.gzip);
    assert_eq!(settings.headers["authorization"], "Bearer t=1");
    assert_eq!(settings.headers["x-b"], "50%");
    assert_eq!(settings.batch.queue, 100);
    assert_eq!(settings.batch.size, 100, "a small queue makes small batches");
    assert_eq!(settings.batch.timeout, Duration::from_millis(77));
    assert!(!format!("{settings:?}").contains("Bearer"));
}

#[test]
fn bad_values_are_named_with_what_to_do() {
    let h = Some("http://h:4318");
    let cases = [
        error(Some(""), &[]),
        error(Some("localhost:4318"), &[]),
        error(Some("ftp://h"), &[]),
        error(Some("http://user:secret@h:4318"), &[]),
        error(None, &[(GENERAL, "http://")]),
        error(h, &[(PROTOCOL, "thrift")]),
        error(h, &[("OTEL_EXPORTER_OTLP_COMPRESSION", "br")]),
        error(h, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")]),
        error(h, &[("OTEL_EXPORTER_OTLP_HEADERS", "a=1,secret")]),
        error(h, &[("OTEL_EXPORTER_OTLP_HEADERS", "a b=secret")]),
        error(h, &[("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%0A")]),
        error(h, &[("OTEL_BSP_MAX_QUEUE_SIZE", "0")]),
        error(h, &[("OTEL_BSP_MAX_QUEUE_SIZE", "10"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "11")]),
        error(Some("https://h"), &[("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nonexistent/ca.pem")]),
    ];
    assert!(cases.iter().all(|case| !case.contains("secret")));
    insta::assert_snapshot!(cases.join("\n"));
}

#[test]
fn client_certificates_come_with_their_key() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let roots = ("OTEL_EXPORTER_OTLP_CERTIFICATE", path);
    let certificate = ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", path);
    let error = error(Some("https://h"), &[roots, certificate]);
    assert_eq!(error, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE needs OTEL_EXPORTER_OTLP_CLIENT_KEY beside it");
    let empty = crate::export::otlp::Otlp::new(Some("https://h"), &|name| {
        (name == "OTEL_EXPORTER_OTLP_CERTIFICATE").then(|| path.to_owned())
    });
    let error = empty.unwrap_err().to_string();
    assert!(error.ends_with("holds no certificate in PEM form"), "{error}");
}
