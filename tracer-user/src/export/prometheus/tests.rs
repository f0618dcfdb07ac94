use std::{io::Read as _, io::Write as _, net::TcpStream};

use super::*;
use crate::{
    export::listen::{Listener, Server},
    metrics::{Clock, Exemplars, Metrics},
    span::{
        Host, Ids, Synth,
        samples::{cost, failed_call, full_call, process},
    },
};

fn metrics() -> Metrics {
    let host = Host { name: Some("node-7".to_owned()), ..Host::default() };
    let mut metrics = Metrics::new(&host, Clock::Calls, Exemplars::default());
    let mut synth = Synth::new(Ids::replay(), host);
    synth.process(&process());
    let mut evil = failed_call();
    evil.request.model = Some("a\"b\\c\nd".to_owned());
    for call in [full_call(), evil] {
        let cost = call.usage.input.map(|_| cost());
        let span = synth.call(&call, None, cost.as_ref());
        metrics.call(&call, cost.as_ref(), &span, span.sampled());
    }
    metrics
}

#[test]
fn the_text_format() {
    let text = text(&metrics().sums().snapshot(), Format::Text);
    for line in [
        "# TYPE target_info gauge",
        "target_info{job=\"shop/agent.py\",instance=\"node-7\",deployment_environment_name=\"test\",host_name=\"node-7\",\
         telemetry_distro_name=\"llmtap\",telemetry_distro_version=\"0.1.0\"} 1",
        "# TYPE gen_ai_client_operation_duration_seconds histogram",
        "# TYPE llmtap_client_cost_total counter",
        "llmtap_client_cost_total{job=\"shop/agent.py\",instance=\"node-7\",gen_ai_operation_name=\"chat\",\
         gen_ai_provider_name=\"openai\",gen_ai_request_model=\"model-5\",\
         gen_ai_response_model=\"model-5-2026-01-01\",server_address=\"api.example.com\",server_port=\"443\"} 0.0125",
        "# TYPE llmtap_ratelimit_remaining gauge",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}\n{text}");
    }
    assert!(text.contains(r#"gen_ai_request_model="a\"b\\c\nd""#), "{text}");
    assert!(!text.contains("# {") && !text.contains("# EOF") && !text.contains("# UNIT"));
}

#[test]
fn buckets_add_up() {
    let text = text(&metrics().sums().snapshot(), Format::Text);
    let first: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("gen_ai_client_operation_time_per_output_chunk_seconds"))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(_, value)| value)
        .collect();
    let buckets = ["0", "0", "10"].into_iter().chain(["30"; 12]);
    assert_eq!(first, buckets.chain(["1.5", "30"]).collect::<Vec<_>>());
}

#[test]
fn open_metrics_has_units_exemplars_and_an_end() {
    let text = text(&metrics().sums().snapshot(), Format::OpenMetrics);
    assert!(text.ends_with("\n# EOF\n"));
    for line in [
        "# TYPE target info",
        "# TYPE gen_ai_client_operation_duration_seconds histogram",
        "# UNIT gen_ai_client_operation_duration_seconds seconds",
        "# TYPE llmtap_client_cost counter",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}\n{text}");
    }
    let bucket = text
        .lines()
        .find(|line| {
            line.starts_with("gen_ai_client_operation_duration_seconds_bucket") && line.contains("le=\"2.56\"")
        })
        .unwrap();
    let (_, exemplar) = bucket.split_once(" # {trace_id=\"").unwrap();
    assert!(exemplar.ends_with("\"} 1.7 1767225601.700"), "{bucket}");
    // The failed call's trace is not sampled: none of its series has an exemplar.
    assert!(text.lines().all(|line| !line.contains("rate_limit_exceeded") || !line.contains(" # {")));
}

#[test]
fn names_become_legal() {
    assert_eq!(label_name("llmtap.client.tool_calls"), "llmtap_client_tool_calls");
    assert_eq!(label_name("9 lives/ä"), "key_9_lives_");
    assert_eq!(label_name("__name__"), "key__name_");
    assert_eq!(label_name(""), "key_");
}

/// Sends one request and reads to the end.
fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn it_answers_over_http() {
    let metrics = metrics();
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let address = listener.address().unwrap();
    let server = Server::start(listener, page(metrics.sums())).unwrap();
    let head = "Host: x\r\nConnection: close\r\n";
    let plain = ask(address, &format!("GET /metrics HTTP/1.1\r\n{head}\r\n"));
    assert!(plain.starts_with("HTTP/1.1 200") && plain.contains("version=0.0.4"), "{plain}");
    assert!(plain.ends_with(&text(&metrics.sums().snapshot(), Format::Text)));
    let accept = "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3\r\n";
    let open = ask(address, &format!("GET /metrics HTTP/1.1\r\n{head}{accept}\r\n"));
    assert!(open.contains("application/openmetrics-text; version=1.0.0") && open.ends_with("# EOF\n"), "{open}");
    assert!(ask(address, &format!("GET / HTTP/1.1\r\n{head}\r\n")).starts_with("HTTP/1.1 404"));
    assert!(ask(address, &format!("POST /metrics HTTP/1.1\r\n{head}\r\n")).starts_with("HTTP/1.1 405"));
    assert!(ask(address, "rubbish\r\n\r\n").starts_with("HTTP/1.1 400"));
    drop(server);
    assert!(TcpStream::connect(address).is_err(), "the port is still taken");
}

#[test]
fn a_taken_address_is_an_error() {
    let first = Listener::bind("127.0.0.1:0").unwrap();
    let address = first.address().unwrap().to_string();
    assert_eq!(Listener::bind(&address).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
}
