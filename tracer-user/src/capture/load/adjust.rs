//! Whom hooks stop, as targets come and rest.

use std::{
    collections::{HashMap, HashSet},
    fs,
    time::{Duration, Instant},
};

use super::{
    super::{attach::MAX_ALONE, clock::boot_now, mapped::mapping},
    AttachMode, ProcessNews, ProcessNotice, TargetMode, Tracer,
};

/// How often processes that are stopped alone are looked after.
const ROUND: Duration = Duration::from_secs(5);

impl Tracer {
    /// A target came, or becomes another program: hooks must not miss what it does first.
    pub(super) fn disturbed(&mut self) {
        self.due.clear();
        self.rest.disturbed(Instant::now());
        if self.attachments.widen() {
            self.rest.widened(boot_now());
            tracing::debug!("targets change: hooks stop every process");
        }
    }

    /// Notes what a notice tells of targets that come and go.
    pub(super) fn heed(&mut self, notice: &ProcessNotice) {
        if !notice.target {
            return;
        }
        match notice.what {
            ProcessNews::Forked => {
                if let Some(parent) = notice.parent {
                    self.rest.forked(notice.pid, parent);
                }
                self.disturbed();
            }
            ProcessNews::Executed => {
                self.rest.executed(notice.pid);
                self.disturbed();
            }
            ProcessNews::Joined => self.disturbed(),
            ProcessNews::Exited => {
                self.rest.ended(notice.pid);
                self.attachments.forget(notice.pid);
            }
            ProcessNews::ForeignStack | ProcessNews::Mapped(_) => {}
        }
    }

    /// Whether hooks may stop single processes here at all. Nothing may be lost by that at the start of programs: they must
    /// be held. Older kernels miss threads.
    fn may_spare(&self) -> bool {
        self.gate.is_some() && self.mode != TargetMode::All && self.attachments.mode() == AttachMode::Session
    }

    /// When [`Self::adjust`] has something to do.
    #[must_use]
    pub fn next_adjustment(&self) -> Option<Instant> {
        let rest = if self.may_spare() { self.rest.due() } else { None };
        let step = self.due.last().map(|_| Instant::now());
        rest.into_iter().chain(step).chain(self.attachments.next_close()).min()
    }

    /// Has hooks stop the targets alone once these have rested, file by file: a program may be waiting for its start.
    pub fn adjust(&mut self) {
        let now = Instant::now();
        self.attachments.close_retired(now);
        if let Some((key, pids)) = self.due.pop() {
            self.rest.narrowed(boot_now());
            if let Err(error) = self.attachments.narrow(&key, &pids) {
                tracing::debug!("hooks for single processes failed: {error}");
            }
            if self.due.is_empty() {
                tracing::info!("targets rest: hooks stop {} processes alone", self.attachments.alone().len());
            }
            return;
        }
        if !self.may_spare() || self.rest.due().is_none_or(|due| due > now) {
            return;
        }
        if self.rest.is_over() && self.attachments.take_widened() {
            // A file that was new, or is used by a process that did not use it before.
            self.rest.look_again(now);
            return;
        }
        if self.rest.is_over() {
            // A first thread that has ended leaves the kernel nothing to tell a single process by.
            let lost = self.attachments.alone().into_iter().any(|pid| has_no_mappings(pid) == Some(true));
            if lost {
                self.disturbed()
            } else {
                self.rest.again_at(now + ROUND)
            }
            return;
        }
        match self.users() {
            Some(users) => {
                self.attachments.take_widened();
                self.due = self.files_to_narrow(&users);
                self.rest.came(now + ROUND);
            }
            None => self.rest.disturbed(now),
        }
    }

    /// The numbers of the files from which each target executes; `None` when that cannot be said of one.
    fn users(&self) -> Option<HashMap<u32, HashSet<u64>>> {
        let mut users = HashMap::new();
        for pid in self.targets.iter() {
            let Ok(maps) = fs::read_to_string(format!("/proc/{pid}/maps")) else {
                // It may have ended.
                if fs::exists(format!("/proc/{pid}")).unwrap_or(true) {
                    return None;
                }
                continue;
            };
            if maps.is_empty() {
                return None;
            }
            let inodes = maps.lines().filter_map(|line| Some(mapping(pid, line)?.inode)).collect();
            users.insert(pid, inodes);
        }
        Some(users)
    }

    fn files_to_narrow(&self, users: &HashMap<u32, HashSet<u64>>) -> Vec<Due> {
        let everyone: Vec<u32> = users.keys().copied().collect();
        let forking = self.rest.forking();
        let mut due = Vec::new();
        for key in self.attachments.wide() {
            let using: Vec<u32> =
                users.iter().filter(|(_, files)| files.contains(&key.inode)).map(|(pid, _)| *pid).collect();
            if using.len() > MAX_ALONE || using.iter().any(|pid| forking.contains(pid)) {
                continue;
            }
            // Who has not loaded it yet may still do so: nothing is missed then, if hooks can be there before.
            let can_all = everyone.len() <= MAX_ALONE;
            due.push((key, if can_all { everyone.clone() } else { using }));
        }
        due
    }
}

/// A file, and the processes that its hooks are to stop.
pub(super) type Due = (super::super::mapped::FileKey, Vec<u32>);

fn has_no_mappings(pid: u32) -> Option<bool> {
    Some(fs::read_to_string(format!("/proc/{pid}/maps")).ok()?.is_empty())
}
