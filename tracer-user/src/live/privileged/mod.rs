//! The half with privileges: attaches, follows processes, starts the command, answers the other half.

mod judge;
mod starts;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::ToSocketAddrs as _,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};

use self::starts::Starts;
use super::{Plan, cluster::Cluster, select::Selection, service::Service, watch::Watch};
use crate::{
    capture::{
        Process, ProcessNews, ProcessNotice, Refusal, Tracer, Verdict,
        container::{Container, Containers},
        process,
        seam::{
            Channel, Command, LaunchError, Signals, Starting, Status, ToParser, ToTracer, Totals, keep_for_tracing,
            poll, process_end, reap, send_signal,
        },
    },
    commands::Failure,
    kubernetes::{Pods, client::News},
};

/// How long the other half may take to read what is left, write and export.
const CLOSING_TIME: Duration = Duration::from_secs(30);

/// Names that are looked up at the same time. The exporter needs one.
const MAX_LOOKUPS: usize = 8;

/// Names kept for the closing words.
const MAX_NAMES: usize = 64;

/// Runs until there is nothing left to trace; then lets the other half finish.
#[expect(clippy::too_many_arguments, reason = "what a run has, each from another place")]
pub fn run(
    tracer: Tracer,
    channel: &Channel,
    parser: u32,
    signals: &Signals,
    plan: Plan,
    watch: Option<Watch>,
    cluster: Option<Cluster>,
    variables: Vec<String>,
) -> Result<u8, Failure> {
    let mut half = Half {
        tracer,
        channel,
        selection: plan.selection,
        processes: 0,
        hooked: BTreeSet::new(),
        untraced: BTreeMap::new(),
        notices: Vec::new(),
        lookups: Arc::default(),
        watch,
        service: plan.service,
        containers: Containers::new(plan.containers),
        pods: Pods::new(plan.kubernetes, cluster.is_some()),
        cluster,
        variables,
        undecided: BTreeSet::new(),
        starts: Starts::default(),
    };
    let command = match plan.launch {
        Some(command) => match half.start(&command) {
            Ok(pid) => Some(pid),
            Err(error) => {
                half.finish(parser);
                return Err(Failure { status: error.status(), error: error.into() });
            }
        },
        None => {
            half.begin();
            tracing::info!("tracing begins");
            if let Some(service) = &mut half.service {
                service.begin(channel);
            }
            None
        }
    };
    // The command has started with all that its user may do. Nothing from here on needs more than tracing does.
    if let Err(error) = keep_for_tracing() {
        half.finish(parser);
        return Err(Failure::run(anyhow!("cannot give up privileges: {error}")));
    }
    let ended = half.serve(command, parser, signals, plan.duration.map(|duration| Instant::now() + duration));
    let failed = || Failure::run(anyhow!("the parsing half failed; the traced program was left alone"));
    match ended.map_err(Failure::run)? {
        Ended::Command(status) if half.finish(parser) => {
            // Whoever waits for the command waits for nothing of ours.
            half.tracer.leave();
            Ok(status.code())
        }
        Ended::Asked if half.finish(parser) => Ok(0),
        // It has said why.
        Ended::Command(_) | Ended::Asked => Err(failed()),
        Ended::Parser => {
            // Nobody reads any more: the probes go at once, the command goes on without them.
            drop(half);
            let _ = reap(parser);
            if let Some(pid) = command {
                let _ = reap(pid);
            }
            Err(failed())
        }
    }
}

/// Why tracing ends.
enum Ended {
    Command(Status),
    /// By a signal, or the time is over.
    Asked,
    /// The parsing half is gone.
    Parser,
}

struct Half<'a> {
    tracer: Tracer,
    channel: &'a Channel,
    selection: Selection,
    processes: u64,
    hooked: BTreeSet<String>,
    untraced: BTreeMap<String, (u32, String)>,
    notices: Vec<ProcessNotice>,
    /// Look-ups under way.
    lookups: Arc<AtomicUsize>,
    /// Of what metrics tell; `None` when nobody gets any.
    watch: Option<Watch>,
    /// The daemon's part.
    service: Option<Service>,
    containers: Containers,
    pods: Pods,
    /// Who asks for pods; `None` when nobody can be asked.
    cluster: Option<Cluster>,
    /// Of traced processes' environments, what the other half gets.
    variables: Vec<String>,
    /// Processes that selectors by pod cannot judge yet.
    undecided: BTreeSet<u32>,
    /// Programs that are held until those selectors can judge them.
    starts: Starts,
}

impl Half<'_> {
    /// Starts the command once its hooks stand.
    fn start(&mut self, command: &Command) -> Result<u32, LaunchError> {
        let held = command.hold()?;
        self.tracer.add_target(held.pid).map_err(io::Error::other)?;
        for verdict in self.tracer.attach_likely(&held.program, &command.environment) {
            self.note(None, &verdict);
        }
        let starting = held.release()?;
        // Its own exec is held like any other.
        while !self.has_started(&starting)? {
            self.follow();
        }
        starting.outcome()
    }

    /// Waits for the start or for the kernel's news.
    fn has_started(&self, starting: &Starting) -> io::Result<bool> {
        let mut fds = vec![starting.as_fd()];
        let kernel = self.tracer.poll_fds();
        fds.extend(kernel.iter().copied());
        Ok(poll(&fds, None)?.first() == Some(&true))
    }

    /// Hooks what already runs.
    fn begin(&mut self) {
        if self.selection.rules.is_some() {
            return self.judge_all(true);
        }
        for pid in process::running() {
            if self.excludes(pid) {
                self.tracer.exclude(pid);
            } else if self.selects(pid) {
                self.add_with_descendants(pid);
            }
        }
        for pid in self.tracer.targets() {
            self.adopt(pid);
        }
        if self.selection.all {
            for pid in process::running() {
                if !self.excludes(pid) {
                    self.adopt(pid);
                }
            }
        }
    }

    /// Hooks a process that runs already, and tells the other half of it.
    fn adopt(&mut self, pid: u32) {
        // Before its first bytes come: a call must not end before it is known whose it is.
        self.introduce(pid);
        match self.tracer.attach_process(pid) {
            Ok(verdict) => self.note(Some(pid), &verdict),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::debug!(pid, "cannot examine the process: {error}"),
        }
    }

    /// Serves until the command has ended, a signal came, the time is over, or the other half is gone.
    fn serve(
        &mut self,
        command: Option<u32>,
        parser: u32,
        signals: &Signals,
        until: Option<Instant>,
    ) -> anyhow::Result<Ended> {
        let parser_end = process_end(parser).context("cannot watch the parsing half")?;
        let command_end = command.map(process_end).transpose().context("cannot watch the command")?;
        loop {
            let own = self.watch.as_ref().map(Watch::next).into_iter().chain(self.service.as_ref().map(Service::next));
            let own = own.chain(self.pods.next()).chain(self.starts.next()).chain(self.tracer.next_adjustment());
            let next = until.into_iter().chain(own).min();
            let timeout = next.map(|next| next.saturating_duration_since(Instant::now()));
            let ready = {
                let kernel = self.tracer.poll_fds();
                let mut fds: Vec<BorrowedFd<'_>> = vec![self.channel.as_fd(), signals.as_fd(), parser_end.as_fd()];
                fds.extend(command_end.as_ref().map(OwnedFd::as_fd));
                fds.extend(self.cluster.as_ref().map(Cluster::as_fd));
                let own = fds.len();
                fds.extend(kernel.iter().copied());
                let mut ready = poll(&fds, timeout)?;
                let kernel_ready = ready.drain(own..).any(|ready| ready);
                ready.push(kernel_ready);
                ready
            };
            let is_ready = |index: usize| ready.get(index).copied().unwrap_or(false);
            // First the kernel: a process may be waiting in vain to be hooked.
            if is_ready(ready.len() - 1) {
                self.follow();
            }
            if is_ready(0) {
                self.answer();
            }
            if is_ready(2) {
                return Ok(Ended::Parser);
            }
            if is_ready(1) {
                while let Some(signal) = signals.next() {
                    match (command, &self.service) {
                        (Some(pid), _) => send_signal(pid, signal).unwrap_or_default(),
                        (None, Some(_)) if signal == libc::SIGHUP => self.reload(),
                        (None, service) => {
                            service.iter().for_each(Service::end);
                            return Ok(Ended::Asked);
                        }
                    }
                }
            }
            if let Some(pid) = command
                && is_ready(3)
            {
                let status = reap(pid)?;
                self.follow();
                return Ok(Ended::Command(status));
            }
            self.ask_cluster();
            self.judge_starts();
            self.tracer.adjust();
            self.tell();
            if let Some(service) = &mut self.service {
                service.beat(self.channel);
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(Ended::Asked);
            }
        }
    }

    /// Reads the daemon's file anew.
    fn reload(&mut self) {
        let Some(service) = &mut self.service else { return };
        let selection = service.reload(self.channel);
        self.variables = service.variables();
        let Some(selection) = selection else { return };
        let include = |selection: &Selection| selection.rules.as_ref().map(|rules| rules.include.clone());
        let anew = include(&self.selection) != include(&selection);
        self.selection = selection;
        // The keeper knows the old selectors: another one takes its place.
        match self.tracer.hold_programs(&self.selection.names) {
            Ok(()) => self.starts.forget(),
            Err(error) => {
                tracing::info!("programs are not held at their start ({error}): very short ones may be missed");
            }
        }
        self.judge_all(anew);
    }

    /// Tells what is due for metrics.
    fn tell(&mut self) {
        let Some(watch) = &mut self.watch else { return };
        if Instant::now() < watch.next() {
            return;
        }
        watch.health(self.channel, &self.tracer);
        let pids = if self.selection.all { process::running() } else { self.tracer.targets() };
        let pids = pids.into_iter().filter(|pid| !self.tracer.is_excluded(*pid));
        watch.verdicts(self.channel, pids.collect());
    }

    /// Takes what is known of pods now.
    fn ask_cluster(&mut self) {
        let now = Instant::now();
        let mut known = self.pods.expire(now);
        let (mut any, mut told, mut changed) = (false, false, false);
        if let Some(cluster) = &self.cluster {
            match cluster.news() {
                Ok(news) => {
                    any = !news.is_empty();
                    told = any && !self.undecided.is_empty();
                    for news in news {
                        match &news {
                            News::Trouble(why) => tracing::warn!("{why}"),
                            News::Pod(pod) => changed |= self.pods.knows(&pod.cgroup_uid),
                            News::Gone(_) | News::Complete => {}
                        }
                        known.extend(self.pods.news(news, now));
                    }
                }
                Err(_) => {
                    tracing::warn!("the process that asks for pods has ended: what is known of them stays");
                    self.cluster = None;
                }
            }
        }
        for process in known {
            self.describe(process);
        }
        if changed && self.selection.by_container() {
            // A label or an annotation: processes of all kinds may be selected now, or no longer.
            self.tracer.ask_again();
            self.judge_all(true);
        } else if told {
            self.decide();
        }
        if any {
            self.judge_starts_again();
        }
    }

    /// Takes the kernel's news of processes.
    fn follow(&mut self) {
        let mut notices = std::mem::take(&mut self.notices);
        self.tracer.on_readable(&mut notices);
        self.judge_starts();
        for notice in notices.drain(..) {
            match &notice.what {
                ProcessNews::Executed => self.executed(&notice),
                ProcessNews::Forked if notice.target => self.introduce(notice.pid),
                ProcessNews::Joined if self.excludes(notice.pid) => self.leave_out(notice.pid),
                ProcessNews::Joined => self.adopt(notice.pid),
                ProcessNews::Mapped(verdict) => self.note(Some(notice.pid), verdict),
                ProcessNews::ForeignStack => {
                    self.refuse(
                        notice.pid,
                        "calls its TLS library on coroutine stacks, where hooks are not safe".into(),
                    );
                }
                ProcessNews::Exited => {
                    self.pods.ended(notice.pid);
                    self.undecided.remove(&notice.pid);
                }
                ProcessNews::Forked => {}
            }
        }
        self.notices = notices;
    }

    /// Tells the other half what it needs of a process, and the tracer what it must know of its runtime.
    fn introduce(&mut self, pid: u32) {
        let container = self.containers.of(pid);
        self.introduce_in(pid, container);
    }

    fn introduce_in(&mut self, pid: u32, container: Option<Arc<Container>>) {
        let Ok(facts) = process::facts(pid, &self.variables) else { return };
        self.processes += 1;
        if facts.service.is_none() {
            // It has ended: nothing of what was told of it before would be left.
            return;
        }
        if facts.exe.as_deref().is_some_and(process::keeps_coroutines_on_their_thread) {
            self.tracer.allow_foreign_stacks(pid);
        }
        let process = self.located(facts, container);
        self.describe(process);
    }

    /// With what is known of its container and pod.
    fn located(&mut self, facts: Process, container: Option<Arc<Container>>) -> Arc<Process> {
        let Some(container) = container else {
            self.pods.forget(facts.pid);
            return Arc::new(facts);
        };
        let facts = Process { container: Some(Arc::new(container.told(self.containers.options()))), ..facts };
        let (process, unknown) = self.pods.describe(facts, &container, Instant::now());
        if let (Some(cluster), true) = (&self.cluster, unknown) {
            cluster.wanted();
        }
        process
    }

    fn describe(&self, process: Arc<Process>) {
        let pid = process.pid;
        if let Err(error) = self.channel.send(&ToParser::Process { at: process::now(), process }) {
            tracing::debug!(pid, "the process's facts did not go through: {error}");
        }
    }

    fn note(&mut self, pid: Option<u32>, verdict: &Verdict) {
        for hooked in &verdict.hooked {
            tracing::info!(
                library = hooked.library,
                path = %hooked.path.display(),
                preferred = hooked.preferred,
                "hooked"
            );
            if self.hooked.len() < MAX_NAMES {
                self.hooked.insert(format!("{} ({})", hooked.library, hooked.path.display()));
            }
        }
        if let Some(watch) = &mut self.watch {
            for refused in &verdict.refused {
                if matches!(refused.why, Refusal::Attach(_)) {
                    watch.attach_failed();
                }
            }
        }
        let Some(pid) = pid else { return };
        for refused in &verdict.refused {
            let why = match &refused.why {
                Refusal::Reason(reason) => format!("{} {reason}", refused.path.display()),
                Refusal::Attach(error) => format!("{}: {error}", refused.path.display()),
            };
            self.refuse(pid, why);
        }
    }

    /// What is not traced is said: once in the log, and in the closing words.
    fn refuse(&mut self, pid: u32, why: String) {
        let name = process::facts(pid, &[]).ok().and_then(|facts| facts.exe).map_or_else(
            || format!("process {pid}"),
            |exe| {
                Path::new(&*exe).file_name().map_or_else(|| exe.to_string(), |name| name.to_string_lossy().into_owned())
            },
        );
        if self.untraced.len() < MAX_NAMES && !self.untraced.contains_key(&name) {
            // Whether the process uses another, hooked library is not known yet: the closing words tell.
            tracing::info!(pid, "{name}: {why}");
            self.untraced.insert(name, (pid, why));
        }
    }

    /// What the other half asks. Our end of the channel waits for those who read it: whether something is there to read
    /// is asked first.
    fn question(&self) -> Option<ToTracer> {
        let ready = poll(&[self.channel.as_fd()], Some(Duration::ZERO)).ok()?;
        ready.first().filter(|ready| **ready)?;
        self.channel.receive().ok()?
    }

    /// Answers the other half. It is not trusted: it can ask for names and for less data, nothing else.
    fn answer(&mut self) {
        while let Some(message) = self.question() {
            match message {
                ToTracer::Beat => {
                    if let Some(service) = &mut self.service {
                        service.answered();
                    }
                }
                ToTracer::Withdraw { pid } => {
                    // A process that has ended meanwhile leaves the question to the next one.
                    if let Ok(verdict) = self.tracer.withdraw(pid) {
                        self.note(Some(pid), &verdict);
                    }
                }
                ToTracer::Unread { key, until } => self.tracer.leave_unread(key, until),
                ToTracer::Resolve { id, host, port } => {
                    let Ok(channel) = self.channel.try_clone() else { continue };
                    let lookups = Arc::clone(&self.lookups);
                    if lookups.fetch_add(1, Ordering::Relaxed) >= MAX_LOOKUPS {
                        lookups.fetch_sub(1, Ordering::Relaxed);
                        let _ = channel.send(&ToParser::Resolved { id, addresses: Vec::new() });
                        continue;
                    }
                    // The C library may wait for a name server.
                    thread::spawn(move || {
                        let addresses =
                            (host.as_str(), port).to_socket_addrs().map(Iterator::collect).unwrap_or_default();
                        let _ = channel.send(&ToParser::Resolved { id, addresses });
                        lookups.fetch_sub(1, Ordering::Relaxed);
                    });
                }
            }
        }
    }

    /// Tells the other half that nothing more comes, and waits for it. Whether it ended well.
    fn finish(&mut self, parser: u32) -> bool {
        let counters = self.tracer.counters();
        let totals = Totals {
            lost: counters.losses().map(|(cause, count)| (cause.to_owned(), count)).collect(),
            processes: self.processes,
            hooked: self.hooked.iter().cloned().collect(),
            untraced: std::mem::take(&mut self.untraced)
                .into_iter()
                .map(|(name, (pid, why))| (name, pid, why))
                .collect(),
        };
        if let Some(watch) = &mut self.watch {
            watch.health(self.channel, &self.tracer);
        }
        let _ = self.channel.send(&ToParser::CommandEnded);
        let _ = self.channel.send(&ToParser::Finish(totals));
        let deadline = Instant::now() + CLOSING_TIME;
        while let Ok(end) = process_end(parser) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::error!("the parsing half does not end: it is stopped");
                // Not without CAP_KILL: then it is left behind, rather than waited for without end.
                if send_signal(parser, libc::SIGKILL).is_err() {
                    return false;
                }
                break;
            }
            // It may still need names resolved while it exports.
            match poll(&[end.as_fd(), self.channel.as_fd()], Some(left)).as_deref() {
                Ok([true, _]) | Err(_) => break,
                Ok([_, true]) => self.answer(),
                Ok(_) => {}
            }
        }
        matches!(reap(parser), Ok(Status::Exited(0)))
    }
}
