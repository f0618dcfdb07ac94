//! What the pipeline knows of processes, and calls that wait until it knows more.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::{
    capture::Process,
    hop::{Hop, Hops},
};

/// Calls that wait until more is known of the process that made them. Beyond it nothing waits.
pub(super) const MAX_HELD: usize = 1024;

/// Processes whose pod is not known yet. What they did is told when it is, or when it is known that it will not be,
/// which the half that sees processes promises to tell; what others did meanwhile is told after it, so that the order
/// stays.
#[derive(Default)]
pub(super) struct Awaited(HashSet<u32>);

impl Awaited {
    pub fn awaits(&self, pid: u32) -> bool {
        self.0.contains(&pid)
    }

    /// What is not known by now will not be.
    pub fn give_up(&mut self) {
        self.0.clear();
    }

    pub fn process(&mut self, process: &Process) {
        // The kernel's own notice says nothing of pods.
        if process.awaits_pod && self.0.len() < MAX_PROCESSES {
            self.0.insert(process.pid);
        } else if process.service.is_some() {
            self.0.remove(&process.pid);
        }
    }

    pub fn holds(&self, ended: &[Hop]) -> bool {
        !self.0.is_empty()
            && ended.len() < MAX_HELD
            && ended.iter().filter_map(|hop| hop.connection().pid).any(|pid| self.0.contains(&pid))
    }
}

/// Processes that are remembered. Past it all are forgotten: news is then told twice, which does no harm.
const MAX_PROCESSES: usize = 64 << 10;

/// What was told of processes, by PID.
#[derive(Default)]
pub(super) struct Processes(HashMap<u32, Known>);

#[derive(Default, Clone)]
struct Known {
    at: u64,
    speaks_tls: bool,
    /// As it was told last with all that /proc has.
    process: Option<Arc<Process>>,
}

impl Processes {
    /// The process as it was told last with all that /proc has.
    pub fn of(&self, pid: u32) -> Option<&Process> {
        self.0.get(&pid)?.process.as_deref()
    }

    /// Whether plaintext of it was seen.
    pub fn has_spoken(&self, pid: u32) -> bool {
        self.0.get(&pid).is_some_and(|known| known.speaks_tls)
    }

    /// Two sources tell of a process: the kernel at its exec, with little, and soon after whoever read /proc, with all.
    /// They come in any order: the poorer must not replace the richer of the same image.
    pub fn is_news(&mut self, at: u64, process: &Arc<Process>) -> bool {
        if self.0.len() >= MAX_PROCESSES {
            self.0.clear();
        }
        let known = self.0.entry(process.pid).or_default();
        if process.service.is_none() && at <= known.at {
            return false;
        }
        known.at = known.at.max(at);
        known.process = process.service.is_some().then(|| Arc::clone(process));
        true
    }

    /// Whether only its pod is better known than before.
    pub fn is_told_again(&self, process: &Process) -> bool {
        let without_pod =
            |process: &Process| Process { container: None, pod: None, awaits_pod: false, ..process.clone() };
        let before = self.0.get(&process.pid).and_then(|known| known.process.as_ref());
        process.service.is_some() && before.is_some_and(|before| without_pod(before) == without_pod(process))
    }

    /// Whether the process exports telemetry of its model calls itself, by its environment or as it was seen to do.
    pub fn tells_of_models(&self, pid: Option<u32>, hops: &Hops) -> bool {
        let Some(pid) = pid else { return false };
        self.of(pid).is_some_and(|process| process.tells_of_models) || hops.tells_of_itself(pid)
    }

    pub fn speaks_tls(&mut self, pid: Option<u32>) {
        if let Some(pid) = pid {
            self.0.entry(pid).or_default().speaks_tls = true;
        }
    }
}
