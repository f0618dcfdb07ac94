//! Containers: which one a process is in, and what its runtime has written of it.
//!
//! The id and the pod's uid come from the cgroup's path alone. Name, image and labels stand in the runtime's own files,
//! which need no more rights than tracing does, and no runtime's socket, which is as good as root. The files are found
//! through the runtime's process above the container, in the root directory of that process: so they are found below
//! rootless Podman, in another place than the usual, and inside a node that is itself a container.

mod cgroup;
mod image;
mod runtime;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

pub use cgroup::{Identity, identity};
pub use image::Image;

/// Containers that are remembered. The one first seen longest ago is forgotten first, and read again.
const CONTAINERS_KEPT: usize = 4096;

/// Runtimes write some files only after they have started the container. Until then what was found is little, and is
/// looked for again, this often and this long.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const MAX_LOOKS: u8 = 8;

/// Key of the configuration file: `containers`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Whether the runtimes' files are read. Without them the id, and the pod's uid, are all that is told.
    pub metadata: bool,
    /// Labels that spans tell as `container.label.KEY`: names, `*` for all.
    pub labels: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { metadata: true, labels: Vec::new() }
    }
}

/// Who runs the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runtime {
    Docker,
    Containerd,
    CriO,
    Podman,
}

impl Runtime {
    /// As `container.runtime.name` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Podman => "podman",
        }
    }
}

/// One container. Absent is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    pub id: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    /// As the runtime calls it; in a pod that is not the name that the pod has for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Image::is_empty")]
    pub image: Image,
    /// Where the runtime writes them (Docker, CRI-O).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What the runtime knows of the container's pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodOf>,
}

/// The pod of a container, as kubelet told the runtime. The uid is also in the cgroup's path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodOf {
    pub uid: Option<Arc<str>>,
    pub name: Option<Arc<str>>,
    pub namespace: Option<Arc<str>>,
    /// The container's name in its pod.
    pub container: Option<Arc<str>>,
}

impl Container {
    /// With only the labels that are to be told.
    #[must_use]
    pub fn told(&self, options: &Options) -> Self {
        Self { labels: chosen(&self.labels, &options.labels), ..self.clone() }
    }
}

/// The entries whose names are listed; `*` lists all.
pub fn chosen(all: &BTreeMap<String, String>, names: &[String]) -> BTreeMap<String, String> {
    let is_chosen = |name: &str| names.iter().any(|one| one == "*" || one == name);
    all.iter().filter(|(name, _)| is_chosen(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// What is known of the containers on this machine.
#[derive(Debug, Default)]
pub struct Containers {
    options: Options,
    known: HashMap<Arc<str>, Known>,
    order: VecDeque<Arc<str>>,
}

#[derive(Debug)]
struct Known {
    container: Arc<Container>,
    /// When to look again, unless all was found.
    again: Option<Instant>,
    looks: u8,
}

impl Containers {
    pub fn new(options: Options) -> Self {
        Self { options, ..Self::default() }
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The container of process `pid`; `None` when it is in none, or is gone.
    pub fn of(&mut self, pid: u32) -> Option<Arc<Container>> {
        self.of_at(pid, Instant::now(), identity, runtime::facts)
    }

    /// Whether more may soon be known of a container that [`Self::of`] has told.
    pub fn awaits(&self, id: &str) -> bool {
        self.known.get(id).is_some_and(|known| known.again.is_some())
    }

    fn of_at(
        &mut self,
        pid: u32,
        now: Instant,
        identity: impl Fn(u32) -> Option<Identity>,
        facts: impl Fn(u32, &Identity) -> Container,
    ) -> Option<Arc<Container>> {
        let identity = identity(pid)?;
        let looks = match self.known.get(&identity.container) {
            Some(known) if known.again.is_none_or(|again| now < again) => return Some(Arc::clone(&known.container)),
            Some(known) => known.looks,
            None => 0,
        };
        let mut container = if self.options.metadata {
            facts(pid, &identity)
        } else {
            Container { id: Arc::clone(&identity.container), runtime: identity.runtime, ..Container::default() }
        };
        if identity.pod_uid.is_some() {
            // The runtime's word beats the path's: of a static pod the path only has a hash.
            let pod = container.pod.get_or_insert_default();
            pod.uid = pod.uid.take().or_else(|| identity.pod_uid.clone());
        }
        let complete = !self.options.metadata || container.name.is_some() || looks + 1 >= MAX_LOOKS;
        let container = Arc::new(container);
        let known = Known {
            container: Arc::clone(&container),
            again: (!complete).then(|| now + LOOK_AGAIN),
            looks: looks.saturating_add(1),
        };
        if self.known.insert(Arc::clone(&identity.container), known).is_none() {
            self.order.push_back(identity.container);
            if self.order.len() > CONTAINERS_KEPT
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
        Some(container)
    }
}

#[cfg(test)]
mod tests;
