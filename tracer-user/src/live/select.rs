//! Which processes `trace` selects beyond what the kernel can tell: by command name and executable.

use std::{fs, path::Path};

use globset::GlobMatcher;

use crate::{
    capture::{process, target::Names},
    config::{Exclude, Select, Trace},
};

/// The selectors of one run.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    pub pids: Vec<u32>,
    pub names: Names,
    pub all: bool,
    pub excluded: Vec<Exclude>,
}

impl Selection {
    pub fn of(arguments: &Trace) -> Self {
        let Select { pid, comm, exe, all, .. } = &arguments.select;
        Self {
            pids: pid.clone(),
            names: Names { comms: comm.clone(), exes: exe.clone() },
            all: *all,
            excluded: arguments.exclude.clone(),
        }
    }

    /// Whether processes are chosen by what they execute, so that every exec must be looked at.
    pub fn by_name(&self) -> bool {
        !self.names.is_empty() || self.excluded.iter().any(|one| !matches!(one, Exclude::Pid(_)))
    }

    pub fn selects(&self, pid: u32) -> bool {
        let matches = |patterns: &[GlobMatcher], value: Option<String>| {
            value.is_some_and(|value| patterns.iter().any(|pattern| pattern.is_match(&value)))
        };
        self.pids.contains(&pid)
            || (!self.names.comms.is_empty() && matches(&self.names.comms, comm(pid)))
            || (!self.names.exes.is_empty() && matches(&self.names.exes, exe(pid)))
    }

    pub fn excludes(&self, pid: u32) -> bool {
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
    let below_mount = path.strip_prefix("/sys/fs/cgroup").unwrap_or(path);
    let Ok(lines) = fs::read_to_string(format!("/proc/{pid}/cgroup")) else { return false };
    lines.lines().filter_map(|line| line.splitn(3, ':').nth(2)).any(|cgroup| {
        let cgroup = Path::new(cgroup.trim_start_matches('/'));
        // In version 1 the first component below the mount names the hierarchy.
        let mut components = below_mount.components();
        cgroup.starts_with(below_mount.strip_prefix("/").unwrap_or(below_mount))
            || (components.next().is_some()
                && components.as_path() != Path::new("")
                && cgroup.starts_with(components.as_path()))
    })
}
