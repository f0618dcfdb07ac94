//! A process in a pod's cgroup, and an API server that tells of the pod only after the process has called.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::{
    api_server::ApiServer,
    harness::{Bench, Running, finish, llmtap, wait_for},
    tracer::{Daemon, Tracer},
};

use crate::bench;

const UID: &str = "4cad64d0-7a36-452a-8a08-bd3a694cdad5";
const CONTAINER: &str = "ef2b097c5d9d77834c7b14b96fcee656aba850976f68d2efbc946a5d50509524";

/// Cgroups as kubelet makes them, of one container. They go with the test.
struct Cgroups {
    top: PathBuf,
    container: PathBuf,
}

impl Cgroups {
    /// `None` where none can be made.
    fn make() -> Option<Self> {
        let name = format!("llmtap-test-pods-{}", std::process::id());
        let places = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(Path::new);
        let top = places.iter().find(|place| place.join("cgroup.procs").exists())?.join(name);
        let container = top.join(format!("burstable/pod{UID}/{CONTAINER}"));
        let made = fs::create_dir_all(&container);
        let cgroups = Self { top, container };
        made.is_ok().then_some(cgroups)
    }

    /// Another container, of another pod: both are numbered.
    fn other(&self, number: usize) -> anyhow::Result<PathBuf> {
        let pod = UID.replace("4cad64d0", &format!("{number:08}"));
        let container = self.top.join(format!("burstable/pod{pod}/{number:064}"));
        fs::create_dir_all(&container)?;
        Ok(container)
    }
}

/// A program that lives for a moment, in a cgroup.
fn moment(bench: &Bench, cgroup: &Path) -> anyhow::Result<Command> {
    let join = "echo $$ > \"$0/cgroup.procs\" && exec \"$@\"";
    let mut client = Command::new("sh");
    client.args(["-c", join]).arg(cgroup).args(bench.script("moment.py", &[])?);
    bench.equip(&mut client);
    Ok(client)
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        let leave = "find \"$0\" -depth -type d -exec rmdir {} +";
        let _ = finish(Command::new("sh").args(["-c", leave]).arg(&self.top));
    }
}

/// An API server that has not told of any pod, and a client in a pod's container that waits before each of two calls.
struct Cluster {
    server: ApiServer,
    /// A service account's folder, as it is mounted into pods.
    account: PathBuf,
    client: Running,
    cgroups: Cgroups,
}

impl Cluster {
    fn start(bench: &Bench) -> anyhow::Result<Option<Self>> {
        let Some(cgroups) = Cgroups::make() else {
            println!("skipped: no cgroup can be made");
            return Ok(None);
        };
        let server = ApiServer::start("first")?;
        let account = bench.path("account");
        fs::create_dir(&account)?;
        fs::write(account.join("token"), "first\n")?;
        fs::write(account.join("ca.crt"), &server.authority)?;
        let join = "echo $$ > \"$0/cgroup.procs\" && exec \"$@\"";
        let mut client = Command::new("sh");
        client.args(["-c", join]).arg(&cgroups.container);
        client.args(bench.script("openai_sync.py", &["wait", "plain", "wait", "plain"])?);
        let mut client = Running::start(bench.equip(&mut client))?;
        client.wait_for_line("waiting")?;
        Ok(Some(Self { server, account, client, cgroups }))
    }

    fn call(&mut self) -> anyhow::Result<()> {
        self.client.tell("go")?;
        wait_for("the call", || (self.client.stdout().matches("waiting").count() == 2).then_some(()))
    }

    /// The second call. What was seen of it is told a moment later.
    fn last_call(&mut self) -> anyhow::Result<()> {
        self.client.tell("go")?;
        ensure!(self.client.wait()?.success(), "{}", self.client.stderr());
        std::thread::sleep(Duration::from_millis(300));
        Ok(())
    }
}

fn pod(version: &str) -> Value {
    json!({
        "metadata": {
            "name": "shop-agent-65747dc769-pjztg", "namespace": "shop", "uid": UID, "resourceVersion": version,
            "labels": { "pod-template-hash": "65747dc769", "app.kubernetes.io/version": "7" },
            "annotations": { "resource.opentelemetry.io/deployment.environment.name": "staging" },
            "ownerReferences": [{ "kind": "ReplicaSet", "name": "shop-agent-65747dc769", "controller": true }]
        },
        "spec": { "nodeName": "node-1" },
        "status": { "containerStatuses": [{
            "name": "agent", "image": "registry.example/agent:1.2", "imageID": "", "containerID": format!("containerd://{CONTAINER}")
        }]}
    })
}

#[test]
fn the_first_call_waits_for_its_pod_and_a_new_token_is_taken() -> anyhow::Result<()> {
    let bench = bench!();
    let Some(mut cluster) = Cluster::start(&bench)? else { return Ok(()) };

    // A pod has its account there. Only the tracer sees this mount.
    let mount = "set -e; place=/run/secrets/kubernetes.io/serviceaccount
mount -t tmpfs tmpfs /run; mkdir -p $place; mount --bind \"$0\" $place; exec \"$@\"";
    let mut tracer = Command::new("unshare");
    tracer.args(["--mount", "--propagation", "private", "sh", "-c", mount]).arg(&cluster.account).arg(llmtap()?);
    tracer.args(["trace", "-v", "--output", "jsonl", "-o"]).arg(bench.path("spans.jsonl"));
    tracer.arg("--cgroup").arg(&cluster.cgroups.top).env("NODE_NAME", "node-1");
    tracer.env("KUBERNETES_SERVICE_HOST", "127.0.0.1");
    tracer.env("KUBERNETES_SERVICE_PORT", cluster.server.address.port().to_string());
    let tracer = Tracer::start(&mut tracer)?;
    crate::robustness::wait_for_probes(cluster.client.id())?;
    cluster.call()?;

    // kubelet has replaced the token, and the old one is void.
    fs::write(cluster.account.join("token"), "second\n")?;
    cluster.server.accept("second");
    cluster.server.tell("ADDED", &pod("2"));
    cluster.server.end_watch();
    cluster.last_call()?;
    let requests = || cluster.server.requests();
    wait_for("another watch", || {
        (requests().iter().filter(|request| request.path.contains("watch=1")).count() >= 2).then_some(())
    })?;
    tracer.stop()?;
    println!("{}", bench.expect_exact(2)?);

    for span in bench.spans()? {
        for (name, expected) in [
            ("service.name", "shop-agent"),
            ("service.namespace", "shop"),
            ("service.version", "7"),
            ("service.instance.id", "shop.shop-agent-65747dc769-pjztg.agent"),
            ("deployment.environment.name", "staging"),
            ("container.id", CONTAINER),
            ("container.image.name", "registry.example/agent"),
            ("k8s.pod.name", "shop-agent-65747dc769-pjztg"),
            ("k8s.pod.uid", UID),
            ("k8s.namespace.name", "shop"),
            ("k8s.node.name", "node-1"),
            ("k8s.container.name", "agent"),
            ("k8s.deployment.name", "shop-agent"),
            ("k8s.replicaset.name", "shop-agent-65747dc769"),
        ] {
            let value = span.resource.get(name).with_context(|| format!("{}: no {name}", span.name))?;
            ensure!(value == expected, "{name} is {value}");
        }
    }
    let requests = requests();
    ensure!(requests.iter().all(|request| request.accepted), "{requests:?}");
    ensure!(
        requests.iter().all(|request| request.path.contains("fieldSelector=spec.nodeName%3Dnode-1")),
        "{requests:?}"
    );
    Ok(())
}

/// The pod is there, and known, before it opts in.
#[test]
fn a_process_is_traced_once_its_pod_opts_in() -> anyhow::Result<()> {
    let bench = bench!();
    let Some(mut cluster) = Cluster::start(&bench)? else { return Ok(()) };
    // YAML is a superset of JSON.
    let config = json!({
        "select": { "include": [{ "kubernetes": { "annotation": { "llmtap/trace": "true" } } }] },
        "exporters": { "jsonl": [{ "path": bench.path("spans.jsonl") }] },
        "kubernetes": {
            "source": "api", "endpoint": format!("https://{}", cluster.server.address), "node": "node-1",
            "token_file": cluster.account.join("token"), "ca_file": cluster.account.join("ca.crt"), "labels": ["team"]
        }
    });
    let daemon = Daemon::start(&bench, &config.to_string())?;
    cluster.server.tell("ADDED", &pod("2"));
    cluster.call()?;
    let mut opted = pod("3");
    opted["metadata"]["annotations"]["llmtap/trace"] = "true".into();
    opted["metadata"]["labels"]["team"] = "blue".into();
    cluster.server.tell("MODIFIED", &opted);
    crate::robustness::wait_for_probes(cluster.client.id())?;
    cluster.last_call()?;
    let finished = daemon.stop()?;

    let spans = bench.spans()?;
    let calls: Vec<_> = spans.iter().filter(|span| span.is_call()).collect();
    let [call] = calls.as_slice() else { anyhow::bail!("{} calls, not 1: {}", calls.len(), finished.stderr) };
    for (name, expected) in [("k8s.pod.label.team", "blue"), ("k8s.deployment.name", "shop-agent")] {
        let value = call.resource.get(name).with_context(|| format!("no {name}"))?;
        ensure!(value == expected, "{name} is {value}");
    }
    Ok(())
}

/// A daemon that has a server's account, and is asked to choose so, and containers to choose from. `None`, with the reason
/// printed, where no cgroup can be made.
fn choosing(bench: &Bench, select: &Value) -> anyhow::Result<Option<(Cgroups, ApiServer, Daemon)>> {
    let Some(cgroups) = Cgroups::make() else {
        println!("skipped: no cgroup can be made");
        return Ok(None);
    };
    let server = ApiServer::start("first")?;
    fs::write(bench.path("token"), "first\n")?;
    fs::write(bench.path("ca.crt"), &server.authority)?;
    let config = json!({
        "select": select,
        "exporters": { "jsonl": [{ "path": bench.path("spans.jsonl") }] },
        "kubernetes": {
            "source": "api", "endpoint": format!("https://{}", server.address), "node": "node-1",
            "token_file": bench.path("token"), "ca_file": bench.path("ca.crt")
        }
    });
    let daemon = Daemon::start(bench, &config.to_string())?;
    Ok(Some((cgroups, server, daemon)))
}

fn ended_well(mut client: Running) -> anyhow::Result<()> {
    ensure!(client.wait()?.success(), "{}", client.stderr());
    Ok(())
}

/// Longer than a client takes that waits for nobody, and less than the longest wait.
const LATER: Duration = Duration::from_millis(500);

/// The first program of a pod starts before the cluster has told of it, and is held until it has.
#[test]
fn short_programs_of_a_chosen_pod_are_traced_from_their_first_call() -> anyhow::Result<()> {
    let bench = bench!();
    let select = json!({ "include": [{ "kubernetes": { "label": { "app.kubernetes.io/version": "7" } } }] });
    let Some((cgroups, server, daemon)) = choosing(&bench, &select)? else { return Ok(()) };

    let began = Instant::now();
    let first = Running::start(&mut moment(&bench, &cgroups.container)?)?;
    std::thread::sleep(LATER);
    ensure!(bench.mock.truth(Duration::ZERO).is_empty(), "it did not wait: {}", daemon.stderr());
    server.tell("ADDED", &pod("2"));
    ended_well(first)?;
    println!("the first took {:?}, of which it waited {LATER:?}", began.elapsed());
    // The pod is known.
    for _ in 0..3 {
        ended_well(Running::start(&mut moment(&bench, &cgroups.container)?)?)?;
    }
    daemon.stop()?;
    println!("{}", bench.expect_exact(4)?);
    for span in bench.spans()? {
        ensure!(span.resource.get("k8s.pod.name").is_some_and(|name| name == "shop-agent-65747dc769-pjztg"));
    }
    Ok(())
}

/// What nobody tells of is waited for once a container; then it goes on, and is not traced.
#[test]
fn programs_of_other_pods_are_not_traced_and_wait_once_at_most() -> anyhow::Result<()> {
    let bench = bench!();
    let select = json!({ "include": [{ "kubernetes": { "label": { "app.kubernetes.io/version": "7" } } }] });
    let Some((cgroups, server, daemon)) = choosing(&bench, &select)? else { return Ok(()) };
    let mut other = pod("2");
    other["metadata"]["labels"]["app.kubernetes.io/version"] = "8".into();
    server.tell("ADDED", &other);
    let takes = |cgroup: &Path| {
        let began = Instant::now();
        ended_well(Running::start(&mut moment(&bench, cgroup)?)?)?;
        anyhow::Ok(began.elapsed())
    };
    let unknown = cgroups.other(1)?;
    let times = [takes(&unknown)?, takes(&unknown)?, takes(&cgroups.container)?];
    let finished = daemon.stop()?;
    println!(
        "in a pod that is not known {:?}, then {:?}; in one that is not chosen {:?}",
        times[0], times[1], times[2]
    );
    ensure!(times[0] > Duration::from_secs(1) && times[0] < Duration::from_secs(4), "{times:?}");
    ensure!(times[1] + LATER < times[0] && times[2] + LATER < times[0], "{times:?}");
    ensure!(bench.truth().len() == 3);
    let calls = bench.spans()?.iter().filter(|span| span.is_call()).count();
    ensure!(calls == 0, "{calls} calls are told: {}", finished.stderr);
    Ok(())
}

/// A pod that opts out before the cluster has told of it.
#[test]
fn the_first_call_of_a_pod_that_opts_out_is_not_told() -> anyhow::Result<()> {
    let bench = bench!();
    let select = json!({
        "include": [{ "command_line": "*moment.py*" }],
        "exclude": [{ "kubernetes": { "annotation": { "llmtap/trace": "false" } } }]
    });
    let Some((cgroups, server, daemon)) = choosing(&bench, &select)? else { return Ok(()) };
    let first = Running::start(&mut moment(&bench, &cgroups.container)?)?;
    std::thread::sleep(LATER);
    let mut out = pod("2");
    out["metadata"]["annotations"]["llmtap/trace"] = "false".into();
    server.tell("ADDED", &out);
    ended_well(first)?;
    ended_well(Running::start(&mut moment(&bench, &cgroups.container)?)?)?;
    // Nobody knows of this one, and it does not opt out.
    ended_well(Running::start(&mut moment(&bench, &cgroups.other(1)?)?)?)?;
    let finished = daemon.stop()?;
    ensure!(bench.truth().len() == 3);
    let spans = bench.spans()?;
    let told: Vec<_> = spans.iter().filter(|span| span.is_call()).collect();
    let [call] = told.as_slice() else { anyhow::bail!("{} calls, not 1: {}", told.len(), finished.stderr) };
    ensure!(call.resource.get("container.id").is_some_and(|id| *id == format!("{:064}", 1)), "{:?}", call.resource);
    Ok(())
}
