use std::os::unix::fs::symlink;

use serde_json::json;

use super::*;

const ID: &str = "ef2b097c5d9d77834c7b14b96fcee656aba850976f68d2efbc946a5d50509524";
const IMAGE: &str = "cda585c345837b08f2d36b7141e4a87fe7d49cf87ab7f848e9387594a7c5a39b";
const DIGEST: &str = "sha256:e4908de936ca9f6120445032741d21eec078dd9f70c9ec73f9e7ab41a17d6deb";

/// A machine's root directory with these files.
fn machine(files: &[(&str, serde_json::Value)]) -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = folder.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content.to_string()).unwrap();
    }
    let root = Root::at(folder.path().to_str().unwrap()).unwrap();
    (folder, root)
}

fn identity(runtime: Option<Runtime>) -> Identity {
    Identity { container: ID.into(), runtime, pod_uid: None }
}

fn shim(arguments: &str, directory: &str) -> Monitor {
    let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
    Monitor::of(7, ID, &arguments, Some(directory.into()))
}

fn labels(container: &Container) -> Vec<(&str, &str)> {
    container.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[test]
fn containerd_tells_by_annotations_in_the_bundle_beside_the_pods() {
    // Not the usual place: the folder is the shim's.
    let bundle = format!("/data/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json");
    let (_folder, root) = machine(&[(
        &bundle,
        json!({ "ociVersion": "1.2.0", "annotations": {
            "io.kubernetes.cri.container-name": "agent",
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.image-name": "registry.example/team/agent:1.2",
            "io.kubernetes.cri.sandbox-id": "1b3c",
            "io.kubernetes.cri.sandbox-name": "agent-65747dc769-pjztg",
            "io.kubernetes.cri.sandbox-namespace": "team",
            "io.kubernetes.cri.sandbox-uid": "4cad64d0-7a36-452a-8a08-bd3a694cdad5"
        }}),
    )]);
    let monitor = shim(
        "/usr/bin/containerd-shim-runc-v2 -namespace k8s.io -id 1b3c -address /run/containerd/containerd.sock",
        "/data/containerd/io.containerd.runtime.v2.task/k8s.io/1b3c",
    );
    let container = read(&root, &identity(None), Some(&monitor));
    assert_eq!(container.runtime, Some(Runtime::Containerd));
    assert_eq!(container.name.as_deref(), Some("agent"));
    assert_eq!(container.image, Image::parse("registry.example/team/agent:1.2"));
    let pod = container.pod.unwrap();
    assert_eq!(pod.name.as_deref(), Some("agent-65747dc769-pjztg"));
    assert_eq!(pod.namespace.as_deref(), Some("team"));
    assert_eq!(pod.container.as_deref(), Some("agent"));
    assert_eq!(pod.uid.as_deref(), Some("4cad64d0-7a36-452a-8a08-bd3a694cdad5"));
}

#[test]
fn the_pause_process_is_no_container_of_its_pod() {
    let bundle = format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json");
    let (_folder, root) = machine(&[(
        &bundle,
        json!({ "annotations": {
            "io.kubernetes.cri.container-type": "sandbox",
            "io.kubernetes.cri.sandbox-name": "agent-0",
            "io.kubernetes.cri.sandbox-namespace": "team"
        }}),
    )]);
    let container = read(&root, &identity(None), None);
    let pod = container.pod.unwrap();
    assert_eq!((pod.name.as_deref(), pod.container), (Some("agent-0"), None));
    assert_eq!(container.name, None);
}

#[test]
fn docker_tells_in_its_own_file_wherever_its_data_are() {
    let bundle = format!("/run/containerd/io.containerd.runtime.v2.task/moby/{ID}/config.json");
    let spec = json!({ "mounts": [
        { "destination": "/proc", "source": "proc" },
        { "destination": "/etc/hostname", "source": format!("/big/docker/containers/{ID}/hostname") }
    ]});
    let own = json!({
        "ID": ID, "Name": "/agent", "Image": format!("sha256:{IMAGE}"),
        "Config": { "Image": "registry.example/team/agent:1.2", "Env": ["KEY=x"], "Labels": { "team": "blue", "com.docker.compose.project": "shop" } },
        "ImageManifest": { "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": DIGEST, "size": 528 }
    });
    let (_folder, root) = machine(&[(&bundle, spec), (&format!("/big/docker/containers/{ID}/config.v2.json"), own)]);
    let monitor = shim(
        &format!("/usr/bin/containerd-shim-runc-v2 -namespace moby -id {ID} -address /run/containerd/containerd.sock"),
        &format!("/run/containerd/io.containerd.runtime.v2.task/moby/{ID}"),
    );
    let container = read(&root, &identity(Some(Runtime::Docker)), Some(&monitor));
    assert_eq!(container.runtime, Some(Runtime::Docker));
    assert_eq!(container.name.as_deref(), Some("agent"));
    assert_eq!(container.image, Image::parse(&format!("registry.example/team/agent:1.2@{DIGEST}")));
    assert_eq!(labels(&container), [("com.docker.compose.project", "shop"), ("team", "blue")]);
    assert_eq!(container.pod, None);
}

#[test]
fn docker_below_kubelet_has_the_pod_in_labels() {
    let own = json!({ "Name": "/k8s_agent_agent-0_team_4cad_0", "Config": { "Image": format!("sha256:{IMAGE}"), "Labels": {
        "io.kubernetes.container.name": "agent", "io.kubernetes.pod.name": "agent-0",
        "io.kubernetes.pod.namespace": "team", "io.kubernetes.pod.uid": "4cad64d0-7a36-452a-8a08-bd3a694cdad5"
    }}});
    let (_folder, root) = machine(&[
        (&format!("/run/containerd/io.containerd.runtime.v2.task/moby/{ID}/config.json"), json!({})),
        (&format!("/var/lib/docker/containers/{ID}/config.v2.json"), own),
    ]);
    let container = read(&root, &identity(Some(Runtime::Docker)), None);
    assert!(container.image.is_empty(), "{:?}", container.image);
    assert_eq!(container.pod.unwrap().container.as_deref(), Some("agent"));
}

#[test]
fn cri_o_tells_by_annotations_and_storage() {
    let storage = "/var/lib/containers/storage";
    let (_folder, root) = machine(&[
        (
            &format!("{storage}/overlay-containers/{ID}/userdata/config.json"),
            json!({ "annotations": {
                "io.container.manager": "cri-o",
                "io.kubernetes.container.name": "agent",
                "io.kubernetes.cri-o.ContainerType": "container",
                "io.kubernetes.cri-o.ImageName": "registry.example/team/agent:1.2",
                "io.kubernetes.cri-o.ImageRef": IMAGE,
                "io.kubernetes.cri-o.Labels": "{\"team\":\"blue\",\"io.kubernetes.pod.name\":\"agent-0\"}",
                "io.kubernetes.cri-o.Name": "k8s_agent_agent-0_team_4cad_0",
                "io.kubernetes.pod.name": "agent-0",
                "io.kubernetes.pod.namespace": "team",
                "io.kubernetes.pod.uid": "4cad64d0-7a36-452a-8a08-bd3a694cdad5"
            }}),
        ),
        (
            &format!("{storage}/overlay-containers/containers.json"),
            json!([{ "id": ID, "names": ["k8s_agent_agent-0_team_4cad_0"], "image": IMAGE, "metadata": "{}" }]),
        ),
        (&format!("{storage}/overlay-images/images.json"), json!([{ "id": IMAGE, "digest": DIGEST }])),
    ]);
    let arguments = format!(
        "/usr/libexec/crio/conmon -b {storage}/overlay-containers/{ID}/userdata -c {ID} -n k8s_agent_agent-0_team_4cad_0"
    );
    for monitor in [Some(shim(&arguments, "/")), None] {
        let container = read(&root, &identity(Some(Runtime::CriO)), monitor.as_ref());
        assert_eq!(container.runtime, Some(Runtime::CriO));
        assert_eq!(container.name.as_deref(), Some("k8s_agent_agent-0_team_4cad_0"));
        assert_eq!(container.image, Image::parse(&format!("registry.example/team/agent:1.2@{DIGEST}")));
        assert_eq!(labels(&container), [("io.kubernetes.pod.name", "agent-0"), ("team", "blue")]);
        assert_eq!(container.pod.unwrap().container.as_deref(), Some("agent"));
    }
}

#[test]
fn podman_tells_in_its_storage_also_in_a_users_home() {
    let storage = "/home/ann/.local/share/containers/storage";
    let metadata = json!({ "image-name": "localhost/team/agent:1.2", "name": "agent", "created-at": 1 }).to_string();
    let (_folder, root) = machine(&[
        (
            &format!("{storage}/overlay-containers/{ID}/userdata/config.json"),
            json!({ "annotations": { "io.container.manager": "libpod" }, "mounts": [] }),
        ),
        (
            &format!("{storage}/overlay-containers/containers.json"),
            json!([{ "id": "other" }, { "id": ID, "names": ["agent"], "image": IMAGE, "metadata": metadata }]),
        ),
        (
            &format!("{storage}/overlay-images/images.json"),
            json!([{ "id": "other" }, { "id": IMAGE, "digest": DIGEST }]),
        ),
    ]);
    let monitor = shim(
        &format!(
            "/usr/bin/conmon --api-version 1 -c {ID} -u {ID} -r /usr/bin/crun -b {storage}/overlay-containers/{ID}/userdata -n agent"
        ),
        "/home/ann",
    );
    let container = read(&root, &identity(Some(Runtime::Podman)), Some(&monitor));
    assert_eq!(container.runtime, Some(Runtime::Podman));
    assert_eq!(container.name.as_deref(), Some("agent"));
    assert_eq!(container.image, Image::parse(&format!("localhost/team/agent:1.2@{DIGEST}")));
}

#[test]
fn a_process_that_is_no_runtimes_tells_nothing() {
    let arguments = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let other = Monitor { pid: 7, ..Monitor::default() };
    // A conmon of another container, a shell, nothing.
    for line in [&format!("conmon -c {} -b /x -n other", IMAGE), "/bin/sh -b /etc", ""] {
        assert_eq!(Monitor::of(7, ID, &arguments(line), Some("/tmp".into())), other, "{line}");
    }
    let (_folder, root) = machine(&[]);
    assert_eq!(read(&root, &identity(None), Some(&other)), bare(&identity(None)));
}

#[test]
fn files_that_are_none_or_lead_elsewhere_tell_nothing() {
    let bundle = format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}");
    let (folder, root) = machine(&[(&format!("{bundle}/other.json"), json!({}))]);
    let config = folder.path().join(bundle.trim_start_matches('/')).join("config.json");
    let nothing = bare(&identity(None));

    // Outside of the root there is a file that would tell.
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(outside.path(), json!({ "annotations": { "io.kubernetes.cri.container-name": "x" } }).to_string())
        .unwrap();
    symlink(outside.path(), &config).unwrap();
    assert_eq!(read(&root, &identity(None), None), nothing);

    fs::remove_file(&config).unwrap();
    let path = std::ffi::CString::new(config.to_str().unwrap()).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(path.to_str().unwrap()).status().unwrap().success());
    assert_eq!(read(&root, &identity(None), None), nothing);

    fs::remove_file(&config).unwrap();
    fs::File::create(&config).unwrap().set_len(MAX_FILE + 1).unwrap();
    assert_eq!(read(&root, &identity(None), None), nothing);

    for text in ["", "[]", "{\"annotations\":7}", "{\"annotations\":{\"a\":1}}", "not json"] {
        fs::write(&config, text).unwrap();
        assert_eq!(read(&root, &identity(None), None), nothing, "{text}");
    }
}

#[test]
fn long_values_are_cut_and_many_labels_left_out() {
    let mut container = Container::default();
    let long = "é".repeat(MAX_VALUE);
    container.by_annotations(&BTreeMap::from([
        ("io.kubernetes.cri.container-name".to_owned(), long.clone()),
        ("io.kubernetes.cri.image-name".to_owned(), long.clone()),
    ]));
    assert!(container.name.as_ref().unwrap().len() <= MAX_VALUE && container.image.is_empty());
    let many = (0..1000).map(|n| (format!("label{n}"), "x".to_owned())).chain([("long".to_owned(), long)]);
    container.take_labels(many.collect());
    assert_eq!(container.labels.len(), MAX_LABELS);
    assert!(!container.labels.contains_key("long"));
}
