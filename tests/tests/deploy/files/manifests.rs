//! The Kubernetes manifests, against Kubernetes' schemas and against what the program needs.

use std::{fs, process::Command};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::harness::{clients, finish, llmtap, workspace};

use crate::{manifest, object, released, strings};

const WAYS: [&str; 5] = ["", "-gateway", "-kubelet", "-one-namespace", "-restricted-capabilities"];

#[test]
fn every_way_is_valid_for_three_versions_of_kubernetes() -> anyhow::Result<()> {
    let python = workspace().join("target/venv-deploy/bin/python");
    if !python.exists() {
        println!("skipped: no kubernetes-validate: `cargo xtask test deploy` installs it");
        return Ok(());
    }
    let files = WAYS.map(|way| released(&format!("llmtap-{}-kubernetes{way}.yaml", env!("CARGO_PKG_VERSION"))));
    if !files.iter().all(|file| file.exists()) {
        println!("skipped: no manifests: `cargo xtask dist manifests` makes them");
        return Ok(());
    }
    let script = clients().join("validate_manifests.py");
    let finished = finish(Command::new(&python).arg(&script).args(&files))?;
    ensure!(finished.status.success(), "{}", finished.stderr);
    ensure!(finished.stdout.lines().count() == WAYS.len(), "{}", finished.stdout);
    print!("{}", finished.stdout);

    // It does see mistakes.
    let spoiled = tempfile::NamedTempFile::new()?;
    fs::write(&spoiled, fs::read_to_string(&files[0])?.replace("hostPID:", "hostPid:"))?;
    let finished = finish(Command::new(&python).arg(&script).arg(spoiled.path()))?;
    ensure!(!finished.status.success() && finished.stderr.contains("'hostPid' was unexpected"), "{}", finished.stderr);
    Ok(())
}

/// The sets are those that the end-to-end tests try (`privileges`), and nothing besides.
#[test]
fn the_node_agent_has_the_privileges_that_it_needs() -> anyhow::Result<()> {
    for (way, capabilities) in [
        ("", &["SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH", "SETUID", "SETGID"][..]),
        (
            "-restricted-capabilities",
            &["BPF", "PERFMON", "SYS_PTRACE", "DAC_READ_SEARCH", "CHECKPOINT_RESTORE", "SETUID", "SETGID"],
        ),
    ] {
        let Some(objects) = manifest(way)? else { return Ok(()) };
        let pod = &object(&objects, "DaemonSet", "llmtap")?["spec"]["template"]["spec"];
        ensure!(pod["hostPID"] == true && pod["hostNetwork"].is_null() && pod["hostIPC"].is_null(), "{pod}");
        let context = &pod["containers"][0]["securityContext"];
        ensure!(context["privileged"] == false && context["allowPrivilegeEscalation"] == false, "{context}");
        ensure!(context["readOnlyRootFilesystem"] == true, "{context}");
        ensure!(context["capabilities"]["drop"] == json!(["ALL"]), "{context}");
        ensure!(strings(&context["capabilities"]["add"]) == capabilities, "{context}");
        ensure!(context["seccompProfile"]["type"] == "RuntimeDefault", "{context}");
        let role = &object(&objects, "ClusterRole", "llmtap")?["rules"];
        let pods = json!([{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"] }]);
        ensure!(*role == pods, "{role}");
    }
    Ok(())
}

#[test]
fn what_refers_to_something_finds_it() -> anyhow::Result<()> {
    let Some(objects) = manifest("-gateway")? else { return Ok(()) };
    let agent = &object(&objects, "DaemonSet", "llmtap")?["spec"]["template"];
    let container = &agent["spec"]["containers"][0];
    let ports: Vec<&Value> =
        container["ports"].as_array().context("no ports")?.iter().map(|port| &port["name"]).collect();
    let monitor = &object(&objects, "PodMonitor", "llmtap")?["spec"];
    ensure!(ports.contains(&&monitor["podMetricsEndpoints"][0]["port"]), "{monitor}");
    let policy = &object(&objects, "NetworkPolicy", "llmtap")?["spec"]["podSelector"];
    let labels = agent["metadata"]["labels"].as_object().context("no labels")?;
    for selector in [&monitor["selector"], policy] {
        let wanted = selector["matchLabels"].as_object().context("no selector")?;
        ensure!(!wanted.is_empty() && wanted.iter().all(|(name, value)| labels.get(name) == Some(value)), "{selector}");
    }
    // Where the agent sends, a service listens, whose pods are there.
    let endpoint =
        container["env"].as_array().into_iter().flatten().find(|one| one["name"] == "OTEL_EXPORTER_OTLP_ENDPOINT");
    ensure!(endpoint.context("no endpoint")?["value"] == "http://llmtap-balancer:4317");
    for (service, deployment) in [("llmtap-balancer", "llmtap-balancer"), ("llmtap-samplers", "llmtap-sampler")] {
        let service = &object(&objects, "Service", service)?["spec"];
        let pod = &object(&objects, "Deployment", deployment)?["spec"]["template"];
        let wanted = service["selector"].as_object().context("no selector")?;
        ensure!(wanted.iter().all(|(name, value)| pod["metadata"]["labels"][name] == *value), "{service}");
        ensure!(service["ports"][0]["port"] == 4317);
        let open: Vec<&Value> =
            pod["spec"]["containers"][0]["ports"].as_array().into_iter().flatten().map(|port| &port["name"]).collect();
        ensure!(open.contains(&&service["ports"][0]["targetPort"]), "{service}");
    }
    Ok(())
}

/// What is asked for pods can be reached, and may be asked.
#[test]
fn who_tells_of_pods_can_be_asked() -> anyhow::Result<()> {
    for way in WAYS {
        let Some(objects) = manifest(way)? else { return Ok(()) };
        let policy = &object(&objects, "NetworkPolicy", "llmtap")?["spec"]["egress"];
        let rules = policy.as_array().into_iter().flatten();
        let open: Vec<u64> = rules
            .flat_map(|rule| rule["ports"].as_array().into_iter().flatten())
            .filter_map(|port| port["port"].as_u64())
            .collect();
        ensure!([443, 6443, 10250, 53].iter().all(|port| open.contains(port)), "{way}: {policy}");
    }
    let Some(objects) = manifest("-kubelet")? else { return Ok(()) };
    let config = configuration(&objects)?;
    ensure!(config["kubernetes"]["endpoint"] == "https://${env:NODE_IP}:10250", "{config}");
    let pod = &object(&objects, "DaemonSet", "llmtap")?["spec"]["template"]["spec"];
    let mut variables = pod["containers"][0]["env"].as_array().into_iter().flatten();
    let address = variables.find(|one| one["name"] == "NODE_IP").context("no address")?;
    ensure!(address["valueFrom"]["fieldRef"]["fieldPath"] == "status.hostIP", "{address}");
    let rules = &object(&objects, "ClusterRole", "llmtap")?["rules"];
    ensure!(*rules == json!([{ "apiGroups": [""], "resources": ["nodes/pods"], "verbs": ["get"] }]), "{rules}");
    Ok(())
}

fn configuration(objects: &[Value]) -> anyhow::Result<Value> {
    let text = objects.iter().find_map(|one| one["data"]["config.yaml"].as_str()).context("no configuration")?;
    Ok(serde_saphyr::from_str(text)?)
}

/// Health and metrics are asked for where the configuration offers them; overlays may have one of their own.
#[test]
fn every_configuration_offers_what_is_asked_for() -> anyhow::Result<()> {
    for way in WAYS {
        let Some(objects) = manifest(way)? else { return Ok(()) };
        let container = &object(&objects, "DaemonSet", "llmtap")?["spec"]["template"]["spec"]["containers"][0];
        let config = configuration(&objects)?;
        for (name, listen) in
            [("health", &config["health"]["listen"]), ("metrics", &config["exporters"]["prometheus"][0]["listen"])]
        {
            let port = container["ports"].as_array().into_iter().flatten().find(|port| port["name"] == name);
            let port = port.and_then(|port| port["containerPort"].as_u64()).context("no port")?;
            ensure!(listen.as_str() == Some(&format!("0.0.0.0:{port}")), "{way}: {name}: {listen}");
        }
    }
    Ok(())
}

/// With the environment that the DaemonSet gives it.
#[test]
fn the_program_accepts_every_configuration() -> anyhow::Result<()> {
    for way in WAYS {
        let Some(objects) = manifest(way)? else { return Ok(()) };
        let configs = objects.iter().filter_map(|one| one["data"]["config.yaml"].as_str());
        let mut count = 0;
        for config in configs {
            let file = tempfile::NamedTempFile::new()?;
            fs::write(&file, config)?;
            let mut check = Command::new(llmtap()?);
            check.env("NODE_IP", "10.0.0.7");
            let checked = finish(check.args(["daemon", "--check", "--config"]).arg(file.path()))?;
            ensure!(checked.status.success(), "{way}: {}", checked.stderr);
            count += 1;
        }
        ensure!(count == 1, "{way}: {count} configurations");
    }
    Ok(())
}
