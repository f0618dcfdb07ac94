//! What the half with privileges tells of itself for metrics: now and then, and only when somebody gets them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Arc, Mutex, TryLockError},
    thread,
    time::{Duration, Instant},
};

use tracer_common::counter::Counter;

use crate::{
    capture::{
        Tracer,
        seam::{Channel, Health, ToParser, Verdicts},
        survey::Survey,
    },
    doctor,
};

/// The first time comes soon, so that short runs are told of, too.
const FIRST: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(10);

/// Kinds of verdicts that are told.
const MAX_VERDICTS: usize = 256;

pub struct Watch {
    next: Instant,
    /// PID of the other half.
    parser: u32,
    /// Files that are judged; whoever holds it, judges.
    survey: Arc<Mutex<Survey>>,
    attach_failures: u64,
}

impl Watch {
    pub fn new(parser: u32) -> Self {
        Self { next: Instant::now() + FIRST, parser, survey: Arc::default(), attach_failures: 0 }
    }

    /// When it wants to tell next.
    pub fn next(&self) -> Instant {
        self.next
    }

    pub fn attach_failed(&mut self) {
        self.attach_failures += 1;
    }

    /// Tells how the tracing goes.
    pub fn health(&mut self, channel: &Channel, tracer: &Tracer) {
        self.next = Instant::now() + INTERVAL;
        let memory = [("privileged", std::process::id()), ("parser", self.parser)];
        let counters = tracer.counters();
        let health = Health {
            lost: counters.losses().map(|(cause, count)| (cause.to_owned(), count)).collect(),
            unread: counters.value(Counter::Unread),
            unwatched: tracer.unwatched().map(|(reason, count)| (reason.to_owned(), count)).into(),
            attach_failures: self.attach_failures,
            memory: memory.into_iter().filter_map(|(half, pid)| Some((half.to_owned(), resident(pid)?))).collect(),
        };
        // The next one tells the same and more.
        let _ = channel.send(&ToParser::Health(health));
    }

    /// Tells `doctor`'s verdicts on these processes. Executables are read on a thread of their own: hooks must not wait.
    pub fn verdicts(&self, channel: &Channel, mut pids: Vec<u32>) {
        // llmtap carries the names that it looks for.
        pids.retain(|pid| *pid != std::process::id() && *pid != self.parser);
        let Ok(channel) = channel.try_clone() else { return };
        let survey = Arc::clone(&self.survey);
        thread::spawn(move || {
            let mut survey = match survey.try_lock() {
                Ok(survey) => survey,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // The last time still goes on.
                Err(TryLockError::WouldBlock) => return,
            };
            let _ = channel.send(&ToParser::Verdicts(tally(&mut survey, &pids)));
        });
    }
}

fn tally(survey: &mut Survey, pids: &[u32]) -> Vec<Verdicts> {
    let mut counts: BTreeMap<(Option<String>, &'static str), u64> = BTreeMap::new();
    for pid in pids {
        // One that has ended meanwhile has none.
        let verdicts: BTreeSet<_> = doctor::judge(survey, *pid).into_iter().collect();
        for verdict in verdicts {
            *counts.entry(verdict).or_default() += 1;
        }
    }
    let verdicts = counts.into_iter().take(MAX_VERDICTS);
    verdicts.map(|((library, reason), processes)| Verdicts { library, reason: reason.to_owned(), processes }).collect()
}

/// Resident bytes of a process (proc(5), `status`).
fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?;
    Some(kib.trim().parse::<u64>().ok()? * 1024)
}
