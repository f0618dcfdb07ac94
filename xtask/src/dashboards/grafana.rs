//! The JSON that Grafana imports or is provisioned with (schema of Grafana 10 and 11).

use serde_json::{Value, json};

use super::{Choice, Dashboard, Kind, Panel};

const COLUMNS: u32 = 24;

/// Rows of Grafana's grid that a panel takes.
fn height(kind: Kind) -> u32 {
    if kind == Kind::Stat { 4 } else { 8 }
}

pub fn dashboard(dashboard: &Dashboard) -> Value {
    let mut panels = Vec::new();
    let mut y = 0;
    for row in &dashboard.rows {
        panels.push(json!({
            "id": panels.len() + 1, "type": "row", "title": row.title, "collapsed": false, "panels": [],
            "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
        }));
        y += 1;
        let (mut x, mut tallest) = (0, 0);
        for panel in &row.panels {
            let tall = height(panel.kind);
            if x + panel.width > COLUMNS {
                (x, y, tallest) = (0, y + tallest, 0);
            }
            let place = json!({"x": x, "y": y, "w": panel.width, "h": tall});
            panels.push(self::panel(panel, panels.len() + 1, place));
            (x, tallest) = (x + panel.width, tallest.max(tall));
        }
        y += tallest;
    }
    json!({
        "uid": format!("llmtap-{}", dashboard.file),
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": ["llmtap"],
        "schemaVersion": 39,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "",
        "links": [{
            "type": "dashboards", "title": "llmtap", "tags": ["llmtap"], "asDropdown": true, "keepTime": true,
            "includeVars": true, "targetBlank": false, "icon": "external link", "tooltip": "", "url": "",
        }],
        "annotations": {"list": []},
        "templating": {"list": variables(dashboard.choice)},
        "panels": panels,
    })
}

fn variables(choice: Choice) -> Vec<Value> {
    let source = json!({
        "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0,
    });
    let of_label = |name: &str, title: &str, metric: &str, label: &str| {
        let query = format!("label_values({metric}, {label})");
        json!({
            "name": name, "label": title, "type": "query", "datasource": datasource(),
            "definition": query, "query": {"query": query, "refId": name}, "refresh": 2, "sort": 1,
            "multi": true, "includeAll": true, "allValue": ".*", "hide": 0,
            "current": {"text": ["All"], "value": ["$__all"], "selected": true},
        })
    };
    let calls = "gen_ai_client_operation_duration_seconds_count";
    match choice {
        Choice::Calls => vec![
            source,
            of_label("service", "Service", calls, "job"),
            of_label("provider", "Provider", calls, "gen_ai_provider_name"),
            of_label("model", "Model", calls, "gen_ai_request_model"),
        ],
        Choice::Node => vec![source, of_label("node", "Node", "llmtap_self_events_total", "instance")],
    }
}

fn datasource() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// The variables in the place of `@calls`, `@service` and `@node`.
fn expression(text: &str) -> String {
    let service = "job=~\"$service\"";
    let calls = format!("{service},gen_ai_provider_name=~\"$provider\",gen_ai_request_model=~\"$model\"");
    text.replace("@calls", &calls).replace("@service", service).replace("@node", "instance=~\"$node\"")
}

fn panel(panel: &Panel, id: usize, place: Value) -> Value {
    let targets: Vec<Value> = panel
        .queries
        .iter()
        .zip('A'..='Z')
        .map(|((legend, text), name)| {
            let table = panel.kind == Kind::Table;
            json!({
                "refId": name, "datasource": datasource(), "editorMode": "code", "expr": expression(text),
                "legendFormat": if legend.is_empty() { "__auto" } else { legend },
                "instant": table, "range": !table,
                "format": match panel.kind {
                    Kind::Table => "table",
                    Kind::Heatmap => "heatmap",
                    Kind::Lines | Kind::Stat => "time_series",
                },
            })
        })
        .collect();
    let mut steps = vec![json!({"color": "green", "value": null})];
    steps.extend(panel.alarm.map(|value| json!({"color": "red", "value": value})));
    let mut defaults = json!({"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}});
    let mut transformations = Vec::new();
    let (kind, options) = match panel.kind {
        Kind::Lines => {
            defaults["min"] = json!(0);
            defaults["custom"] = json!({
                "drawStyle": "line", "lineWidth": 1, "fillOpacity": if panel.stack { 30 } else { 5 },
                "showPoints": "never", "spanNulls": false,
                "stacking": {"mode": if panel.stack { "normal" } else { "none" }, "group": "A"},
            });
            let legend = json!({"displayMode": "list", "placement": "bottom", "showLegend": true});
            ("timeseries", json!({"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}))
        }
        Kind::Stat => {
            let colour = if panel.alarm.is_some() { "value" } else { "none" };
            let reduce = json!({"calcs": ["lastNotNull"], "fields": "", "values": false});
            ("stat", json!({"reduceOptions": reduce, "colorMode": colour, "graphMode": "area", "textMode": "auto"}))
        }
        Kind::Table => {
            let named = panel.queries.keys().next().cloned().unwrap_or_default();
            transformations.push(json!({
                "id": "organize", "options": {"excludeByName": {"Time": true}, "renameByName": {"Value": named}},
            }));
            let order = json!([{"displayName": named, "desc": true}]);
            ("table", json!({"showHeader": true, "sortBy": order}))
        }
        Kind::Heatmap => (
            "heatmap",
            json!({
                "calculate": false, "yAxis": {"unit": panel.unit, "axisPlacement": "left"},
                "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "scale": "exponential"},
                "cellGap": 1, "filterValues": {"le": 1e-9}, "legend": {"show": true},
                "tooltip": {"mode": "single", "yHistogram": false},
            }),
        ),
    };
    json!({
        "id": id, "type": kind, "title": panel.title, "description": panel.about, "gridPos": place,
        "datasource": datasource(), "targets": targets, "options": options, "transformations": transformations,
        "fieldConfig": {"defaults": defaults, "overrides": []},
    })
}
