//! Which processes are selected beyond what the kernel can tell: by command name and executable, and in the daemon by
//! all that its file can say.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::Path,
    sync::Arc,
};

use globset::GlobMatcher;

use crate::{
    capture::{
        container::{self, Container},
        gate, process,
        seam::user_name,
        target,
        target::{Choice, Names, Start},
    },
    config::{
        Exclude, Select, Trace,
        file::{
            self,
            select::{Awaited, ContainerFacts, Facts, PodFacts, is_below},
        },
    },
    kubernetes::Pod,
};

/// Longest command line that is compared, bytes.
const MAX_COMMAND_LINE: usize = 16 << 10;

/// Where a process runs, as far as selectors ask for it.
#[derive(Debug, Clone, Default)]
pub struct InContainer {
    pub container: Option<Arc<Container>>,
    pub pod: Option<Arc<Pod>>,
    pub awaited: Awaited,
}

impl InContainer {
    fn container(&self) -> Option<ContainerFacts> {
        self.container.as_ref().map(|container| ContainerFacts {
            image: container.image.name.as_deref().map(|name| match &container.image.tag {
                Some(tag) => format!("{name}:{tag}"),
                None => name.to_owned(),
            }),
            labels: container.labels.clone(),
        })
    }

    fn pod(&self) -> Option<PodFacts> {
        if let Some(pod) = &self.pod {
            return Some(PodFacts {
                namespace: Some(pod.namespace.to_string()),
                name: Some(pod.name.to_string()),
                labels: pod.labels.clone(),
                annotations: pod.annotations.clone(),
            });
        }
        // The runtime knows a little.
        let pod = self.container.as_ref()?.pod.as_ref()?;
        Some(PodFacts {
            namespace: pod.namespace.as_deref().map(str::to_owned),
            name: pod.name.as_deref().map(str::to_owned),
            ..PodFacts::default()
        })
    }
}

/// The selectors of one run.
#[derive(Clone, Default)]
pub struct Selection {
    pub pids: Vec<u32>,
    pub names: Names,
    pub all: bool,
    pub excluded: Vec<Exclude>,
    /// Of the daemon: they are asked anew at each exec, and nothing is excluded for good.
    pub rules: Option<Arc<file::Select>>,
}

impl Selection {
    pub fn of(arguments: &Trace) -> Self {
        let Select { pid, comm, exe, all, .. } = &arguments.select;
        Self {
            pids: pid.clone(),
            names: Names { comms: comm.clone(), exes: exe.clone(), judge: None },
            all: *all,
            excluded: arguments.exclude.clone(),
            rules: None,
        }
    }

    /// The daemon's.
    pub fn of_file(select: &file::Select) -> Self {
        let rules = Arc::new(select.clone());
        let asked = Arc::clone(&rules);
        let judge = move |start: Start<'_>| choose(&asked, start);
        let names = Names { judge: Some(Arc::new(judge)), ..Names::default() };
        Self { names, rules: Some(rules), ..Self::default() }
    }

    /// Whether selectors ask for containers or pods.
    pub fn by_container(&self) -> bool {
        let rules = self.rules.as_deref();
        rules.is_some_and(|rules| needs_container(&rules.include) || needs_container(&rules.exclude))
    }

    /// Whether a held program is traced, by the daemon's file; `None` while that depends on what is awaited of its place.
    pub fn judge(&self, start: Start<'_>, place: &InContainer) -> Option<bool> {
        self.rules.as_ref().map_or(Some(false), |rules| judge(rules, start, place))
    }

    /// Whether no process in this container is traced.
    pub fn refuses(&self, place: &InContainer) -> bool {
        let facts =
            Facts { container: place.container(), pod: place.pod(), awaited: place.awaited, ..Facts::default() };
        self.rules.as_ref().is_some_and(|rules| rules.refuses(&facts))
    }

    /// Whether the process is selected and not excluded, by the daemon's file.
    fn wants(&self, pid: u32, place: &InContainer) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.judge(&facts(pid, rules, place)) == Some(true))
    }

    /// Whether processes are chosen by what they execute, so that every exec must be looked at.
    pub fn by_name(&self) -> bool {
        !self.names.is_empty() || self.excluded.iter().any(|one| !matches!(one, Exclude::Pid(_)))
    }

    pub fn selects(&self, pid: u32, place: &InContainer) -> bool {
        let matches = |patterns: &[GlobMatcher], value: Option<String>| {
            value.is_some_and(|value| patterns.iter().any(|pattern| pattern.is_match(&value)))
        };
        self.pids.contains(&pid)
            || self.wants(pid, place)
            || (!self.names.comms.is_empty() && matches(&self.names.comms, comm(pid)))
            || (!self.names.exes.is_empty() && matches(&self.names.exes, exe(pid)))
    }

    pub fn excludes(&self, pid: u32, place: &InContainer) -> bool {
        if let Some(rules) = self.rules.as_ref().filter(|rules| !rules.exclude.is_empty()) {
            let facts = facts(pid, rules, place);
            return rules.exclude.iter().any(|selector| selector.matches(&facts));
        }
        self.excluded.iter().any(|one| match one {
            Exclude::Pid(excluded) => *excluded == pid,
            Exclude::Comm(pattern) => comm(pid).is_some_and(|comm| pattern.is_match(comm)),
            Exclude::Exe(pattern) => exe(pid).is_some_and(|exe| pattern.is_match(exe)),
            Exclude::Cgroup(path) => in_cgroup(pid, path),
        })
    }

    /// Makes all PIDs our own: one that only a process in a container has, inside it, is taken for that process.
    pub fn translate(&mut self) -> Result<(), String> {
        for pid in &mut self.pids {
            if process::is_alive(*pid) {
                continue;
            }
            *pid = match process::numbered_inside(*pid)[..] {
                [one] => {
                    tracing::info!("PID {pid} is that of a process in a container: {one} here");
                    one
                }
                [] => return Err(format!("no process has PID {pid}: `ps -e` lists those that run")),
                ref several => {
                    let several: Vec<String> = several.iter().map(u32::to_string).collect();
                    return Err(format!(
                        "PID {pid} exists in several containers: choose one of {}",
                        several.join(", ")
                    ));
                }
            };
        }
        Ok(())
    }
}

fn comm(pid: u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned())
}

fn exe(pid: u32) -> Option<String> {
    Some(fs::read_link(format!("/proc/{pid}/exe")).ok()?.to_string_lossy().into_owned())
}

/// Whether the process is in the cgroup, of any hierarchy, or below it. `path` may include the mount point.
fn in_cgroup(pid: u32, path: &Path) -> bool {
    cgroups(pid).iter().any(|cgroup| is_below(cgroup, path))
}

/// Its paths in each hierarchy.
fn cgroups(pid: u32) -> Vec<std::path::PathBuf> {
    let lines = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    lines.lines().filter_map(|line| line.splitn(3, ':').nth(2)).map(Into::into).collect()
}

fn needs_container(selectors: &[file::Selector]) -> bool {
    selectors.iter().any(file::Selector::needs_container)
}

/// In the keeper, which waits for nobody: of containers it knows who is in one, and asks it only where that matters.
fn choose(rules: &file::Select, start: Start<'_>) -> Choice {
    let container = || container::identity(start.pid);
    if start.is_target {
        // It stays one, unless it is excluded. In a container it is asked about all the same, so that it is known whose it
        // is before it begins: the runtime itself becomes a target while it makes a container that is chosen.
        let by_container = needs_container(&rules.include) || needs_container(&rules.exclude);
        return if by_container && container().is_some() { Choice::Ask } else { Choice::Yes };
    }
    let awaited = Awaited { container: true, pod: true };
    let mut facts = facts_of_held(start, rules, &InContainer { awaited, ..InContainer::default() });
    let chosen = match rules.judge(&facts) {
        Some(chosen) => chosen,
        None => match container() {
            Some(identity) => return Choice::Open { container: identity.container },
            None => {
                facts.awaited = Awaited::default();
                rules.judge(&facts) == Some(true)
            }
        },
    };
    if chosen { Choice::Yes } else { Choice::No }
}

fn judge(rules: &file::Select, start: Start<'_>, place: &InContainer) -> Option<bool> {
    let facts = facts_of_held(start, rules, place);
    if start.is_target { rules.judge_exclusion(&facts).map(|out| !out) } else { rules.judge(&facts) }
}

/// What the selectors ask of a process: no more is read.
fn facts(pid: u32, rules: &file::Select, place: &InContainer) -> Facts {
    let asked = |ask: fn(&file::Selector) -> bool| rules.include.iter().chain(&rules.exclude).any(ask);
    let user = asked(|selector| !selector.user.is_empty()).then(|| process::user(pid)).flatten();
    Facts {
        pid,
        comm: asked(|selector| !selector.comm.is_empty()).then(|| comm(pid)).flatten(),
        exe: asked(|selector| !selector.exe.is_empty()).then(|| exe(pid)).flatten(),
        command_line: asked(|selector| !selector.command_line.is_empty()).then(|| command_line(pid)).flatten(),
        user,
        user_name: user.and_then(user_name),
        cgroups: if asked(|selector| !selector.cgroup.is_empty()) { cgroups(pid) } else { Vec::new() },
        container: place.container(),
        pod: place.pod(),
        awaited: place.awaited,
    }
}

/// The same of a process that is held while it begins to execute `file`: all else of it is still what it was.
fn facts_of_held(start: Start<'_>, rules: &file::Select, place: &InContainer) -> Facts {
    let Start { pid, file, called, .. } = start;
    let asked = rules.include.iter().chain(&rules.exclude).any(|selector| !selector.command_line.is_empty());
    let command_line = asked.then(|| joined(&gate::command_line(pid).join(OsStr::new(" "))));
    Facts {
        comm: Some(target::comm(file, called)),
        exe: Some(file.to_string_lossy().into_owned()),
        command_line,
        ..facts(pid, rules, place)
    }
}

fn command_line(pid: u32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text: OsString = std::os::unix::ffi::OsStringExt::from_vec(bytes);
    let text = joined(&text).replace('\0', " ");
    Some(text.trim_end().to_owned())
}

fn joined(text: &OsStr) -> String {
    let bytes = text.as_encoded_bytes();
    String::from_utf8_lossy(bytes.get(..MAX_COMMAND_LINE).unwrap_or(bytes)).into_owned()
}
