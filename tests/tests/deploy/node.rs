//! The node agent as a container: the image of `deploy/Dockerfile`, with what the DaemonSet gives it.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::{
    compare,
    environment::Python,
    harness::{Running, finish, signal, wait_for},
    spans,
    tracer::{free_address, page},
    yard::{Yard, yard},
};

use crate::{manifest, object, project, released, strings};

/// A link to the clients' Python under a name that is chosen; gone at the end.
struct Named(PathBuf);

impl Drop for Named {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// An image in podman's store, for as long as it is needed.
struct Image(String);

impl Image {
    fn build() -> anyhow::Result<Option<Self>> {
        let context = released("image");
        if !context.join("llmtap").exists() {
            println!("skipped: no image context: `cargo xtask dist image` makes it");
            return Ok(None);
        }
        let name = format!("llmtap-test-{}", std::process::id());
        let mut build = Command::new("podman");
        build
            .args(["--log-level=error", "build", "--quiet", "--tag", &name, "--file"])
            .arg(project("deploy/Dockerfile"));
        let built = finish(build.arg(context))?;
        ensure!(built.status.success(), "{}", built.stderr);
        Ok(Some(Self(name)))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = finish(Command::new("podman").args(["--log-level=error", "rmi", "--force", &self.0]));
    }
}

/// The options of podman that say what the DaemonSet says. What has no counterpart here is an error.
fn options(pod: &Value) -> anyhow::Result<Vec<String>> {
    let context = &pod["containers"][0]["securityContext"];
    let mut options = vec!["--network=host".to_owned()];
    if pod["hostPID"] == true {
        options.push("--pid=host".to_owned());
    }
    for (key, value) in context.as_object().context("no securityContext")? {
        match (key.as_str(), value) {
            ("capabilities", set) => {
                options.extend(strings(&set["drop"]).iter().map(|one| format!("--cap-drop={one}")));
                options.extend(strings(&set["add"]).iter().map(|one| format!("--cap-add={one}")));
            }
            ("allowPrivilegeEscalation", Value::Bool(false)) => {
                options.push("--security-opt=no-new-privileges".to_owned());
            }
            ("readOnlyRootFilesystem", Value::Bool(true)) => {
                options.extend(["--read-only", "--read-only-tmpfs=false"].map(str::to_owned));
            }
            ("runAsUser", user) => options.push(format!("--user={user}:{}", context["runAsGroup"])),
            ("appArmorProfile", profile) if profile["type"] == "Unconfined" => {
                options.push("--security-opt=apparmor=unconfined".to_owned());
            }
            // Both are what podman does by itself.
            ("privileged", Value::Bool(false)) | ("runAsGroup", _) => {}
            ("seccompProfile", profile) if profile["type"] == "RuntimeDefault" => {}
            (key, value) => anyhow::bail!("{key}: {value} has no counterpart in podman"),
        }
    }
    Ok(options)
}

#[test]
fn the_node_agent_traces_programs_of_other_containers() -> anyhow::Result<()> {
    traced("", 2)
}

/// The clients run before the tracer, so that nothing depends on holding programs at their start.
#[test]
fn restricted_capabilities_trace_what_runs() -> anyhow::Result<()> {
    traced("-restricted-capabilities", 2)
}

fn traced(way: &str, containers: usize) -> anyhow::Result<()> {
    let Some(yard) = yard()? else { return Ok(()) };
    let Some(objects) = manifest(way)? else { return Ok(()) };
    let Some(image) = Image::build()? else { return Ok(()) };
    let name = format!("tap-{}", std::process::id());
    let python = Python::Clients.prepared()?;
    let named = Named(python.with_file_name(&name));
    let _ = fs::remove_file(&named.0);
    std::os::unix::fs::symlink(python.file_name().unwrap_or_default(), &named.0)?;

    let before = way == "-restricted-capabilities";
    let mut clients = if before { start(&yard, &named, containers)? } else { Vec::new() };
    let pod = &object(&objects, "DaemonSet", "llmtap")?["spec"]["template"]["spec"];
    let [metrics, health] = [free_address()?, free_address()?];
    // By the name that nothing else on this machine has. Addresses are of this machine, too.
    let mut config = configuration(&objects)?;
    config["select"] = json!({ "include": [{ "comm": name }] });
    config["exporters"] = json!({ "jsonl": [{ "path": "/out/spans.jsonl" }], "prometheus": [{ "listen": metrics }] });
    config["health"]["listen"] = json!(health);
    fs::write(yard.bench.path("config.yaml"), config.to_string())?;
    let out = yard.bench.path("out");
    fs::create_dir(&out)?;

    let mut tracer = Command::new("podman");
    tracer.args(["--log-level=error", "--runtime", "runc", "run", "--rm"]).args(options(pod)?);
    if before {
        tracer.args(profile(&yard)?);
    }
    tracer.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]);
    tracer.arg(format!("--volume={}:/etc/llmtap/config.yaml:ro", yard.bench.path("config.yaml").display()));
    tracer.arg(format!("--volume={}:/out", out.display())).arg(&image.0);
    tracer.args(strings(&pod["containers"][0]["args"]));
    let tracer = Running::start(&mut tracer)?;
    let ready = pod["containers"][0]["readinessProbe"]["httpGet"]["path"].as_str().context("no probe")?;
    let is_ready = || page(&health, ready).is_ok_and(|(status, _)| status == "HTTP/1.1 200 OK");
    wait_for("readiness", || (is_ready() || tracer.has_ended()).then_some(()))?;
    ensure!(!tracer.has_ended(), "{}", tracer.stderr());
    if !before {
        clients = start(&yard, &named, containers)?;
    }
    for (client, _) in &mut clients {
        client.tell("go")?;
    }
    let mut ids = Vec::new();
    for (client, id) in clients {
        let finished = client.finish()?;
        ensure!(finished.status.success(), "{}", finished.stderr);
        ids.push(id);
    }
    signal("TERM", tracer.id().into())?;
    let finished = tracer.finish()?;
    ensure!(finished.status.success(), "{}\n{}", finished.status, finished.stderr);
    let held = !finished.stderr.contains("programs are not held at their start");
    ensure!(held != before, "{}", finished.stderr);

    let told = spans::read(&out.join("spans.jsonl"))?;
    let report = compare::compare(&yard.bench.truth(), &told);
    ensure!(report.exact() && report.calls == 2 * containers, "\n{report}\n{}", finished.stderr);
    let mut named: Vec<&str> = told.iter().filter(|span| span.is_call()).filter_map(container).collect();
    named.sort_unstable();
    let mut expected: Vec<&str> = ids.iter().flat_map(|id| [id.as_str(), id.as_str()]).collect();
    expected.sort_unstable();
    ensure!(named == expected, "{named:?} are not {expected:?}");
    println!("{report}");
    Ok(())
}

/// What the manifest configures.
fn configuration(objects: &[Value]) -> anyhow::Result<Value> {
    let mut texts = objects.iter().filter_map(|one| one["data"]["config.yaml"].as_str());
    serde_saphyr::from_str(texts.next().context("no configuration")?).context("the configuration")
}

/// Where podman's own profile (containers-common) is.
const PROFILE: &str = "/usr/share/containers/seccomp.json";

/// An option with a profile that lets the system calls of CAP_BPF and CAP_PERFMON pass, as the runtimes' newer ones do;
/// none where podman's own does.
fn profile(yard: &Yard) -> anyhow::Result<Option<String>> {
    const CALLS: [&str; 2] = ["bpf", "perf_event_open"];
    let text = fs::read_to_string(PROFILE).context(PROFILE)?;
    if text.contains("CAP_BPF") {
        return Ok(None);
    }
    let mut profile: Value = serde_json::from_str(&text)?;
    let rules = profile["syscalls"].as_array_mut().context("no rules")?;
    for rule in rules.iter_mut() {
        if let Some(names) = rule["names"].as_array_mut() {
            names.retain(|name| !CALLS.iter().any(|call| name == call));
        }
    }
    rules.retain(|rule| rule["names"].as_array().is_some_and(|names| !names.is_empty()));
    rules.push(json!({ "names": CALLS, "action": "SCMP_ACT_ALLOW" }));
    let path = yard.bench.path("seccomp.json");
    fs::write(&path, profile.to_string())?;
    Ok(Some(format!("--security-opt=seccomp={}", path.display())))
}

fn container(span: &spans::Span) -> Option<&str> {
    span.resource.get("container.id")?.as_str()
}

/// Clients in containers of one layer, which wait, with the containers' ids.
fn start(yard: &Yard, named: &Named, count: usize) -> anyhow::Result<Vec<(Running, String)>> {
    let python = Python::Clients.prepared()?.display().to_string();
    let mut clients = Vec::new();
    for number in 0..count {
        let id = yard.bench.path(&format!("id-{number}"));
        let _ = fs::remove_file(&id);
        let option = format!("--cidfile={}", id.display());
        let mut line = yard.container(&["--interactive", &option], &["wait", "plain", "stream"])?;
        for word in line.iter_mut().filter(|word| **word == python) {
            *word = named.0.display().to_string();
        }
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]);
        let mut client = Running::start(yard.bench.equip(&mut command))?;
        client.wait_for_line("waiting")?;
        clients.push((client, fs::read_to_string(id)?.trim().to_owned()));
    }
    Ok(clients)
}
