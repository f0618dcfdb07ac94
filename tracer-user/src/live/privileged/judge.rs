//! Which processes are traced: the selectors are asked at each exec, at the start, and when they or what is known of a
//! process's pod change.

use std::collections::BTreeSet;

use super::Half;
use crate::{
    capture::{ProcessNotice, process},
    config::file::select::Awaited,
    live::{cluster::Cluster, select::InContainer},
};

/// Processes that wait for their pod to be judged. More are judged at their next exec.
const MAX_UNDECIDED: usize = 16 << 10;

impl Half<'_> {
    /// Judges all that runs by the daemon's selectors. What was traced goes on to be traced untouched, as long as it, or
    /// a process that it descends from, is still selected; `anew` is false where only what is excluded can have changed.
    pub(super) fn judge_all(&mut self, anew: bool) {
        let running = process::running();
        let mut wanted = BTreeSet::new();
        let mut excluded = BTreeSet::new();
        for pid in &running {
            // llmtap itself.
            if self.tracer.is_excluded(*pid) {
                continue;
            }
            if self.excludes(*pid) {
                excluded.insert(*pid);
            } else if self.selects(*pid) || (!anew && self.tracer.is_target(*pid)) {
                wanted.insert(*pid);
            }
        }
        // A child has mostly, but not always, a larger number than its parent.
        loop {
            let known = wanted.len();
            for pid in &running {
                let inherits = || process::parent(*pid).is_some_and(|parent| wanted.contains(&parent));
                if !wanted.contains(pid) && !excluded.contains(pid) && !self.tracer.is_excluded(*pid) && inherits() {
                    wanted.insert(*pid);
                }
            }
            if wanted.len() == known {
                break;
            }
        }
        for pid in self.tracer.targets() {
            if !wanted.contains(&pid) {
                self.tracer.remove_target(pid);
            }
        }
        let new: Vec<u32> = wanted.into_iter().filter(|pid| !self.tracer.is_target(*pid)).collect();
        for pid in &new {
            self.add(*pid);
        }
        for pid in new {
            self.adopt(pid);
        }
    }

    pub(super) fn selects(&mut self, pid: u32) -> bool {
        let place = self.place(pid);
        self.selection.selects(pid, &place)
    }

    pub(super) fn excludes(&mut self, pid: u32) -> bool {
        let place = self.place(pid);
        self.selection.excludes(pid, &place)
    }

    /// The container and the pod of a process, where a selector asks for them. One whose pod is not known yet is judged
    /// again when it is.
    fn place(&mut self, pid: u32) -> InContainer {
        let mut place = self.look(pid);
        // What is not known by now matches nothing.
        let awaited = std::mem::take(&mut place.awaited);
        if awaited.pod && self.undecided.len() < MAX_UNDECIDED {
            self.undecided.insert(pid);
            self.cluster.iter().for_each(Cluster::wanted);
        }
        place
    }

    /// The same as far as it is known now.
    pub(super) fn look(&mut self, pid: u32) -> InContainer {
        if !self.selection.by_container() {
            return InContainer::default();
        }
        let Some(container) = self.containers.of(pid) else { return InContainer::default() };
        let pod = self.pods.of(&container).cloned();
        let awaited = Awaited { container: self.containers.awaits(&container.id), pod: self.pods.may_come(&container) };
        InContainer { container: Some(container), pod, awaited }
    }

    /// Judges those again whose pod was not known.
    pub(super) fn decide(&mut self) {
        for pid in std::mem::take(&mut self.undecided) {
            if self.excludes(pid) {
                self.leave_out(pid);
            } else if !self.tracer.is_target(pid) && self.selects(pid) {
                self.add_with_descendants(pid);
                self.adopt(pid);
            }
        }
    }

    /// Leaves a process out: for good, or in the daemon until its next exec.
    pub(super) fn leave_out(&mut self, pid: u32) {
        if self.selection.rules.is_some() { self.tracer.remove_target(pid) } else { self.tracer.exclude(pid) }
    }

    pub(super) fn add_with_descendants(&mut self, pid: u32) {
        let mut todo = vec![pid];
        while let Some(pid) = todo.pop() {
            if self.excludes(pid) {
                continue;
            }
            self.add(pid);
            todo.extend(process::children(pid));
        }
    }

    pub(super) fn add(&mut self, pid: u32) {
        if let Err(error) = self.tracer.add_target(pid) {
            tracing::warn!(pid, "cannot trace the process: {error}");
        }
    }

    pub(super) fn executed(&mut self, notice: &ProcessNotice) {
        let pid = notice.pid;
        // Read first, and once: a process that has ended meanwhile is in no container any more.
        let place = self.place(pid);
        if self.selection.excludes(pid, &place) {
            self.leave_out(pid);
        } else if notice.target || self.selection.all {
            let container = place.container.or_else(|| self.containers.of(pid));
            self.introduce_in(pid, container);
        } else if self.selection.selects(pid, &place) {
            self.add_with_descendants(pid);
            self.adopt(pid);
        }
    }
}
