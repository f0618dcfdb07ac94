use super::*;
use crate::{
    capture::container::{Image, Runtime},
    span::samples,
};

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn in_pod() -> InPod {
    InPod {
        uid: Some("4cad64d0-7a36-452a-8a08-bd3a694cdad5".into()),
        name: Some("shop-agent-65747dc769-pjztg".into()),
        namespace: Some("shop".into()),
        node: Some("node-1".into()),
        container: Some("agent".into()),
        workload: vec![(Kind::ReplicaSet, "shop-agent-65747dc769".into()), (Kind::Deployment, "shop-agent".into())],
        labels: map(&[("team", "blue")]),
        annotations: BTreeMap::new(),
        resource: map(&[("deployment.environment.name", "prod"), ("k8s.pod.name", "forged"), ("team.cost", "7")]),
        service: Some("shop-agent".into()),
        service_version: Some("1.2".into()),
    }
}

fn container() -> Container {
    Container {
        id: "ef2b".into(),
        runtime: Some(Runtime::CriO),
        name: Some("k8s_agent".into()),
        image: Image {
            name: Some("a.example/agent".into()),
            tag: Some("1.2".into()),
            digest: Some("sha256:e4".into()),
        },
        labels: map(&[("tier", "ai")]),
        pod: None,
    }
}

/// The resource of a process that states nothing of itself.
fn resource(process: Process) -> Resource {
    let stated = (*samples::process()).clone();
    let base = Process { service_is_stated: false, resource_attributes: Vec::new(), ..stated };
    let process = Process { container: process.container, pod: process.pod, ..base };
    build(&Host::default(), Some(&process), &samples::connection())
}

fn text<'a>(resource: &'a Resource, name: &str) -> Option<&'a str> {
    resource.attribute(name).map(|value| match value {
        Value::Text(text) => &**text,
        Value::Shared(text) => &**text,
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_container_and_its_pod_are_told() {
    let told = resource(Process { container: Some(Arc::new(container())), pod: Some(in_pod()), ..Process::default() });
    for (name, value) in [
        ("service.name", "shop-agent"),
        ("service.namespace", "shop"),
        ("service.version", "1.2"),
        ("service.instance.id", "shop.shop-agent-65747dc769-pjztg.agent"),
        ("container.id", "ef2b"),
        ("container.name", "k8s_agent"),
        ("container.runtime.name", "cri-o"),
        ("container.image.name", "a.example/agent"),
        ("container.label.tier", "ai"),
        ("oci.manifest.digest", "sha256:e4"),
        ("k8s.namespace.name", "shop"),
        ("k8s.node.name", "node-1"),
        // What is seen beats what is stated.
        ("k8s.pod.name", "shop-agent-65747dc769-pjztg"),
        ("k8s.pod.uid", "4cad64d0-7a36-452a-8a08-bd3a694cdad5"),
        ("k8s.container.name", "agent"),
        ("k8s.deployment.name", "shop-agent"),
        ("k8s.replicaset.name", "shop-agent-65747dc769"),
        ("k8s.pod.label.team", "blue"),
        ("deployment.environment.name", "prod"),
        ("team.cost", "7"),
    ] {
        assert_eq!(text(&told, name), Some(value), "{name}");
    }
    assert_eq!(told.attribute("container.image.tags"), Some(&Value::Texts(vec!["1.2".into()])));
}

#[test]
fn what_the_process_states_goes_before_its_pod() {
    let process = Process { pod: Some(in_pod()), ..(*samples::process()).clone() };
    let told = build(&Host::default(), Some(&process), &samples::connection());
    // The sample states `test` in its environment, and a namespace of the same name as the pod's.
    assert_eq!(text(&told, "service.name"), Some("agent.py"));
    assert_eq!(text(&told, "deployment.environment.name"), Some("test"));
    assert_eq!(text(&told, "service.version"), Some("1.2"));
}

#[test]
fn without_the_cluster_a_service_is_its_program() {
    let pod = InPod { name: Some("p".into()), namespace: Some("shop".into()), ..InPod::default() };
    let told = resource(Process { pod: Some(pod), ..Process::default() });
    assert_eq!(text(&told, "service.name"), Some("agent.py"));
    assert_eq!(text(&told, "service.namespace"), Some("shop"));
    assert_eq!((text(&told, "service.instance.id"), text(&told, "k8s.node.name")), (None, None));
}

#[test]
fn metrics_tell_of_workloads_and_not_of_pods() {
    let told = resource(Process { container: Some(Arc::new(container())), pod: Some(in_pod()), ..Process::default() })
        .for_metrics();
    let names: Vec<&str> =
        told.attributes.iter().map(|(name, _)| &**name).filter(|name| !name.starts_with("telemetry.")).collect();
    assert_eq!(
        names,
        [
            "service.name",
            "service.namespace",
            "service.version",
            "deployment.environment.name",
            "team.cost",
            "container.label.tier",
            "k8s.namespace.name",
            "k8s.node.name",
            "k8s.deployment.name",
            "k8s.pod.label.team"
        ]
    );
    let job = |workload: &[(Kind, &str)]| {
        let workload = workload.iter().map(|(kind, name)| (*kind, Arc::from(*name))).collect();
        resource(Process { pod: Some(InPod { workload, ..in_pod() }), ..Process::default() }).for_metrics()
    };
    // Each run of a cron job is a job of its own.
    let scheduled = job(&[(Kind::Job, "nightly-29921512"), (Kind::CronJob, "nightly")]);
    assert_eq!((text(&scheduled, "k8s.job.name"), text(&scheduled, "k8s.cronjob.name")), (None, Some("nightly")));
    assert_eq!(text(&job(&[(Kind::Job, "import")]), "k8s.job.name"), Some("import"));
}

#[test]
fn what_others_wrote_is_told_without_credentials() {
    let key = "sk-proj-pl4nted0123456789abcdefghijkl";
    let mut process = (*samples::process()).clone();
    process.argv0 = Some(format!("app: worker --user ada -p pl4nted {key}").into());
    process.resource_attributes = vec![("team.note".to_owned(), format!("see {key}"))];
    let labels = BTreeMap::from([("owner".to_owned(), key.to_owned())]);
    process.pod = Some(InPod { labels, ..in_pod() });
    let mut image = container();
    image.image.tag = Some(key.into());
    process.container = Some(Arc::new(image));
    let told = build(&Host::default(), Some(&process), &samples::connection());
    assert!(!format!("{told:?}").contains("pl4nted"), "{told:?}");
    assert_eq!(text(&told, "process.command"), Some("app:"));
    assert_eq!(text(&told, "team.note"), Some("see [REDACTED:openai_key]"));
    // A path with a blank is no title.
    process.exe = Some("/opt/My Agent/run".into());
    process.argv0 = process.exe.clone();
    let told = build(&Host::default(), Some(&process), &samples::connection());
    assert_eq!(text(&told, "process.command"), Some("/opt/My Agent/run"));
}
