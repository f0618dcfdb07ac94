//! What the kernel side tells the half that attaches.

use tracer_common::{
    counter::Counter,
    event::{Process as ProcessRecord, lifecycle},
};

use super::super::{attach::Verdict, clock::Clock, ring};

/// News about a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessNotice {
    pub what: ProcessNews,
    pub pid: u32,
    pub parent: Option<u32>,
    pub uid: Option<u32>,
    /// Start, nanoseconds since the Unix epoch.
    pub start: Option<u64>,
    pub comm: String,
    /// What `execve` was given, as the process names it.
    pub file: Option<String>,
    /// Whether the process is traced.
    pub target: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessNews {
    Forked,
    Executed,
    Exited,
    /// Entered a selected cgroup.
    Joined,
    /// Calls its TLS library on stacks other than its threads' own; those calls are not seen.
    ForeignStack,
    /// Mapped files that were not known before; with what came of it.
    Mapped(Verdict),
}

/// What was counted, by cause.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    pub(super) values: [u64; Counter::ALL.len()],
}

impl Counters {
    #[must_use]
    pub fn value(&self, counter: Counter) -> u64 {
        self.values[counter as usize]
    }

    /// What was lost, by cause.
    pub fn losses(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let lost = Counter::ALL
            .into_iter()
            .filter(|counter| counter.is_loss())
            .map(|counter| (counter.name(), self.value(counter)));
        lost.filter(|(_, count)| *count > 0)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Counter, u64)> + '_ {
        Counter::ALL.into_iter().map(|counter| (counter, self.value(counter)))
    }
}

pub(super) fn notice(record: &ProcessRecord, clock: &Clock) -> ProcessNotice {
    ProcessNotice {
        what: match record.what {
            lifecycle::FORK => ProcessNews::Forked,
            lifecycle::EXEC => ProcessNews::Executed,
            lifecycle::EXIT => ProcessNews::Exited,
            lifecycle::JOINED => ProcessNews::Joined,
            _ => ProcessNews::ForeignStack,
        },
        pid: record.tgid,
        parent: (record.parent != 0).then_some(record.parent),
        uid: Some(record.uid),
        start: (record.start != 0).then(|| clock.unix(record.start)),
        comm: ring::text(&record.comm),
        file: Some(ring::text(&record.file)).filter(|file| !file.is_empty()),
        target: record.target != 0,
    }
}
