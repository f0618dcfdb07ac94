//! Attempts: which call repeats one that failed.
//!
//! Some clients count their attempts on the wire. Of the others a repetition is known by what it says: the same process
//! sends the same body to the same place soon after an attempt that was worth repeating. No body is kept for that, only
//! its check sum and length ([`Fingerprint`]), and only of calls that failed.

use std::collections::{HashMap, VecDeque};

use crate::{
    llm::{LlmCall, call::Fingerprint},
    price::Cost,
    span::record::Link,
};

/// What is remembered of failures.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Nanoseconds from the end of an attempt to the start of the next. Clients wait up to a minute, or as long as the
    /// provider asks.
    pub window: u64,
    /// Failed calls. Past it the oldest is forgotten.
    pub failures: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { window: 120 * 1_000_000_000, failures: 4096 }
    }
}

/// What a call that repeats another one says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Repetition {
    /// From 2.
    pub number: u64,
    /// The span of the first attempt.
    pub first: Link,
    /// `error.type` of the attempt before.
    pub reason: String,
    /// Start of the first attempt, nanoseconds since the Unix epoch.
    began: u64,
    /// Nanoseconds from there to the start of this one.
    pub wasted_time: u64,
    /// What the attempts before cost together, as far as that is known.
    pub wasted_cost: Option<f64>,
}

/// The calls that may be repeated.
#[derive(Debug, Default)]
pub struct Attempts {
    limits: Limits,
    failed: HashMap<Key, VecDeque<Failed>>,
    /// Keys by the end of their failures, some of which have been repeated.
    order: VecDeque<(u64, Key)>,
}

/// Not told apart by connection: a client may repeat on another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    process: Option<u32>,
    fingerprint: Fingerprint,
}

#[derive(Debug)]
struct Failed {
    end: u64,
    /// As it would be told of the next one, but for what only that one knows.
    next: Repetition,
}

impl Attempts {
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// What this call repeats, if it does. Each failure is repeated once at most.
    pub fn repeats(&mut self, call: &LlmCall) -> Option<Repetition> {
        if call.attempt == Some(1) {
            return None;
        }
        let key = Key::of(call)?;
        let failed = self.failed.get_mut(&key)?;
        let start = call.times.start;
        let fits = |failed: &Failed| {
            failed.end <= start
                && start - failed.end <= self.limits.window
                && call.attempt.is_none_or(|attempt| attempt == failed.next.number)
        };
        let Failed { next, .. } = failed.iter().position(fits).and_then(|place| failed.remove(place))?;
        if failed.is_empty() {
            self.failed.remove(&key);
        }
        Some(Repetition { wasted_time: start.saturating_sub(next.began), ..next })
    }

    /// Takes a call that has ended with its span: another one may repeat it.
    pub fn push(&mut self, call: &LlmCall, repetition: Option<&Repetition>, cost: Option<&Cost>, span: Link) {
        let end = call.times.end;
        while let Some((at, key)) = self.order.front().copied()
            && (end.saturating_sub(at) > self.limits.window || self.order.len() >= self.limits.failures)
        {
            self.order.pop_front();
            self.forget(key, at);
        }
        let (true, Some(key), Some(error)) = (is_worth_repeating(call), Key::of(call), &call.error) else { return };
        let own = cost.map(|cost| cost.total).filter(|cost| cost.is_finite());
        let earlier = repetition.and_then(|repetition| repetition.wasted_cost);
        let next = Repetition {
            number: call.attempt.unwrap_or(1).saturating_add(1),
            first: repetition.map_or(span, |repetition| repetition.first.clone()),
            reason: error.kind.to_string(),
            began: repetition.map_or(call.times.start, |repetition| repetition.began),
            wasted_time: 0,
            wasted_cost: match (earlier, own) {
                (None, None) => None,
                (earlier, own) => Some(earlier.unwrap_or(0.0) + own.unwrap_or(0.0)),
            },
        };
        self.order.push_back((end, key));
        self.failed.entry(key).or_default().push_back(Failed { end, next });
    }

    fn forget(&mut self, key: Key, at: u64) {
        let Some(failed) = self.failed.get_mut(&key) else { return };
        if let Some(place) = failed.iter().position(|failed| failed.end == at) {
            failed.remove(place);
        }
        if failed.is_empty() {
            self.failed.remove(&key);
        }
    }
}

impl Key {
    fn of(call: &LlmCall) -> Option<Self> {
        Some(Self { process: call.connection.pid, fingerprint: call.request.fingerprint? })
    }
}

/// Whether an attempt failed in a way that another one can mend: the same request would only be refused again after
/// another error of the client.
fn is_worth_repeating(call: &LlmCall) -> bool {
    call.error.is_some()
        && call
            .response
            .status
            .is_none_or(|status| !matches!(status, 400..=499) || matches!(status, 408 | 409 | 425 | 429))
}

#[cfg(test)]
mod tests;
