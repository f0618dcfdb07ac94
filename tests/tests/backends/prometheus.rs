//! Prometheus: rules checked and tried, and every query of every dashboard answered after a traced workload.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tests::{
    harness::{Bench, Running, finish, untraceable, wait_for, workspace},
    mock::{Ended, Truth},
    receiver::Receiver,
    registry::registry,
};

use crate::{curl, free_port};

/// Dollars per million tokens of what the mock's models are, but for one without a price.
const PRICES: &str = r#"{ "version": "test", "models": [
    { "provider": "openai", "model": ["gpt-*"], "input": 2, "output": 8 } ] }"#;

/// How long the workload may run until every query has data.
const PATIENCE: Duration = Duration::from_secs(120);

/// Prometheus' programs: of the machine, else those that xtask has fetched.
fn program(name: &str) -> Option<PathBuf> {
    let fetched = workspace().join("target/backends/prometheus/usr/bin").join(name);
    let runs = |path: &Path| Command::new(path).arg("--version").output().is_ok_and(|out| out.status.success());
    [PathBuf::from(name), fetched].into_iter().find(|path| runs(path))
}

const MISSING: &str = "no Prometheus (Debian package prometheus; `cargo xtask test backends` fetches it)";

fn rules() -> PathBuf {
    workspace().join("deploy/prometheus/alerts.yaml")
}

#[test]
fn promtool_takes_the_rules_and_every_alert_fires_when_it_should() -> anyhow::Result<()> {
    let Some(promtool) = program("promtool") else {
        println!("skipped: {MISSING}");
        return Ok(());
    };
    let tests = workspace().join("deploy/prometheus/alerts.test.yaml");
    for (kind, file) in [("check", rules()), ("test", tests)] {
        let done = finish(Command::new(&promtool).args([kind, "rules"]).arg(&file))?;
        ensure!(done.status.success(), "promtool {kind} rules: {}{}", done.stdout, done.stderr);
    }
    Ok(())
}

/// A Prometheus that scrapes one address each second.
struct Prometheus {
    url: String,
    _running: Running,
}

impl Prometheus {
    fn start(program: &Path, bench: &Bench, metrics: &str) -> anyhow::Result<Self> {
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [{:?}]\nscrape_configs:\n  - \
             job_name: node\n    honor_labels: true\n    static_configs: [{{ targets: [{metrics:?}] }}]\n",
            rules()
        );
        let file = bench.path("prometheus.yml");
        fs::write(&file, config)?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let mut command = Command::new(program);
        command.arg("--config.file").arg(file).arg("--storage.tsdb.path").arg(bench.path("tsdb"));
        let running = Running::start(command.arg(format!("--web.listen-address={address}")).arg("--log.level=warn"))?;
        let url = format!("http://{address}");
        wait_for("Prometheus", || curl(&[&format!("{url}/api/v1/rules")]).ok())?;
        Ok(Self { url, _running: running })
    }

    /// The result of an instant query: a vector or a scalar.
    fn query(&self, expression: &str) -> anyhow::Result<Vec<Value>> {
        let query = format!("query={expression}");
        let answer = curl(&["--get", "--data-urlencode", &query, &format!("{}/api/v1/query", self.url)])?;
        ensure!(answer["status"] == "success", "{expression}: {answer}");
        Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default())
    }

    fn number(&self, expression: &str) -> anyhow::Result<f64> {
        let result = self.query(expression)?;
        let [sample] = result.as_slice() else { bail!("{expression}: {} series", result.len()) };
        value(sample).with_context(|| expression.to_owned())
    }
}

fn value(sample: &Value) -> Option<f64> {
    sample.pointer("/value/1")?.as_str()?.parse().ok()
}

/// Every expression of every dashboard, with where it stands.
fn queries() -> anyhow::Result<Vec<(String, String)>> {
    let mut queries = Vec::new();
    for entry in fs::read_dir(workspace().join("deploy/grafana"))? {
        let path = entry?.path();
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        for panel in dashboard["panels"].as_array().into_iter().flatten() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let place = format!("{} / {}", dashboard["title"], panel["title"]);
                queries.push((place, target["expr"].as_str().context("a target without a query")?.to_owned()));
            }
        }
    }
    Ok(queries)
}

/// As Grafana sends it with every choice on `All`. The workload is young: short ranges.
fn as_sent(expression: &str) -> anyhow::Result<String> {
    let ranges = [("$__rate_interval", "30s"), ("$__range", "5m")];
    let choices = ["$service", "$provider", "$model", "$node"].map(|choice| (choice, ".*"));
    let sent = ranges.iter().chain(&choices).fold(expression.to_owned(), |text, (from, to)| text.replace(from, to));
    ensure!(!sent.contains('$'), "an unknown variable: {expression}");
    Ok(sent)
}

/// Prometheus' names in an expression: of metrics, not of labels.
fn metrics_of(expression: &str) -> anyhow::Result<BTreeSet<&str>> {
    let registry = registry()?;
    let words = expression.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    let own = words.filter(|word| word.starts_with("llmtap_") || word.starts_with("gen_ai_"));
    let mut metrics = BTreeSet::new();
    for word in own {
        if registry.is_prometheus_metric(word) {
            metrics.insert(word);
        } else {
            ensure!(registry.is_prometheus_label(word), "{word} is neither a metric nor a label: {expression}");
        }
    }
    Ok(metrics)
}

#[test]
fn every_query_has_data_after_a_traced_workload() -> anyhow::Result<()> {
    let prometheus = program("prometheus");
    let missing = || prometheus.is_none().then(|| MISSING.to_owned());
    if let Some(why) = untraceable().or_else(missing) {
        println!("skipped: {why}");
        return Ok(());
    }
    let bench = Bench::new()?;
    let receiver = Receiver::start(0)?;
    let prices = bench.path("prices.json");
    fs::write(&prices, PRICES)?;
    let metrics = format!("127.0.0.1:{}", free_port()?);
    let line = bench.script("backends.py", &[])?;
    let (endpoint, prices) = (receiver.url(), prices.display().to_string());
    let options = ["--output", "none", "--otlp-endpoint", &endpoint, "--metrics-listen", &metrics, "--prices", &prices];
    let mut command = bench.traced(&options, &line)?;
    command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");
    // Charged to a service with a name space of its own: its `job` has both.
    command.env("OTEL_SERVICE_NAME", "shop").env("OTEL_RESOURCE_ATTRIBUTES", "service.namespace=team");
    let mut workload = Running::start(&mut command)?;
    let prometheus = Prometheus::start(&prometheus.unwrap_or_default(), &bench, &metrics)?;

    let mut unanswered = queries()?;
    let asked = unanswered.len();
    ensure!(asked > 60, "only {asked} queries");
    let end = Instant::now() + PATIENCE;
    while !unanswered.is_empty() {
        let mut left = Vec::new();
        for (place, expression) in unanswered {
            let result = prometheus.query(&as_sent(&expression)?).with_context(|| place.clone())?;
            if !result.iter().filter_map(value).any(f64::is_finite) {
                left.push((place, expression));
            }
        }
        unanswered = left;
        ensure!(unanswered.is_empty() || Instant::now() < end, "no data after {PATIENCE:?}: {unanswered:#?}");
        std::thread::sleep(Duration::from_millis(500));
    }
    println!("{asked} queries have data");

    let groups = curl(&[&format!("{}/api/v1/rules", prometheus.url)])?;
    let rules = groups.pointer("/data/groups/0/rules").and_then(Value::as_array).context("no rules")?;
    ensure!(rules.len() >= 9, "{} rules", rules.len());
    let asked = queries()?.into_iter().map(|(_, expression)| expression);
    let alerts = rules.iter().map(|rule| rule["query"].as_str().unwrap_or_default().to_owned());
    for rule in rules {
        ensure!(rule["health"] == "ok", "{rule}");
    }
    for expression in asked.chain(alerts) {
        for name in metrics_of(&expression)? {
            ensure!(prometheus.number(&format!("count({name})"))? > 0.0, "{name}");
        }
    }

    // What Prometheus has is what the provider did.
    workload.tell("enough")?;
    workload.wait_for_line("waiting")?;
    let truth = bench.truth();
    let calls: Vec<_> = truth.iter().filter(|truth| truth.provider.is_some()).collect();
    let of_job = |name: &str| prometheus.number(&format!("sum({name}{{job=\"team/shop\"}})")).unwrap_or(-1.0);
    let mut counted = 0.0;
    wait_for("all calls", || {
        counted = of_job("gen_ai_client_operation_duration_seconds_count");
        (counted == calls.len() as f64).then_some(())
    })
    .with_context(|| format!("{counted} calls instead of {}", calls.len()))?;
    let count = |wanted: &dyn Fn(&&&Truth) -> bool| calls.iter().filter(wanted).count() as f64;
    let failed = count(&|truth| truth.error_type.is_some());
    // Those that the connection cut show as failed, as cut off, or as both; an error event fails, and can cut.
    let event = count(&|truth| truth.ended == Ended::ErrorEvent);
    let cut = count(&|truth| truth.ended != Ended::Complete) - event;
    let (errors, aborted) = (of_job("llmtap_client_errors_total"), of_job("llmtap_client_aborted_total"));
    let fits = (failed..=failed + cut).contains(&errors) && aborted <= cut + event && errors + aborted >= failed + cut;
    ensure!(fits, "{errors} errors and {aborted} cut off, not {failed} and {cut}");
    println!("{counted} calls, {failed} failed, {cut} cut off");
    // The first response model of the two that take turns is followed by the other.
    ensure!(of_job("llmtap_client_model_changes_total") >= 1.0, "no model change");

    workload.tell("go")?;
    let finished = workload.finish()?;
    ensure!(finished.status.success(), "{}: {}", finished.status, finished.stderr);
    // The receiver holds every span and point against the registry.
    ensure!(!receiver.received().is_empty(), "nothing came by OTLP");
    Ok(())
}
