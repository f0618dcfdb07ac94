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
    /// Of what is not known, more may become known soon.
    pub awaited: Awaited,
}

/// Of what more may become known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Awaited {
    pub container: bool,
    pub pod: bool,
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
        self.judge(facts) == Some(true)
    }

    /// Whether it matches; `None` while that depends on what is awaited.
    #[must_use]
    pub fn judge(&self, facts: &Facts) -> Option<bool> {
        if self.is_empty() || !self.matches_process(facts) {
            return Some(false);
        }
        self.judge_container(facts)
    }

    /// All keys but those of containers and pods.
    fn matches_process(&self, facts: &Facts) -> bool {
        let any = |patterns: &OneOrMore<Pattern>, text: Option<&str>| {
            patterns.is_empty() || text.is_some_and(|text| patterns.matches(text))
        };
        let number = facts.user.map(|user| user.to_string());
        (self.pid.is_empty() || self.pid.0.contains(&facts.pid))
            && (self.cgroup.is_empty()
                || self.cgroup.0.iter().any(|path| facts.cgroups.iter().any(|cgroup| is_below(cgroup, path))))
            && any(&self.comm, facts.comm.as_deref())
            && any(&self.exe, facts.exe.as_deref())
            && any(&self.command_line, facts.command_line.as_deref())
            && (any(&self.user, facts.user_name.as_deref()) || any(&self.user, number.as_deref()))
    }

    /// The keys of containers and pods.
    fn judge_container(&self, facts: &Facts) -> Option<bool> {
        let container = facts.container.as_ref();
        let awaited = facts.awaited.container;
        let image = one(&self.container_image, container.and_then(|container| container.image.as_ref()), awaited);
        let labels = each(&self.container_label, container.map(|container| &container.labels), awaited);
        let pod = self.kubernetes.judge(facts.pod.as_ref(), facts.awaited.pod);
        all([image, labels, pod])
    }

    /// Whether it says nothing of a process but where it runs.
    fn is_of_place(&self) -> bool {
        let kubernetes = self.kubernetes.clone();
        let (container_image, container_label) = (self.container_image.clone(), self.container_label.clone());
        self.needs_container() && *self == Self { container_image, container_label, kubernetes, ..Self::default() }
    }
}

impl Select {
    /// Whether a process is traced; `None` while that depends on what is awaited.
    #[must_use]
    pub fn judge(&self, facts: &Facts) -> Option<bool> {
        all([
            any(self.include.iter().map(|selector| selector.judge(facts))),
            self.judge_exclusion(facts).map(|out| !out),
        ])
    }

    /// Whether a process is left out; `None` likewise.
    #[must_use]
    pub fn judge_exclusion(&self, facts: &Facts) -> Option<bool> {
        any(self.exclude.iter().map(|selector| selector.judge(facts)))
    }

    /// Whether no process is traced that runs there, whatever else it is.
    #[must_use]
    pub fn refuses(&self, place: &Facts) -> bool {
        self.include.iter().all(|selector| selector.judge_container(place) == Some(false))
            || self.exclude.iter().any(|selector| selector.is_of_place() && selector.matches(place))
    }
}

impl Kubernetes {
    fn judge(&self, pod: Option<&PodFacts>, awaited: bool) -> Option<bool> {
        all([
            one(&self.namespace, pod.and_then(|pod| pod.namespace.as_ref()), awaited),
            one(&self.pod, pod.and_then(|pod| pod.name.as_ref()), awaited),
            each(&self.label, pod.map(|pod| &pod.labels), awaited),
            each(&self.annotation, pod.map(|pod| &pod.annotations), awaited),
        ])
    }
}

/// Whether the text, where one is asked for, matches.
fn one(patterns: &OneOrMore<Pattern>, text: Option<&String>, awaited: bool) -> Option<bool> {
    match text {
        _ if patterns.is_empty() => Some(true),
        Some(text) => Some(patterns.matches(text)),
        None => (!awaited).then_some(false),
    }
}

/// Whether each name is there with a value that matches.
fn each(
    patterns: &BTreeMap<String, Pattern>,
    values: Option<&BTreeMap<String, String>>,
    awaited: bool,
) -> Option<bool> {
    all(patterns.iter().map(|(name, pattern)| match values.and_then(|values| values.get(name)) {
        Some(value) => Some(pattern.matches(value)),
        None => (!awaited).then_some(false),
    }))
}

/// One that is false decides; else one that is open leaves it open.
fn all(parts: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let mut known = Some(true);
    for part in parts {
        match part {
            Some(true) => {}
            Some(false) => return Some(false),
            None => known = None,
        }
    }
    known
}

/// One that is true decides, likewise.
fn any(parts: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    all(parts.into_iter().map(|part| part.map(|part| !part))).map(|none| !none)
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
            awaited: Awaited::default(),
        }
    }

    fn select(yaml: &str) -> Select {
        super::super::File::parse(&format!("select: {yaml}\n"), &|_| None).unwrap().select
    }

    /// In a container of which nothing is known yet.
    fn held() -> Facts {
        Facts { container: None, pod: None, awaited: Awaited { container: true, pod: true }, ..facts() }
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

    #[test]
    fn what_is_awaited_leaves_open_only_what_depends_on_it() {
        for (yaml, awaited) in [
            ("{include: [{kubernetes: {label: {app: agent}}}]}", None),
            ("{include: [{container_image: \"*/agent:*\", comm: python3}]}", None),
            ("{include: [{container_image: \"*/agent:*\", comm: node}]}", Some(false)),
            ("{include: [{container_label: {tier: ai}}, {user: app}]}", Some(true)),
            ("{include: [{all: true}], exclude: [{kubernetes: {annotation: {llmtap/trace: \"false\"}}}]}", None),
            ("{include: [{all: true}], exclude: [{kubernetes: {namespace: x}}, {comm: python3}]}", Some(false)),
            ("{include: [{comm: node}], exclude: [{kubernetes: {namespace: x}}]}", Some(false)),
        ] {
            assert_eq!(select(yaml).judge(&held()), awaited, "{yaml}");
            assert!(select(yaml).judge(&Facts { container: None, pod: None, ..facts() }).is_some(), "{yaml}");
        }
        // The runtime knows the namespace, the cluster the rest.
        let pod = PodFacts { namespace: Some("shop".into()), ..PodFacts::default() };
        let of_runtime = Facts { pod: Some(pod), ..held() };
        let judge = |keys: &str| select(&format!("{{include: [{{kubernetes: {{{keys}}}}}]}}")).judge(&of_runtime);
        assert_eq!(judge("namespace: shop"), Some(true));
        assert_eq!(judge("namespace: shops, label: {app: agent}"), Some(false));
        assert_eq!(judge("namespace: shop, label: {app: agent}"), None);
    }

    #[test]
    fn a_place_is_refused_only_if_no_process_in_it_can_be_chosen() {
        let refuses = |yaml: &str, facts: &Facts| select(yaml).refuses(facts);
        let other = "{include: [{kubernetes: {namespace: other}}, {container_label: {tier: web}, comm: python3}]}";
        assert!(refuses(other, &facts()));
        assert!(!refuses(other, &held()));
        assert!(!refuses("{include: [{kubernetes: {namespace: other}}, {comm: node}]}", &facts()));
        let out = "{include: [{all: true}], exclude: [{kubernetes: {namespace: shop}}]}";
        assert!(refuses(out, &facts()));
        assert!(!refuses(
            "{include: [{all: true}], exclude: [{comm: python3, kubernetes: {namespace: shop}}]}",
            &facts()
        ));
    }
}
