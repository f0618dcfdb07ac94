//! Programs that are held at their start until it is known whether they are chosen by their container or pod.
//!
//! The keeper knows only that such a program is in a container. What the runtime knows stands in files and is read here;
//! the pod may have to come from the cluster. The program waits for it, and nothing else does.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use super::Half;
use crate::{
    capture::{
        gate::{HeldProgram, called},
        process,
        seam::ToParser,
        target::Start,
    },
    config::file::select::Awaited,
    live::{cluster::Cluster, select::InContainer},
};

/// How long a program waits to be judged. Where that is in vain, other programs of its container do not wait.
const LONGEST: Duration = Duration::from_secs(1);

/// How often those that wait are judged again: runtimes' files tell nobody that they have been written.
const AGAIN: Duration = Duration::from_millis(50);

/// Containers that are remembered for having been waited for in vain. Past it all are forgotten.
const MAX_IN_VAIN: usize = 4096;

/// Programs that wait.
#[derive(Default)]
pub(super) struct Starts {
    waiting: Vec<(HeldProgram, Instant)>,
    in_vain: HashSet<Arc<str>>,
    next: Option<Instant>,
}

impl Starts {
    /// When those that wait are to be judged.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Their keeper has let them go.
    pub fn forget(&mut self) {
        self.waiting.clear();
        self.next = None;
    }
}

impl Half<'_> {
    /// Judges programs that were held just now, and those that wait when it is time.
    pub(super) fn judge_starts(&mut self) {
        let now = Instant::now();
        let new = self.tracer.open_programs();
        if new.is_empty() && self.starts.next.is_none_or(|next| now < next) {
            return;
        }
        let waiting = std::mem::take(&mut self.starts.waiting);
        let new = new.into_iter().map(|program| (program, now + LONGEST));
        for (program, until) in waiting.into_iter().chain(new) {
            if let Some(program) = self.judge_start(program, now >= until) {
                self.starts.waiting.push((program, until));
            }
        }
        self.starts.next = (!self.starts.waiting.is_empty()).then(|| now + AGAIN);
    }

    /// Judges those that wait, now: more is known.
    pub(super) fn judge_starts_again(&mut self) {
        if self.starts.next.is_some() {
            self.starts.next = Some(Instant::now());
            self.judge_starts();
        }
    }

    /// Lets a program begin, traced or not; returns it when it is to wait.
    fn judge_start(&mut self, program: HeldProgram, late: bool) -> Option<HeldProgram> {
        let pid = program.pid;
        let place = self.look(pid);
        let is_target = self.tracer.is_target(pid);
        let (file, called) = (program.path(), called(pid));
        let start = Start { pid, file: &file, called: called.as_deref(), is_target };
        let mut chosen = self.selection.judge(start, &place);
        if let (None, Some(container)) = (chosen, &place.container) {
            if !late && !self.starts.in_vain.contains(&container.id) {
                self.cluster.iter().for_each(Cluster::wanted);
                return Some(program);
            }
            if self.starts.in_vain.len() >= MAX_IN_VAIN {
                self.starts.in_vain.clear();
            }
            self.starts.in_vain.insert(Arc::clone(&container.id));
            // What is not known matches nothing.
            chosen = self.selection.judge(start, &InContainer { awaited: Awaited::default(), ..place.clone() });
        }
        if chosen == Some(true) {
            if let Ok(facts) = process::facts_of_held(pid, &file, &self.variables) {
                let process = self.located(facts, place.container);
                let _ = self.channel.send(&ToParser::Begins(process));
            }
            for (pid, verdict) in self.tracer.begin(program) {
                self.note(Some(pid), &verdict);
            }
            return None;
        }
        if is_target {
            // Excluded.
            self.leave_out(pid);
        } else if let Some(container) = &place.container
            && self.selection.refuses(&place)
        {
            self.tracer.refuse_container(&container.id);
        }
        self.tracer.pass(program);
        None
    }
}
