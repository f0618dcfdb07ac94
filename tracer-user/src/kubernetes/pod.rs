//! A pod, its workload, and the service that it is.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::Options;
use crate::capture::container::{Container, Image, chosen};

/// Annotations with this prefix state resource attributes (semantic conventions, "Specify resource attributes using
/// Kubernetes annotations").
const RESOURCE_PREFIX: &str = "resource.opentelemetry.io/";

/// Well-known labels (kubernetes.io, "Recommended Labels").
const INSTANCE: &str = "app.kubernetes.io/instance";
const NAME: &str = "app.kubernetes.io/name";
const VERSION: &str = "app.kubernetes.io/version";

/// A pod as far as llmtap wants to know it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    pub uid: Arc<str>,
    /// The uid in the paths of its cgroups: for a pod of kubelet's own manifests the manifest's hash.
    pub cgroup_uid: Arc<str>,
    pub name: Arc<str>,
    pub namespace: Arc<str>,
    pub node: Option<Arc<str>>,
    /// The object that controls it: kind and name.
    pub owner: Option<(Kind, Arc<str>)>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub containers: Vec<PodContainer>,
}

/// A container in the pod's status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodContainer {
    pub name: Arc<str>,
    /// The runtime's id.
    pub id: Arc<str>,
    /// As the pod's specification names it.
    pub image: String,
    /// With the digest that was pulled.
    pub image_id: String,
}

/// What makes pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    CronJob,
    Job,
    ReplicationController,
}

impl Kind {
    /// By its name in `ownerReferences`.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "ReplicaSet" => Self::ReplicaSet,
            "StatefulSet" => Self::StatefulSet,
            "DaemonSet" => Self::DaemonSet,
            "Job" => Self::Job,
            "ReplicationController" => Self::ReplicationController,
            _ => return None,
        })
    }
}

/// What is told of the pod of one process. Absent is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InPod {
    pub uid: Option<Arc<str>>,
    pub name: Option<Arc<str>>,
    pub namespace: Option<Arc<str>>,
    pub node: Option<Arc<str>>,
    /// The container's name in the pod.
    pub container: Option<Arc<str>>,
    /// From the pod's owner upwards.
    pub workload: Vec<(Kind, Arc<str>)>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// What annotations state.
    pub resource: BTreeMap<String, String>,
    /// By the conventions' order; what the process states of itself goes before it.
    pub service: Option<Arc<str>>,
    pub service_version: Option<Arc<str>>,
}

impl Pod {
    /// What is told of a process in container `container` of this pod.
    pub fn told(&self, container: Option<&Container>, options: &Options) -> InPod {
        let known = container.and_then(|container| self.containers.iter().find(|known| known.id == container.id));
        let by_runtime = container.and_then(|container| container.pod.as_ref()?.container.clone());
        let name = known.map(|known| Arc::clone(&known.name)).or(by_runtime);
        let image = container.map(|container| container.image.clone()).unwrap_or_default();
        let image = known.map_or_else(|| image.clone(), |known| image.clone().or(known.image()));
        let label = |label: &str| {
            let value = self.labels.get(label).filter(|value| options.service_from_labels && !value.is_empty());
            value.map(|value| Arc::from(value.as_str()))
        };
        let resource: BTreeMap<String, String> = self
            .annotations
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(RESOURCE_PREFIX)?.to_owned(), value.clone())))
            .filter(|(name, value)| !name.is_empty() && !value.is_empty())
            .collect();
        let workload = self.workload();
        let service = label(INSTANCE)
            .or_else(|| label(NAME))
            .or_else(|| workload.last().map(|(_, name)| Arc::clone(name)))
            .unwrap_or_else(|| Arc::clone(&self.name));
        InPod {
            uid: Some(Arc::clone(&self.uid)),
            name: Some(Arc::clone(&self.name)),
            namespace: Some(Arc::clone(&self.namespace)),
            node: self.node.clone(),
            container: name,
            workload,
            labels: chosen(&self.labels, &options.labels),
            annotations: chosen(&self.annotations, &options.annotations),
            resource,
            service: Some(service),
            service_version: label(VERSION).or_else(|| image.version().map(Arc::from)),
        }
    }

    /// The image of container `id` in the pod's status.
    pub fn image(&self, id: &str) -> Option<Image> {
        self.containers.iter().find(|container| *container.id == *id).map(PodContainer::image)
    }

    /// The owner, and what owns that: llmtap may only read pods, and the names of the owners that Kubernetes' own
    /// controllers make say it.
    fn workload(&self) -> Vec<(Kind, Arc<str>)> {
        let Some((kind, name)) = &self.owner else { return Vec::new() };
        let above = match kind {
            // A deployment's replica set is called after it and the hash of its template, which is also a label.
            Kind::ReplicaSet => self.labels.get("pod-template-hash").and_then(|hash| {
                let name = name.strip_suffix(hash.as_str())?.strip_suffix('-')?;
                Some((Kind::Deployment, name))
            }),
            Kind::Job => scheduled(name).map(|name| (Kind::CronJob, name)),
            _ => None,
        };
        let above = above.filter(|(_, name)| !name.is_empty()).map(|(kind, name)| (kind, Arc::from(name)));
        std::iter::once((*kind, Arc::clone(name))).chain(above).collect()
    }
}

/// The cron job of a job that is called after it and the minute, since 1970, of its schedule. Minutes from 2020 to 2039:
/// other numbers at the end of a job's name, such as a date, are its own.
fn scheduled(job: &str) -> Option<&str> {
    let (name, minute) = job.rsplit_once('-')?;
    let is_number = minute.len() == 8 && minute.bytes().all(|byte| byte.is_ascii_digit());
    let minute: u32 = minute.parse().ok().filter(|_| is_number)?;
    (26_297_280..36_816_480).contains(&minute).then_some(name)
}

impl PodContainer {
    fn image(&self) -> Image {
        // Some runtimes say how they know the id: `docker-pullable://…`.
        let id = self.image_id.rsplit("://").next().unwrap_or_default();
        Image::parse(&self.image).or(Image::parse(id))
    }
}

impl InPod {
    /// From what the runtime alone knows.
    pub fn of_runtime(container: &Container) -> Option<Self> {
        let pod = container.pod.as_ref()?;
        Some(Self {
            uid: pod.uid.clone(),
            name: pod.name.clone(),
            namespace: pod.namespace.clone(),
            container: pod.container.clone(),
            ..Self::default()
        })
    }

    /// `service.name`, where the pod states or implies one.
    pub fn service_name(&self) -> Option<Arc<str>> {
        self.resource.get("service.name").map(|name| Arc::from(name.as_str())).or_else(|| self.service.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "ef2b097c5d9d77834c7b14b96fcee656aba850976f68d2efbc946a5d50509524";
    const DIGEST: &str = "sha256:e4908de936ca9f6120445032741d21eec078dd9f70c9ec73f9e7ab41a17d6deb";

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn pod() -> Pod {
        Pod {
            uid: "4cad64d0-7a36-452a-8a08-bd3a694cdad5".into(),
            cgroup_uid: "4cad64d0-7a36-452a-8a08-bd3a694cdad5".into(),
            name: "shop-agent-65747dc769-pjztg".into(),
            namespace: "shop".into(),
            node: Some("node-1".into()),
            owner: Some((Kind::ReplicaSet, "shop-agent-65747dc769".into())),
            labels: map(&[("pod-template-hash", "65747dc769"), ("team", "blue")]),
            annotations: map(&[("note", "x")]),
            containers: vec![PodContainer {
                name: "agent".into(),
                id: A.into(),
                image: "registry.example/agent:1.2".into(),
                image_id: format!("docker-pullable://registry.example/agent@{DIGEST}"),
            }],
        }
    }

    fn container() -> Container {
        Container { id: A.into(), ..Container::default() }
    }

    #[test]
    fn a_deployments_pod_is_its_service() {
        let told = pod().told(Some(&container()), &Options::default());
        assert_eq!(told.service_name().as_deref(), Some("shop-agent"));
        assert_eq!(told.container.as_deref(), Some("agent"));
        assert_eq!(told.service_version.as_deref(), Some(format!("1.2@{DIGEST}").as_str()));
        let expected =
            [(Kind::ReplicaSet, "shop-agent-65747dc769".into()), (Kind::Deployment, Arc::from("shop-agent"))];
        assert_eq!(told.workload, expected);
        assert!(told.labels.is_empty() && told.annotations.is_empty() && told.resource.is_empty());
    }

    #[test]
    fn annotations_go_before_labels_and_labels_before_workloads() {
        let mut pod = pod();
        let name = |pod: &Pod, options: &Options| pod.told(None, options).service_name().unwrap().to_string();
        let options = Options::default();
        pod.labels.extend(map(&[(NAME, "agent"), (VERSION, "7")]));
        assert_eq!(name(&pod, &options), "agent");
        pod.labels.extend(map(&[(INSTANCE, "agent-eu")]));
        assert_eq!(name(&pod, &options), "agent-eu");
        assert_eq!(pod.told(None, &options).service_version.as_deref(), Some("7"));
        assert_eq!(name(&pod, &Options { service_from_labels: false, ..Options::default() }), "shop-agent");
        pod.annotations.extend(map(&[
            ("resource.opentelemetry.io/service.name", "checkout"),
            ("resource.opentelemetry.io/deployment.environment.name", "prod"),
            ("resource.opentelemetry.io/", "x"),
        ]));
        assert_eq!(name(&pod, &options), "checkout");
        let resource = pod.told(None, &options).resource;
        assert_eq!(resource, map(&[("service.name", "checkout"), ("deployment.environment.name", "prod")]));
    }

    #[test]
    fn owners_of_owners_are_known_by_their_names() {
        let above = |kind: Kind, name: &str, hash: &str| {
            let labels = if hash.is_empty() { BTreeMap::new() } else { map(&[("pod-template-hash", hash)]) };
            let pod = Pod { owner: Some((kind, name.into())), labels, ..pod() };
            pod.workload().get(1).map(|(kind, name)| (*kind, name.to_string()))
        };
        assert_eq!(above(Kind::ReplicaSet, "a-b-5d4f", "5d4f"), Some((Kind::Deployment, "a-b".into())));
        // Nobody's, or of another controller's.
        assert_eq!(above(Kind::ReplicaSet, "a-b-5d4f", ""), None);
        assert_eq!(above(Kind::ReplicaSet, "a-b-5d4f", "77"), None);
        assert_eq!(above(Kind::ReplicaSet, "5d4f", "5d4f"), None);
        assert_eq!(above(Kind::Job, "nightly-29921512", ""), Some((Kind::CronJob, "nightly".into())));
        for job in ["import-20261121", "import-1", "import", "29921512", "x-2992151x"] {
            assert_eq!(above(Kind::Job, job, ""), None, "{job}");
        }
        assert_eq!(above(Kind::StatefulSet, "db-29921512", ""), None);
    }

    #[test]
    fn a_pod_that_nobody_controls_is_a_service_of_its_own() {
        let pod = Pod { owner: None, ..pod() };
        assert_eq!(pod.told(None, &Options::default()).service_name().as_deref(), Some("shop-agent-65747dc769-pjztg"));
    }

    #[test]
    fn only_chosen_labels_and_annotations_are_told() {
        let options =
            Options { labels: vec!["team".into(), "zone".into()], annotations: vec!["*".into()], ..Options::default() };
        let told = pod().told(None, &options);
        assert_eq!(told.labels, map(&[("team", "blue")]));
        assert_eq!(told.annotations, map(&[("note", "x")]));
    }
}
