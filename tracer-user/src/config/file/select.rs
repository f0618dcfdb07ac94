//! `select`: which processes are traced.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use crate::config::values::{OneOrMore, Pattern};

/// A process is traced when one selector of `include` matches and none of `exclude` does.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Select {
    pub include: Vec<Selector>,
    pub exclude: Vec<Selector>,
}

/// Matches what all of its keys match; a key with several values matches any of them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selector {
    /// Every process.
    pub all: bool,
    pub pid: OneOrMore<u32>,
    /// A cgroup's path, or its part below the mount; with its subtree.
    pub cgroup: OneOrMore<PathBuf>,
    /// The command name, at most 15 bytes.
    pub comm: OneOrMore<Pattern>,
    /// The executable's path.
    pub exe: OneOrMore<Pattern>,
    /// The arguments, with blanks between.
    pub command_line: OneOrMore<Pattern>,
    /// The user's name or number.
    pub user: OneOrMore<Pattern>,
    pub container_image: OneOrMore<Pattern>,
    pub container_label: BTreeMap<String, Pattern>,
    pub kubernetes: Kubernetes,
}

/// The pod of a process.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kubernetes {
    pub namespace: OneOrMore<Pattern>,
    pub pod: OneOrMore<Pattern>,
    pub label: BTreeMap<String, Pattern>,
    pub annotation: BTreeMap<String, Pattern>,
}

/// What is known of a process. What is not known matches nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub pid: u32,
    pub comm: Option<String>,
    pub exe: Option<String>,
    pub command_line: Option<String>,
    pub user: Option<u32>,
    pub user_name: Option<String>,
    /// Paths in each hierarchy.
    pub cgroups: Vec<PathBuf>,
    pub container: Option<ContainerFacts>,
    pub pod: Option<PodFacts>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerFacts {
    pub image: Option<String>,
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodFacts {
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

impl Selector {
    /// Whether it names nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it needs what only the container's runtime or the cluster knows.
    #[must_use]
    pub fn needs_container(&self) -> bool {
        !self.container_image.is_empty() || !self.container_label.is_empty() || self.kubernetes != Kubernetes::default()
    }

    #[must_use]
    pub fn matches(&self, facts: &Facts) -> bool {
        if self.is_empty() {
            return false;
        }
        let any = |patterns: &OneOrMore<Pattern>, text: Option<&str>| {
            patterns.is_empty() || text.is_some_and(|text| patterns.matches(text))
        };
        let number = facts.user.map(|user| user.to_string());
        let image = facts.container.as_ref().and_then(|container| container.image.as_deref());
        (self.pid.is_empty() || self.pid.0.contains(&facts.pid))
            && (self.cgroup.is_empty()
                || self.cgroup.0.iter().any(|path| facts.cgroups.iter().any(|cgroup| is_below(cgroup, path))))
            && any(&self.comm, facts.comm.as_deref())
            && any(&self.exe, facts.exe.as_deref())
            && any(&self.command_line, facts.command_line.as_deref())
            && (any(&self.user, facts.user_name.as_deref()) || any(&self.user, number.as_deref()))
            && any(&self.container_image, image)
            && all(&self.container_label, facts.container.as_ref().map(|container| &container.labels))
            && self.kubernetes.matches(facts.pod.as_ref())
    }
}

impl Kubernetes {
    fn matches(&self, pod: Option<&PodFacts>) -> bool {
        let any = |patterns: &OneOrMore<Pattern>, text: Option<&String>| {
            patterns.is_empty() || text.is_some_and(|text| patterns.matches(text))
        };
        any(&self.namespace, pod.and_then(|pod| pod.namespace.as_ref()))
            && any(&self.pod, pod.and_then(|pod| pod.name.as_ref()))
            && all(&self.label, pod.map(|pod| &pod.labels))
            && all(&self.annotation, pod.map(|pod| &pod.annotations))
    }
}

/// Whether each name is there with a value that matches.
fn all(patterns: &BTreeMap<String, Pattern>, values: Option<&BTreeMap<String, String>>) -> bool {
    patterns
        .iter()
        .all(|(name, pattern)| values.and_then(|values| values.get(name)).is_some_and(|value| pattern.matches(value)))
}

/// Whether a cgroup, as `/proc/PID/cgroup` names it, is the one at `path` or below it. `path` may include the mount
/// point.
#[must_use]
pub fn is_below(cgroup: &std::path::Path, path: &std::path::Path) -> bool {
    let cgroup = cgroup.strip_prefix("/").unwrap_or(cgroup);
    let below_mount = path.strip_prefix("/sys/fs/cgroup").unwrap_or(path);
    let below_mount = below_mount.strip_prefix("/").unwrap_or(below_mount);
    // In version 1 the first component below the mount names the hierarchy.
    let mut components = below_mount.components();
    cgroup.starts_with(below_mount)
        || (components.next().is_some()
            && !components.as_path().as_os_str().is_empty()
            && cgroup.starts_with(components.as_path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(yaml: &str) -> Selector {
        let text = format!("select:\n  include:\n    - {yaml}\n");
        super::super::File::parse(&text, &|_| None).unwrap().select.include.remove(0)
    }

    fn facts() -> Facts {
        Facts {
            pid: 7,
            comm: Some("python3".into()),
            exe: Some("/usr/bin/python3.12".into()),
            command_line: Some("python3 -u /srv/agent.py".into()),
            user: Some(1000),
            user_name: Some("app".into()),
            cgroups: vec!["/system.slice/agent.service".into()],
            container: Some(ContainerFacts {
                image: Some("docker.io/acme/agent:2".into()),
                labels: BTreeMap::from([("tier".into(), "ai".into())]),
            }),
            pod: Some(PodFacts {
                namespace: Some("shop".into()),
                name: Some("agent-0".into()),
                labels: BTreeMap::from([("app".into(), "agent".into())]),
                annotations: BTreeMap::from([("llmtap/trace".into(), "true".into())]),
            }),
        }
    }

    #[test]
    fn each_key_matches_its_fact_and_nothing_unknown() {
        for yaml in [
            "{all: true}",
            "{pid: 7}",
            "{pid: [1, 7]}",
            "{cgroup: /system.slice}",
            "{cgroup: /sys/fs/cgroup/unified/system.slice/agent.service}",
            "{comm: \"pyth*\"}",
            "{exe: [/bin/sh, \"/usr/bin/python3*\"]}",
            "{command_line: \"*/agent.py\"}",
            "{command_line: {regex: \"agent[.]py$\"}}",
            "{user: app}",
            "{user: \"1000\"}",
            "{container_image: \"*/acme/agent:*\"}",
            "{container_label: {tier: ai}}",
            "{kubernetes: {namespace: shop, pod: \"agent-*\", label: {app: agent}, annotation: {llmtap/trace: \"true\"}}}",
            "{comm: python3, user: app, kubernetes: {namespace: shop}}",
        ] {
            let selector = selector(yaml);
            assert!(selector.matches(&facts()), "{yaml}");
            assert_eq!(selector.matches(&Facts::default()), selector.all, "{yaml}");
        }
    }

    #[test]
    fn every_key_must_match() {
        for yaml in [
            "{pid: 7, comm: node}",
            "{cgroup: /system}",
            "{comm: python}",
            "{container_label: {tier: ai, zone: a}}",
            "{kubernetes: {namespace: shop, annotation: {llmtap/trace: \"false\"}}}",
        ] {
            assert!(!selector(yaml).matches(&facts()), "{yaml}");
        }
    }
}
