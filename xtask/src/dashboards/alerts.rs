//! Alert rules, what promtool tries them with, and the runbook.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value, json};

use super::{Alert, AlertTest};

const MADE: &str = "Made from deploy/pictures.yaml by `cargo xtask dashboards`.";

/// Where the runbook is read.
const RUNBOOK: &str = "docs/alerts.md";

/// The rule file.
pub fn rules(alerts: &[Alert]) -> Result<String> {
    let rules: Vec<Value> = alerts.iter().map(rule).collect();
    yaml(&json!({"groups": [{"name": "llmtap", "rules": rules}]}))
}

fn rule(alert: &Alert) -> Value {
    let mut rule = json!({
        "alert": alert.name,
        "expr": alert.expr,
        "labels": {"severity": alert.severity},
        "annotations": annotations(alert),
    });
    if let Some(lasting) = &alert.lasting {
        rule["for"] = json!(lasting);
    }
    rule
}

fn annotations(alert: &Alert) -> Value {
    json!({
        "summary": alert.summary,
        "description": alert.description,
        "runbook": format!("{RUNBOOK}#{}", alert.name.to_lowercase()),
    })
}

/// What `promtool test rules` runs. It compares labels; texts are not repeated, since they hold values.
pub fn tests(alerts: &[Alert]) -> Result<String> {
    let cases = alerts.iter().flat_map(|alert| alert.tests.iter().map(|test| case(alert, test)));
    let cases: Vec<Value> = cases.collect();
    yaml(&json!({"rule_files": ["alerts.yaml"], "evaluation_interval": "1m", "tests": cases}))
}

/// promtool compares annotations too, whose values are not known here: what it is asked is the series `ALERTS`, which
/// Prometheus writes for each alert that fires.
fn case(alert: &Alert, test: &AlertTest) -> Value {
    let query = format!("count by (alertname) (ALERTS{{alertname=\"{}\",alertstate=\"firing\"}})", alert.name);
    let mut queries = Vec::new();
    if let Some(quiet) = &test.quiet {
        queries.push(json!({"expr": query, "eval_time": quiet, "exp_samples": []}));
    }
    if let Some(fires) = &test.fires {
        let labels: String = test.labels.iter().map(|(name, value)| format!(",{name}=\"{value}\"")).collect();
        let with_labels = format!(
            "count(ALERTS{{alertname=\"{}\",alertstate=\"firing\",severity=\"{}\"{labels}}})",
            alert.name, alert.severity
        );
        queries.push(json!({"expr": with_labels, "eval_time": fires, "exp_samples": [{"labels": "{}", "value": 1}]}));
    }
    json!({
        "name": format!("{}: {}", alert.name, test.about),
        "interval": "1m",
        "input_series": test.series,
        "promql_expr_test": queries,
    })
}

fn yaml(value: &Value) -> Result<String> {
    Ok(format!("# {MADE}\n{}", serde_saphyr::to_string(value)?))
}

/// The page for whoever is called at night.
pub fn runbook(alerts: &[Alert]) -> Result<String> {
    let mut page = format!(
        "# Alerts\n\n{MADE} The rules are in [alerts.yaml](../deploy/prometheus/alerts.yaml), their unit tests beside \
         them. What to do when one fires:\n"
    );
    for alert in alerts {
        writeln!(page, "\n## {}\n\n{}\n\n```promql\n{}\n```", alert.name, alert.runbook.trim(), alert.expr.trim())?;
    }
    Ok(page)
}
