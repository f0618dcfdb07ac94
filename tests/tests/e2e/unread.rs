//! What nobody reads is not copied either, and nothing of interest is lost by that.

use anyhow::ensure;
use serde_json::Value;
use tests::{harness::finish, receiver::Receiver};

use crate::bench;

const MEBIBYTES: u64 = 24;
/// The upload, and both ends of the transfer.
const ALL: u64 = 3 * (MEBIBYTES << 20);

/// The sum of a metric in all exports.
fn total(exports: &[Value], name: &str) -> u64 {
    let resources = exports.iter().flat_map(|export| export["resourceMetrics"].as_array().into_iter().flatten());
    let scopes = resources.flat_map(|resource| resource["scopeMetrics"].as_array().into_iter().flatten());
    let metrics = scopes.flat_map(|scope| scope["metrics"].as_array().into_iter().flatten());
    let points = metrics
        .filter(|metric| metric["name"] == name)
        .flat_map(|metric| metric["sum"]["dataPoints"].as_array().into_iter().flatten());
    points.filter_map(|point| point["asInt"].as_str()?.parse::<u64>().ok()).max().unwrap_or(0)
}

#[test]
fn a_long_upload_is_left_unread_and_the_chat_behind_it_is_exact() -> anyhow::Result<()> {
    let bench = bench!();
    let receiver = Receiver::start(0)?;
    let pem = bench.path("server.pem").display().to_string();
    let line = bench.script("unread.py", &[&pem, &MEBIBYTES.to_string()])?;
    // A busy machine's reader may be late: what is said late must not show as lost.
    let mut command = bench.traced(&["--ring", "128", "--otlp-endpoint", &receiver.url()], &line)?;
    command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json").env("OTEL_METRIC_EXPORT_INTERVAL", "3600000");
    let finished = finish(&mut command)?;
    ensure!(finished.status.success() && finished.stdout.ends_with("done\n"), "{}", finished.stderr);
    ensure!(!finished.stderr.contains("lost"), "{}", finished.stderr);
    // By OTLP: no file was asked for.
    let received = receiver.received();
    let mut spans = Vec::new();
    for export in received.iter().filter(|export| export.path == "/v1/traces") {
        tests::spans::collect(&export.json()?, &mut spans)?;
    }
    let report = tests::compare::compare(&bench.truth(), &spans);
    ensure!(report.exact() && report.calls == 1, "\n{report}");
    let metrics = received.iter().filter(|export| export.path == "/v1/metrics");
    let metrics: Vec<Value> = metrics.map(|export| export.json()).collect::<Result<_, _>>()?;
    let [unread, read, lost] =
        ["llmtap.self.bytes.unread", "llmtap.self.bytes", "llmtap.self.bytes.lost"].map(|name| total(&metrics, name));
    println!("{unread} bytes were left unread, {read} read");
    // 4 MiB of noise prove that it is none of HTTP; a body tells its length at once. The rest is how late that is said.
    ensure!(unread >= ALL / 2, "only {unread} of {ALL} bytes were left unread");
    ensure!(read + unread >= ALL && read < ALL - unread + (1 << 20), "{read} read and {unread} unread of {ALL}");
    ensure!(lost == 0, "{lost} bytes are told as lost");
    Ok(())
}
