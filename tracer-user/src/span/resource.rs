//! Resources: one per traced process, never the tracer's own.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, VecDeque},
    path::Path,
    sync::Arc,
};

use super::{record::Value, semconv};
use crate::{
    capture::{Connection, Process, container::Container},
    environment::parse_resource_attributes,
    kubernetes::{InPod, pod::Kind},
    redact,
};

/// Processes whose resources are kept. The one first seen longest ago is forgotten first; should it call again, its
/// resource says what the connection alone tells.
const PROCESSES_KEPT: usize = 8192;

/// The conventions' own fallback.
const UNKNOWN_SERVICE: &str = "unknown_service";

/// Attributes of one traced process, in a fixed order, each name once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resource {
    pub attributes: Vec<(Arc<str>, Value)>,
}

impl Resource {
    pub fn attribute(&self, name: &str) -> Option<&Value> {
        self.attributes.iter().find(|(key, _)| &**key == name).map(|(_, value)| value)
    }

    /// What metrics say of the process: its service, workload and node. Processes of one service on one node count
    /// together, and the instance that keeps those of other nodes apart is the node.
    #[must_use]
    pub fn for_metrics(&self) -> Self {
        // Labels that are told are chosen for this; the rest changes with each pod or rollout.
        let chosen = [semconv::K8S_POD_LABEL, semconv::K8S_POD_ANNOTATION, semconv::CONTAINER_LABEL];
        let is_chosen = |name: &str| {
            chosen.iter().any(|prefix| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')))
        };
        let families = ["process.", "container.", "oci.", "k8s.pod.", "k8s.container.", "k8s.replicaset."];
        let has_cron_job = self.attribute(semconv::K8S_CRONJOB_NAME).is_some();
        let of_one_process = |name: &str| {
            (families.iter().any(|family| name.starts_with(family)) && !is_chosen(name))
                || name == semconv::SERVICE_INSTANCE_ID
                || (name == semconv::K8S_JOB_NAME && has_cron_job)
        };
        let kept = self.attributes.iter().filter(|(name, _)| !of_one_process(name));
        let mut resource = Self { attributes: kept.cloned().collect() };
        let node = self.attribute(semconv::HOST_ID).or_else(|| self.attribute(semconv::HOST_NAME));
        if let Some(node) = node.cloned() {
            resource.set(semconv::SERVICE_INSTANCE_ID, node);
        }
        resource
    }

    /// llmtap's own, for what it measures of itself.
    pub fn own(host: &Host) -> Self {
        let mut resource = Self::of_no_process(host, semconv::SCOPE_NAME);
        resource.set(semconv::SERVICE_VERSION, semconv::SCOPE_VERSION);
        resource
    }

    /// Of this machine, for a service that has no name.
    pub fn unknown(host: &Host) -> Self {
        Self::of_no_process(host, UNKNOWN_SERVICE)
    }

    fn of_no_process(host: &Host, service: &'static str) -> Self {
        let connection = Connection { comm: Some(service.into()), ..Connection::default() };
        build(host, None, &connection).for_metrics()
    }

    /// What a pod says of its service. What the process itself states goes before it.
    fn pod_states(&mut self, pod: &InPod) {
        if let Some(namespace) = &pod.namespace {
            self.set(semconv::SERVICE_NAMESPACE, Arc::clone(namespace));
        }
        if let Some(version) = &pod.service_version {
            self.set(semconv::SERVICE_VERSION, Arc::clone(version));
        }
        if let (Some(namespace), Some(name), Some(container)) = (&pod.namespace, &pod.name, &pod.container) {
            self.set(semconv::SERVICE_INSTANCE_ID, format!("{namespace}.{name}.{container}"));
        }
        for (name, value) in &pod.resource {
            // Which of the names it can be, `Process::service_name` has judged.
            if name != semconv::SERVICE_NAME {
                self.set(name, value.clone());
            }
        }
    }

    fn container(&mut self, container: &Container) {
        self.set(semconv::CONTAINER_ID, Arc::clone(&container.id));
        if let Some(name) = &container.name {
            self.set(semconv::CONTAINER_NAME, Arc::clone(name));
        }
        if let Some(runtime) = container.runtime {
            self.set(semconv::CONTAINER_RUNTIME_NAME, runtime.name());
        }
        if let Some(name) = &container.image.name {
            self.set(semconv::CONTAINER_IMAGE_NAME, Arc::clone(name));
        }
        if let Some(tag) = &container.image.tag {
            self.set(semconv::CONTAINER_IMAGE_TAGS, Value::Texts(vec![tag.to_string()]));
        }
        if let Some(digest) = &container.image.digest {
            self.set(semconv::OCI_MANIFEST_DIGEST, Arc::clone(digest));
        }
        self.named(semconv::CONTAINER_LABEL, &container.labels);
    }

    fn pod(&mut self, pod: &InPod) {
        for (name, value) in [
            (semconv::K8S_NAMESPACE_NAME, &pod.namespace),
            (semconv::K8S_NODE_NAME, &pod.node),
            (semconv::K8S_POD_UID, &pod.uid),
            (semconv::K8S_POD_NAME, &pod.name),
            (semconv::K8S_CONTAINER_NAME, &pod.container),
        ] {
            if let Some(value) = value {
                self.set(name, Arc::clone(value));
            }
        }
        for (kind, name) in &pod.workload {
            self.set(workload(*kind), Arc::clone(name));
        }
        self.named(semconv::K8S_POD_LABEL, &pod.labels);
        self.named(semconv::K8S_POD_ANNOTATION, &pod.annotations);
    }

    /// Attributes whose names end in a name of somebody else's.
    fn named(&mut self, prefix: &str, values: &BTreeMap<String, String>) {
        for (name, value) in values {
            self.set(&format!("{prefix}.{name}"), value.clone());
        }
    }

    /// Takes credentials out of what others wrote: a title that a process has given itself shows its command line, a label
    /// or a variable can hold anything.
    fn conceal(&mut self) {
        for (_, value) in &mut self.attributes {
            match value {
                Value::Text(text) => {
                    if let Cow::Owned(clean) = redact::secrets().redact(text) {
                        *value = clean.into();
                    }
                }
                Value::Shared(text) => {
                    if let Cow::Owned(clean) = redact::secrets().redact(text) {
                        *value = clean.into();
                    }
                }
                Value::Texts(texts) => {
                    for text in texts {
                        if let Cow::Owned(clean) = redact::secrets().redact(text) {
                            *text = clean;
                        }
                    }
                }
                Value::Content(_) | Value::Int(_) | Value::Double(_) | Value::Bool(_) => {}
            }
        }
    }

    fn set(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        match self.attributes.iter_mut().find(|(key, _)| &**key == name) {
            Some((_, old)) => *old = value,
            None => self.attributes.push((name.into(), value)),
        }
    }
}

fn workload(kind: Kind) -> &'static str {
    match kind {
        Kind::Deployment => semconv::K8S_DEPLOYMENT_NAME,
        Kind::ReplicaSet => semconv::K8S_REPLICASET_NAME,
        Kind::StatefulSet => semconv::K8S_STATEFULSET_NAME,
        Kind::DaemonSet => semconv::K8S_DAEMONSET_NAME,
        Kind::CronJob => semconv::K8S_CRONJOB_NAME,
        Kind::Job => semconv::K8S_JOB_NAME,
        Kind::ReplicationController => semconv::K8S_REPLICATIONCONTROLLER_NAME,
    }
}

/// What is the same for all processes of this machine. Read once, before files can no longer be opened; a replay, whose
/// output must not depend on the machine, uses the empty default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    pub name: Option<String>,
    /// `/etc/machine-id`.
    pub id: Option<String>,
    /// User names by uid, of this machine; a container's own users can be others.
    pub users: BTreeMap<u32, String>,
    /// llmtap's own `OTEL_RESOURCE_ATTRIBUTES`, decoded. They hold for all traced processes, except what names llmtap
    /// itself (`service.name`, `service.instance.id`).
    pub attributes: Vec<(String, String)>,
}

impl Host {
    /// Reads the machine's facts; what cannot be read is absent.
    pub fn read(resource_attributes: Option<&str>) -> Self {
        let line = |path: &str| {
            let text = std::fs::read_to_string(path).ok()?;
            let text = text.trim();
            (!text.is_empty()).then(|| text.to_owned())
        };
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self {
            name: line("/proc/sys/kernel/hostname"),
            id: line("/etc/machine-id"),
            users: parse_passwd(&users),
            attributes: resource_attributes.map(parse_resource_attributes).unwrap_or_default(),
        }
    }
}

/// passwd(5): `name:password:uid:…`. The first name of a uid counts.
fn parse_passwd(text: &str) -> BTreeMap<u32, String> {
    let mut users = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(uid)) = (fields.next(), fields.nth(1))
            && let Ok(uid) = uid.parse()
        {
            users.entry(uid).or_insert_with(|| name.to_owned());
        }
    }
    users
}

/// The resources of the processes seen, by pid.
#[derive(Debug, Default)]
pub struct Resources {
    host: Host,
    processes: HashMap<u32, Arc<Process>>,
    order: VecDeque<u32>,
    /// The last resource made for a process, with the container it was made for.
    made: HashMap<u32, (Option<Arc<str>>, Arc<Resource>)>,
    /// The last resource made from what a connection alone tells.
    told: Option<(Told, Arc<Resource>)>,
}

/// What a connection alone tells of its process.
#[derive(Debug)]
struct Told {
    pid: Option<u32>,
    exe: Option<Arc<str>>,
    comm: Option<Arc<str>>,
    container_id: Option<Arc<str>>,
}

impl Resources {
    pub fn new(host: Host) -> Self {
        Self { host, ..Self::default() }
    }

    /// A process was seen, or has replaced its image: what was known of its pid is void.
    pub fn process(&mut self, process: &Arc<Process>) {
        self.made.remove(&process.pid);
        if self.processes.insert(process.pid, Arc::clone(process)).is_none() {
            self.remember(process.pid);
        }
    }

    fn remember(&mut self, pid: u32) {
        self.order.push_back(pid);
        if self.order.len() > PROCESSES_KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.processes.remove(&oldest);
            self.made.remove(&oldest);
        }
    }

    /// The resource of the process that holds `connection`.
    pub fn of(&mut self, connection: &Connection) -> Arc<Resource> {
        let Some(pid) = connection.pid else { return self.told(connection) };
        if let Some((container, resource)) = self.made.get(&pid)
            && *container == connection.container_id
        {
            return Arc::clone(resource);
        }
        let Some(process) = self.processes.get(&pid) else { return self.told(connection) };
        let resource = Arc::new(build(&self.host, Some(process), connection));
        self.made.insert(pid, (connection.container_id.clone(), Arc::clone(&resource)));
        resource
    }

    /// Without process facts, another connection of the same pid can know more: it holds for those that tell the same.
    fn told(&mut self, connection: &Connection) -> Arc<Resource> {
        let Connection { pid, exe, comm, container_id, .. } = connection;
        if let Some((told, resource)) = &self.told
            && (&told.pid, &told.exe, &told.comm, &told.container_id) == (pid, exe, comm, container_id)
        {
            return Arc::clone(resource);
        }
        let resource = Arc::new(build(&self.host, None, connection));
        let told = Told { pid: *pid, exe: exe.clone(), comm: comm.clone(), container_id: container_id.clone() };
        self.told = Some((told, Arc::clone(&resource)));
        resource
    }
}

fn build(host: &Host, process: Option<&Process>, connection: &Connection) -> Resource {
    let mut resource = Resource::default();
    let exe = process.and_then(|process| process.exe.as_ref()).or(connection.exe.as_ref());
    let executable = exe.and_then(|exe| Path::new(&**exe).file_name()?.to_str());
    let attributes = process.map(|process| process.resource_attributes.as_slice()).unwrap_or_default();
    let stated = |name: &str| attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());

    let by_process = process.and_then(Process::service_name);
    let service = by_process
        .as_deref()
        .or_else(|| stated(semconv::SERVICE_NAME))
        .or(executable)
        .or(connection.comm.as_deref())
        .unwrap_or(UNKNOWN_SERVICE);
    resource.set(semconv::SERVICE_NAME, service.to_owned());

    for (name, value) in &host.attributes {
        if name != semconv::SERVICE_NAME && name != semconv::SERVICE_INSTANCE_ID {
            resource.set(name, value.clone());
        }
    }
    let pod = process.and_then(|process| process.pod.as_ref());
    if let Some(pod) = pod {
        resource.pod_states(pod);
    }
    for (name, value) in attributes {
        if name != semconv::SERVICE_NAME {
            resource.set(name, value.clone());
        }
    }

    // Seen facts beat stated ones.
    if let Some(pid) = connection.pid {
        resource.set(semconv::PROCESS_PID, pid);
    }
    if let Some(executable) = executable {
        resource.set(semconv::PROCESS_EXECUTABLE_NAME, executable.to_owned());
    }
    if let Some(exe) = exe {
        resource.set(semconv::PROCESS_EXECUTABLE_PATH, Arc::clone(exe));
    }
    if let Some(process) = process {
        if let Some(argv0) = &process.argv0 {
            resource.set(semconv::PROCESS_COMMAND, command(argv0, exe.map(|exe| &**exe)).to_owned());
        }
        if let Some(uid) = process.uid {
            let owner = host.users.get(&uid).cloned().unwrap_or_else(|| uid.to_string());
            resource.set(semconv::PROCESS_OWNER, owner);
        }
    }
    if let Some(name) = &host.name {
        resource.set(semconv::HOST_NAME, name.clone());
    }
    if let Some(id) = &host.id {
        resource.set(semconv::HOST_ID, id.clone());
    }
    if let Some(container) = &connection.container_id {
        resource.set(semconv::CONTAINER_ID, Arc::clone(container));
    }
    if let Some(container) = process.and_then(|process| process.container.as_ref()) {
        resource.container(container);
    }
    if let Some(pod) = pod {
        resource.pod(pod);
    }
    resource.conceal();
    resource.set(semconv::TELEMETRY_DISTRO_NAME, semconv::SCOPE_NAME);
    resource.set(semconv::TELEMETRY_DISTRO_VERSION, semconv::SCOPE_VERSION);
    resource
}

/// The first word of a command line. A process that gives itself a title (setproctitle) has all of its command line, or
/// anything else, where the name of its command was.
fn command<'a>(argv0: &'a str, exe: Option<&str>) -> &'a str {
    match exe {
        Some(exe) if exe == argv0 => argv0,
        _ => argv0.split_whitespace().next().unwrap_or(argv0),
    }
}

#[cfg(test)]
mod tests;
