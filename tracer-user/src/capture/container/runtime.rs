//! The files in which runtimes describe a container.
//!
//! | runtime | process above the container | files |
//! |---|---|---|
//! | containerd (CRI) | `containerd-shim…`, in the bundle of the pod | the bundle's `config.json`: annotations `io.kubernetes.cri.*` |
//! | Docker | the same, of the namespace `moby` | `config.v2.json` beside the file that is mounted as `/etc/hostname` |
//! | CRI-O | `conmon -b BUNDLE -n NAME`, or `conmonrs` | the bundle's `config.json`: annotations `io.kubernetes.cri-o.*`, `io.kubernetes.pod.*` |
//! | Podman | `conmon -b BUNDLE -n NAME` | the storage's `containers.json` and `images.json` |
//!
//! Whoever may start containers writes these files, and a container's own processes cannot. Still nothing in them is
//! believed beyond the few texts that are taken: they are opened below the root of the runtime's process, only ordinary
//! files are read, and never more than [`MAX_FILE`].

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, de::DeserializeOwned};

use super::{Container, Identity, Image, PodOf, Runtime, cgroup, image::is_digest};
use crate::capture::root::Root;

/// Longest file that is read, bytes. Podman and CRI-O keep all containers of a machine in one.
const MAX_FILE: u64 = 16 << 20;

/// Longest name, label or reference that is taken, bytes.
const MAX_VALUE: usize = 1024;

/// Labels that are kept of one container.
const MAX_LABELS: usize = 64;

/// Ancestors that are looked at for the runtime's process.
const MAX_ANCESTORS: usize = 64;

/// Most of a command line that is looked at, bytes.
const MAX_ARGUMENTS: u64 = 16 << 10;

/// Where bundles are when no process tells: under the root of the machine's first process, else under ours.
const BUNDLES: [&str; 7] = [
    "/run/containerd/io.containerd.runtime.v2.task/k8s.io",
    "/run/containerd/io.containerd.runtime.v2.task/moby",
    "/run/containerd/io.containerd.runtime.v2.task/default",
    "/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io",
    "/var/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby",
    "/run/containers/storage/overlay-containers",
    "/var/lib/containers/storage/overlay-containers",
];

/// What the runtime's files say of the container of process `pid`.
pub fn facts(pid: u32, identity: &Identity) -> Container {
    let found = Monitor::above(pid, &identity.container)
        .and_then(|monitor| Some((Root::of(monitor.pid).ok()?, monitor)))
        .map(|(root, monitor)| read(&root, identity, Some(&monitor)));
    found.unwrap_or_else(|| {
        // That of the first process is the machine's, also where llmtap is in a container itself.
        let machine = Root::of(1).or_else(|_| Root::own());
        machine.map_or_else(|_| bare(identity), |root| read(&root, identity, None))
    })
}

fn bare(identity: &Identity) -> Container {
    Container { id: Arc::clone(&identity.container), runtime: identity.runtime, ..Container::default() }
}

/// The runtime's process that watches a container.
#[derive(Debug, Default, PartialEq, Eq)]
struct Monitor {
    pid: u32,
    /// `conmon -n`.
    name: Option<String>,
    /// Directory of the OCI bundle.
    bundle: Option<PathBuf>,
    runtime: Option<Runtime>,
}

impl Monitor {
    /// The nearest ancestor of `pid` that watches the container, else the nearest that is not in it: the runtime itself
    /// stands between while it starts a container, or one more process in it.
    fn above(pid: u32, container: &str) -> Option<Self> {
        let mut ancestor = pid;
        let mut nearest = None;
        for _ in 0..MAX_ANCESTORS {
            let Some(next) = parent(ancestor).filter(|pid| *pid > 1) else { break };
            ancestor = next;
            if cgroup::identity(ancestor).is_none_or(|identity| &*identity.container != container) {
                let process = Path::new("/proc").join(ancestor.to_string());
                let arguments = arguments(&process.join("cmdline"));
                let directory = fs::read_link(process.join("cwd")).ok();
                let monitor = Self::of(ancestor, container, &arguments, directory);
                if monitor.bundle.is_some() {
                    return Some(monitor);
                }
                nearest = nearest.or(Some(monitor));
            }
        }
        nearest
    }

    fn of(pid: u32, container: &str, arguments: &[String], directory: Option<PathBuf>) -> Self {
        let option = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            arguments.get(at + 1).cloned()
        };
        let program = arguments.first().map(|path| path.rsplit('/').next().unwrap_or(path)).unwrap_or_default();
        if program == "conmon" && option("-c").is_some_and(|id| id == container) {
            return Self { pid, name: option("-n"), bundle: option("-b").map(PathBuf::from), runtime: None };
        }
        if program.starts_with("containerd-shim") {
            // It is started in the bundle of its first container, the pod's; the others lie beside it.
            let bundle = directory.and_then(|directory| Some(directory.parent()?.join(container)));
            let docker = option("-namespace").is_some_and(|namespace| namespace == "moby");
            let runtime = if docker { Runtime::Docker } else { Runtime::Containerd };
            return Self { pid, name: None, bundle, runtime: Some(runtime) };
        }
        Self { pid, ..Self::default() }
    }
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

fn arguments(file: &Path) -> Vec<String> {
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(file) {
        let _ = file.take(MAX_ARGUMENTS).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).split_terminator('\0').map(str::to_owned).collect()
}

/// `config.json` of an OCI bundle (runtime-spec).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    annotations: BTreeMap<String, String>,
    mounts: Vec<Mount>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Mount {
    destination: String,
    source: PathBuf,
}

fn read(root: &Root, identity: &Identity, monitor: Option<&Monitor>) -> Container {
    let id = &*identity.container;
    let mut container = bare(identity);
    container.runtime = monitor.and_then(|monitor| monitor.runtime).or(container.runtime);
    container.name = monitor.and_then(|monitor| monitor.name.as_deref()).map(text);

    let known = BUNDLES.iter().flat_map(|folder| {
        let bundle = Path::new(folder).join(id);
        // Bundles of containers/storage are one level below.
        [bundle.clone(), bundle.join("userdata")]
    });
    let bundles = monitor.and_then(|monitor| monitor.bundle.clone()).into_iter().chain(known);
    for bundle in bundles {
        let Ok(spec) = json::<Spec>(root, &bundle.join("config.json")) else { continue };
        container.by_annotations(&spec.annotations);
        if bundle.ends_with("userdata") {
            container.by_storage(root, &bundle);
        }
        if container.runtime.is_none_or(|runtime| runtime == Runtime::Docker) {
            container.by_docker(root, &spec);
        }
        break;
    }
    container
}

impl Container {
    /// What CRI runtimes write into the OCI specification.
    fn by_annotations(&mut self, annotations: &BTreeMap<String, String>) {
        let first = |names: &[&str]| {
            let values = names.iter().filter_map(|name| annotations.get(*name));
            values.map(String::as_str).find(|value| !value.is_empty())
        };
        self.runtime = match first(&["io.container.manager"]) {
            Some("libpod") => Some(Runtime::Podman),
            Some("cri-o") => Some(Runtime::CriO),
            _ if annotations.contains_key("io.kubernetes.cri.container-type") => Some(Runtime::Containerd),
            _ => self.runtime,
        };
        let pod = PodOf {
            uid: first(&["io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"]).map(text),
            name: first(&["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"]).map(text),
            namespace: first(&["io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"]).map(text),
            container: first(&["io.kubernetes.cri.container-name", "io.kubernetes.container.name"]).map(text),
        };
        // The pause process holds the pod's namespaces and is no container of its own.
        let sandbox = first(&["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"]);
        let pod = if sandbox == Some("sandbox") { PodOf { container: None, ..pod } } else { pod };
        if self.name.is_none() {
            self.name = first(&["io.kubernetes.cri-o.Name"]).map(text).or_else(|| pod.container.clone());
        }
        if pod.uid.is_some() || pod.name.is_some() {
            self.pod = Some(pod);
        }
        for name in ["io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName", "io.kubernetes.cri-o.ImageRef"] {
            if let Some(reference) = annotations.get(name) {
                self.image = std::mem::take(&mut self.image).or(reference_of(reference));
            }
        }
        // CRI-O writes the pod's labels for the container as one text.
        if let Some(labels) = annotations.get("io.kubernetes.cri-o.Labels")
            && let Ok(labels) = serde_json::from_str::<BTreeMap<String, String>>(labels)
        {
            self.take_labels(labels);
        }
    }

    /// What Podman and CRI-O keep beside the bundle `STORAGE/overlay-containers/ID/userdata`.
    fn by_storage(&mut self, root: &Root, bundle: &Path) {
        #[derive(Deserialize)]
        struct Stored {
            id: String,
            #[serde(default)]
            names: Vec<String>,
            #[serde(default)]
            image: String,
            #[serde(default)]
            metadata: String,
        }
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "kebab-case")]
        struct Metadata {
            image_name: String,
        }
        #[derive(Deserialize)]
        struct StoredImage {
            id: String,
            #[serde(default)]
            digest: String,
        }
        let Some(containers) = bundle.parent().and_then(Path::parent) else { return };
        let Ok(all) = json::<Vec<Stored>>(root, &containers.join("containers.json")) else { return };
        let Some(stored) = all.into_iter().find(|stored| *stored.id == *self.id) else { return };
        if self.name.is_none() {
            self.name = stored.names.first().map(|name| text(name));
        }
        let metadata = serde_json::from_str::<Metadata>(&stored.metadata).unwrap_or_default();
        let mut image = reference_of(&metadata.image_name);
        // `overlay-containers` stands beside `overlay-images`.
        let folder = containers.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let images = containers.with_file_name(folder.replace("-containers", "-images")).join("images.json");
        if let Ok(all) = json::<Vec<StoredImage>>(root, &images)
            && let Some(found) = all.into_iter().find(|one| !stored.image.is_empty() && one.id == stored.image)
            && is_digest(&found.digest)
        {
            image.digest = image.digest.or_else(|| Some(text(&found.digest)));
        }
        self.image = std::mem::take(&mut self.image).or(image);
    }

    /// Docker's own file. Docker mounts `/etc/hostname` and others from the folder where it is.
    fn by_docker(&mut self, root: &Root, spec: &Spec) {
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "PascalCase")]
        struct Docker {
            name: String,
            config: Config,
            image_manifest: Descriptor,
        }
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "PascalCase")]
        struct Config {
            image: String,
            labels: Option<BTreeMap<String, String>>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Descriptor {
            digest: String,
        }
        let mounted = spec.mounts.iter().filter(|mount| mount.destination == "/etc/hostname");
        let folders = mounted.filter_map(|mount| mount.source.parent()).map(Path::to_owned);
        let usual = Path::new("/var/lib/docker/containers").join(&*self.id);
        for folder in folders.filter(|folder| folder.ends_with(&*self.id)).chain([usual]) {
            let Ok(docker) = json::<Docker>(root, &folder.join("config.v2.json")) else { continue };
            self.runtime = Some(Runtime::Docker);
            let name = docker.name.trim_start_matches('/');
            if !name.is_empty() {
                self.name = Some(text(name));
            }
            let mut image = reference_of(&docker.config.image);
            if is_digest(&docker.image_manifest.digest) {
                image.digest = image.digest.or_else(|| Some(text(&docker.image_manifest.digest)));
            }
            self.image = image;
            self.take_labels(docker.config.labels.unwrap_or_default());
            // kubelet's way to tell Docker (cri-dockerd).
            let labels = &self.labels;
            let label = |name: &str| labels.get(name).map(|value| text(value));
            let pod = PodOf {
                uid: label("io.kubernetes.pod.uid"),
                name: label("io.kubernetes.pod.name"),
                namespace: label("io.kubernetes.pod.namespace"),
                container: label("io.kubernetes.container.name").filter(|name| &**name != "POD"),
            };
            if pod.uid.is_some() {
                self.pod = Some(pod);
            }
            return;
        }
    }

    fn take_labels(&mut self, labels: BTreeMap<String, String>) {
        let fits = |(name, value): &(String, String)| name.len() <= MAX_VALUE && value.len() <= MAX_VALUE;
        self.labels = labels.into_iter().filter(fits).take(MAX_LABELS).collect();
    }
}

fn reference_of(reference: &str) -> Image {
    if reference.len() > MAX_VALUE { Image::default() } else { Image::parse(reference) }
}

/// At most [`MAX_VALUE`] bytes.
fn text(value: &str) -> Arc<str> {
    let mut end = value.len().min(MAX_VALUE);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value.get(..end).unwrap_or_default().into()
}

/// Reads an ordinary file. What else it may be (a pipe, a device) could make us wait or never end.
fn json<T: DeserializeOwned>(root: &Root, path: &Path) -> io::Result<T> {
    let file = root.open(path)?;
    let data = file.metadata()?;
    if !data.is_file() || data.len() > MAX_FILE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    serde_json::from_slice(&bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
pub(super) mod tests;
