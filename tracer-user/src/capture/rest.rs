//! When targets have come to rest: none came, forked or executed anything for a while.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    time::{Duration, Instant},
};

/// The longest time that is waited for, and what restless targets bring it to.
const LONGEST: Duration = Duration::from_secs(16 * 60);

/// Children that have not executed anything, and parents of such, remembered at most.
const MAX_REMEMBERED: usize = 16_384;

#[derive(Debug)]
pub(super) struct Rest {
    /// `None`: nobody asks.
    shortest: Option<Duration>,
    wait: Duration,
    due: Instant,
    /// Since when they rest.
    since: Option<Instant>,
    /// Forked children that run their parent's program, and the parents.
    children: HashMap<u32, u32>,
    /// Parents of such children.
    forking: HashSet<u32>,
    /// Since when hooks stop single processes alone, and for how long they did the last time: nanoseconds of the boot clock.
    narrow: Option<u64>,
    was_narrow: Range<u64>,
    /// Children that were forked then and have not executed anything.
    unwatched: HashSet<u32>,
    /// Of such, those that have ended.
    ended_unwatched: u64,
}

impl Rest {
    pub fn new(shortest: Option<Duration>, now: Instant) -> Self {
        let wait = shortest.unwrap_or(LONGEST);
        Self {
            shortest,
            wait,
            due: now + wait,
            since: None,
            children: HashMap::new(),
            forking: HashSet::new(),
            narrow: None,
            was_narrow: 0..0,
            unwatched: HashSet::new(),
            ended_unwatched: 0,
        }
    }

    /// A target came, forked or executed something. Rest that was shorter than the wait for it was not worth it: the next
    /// wait is longer.
    pub fn disturbed(&mut self, now: Instant) {
        if let (Some(since), Some(shortest)) = (self.since.take(), self.shortest) {
            let was_short = now.saturating_duration_since(since) < self.wait;
            self.wait = if was_short { (self.wait * 2).min(LONGEST).max(shortest) } else { shortest };
        }
        self.due = now + self.wait;
    }

    /// They rest; the next look is due at this time.
    pub fn came(&mut self, next: Instant) {
        self.since = Some(Instant::now());
        self.due = next;
    }

    /// Whether they rest, and were found to.
    pub fn is_over(&self) -> bool {
        self.since.is_some()
    }

    /// They rest, but not all is done.
    pub fn look_again(&mut self, now: Instant) {
        self.since = None;
        self.due = now + self.wait;
    }

    pub fn again_at(&mut self, next: Instant) {
        self.due = next;
    }

    pub fn due(&self) -> Option<Instant> {
        self.shortest.map(|_| self.due)
    }

    /// From `at` on, nanoseconds of the boot clock, hooks stop single processes alone.
    pub fn narrowed(&mut self, at: u64) {
        self.narrow.get_or_insert(at);
    }

    /// From `at` on hooks stop every process.
    pub fn widened(&mut self, at: u64) {
        if let Some(since) = self.narrow.take() {
            self.was_narrow = since..at;
        }
    }

    /// A target forked at this time: whether hooks stopped single processes alone is known by then.
    pub fn born(&mut self, child: u32, at: u64) {
        let unwatched = self.narrow.is_some_and(|since| at >= since) || self.was_narrow.contains(&at);
        if unwatched && self.unwatched.len() < MAX_REMEMBERED {
            self.unwatched.insert(child);
        }
    }

    /// Children that ran their parent's program before hooks could stop them.
    pub fn unwatched(&self) -> u64 {
        self.ended_unwatched + self.unwatched.len() as u64
    }

    pub fn forked(&mut self, child: u32, parent: u32) {
        if self.children.len() < MAX_REMEMBERED {
            self.children.insert(child, parent);
        }
    }

    pub fn executed(&mut self, pid: u32) {
        self.unwatched.remove(&pid);
        self.children.remove(&pid);
        self.forking.remove(&pid);
    }

    pub fn ended(&mut self, pid: u32) {
        self.ended_unwatched += u64::from(self.unwatched.remove(&pid));
        self.forking.remove(&pid);
        if let Some(parent) = self.children.remove(&pid)
            && self.forking.len() < MAX_REMEMBERED
        {
            self.forking.insert(parent);
        }
    }

    /// Processes whose children go on in the same program: the next child's first calls come before any hook that is made
    /// for it.
    pub fn forking(&self) -> HashSet<u32> {
        self.children.values().chain(&self.forking).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(30);

    #[test]
    fn short_rests_are_waited_for_longer_each_time() {
        let start = Instant::now();
        let mut rest = Rest::new(Some(WAIT), start);
        assert_eq!(rest.due(), Some(start + WAIT));
        let later = start + Duration::from_secs(10);
        rest.disturbed(later);
        assert_eq!(rest.due(), Some(later + WAIT), "there was no rest yet");
        rest.came(later);
        rest.disturbed(Instant::now());
        let waits: Vec<Duration> = (0..6)
            .map(|_| {
                rest.came(Instant::now());
                rest.disturbed(Instant::now());
                rest.wait
            })
            .collect();
        assert_eq!(waits.first(), Some(&(WAIT * 4)));
        assert_eq!(waits.last(), Some(&LONGEST));
        rest.came(Instant::now());
        rest.disturbed(Instant::now() + LONGEST * 2);
        assert_eq!(rest.wait, WAIT);
    }

    #[test]
    fn nobody_waits_for_what_nobody_asks() {
        assert_eq!(Rest::new(None, Instant::now()).due(), None);
    }

    #[test]
    fn a_child_born_while_hooks_stop_single_processes_is_unwatched_unless_it_executes() {
        let mut rest = Rest::new(Some(WAIT), Instant::now());
        rest.born(1, 50);
        rest.narrowed(100);
        rest.narrowed(110);
        rest.born(2, 105);
        rest.born(3, 120);
        rest.widened(200);
        // Told late.
        rest.born(4, 199);
        rest.born(5, 200);
        assert_eq!(rest.unwatched(), 3);
        // What executes something is held until its hooks stand.
        rest.executed(3);
        rest.ended(2);
        rest.ended(1);
        assert_eq!(rest.unwatched(), 2);
    }

    #[test]
    fn a_parent_of_children_that_execute_nothing_forks() {
        let mut rest = Rest::new(Some(WAIT), Instant::now());
        rest.forked(2, 1);
        assert_eq!(rest.forking(), HashSet::from([1]));
        rest.executed(2);
        assert_eq!(rest.forking(), HashSet::new());
        rest.forked(3, 1);
        rest.ended(3);
        assert_eq!(rest.forking(), HashSet::from([1]));
        rest.ended(1);
        assert_eq!(rest.forking(), HashSet::new());
    }
}
