//! The Collector's configuration. Its program is not to be had from a package registry: what is checked is that every key
//! is one that its documentation has, and that everything that is referred to exists.

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::{manifest, object, project, text};

/// Keys by the documentation of each component (opentelemetry-collector and -contrib), as far as they are used here.
const KEYS: [(&str, &[&str]); 11] = [
    ("", &["receivers", "processors", "exporters", "extensions", "connectors", "service"]),
    ("receivers.otlp.protocols.grpc", &["endpoint", "tls", "max_recv_msg_size_mib", "keepalive"]),
    ("receivers.otlp.protocols.http", &["endpoint", "tls", "cors"]),
    (
        "processors.memory_limiter",
        &["check_interval", "limit_percentage", "spike_limit_percentage", "limit_mib", "spike_limit_mib"],
    ),
    ("processors.batch", &["send_batch_size", "send_batch_max_size", "timeout", "metadata_keys"]),
    (
        "processors.tail_sampling",
        &["decision_wait", "num_traces", "expected_new_traces_per_sec", "decision_cache", "policies"],
    ),
    (
        "exporters.loadbalancing",
        &["routing_key", "protocol", "resolver", "retry_on_failure", "sending_queue", "timeout"],
    ),
    ("exporters.loadbalancing.resolver.dns", &["hostname", "port", "interval", "timeout"]),
    ("exporters.otlp", &["endpoint", "tls", "retry_on_failure", "sending_queue", "timeout", "compression", "headers"]),
    ("extensions.health_check", &["endpoint", "path", "tls"]),
    ("service", &["extensions", "pipelines", "telemetry"]),
];

/// The kinds of tail sampling policies, with the keys of their own part.
const POLICIES: [(&str, &[&str]); 5] = [
    ("status_code", &["status_codes"]),
    ("latency", &["threshold_ms", "upper_threshold_ms"]),
    ("ottl_condition", &["error_mode", "span", "spanevent"]),
    ("string_attribute", &["key", "values", "enabled_regex_matching", "cache_max_size", "invert_match"]),
    ("probabilistic", &["sampling_percentage", "hash_salt"]),
];

#[test]
fn every_key_is_documented_and_every_reference_leads_somewhere() -> anyhow::Result<()> {
    for name in ["balancer", "sampler"] {
        let config = config(name)?;
        for (path, known) in KEYS {
            let part = path.split('.').filter(|key| !key.is_empty()).fold(&config, |value, key| &value[key]);
            for key in part.as_object().into_iter().flatten().map(|(key, _)| key) {
                ensure!(known.contains(&key.as_str()), "{name}: {path} has no key {key}");
            }
        }
        let pipelines = config["service"]["pipelines"].as_object().context("no pipelines")?;
        let mut used = Vec::new();
        for (pipeline, parts) in pipelines {
            for kind in ["receivers", "processors", "exporters"] {
                for one in parts[kind].as_array().context("no list")? {
                    let one = one.as_str().context("no name")?;
                    ensure!(!config[kind][one].is_null(), "{name}: {pipeline}: no {kind} {one}");
                    used.push(format!("{kind}.{one}"));
                }
            }
            // It must stand first to refuse in time.
            ensure!(parts["processors"][0] == "memory_limiter", "{name}: {pipeline}");
        }
        for kind in ["receivers", "processors", "exporters"] {
            for one in config[kind].as_object().into_iter().flatten().map(|(one, _)| one) {
                ensure!(used.contains(&format!("{kind}.{one}")), "{name}: {kind}.{one} is in no pipeline");
            }
        }
    }
    println!("not run: the Collector itself");
    Ok(())
}

#[test]
fn whole_traces_reach_one_sampler() -> anyhow::Result<()> {
    let Some(objects) = manifest("-gateway")? else { return Ok(()) };
    let balancer = config("balancer")?;
    let balancing = &balancer["exporters"]["loadbalancing"];
    ensure!(balancing["routing_key"] == "traceID", "{balancing}");
    ensure!(balancer["service"]["pipelines"]["traces"]["exporters"] == serde_json::json!(["loadbalancing"]));
    // A name that leads to every one of them: a service without an address of its own.
    let resolver = &balancing["resolver"]["dns"];
    let service = &object(&objects, "Service", resolver["hostname"].as_str().context("no name")?)?["spec"];
    ensure!(service["clusterIP"] == "None" && service["ports"][0]["port"] == resolver["port"], "{service}");
    Ok(())
}

/// Their attributes are names that llmtap emits, with values that they can have.
#[test]
fn samplers_judge_by_what_spans_have() -> anyhow::Result<()> {
    let registry = text(&project("docs/registry.yaml"))?;
    let sampler = config("sampler")?;
    let policies = sampler["processors"]["tail_sampling"]["policies"].as_array().context("no policies")?;
    let mut names = Vec::new();
    for policy in policies {
        let kind = policy["type"].as_str().context("no type")?;
        let Some((_, keys)) = POLICIES.iter().find(|(known, _)| *known == kind) else { bail!("no policy {kind}") };
        for key in policy[kind].as_object().context("no part of its own")?.keys() {
            ensure!(keys.contains(&key.as_str()), "{kind} has no key {key}");
        }
        names.extend(policy[kind]["key"].as_str().map(str::to_owned));
        let conditions = policy[kind]["span"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for condition in conditions {
            names.extend(
                condition.split("attributes[\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())),
            );
        }
    }
    ensure!(names.contains(&"llmtap.cost.total".to_owned()), "{names:?}");
    for name in names {
        ensure!(registry.contains(&format!("id: {name}\n")), "{name} is not in docs/registry.yaml");
    }
    Ok(())
}

fn config(name: &str) -> anyhow::Result<Value> {
    let path = project("deploy/kustomize/overlays/gateway/collector").join(format!("{name}.yaml"));
    serde_saphyr::from_str(&text(&path)?).with_context(|| path.display().to_string())
}
