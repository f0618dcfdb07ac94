//! The few fields of the API's objects that are read, and what becomes of them. Labels and annotations are whatever the
//! authors of pods wrote: they are bounded here.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::pod::{Kind, Pod, PodContainer};

/// Labels, annotations and containers that are kept of one pod.
const MAX_ENTRIES: usize = 64;

/// Bytes that the labels, and the annotations, of one pod may take. Both go through the seam in one message.
const MAX_BYTES: usize = 12 << 10;

/// Longest annotation that is kept, bytes. Labels have 63 at most; `kubectl apply` stores whole objects.
const MAX_ANNOTATION: usize = 1024;

/// Longest name or image, bytes.
const MAX_NAME: usize = 512;

/// Annotations that are kept before others.
const PREFERRED: [&str; 2] = ["resource.opentelemetry.io/", "llmtap"];

/// `PodList`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct List {
    pub metadata: ListMeta,
    /// The kubelet writes `null` for none.
    pub items: Option<Vec<Item>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ListMeta {
    pub resource_version: String,
    /// Where the next page begins; empty at the end.
    #[serde(rename = "continue")]
    pub next: String,
}

/// One line of a watch.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct WatchEvent {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    #[serde(rename = "type")]
    pub kind: String,
    pub object: Item,
}

/// A `Pod`; after an error a `Status`, of which only the code is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Item {
    pub metadata: Metadata,
    pub spec: Spec,
    pub status: PodStatus,
    pub code: u16,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub resource_version: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub owner_references: Vec<Owner>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Owner {
    pub kind: String,
    pub name: String,
    pub controller: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Spec {
    pub node_name: String,
}

/// As far as it is an object: that of a `Status` is a text.
#[derive(Debug, Default)]
pub struct PodStatus(Statuses);

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Statuses {
    container_statuses: Vec<ContainerStatus>,
    init_container_statuses: Vec<ContainerStatus>,
    ephemeral_container_statuses: Vec<ContainerStatus>,
}

impl<'de> Deserialize<'de> for PodStatus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Pod(Statuses),
            Other(serde::de::IgnoredAny),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Pod(statuses) => Self(statuses),
            Either::Other(_) => Self::default(),
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    image: String,
    #[serde(rename = "imageID")]
    image_id: String,
    /// `containerd://ID`; absent until it has started.
    #[serde(rename = "containerID")]
    container_id: String,
}

impl Item {
    /// What is kept of it; `None` when it has no uid or name.
    pub fn pod(self) -> Option<Pod> {
        let Metadata { name, namespace, uid, labels, annotations, owner_references, .. } = self.metadata;
        if uid.is_empty() || name.is_empty() || [&uid, &name, &namespace].iter().any(|text| text.len() > MAX_NAME) {
            return None;
        }
        let hash = annotations.get("kubernetes.io/config.mirror").filter(|hash| hash.len() <= MAX_NAME);
        let owner = owner_references.into_iter().find(|owner| owner.controller && owner.name.len() <= MAX_NAME);
        let Statuses { container_statuses, init_container_statuses, ephemeral_container_statuses } = self.status.0;
        let statuses =
            container_statuses.into_iter().chain(init_container_statuses).chain(ephemeral_container_statuses);
        Some(Pod {
            cgroup_uid: hash.unwrap_or(&uid).as_str().into(),
            uid: uid.into(),
            name: name.into(),
            namespace: namespace.into(),
            node: Some(self.spec.node_name).filter(|node| !node.is_empty() && node.len() <= MAX_NAME).map(Into::into),
            owner: owner.and_then(|owner| Some((Kind::parse(&owner.kind)?, owner.name.into()))),
            labels: bounded(labels),
            annotations: bounded(annotations),
            containers: statuses.filter_map(ContainerStatus::container).take(MAX_ENTRIES).collect(),
        })
    }
}

impl ContainerStatus {
    fn container(self) -> Option<PodContainer> {
        let (_, id) = self.container_id.split_once("://")?;
        if [&self.name, &self.image, &self.image_id, &self.container_id].iter().any(|text| text.len() > MAX_NAME) {
            return None;
        }
        Some(PodContainer { id: id.into(), name: self.name.into(), image: self.image, image_id: self.image_id })
    }
}

/// As many entries as fit, those that llmtap reads itself first.
fn bounded(mut all: BTreeMap<String, String>) -> BTreeMap<String, String> {
    all.retain(|name, value| name.len() <= MAX_NAME && value.len() <= MAX_ANNOTATION);
    let is_preferred = |name: &str| PREFERRED.iter().any(|prefix| name.starts_with(prefix));
    let (first, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|(name, _)| is_preferred(name));
    let mut bytes = 0;
    let fits = |(name, value): &(String, String)| {
        bytes += name.len() + value.len();
        bytes <= MAX_BYTES
    };
    first.into_iter().chain(rest).take(MAX_ENTRIES).take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(value: serde_json::Value) -> Option<Pod> {
        serde_json::from_value::<Item>(value).unwrap().pod()
    }

    #[test]
    fn a_pod_has_its_owner_and_containers() {
        let read = pod(json!({
            "metadata": { "name": "agent-0", "namespace": "shop", "uid": "u1", "managedFields": [{ "manager": "x" }],
                "labels": { "a": "1" }, "annotations": { "b": "2" },
                "ownerReferences": [ { "kind": "Other", "name": "x" }, { "kind": "StatefulSet", "name": "agent", "controller": true, "uid": "u2" } ] },
            "spec": { "nodeName": "node-1", "containers": [{ "name": "agent", "env": [{ "name": "KEY", "value": "secret" }] }] },
            "status": { "phase": "Running",
                "containerStatuses": [
                    { "name": "agent", "image": "agent:1", "imageID": "agent@sha256:00", "containerID": "containerd://c1" },
                    { "name": "waits", "image": "agent:1", "imageID": "", "state": { "waiting": {} } } ],
                "initContainerStatuses": [{ "name": "init", "image": "i:1", "imageID": "", "containerID": "cri-o://c2" }] }
        }))
        .unwrap();
        assert_eq!(read.owner, Some((Kind::StatefulSet, "agent".into())));
        assert_eq!((&*read.uid, &*read.cgroup_uid, read.node.as_deref()), ("u1", "u1", Some("node-1")));
        let ids: Vec<(&str, &str)> = read.containers.iter().map(|one| (&*one.name, &*one.id)).collect();
        assert_eq!(ids, [("agent", "c1"), ("init", "c2")]);
        assert!(!format!("{read:?}").contains("secret"));
    }

    #[test]
    fn a_static_pods_cgroups_have_its_hash() {
        let read = pod(
            json!({ "metadata": { "name": "etcd", "uid": "u1", "annotations": { "kubernetes.io/config.mirror": "a1b2" } } }),
        );
        assert_eq!(&*read.unwrap().cgroup_uid, "a1b2");
    }

    #[test]
    fn a_status_is_no_pod() {
        let event: WatchEvent = serde_json::from_value(json!({ "type": "ERROR", "object": {
            "kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "metadata": {} } }))
        .unwrap();
        assert_eq!(event.object.code, 410);
        assert_eq!(event.object.pod(), None);
    }

    #[test]
    fn what_authors_write_is_bounded_and_llmtaps_own_comes_first() {
        let long = "x".repeat(MAX_ANNOTATION);
        let mut annotations: BTreeMap<String, String> = (0..100).map(|n| (format!("a{n}"), long.clone())).collect();
        annotations.insert("kubectl.kubernetes.io/last-applied-configuration".into(), "x".repeat(MAX_ANNOTATION + 1));
        annotations.insert("resource.opentelemetry.io/service.name".into(), "checkout".into());
        let labels: BTreeMap<String, String> = (0..1000).map(|n| (format!("l{n}"), "x".into())).collect();
        let read =
            pod(json!({ "metadata": { "name": "n", "uid": "u", "annotations": annotations, "labels": labels } }))
                .unwrap();
        assert_eq!(read.annotations.get("resource.opentelemetry.io/service.name").unwrap(), "checkout");
        assert!(read.annotations.values().map(String::len).sum::<usize>() <= MAX_BYTES);
        assert_eq!(read.labels.len(), MAX_ENTRIES);
        assert!(serde_json::to_vec(&read).unwrap().len() < 48 << 10);
        assert_eq!(pod(json!({ "metadata": { "name": "n".repeat(MAX_NAME + 1), "uid": "u" } })), None);
    }
}
