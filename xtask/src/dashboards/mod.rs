//! Grafana dashboards, Prometheus alert rules with their unit tests, and the runbook: all from `deploy/pictures.yaml`.

mod alerts;
mod grafana;

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::setup::root;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pictures {
    dashboards: Vec<Dashboard>,
    alerts: Vec<Alert>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dashboard {
    /// Name of the file, and end of the UID.
    file: String,
    title: String,
    about: String,
    choice: Choice,
    rows: Vec<Row>,
}

/// What the variables at a dashboard's head choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Choice {
    /// Service, provider and model.
    Calls,
    /// The node of llmtap.
    Node,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    title: String,
    panels: Vec<Panel>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Panel {
    title: String,
    #[serde(default)]
    kind: Kind,
    /// Grafana's columns, of 24.
    #[serde(default = "Panel::default_width")]
    width: u32,
    /// Grafana's name.
    unit: String,
    #[serde(default)]
    about: String,
    #[serde(default)]
    stack: bool,
    /// From this value on it is red.
    alarm: Option<f64>,
    /// Legend and expression.
    queries: BTreeMap<String, String>,
}

impl Panel {
    fn default_width() -> u32 {
        8
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Lines,
    Stat,
    Table,
    Heatmap,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Alert {
    name: String,
    expr: String,
    #[serde(rename = "for")]
    lasting: Option<String>,
    severity: String,
    summary: String,
    description: String,
    runbook: String,
    tests: Vec<AlertTest>,
}

/// What promtool tries: series, a time at which the alert is quiet, and one at which it fires, with its labels.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AlertTest {
    about: String,
    series: Vec<Series>,
    quiet: Option<String>,
    fires: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
struct Series {
    series: String,
    values: String,
}

/// Writes all files.
pub fn run() -> Result<()> {
    for (name, text) in made()? {
        let path = root().join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Every file with its text, as the source wants them.
fn made() -> Result<Vec<(PathBuf, String)>> {
    let path = root().join("deploy/pictures.yaml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let Pictures { dashboards, alerts } = serde_saphyr::from_str(&text).with_context(|| path.display().to_string())?;
    let mut files = Vec::new();
    for dashboard in &dashboards {
        let json = serde_json::to_string_pretty(&grafana::dashboard(dashboard))? + "\n";
        files.push((format!("deploy/grafana/{}.json", dashboard.file).into(), json));
    }
    files.push(("deploy/prometheus/alerts.yaml".into(), alerts::rules(&alerts)?));
    files.push(("deploy/prometheus/alerts.test.yaml".into(), alerts::tests(&alerts)?));
    files.push(("docs/alerts.md".into(), alerts::runbook(&alerts)?));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_as_the_source_wants_them() {
        for (name, text) in made().expect("files") {
            let found = fs::read_to_string(root().join(&name)).unwrap_or_default();
            assert!(found == text, "{} is behind: run `cargo xtask dashboards`", name.display());
        }
    }

    #[test]
    fn every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_is_quiet() {
        let text = fs::read_to_string(root().join("deploy/pictures.yaml")).expect("the source");
        let pictures: Pictures = serde_saphyr::from_str(&text).expect("pictures");
        for alert in pictures.alerts {
            let fires = alert.tests.iter().any(|test| test.fires.is_some() && !test.labels.is_empty());
            assert!(fires && alert.tests.iter().any(|test| test.quiet.is_some()), "{}", alert.name);
        }
    }
}
