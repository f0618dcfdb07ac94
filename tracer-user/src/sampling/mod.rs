//! Sampling: which spans are exported. The terminal and the metrics see every call.
//!
//! Probability is consistent in OpenTelemetry's sense ("TraceState: Probability Sampling"): a span is kept when the
//! randomness of its trace reaches the threshold of its ratio, and the threshold stands in its `tracestate`, so that
//! back ends can extrapolate. Rules see a call when it has ended; what is concluded from calls (tools, the root of an
//! agent's turn) follows them: a turn of which one call is kept is kept whole.

pub mod options;
mod state;

use std::collections::{HashMap, VecDeque};

pub use self::options::{Options, Ratio, Rule};
use self::state::{incoming, with_threshold};
use crate::{
    config::values::Pattern,
    span::{Kind, SpanRecord, Status, Value, ids::TraceId, semconv},
};

const NANOS_PER_SECOND: f64 = 1e9;

/// What the sampler may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Turns that go on at the same time. Past it the one that began first is forgotten.
    pub traces: usize,
    /// Bytes of all spans that wait for a later span of their turn. Past it those of the oldest turn go.
    pub held_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { traces: 4096, held_bytes: 16 << 20 }
    }
}

/// Spans that were not exported, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SampledOut {
    /// Their program does not sample them: the flag of its `traceparent`.
    pub parent: u64,
    /// By the ratio of traces.
    pub head: u64,
    /// By a rule's ratio or that of the rest.
    pub ratio: u64,
    /// They waited for the end of their turn, and there was no room to wait on.
    pub no_room: u64,
}

/// Decides span by span.
#[derive(Debug)]
pub struct Sampler {
    limits: Limits,
    /// `None`: all are kept, and nothing is written.
    decisions: Option<Decisions>,
    out: SampledOut,
}

impl Sampler {
    pub fn new(options: &Options, limits: Limits) -> Self {
        let mut sampler = Self { limits, decisions: None, out: SampledOut::default() };
        sampler.set_options(options, &mut Vec::new());
        sampler
    }

    /// From now on decides so. When all are kept from now on, so are those that waited.
    pub fn set_options(&mut self, options: &Options, kept: &mut Vec<SpanRecord>) {
        if options.keeps_all() {
            let turns = self.decisions.take().into_iter().flat_map(|decisions| decisions.turns.into_values());
            kept.extend(turns.flat_map(|turn| turn.held).map(|span| {
                let trace_state = with_threshold(span.trace_state.as_deref(), None);
                SpanRecord { trace_state, ..span }
            }));
            return;
        }
        match &mut self.decisions {
            Some(decisions) => decisions.options = options.clone(),
            None => {
                self.decisions = Some(Decisions {
                    options: options.clone(),
                    limits: self.limits,
                    turns: HashMap::new(),
                    order: VecDeque::new(),
                    held_bytes: 0,
                });
            }
        }
    }

    pub fn sampled_out(&self) -> SampledOut {
        self.out
    }

    /// Takes a finished span, and gives those that are to be exported now.
    pub fn push(&mut self, span: SpanRecord, kept: &mut Vec<SpanRecord>) {
        if !span.sampled() {
            self.out.parent += 1;
            return;
        }
        match &mut self.decisions {
            None => kept.push(span),
            Some(decisions) => decisions.push(span, kept, &mut self.out),
        }
    }

    /// Whether the span of a call would be kept for itself.
    pub fn keeps(&self, span: &SpanRecord) -> bool {
        let keeps = |decisions: &Decisions| {
            let chance = Chance::of(span);
            let head = decisions.head(&chance);
            head.is_some_and(|head| decisions.own(span, head).is_some_and(|own| own <= chance.randomness))
        };
        span.sampled() && self.decisions.as_ref().is_none_or(keeps)
    }

    /// Nothing more comes: what still waits is not kept.
    pub fn finish(&mut self) {
        if let Some(decisions) = &mut self.decisions {
            let held = decisions.turns.drain().map(|(_, turn)| turn.held.len() as u64);
            self.out.ratio += held.sum::<u64>();
            decisions.order.clear();
            decisions.held_bytes = 0;
        }
    }
}

impl Default for Sampler {
    fn default() -> Self {
        Self::new(&Options::default(), Limits::default())
    }
}

#[derive(Debug)]
struct Decisions {
    options: Options,
    limits: Limits,
    turns: HashMap<TraceId, Turn>,
    /// The keys of `turns` by age, with some that have gone.
    order: VecDeque<TraceId>,
    held_bytes: usize,
}

/// A turn that goes on.
#[derive(Debug, Default)]
struct Turn {
    /// Lowest threshold of its calls so far: the turn is kept when its randomness reaches it. `None` = no call may.
    lowest: Option<u64>,
    /// What was not kept for itself, until a later call is.
    held: Vec<SpanRecord>,
}

impl Decisions {
    fn push(&mut self, span: SpanRecord, kept: &mut Vec<SpanRecord>, out: &mut SampledOut) {
        let chance = Chance::of(&span);
        let Chance { randomness, .. } = chance;
        let Some(head) = self.head(&chance) else {
            out.head += 1;
            return;
        };
        // Of whom nobody states a threshold, nobody knows how probable it was.
        let is_known = !chance.is_remote || chance.earlier.is_some();
        let write = |span: SpanRecord, threshold: Option<u64>| {
            let trace_state = with_threshold(span.trace_state.as_deref(), threshold.filter(|_| is_known));
            SpanRecord { trace_state, ..span }
        };
        let is_concluded = span.attribute(semconv::SYNTHESIZED).is_some();
        let own = match is_concluded {
            true => None,
            false => self.own(&span, head),
        };
        let is_root = is_concluded && span.parent.is_none();
        let in_turn = span.parent.is_some_and(|parent| !parent.remote);
        if !is_root && !in_turn {
            // Under a remote parent no root of ours tells when a turn is over: each span is for itself.
            let own = match is_concluded {
                true => self.options.ratio.threshold().map(|threshold| threshold.max(head)),
                false => own,
            };
            match own.filter(|own| *own <= randomness) {
                Some(own) => kept.push(write(span, Some(own))),
                None => out.ratio += 1,
            }
            return;
        }
        let trace = span.trace_id;
        let turn = self.turn(trace, out);
        let was_kept = turn.lowest.is_some_and(|lowest| lowest <= randomness);
        turn.lowest = match (turn.lowest, own) {
            (Some(lowest), Some(own)) => Some(lowest.min(own)),
            (lowest, own) => lowest.or(own),
        };
        let lowest = turn.lowest.filter(|lowest| *lowest <= randomness);
        if lowest.is_none() && !is_root {
            self.hold(span, out);
            return;
        }
        if lowest.is_some() && !was_kept {
            // They are here for the sake of another span: of their own probability nothing can be said.
            let held = std::mem::take(&mut turn.held);
            self.held_bytes -= held.iter().map(SpanRecord::weight).sum::<usize>();
            kept.extend(held.into_iter().map(|span| write(span, None)));
        }
        match lowest {
            Some(lowest) => {
                let threshold = if is_concluded { Some(lowest) } else { own.filter(|own| *own <= randomness) };
                kept.push(write(span, threshold));
            }
            None => out.ratio += 1,
        }
        if is_root {
            out.ratio += self.forget(trace);
        }
    }

    /// The threshold of the ratio of traces, if the trace reaches it.
    fn head(&self, chance: &Chance) -> Option<u64> {
        let head = match chance.is_remote {
            // Its program has sampled what hangs under its own span.
            true => Some(chance.earlier.unwrap_or(0)),
            false => self.options.head_ratio.threshold(),
        };
        head.filter(|head| *head <= chance.randomness)
    }

    /// The threshold of a call by itself.
    fn own(&self, span: &SpanRecord, head: u64) -> Option<u64> {
        self.options.of(span).threshold().map(|threshold| threshold.max(head))
    }

    fn turn(&mut self, trace: TraceId, out: &mut SampledOut) -> &mut Turn {
        if !self.turns.contains_key(&trace) {
            while self.turns.len() >= self.limits.traces
                && let Some(oldest) = self.order.pop_front()
            {
                out.no_room += self.forget(oldest);
            }
            // Turns that ended leave their place in the order.
            if self.order.len() >= 2 * self.limits.traces {
                let turns = &self.turns;
                self.order.retain(|trace| turns.contains_key(trace));
            }
            self.order.push_back(trace);
        }
        self.turns.entry(trace).or_default()
    }

    /// Lets a turn go, and returns how many spans waited in it.
    fn forget(&mut self, trace: TraceId) -> u64 {
        let Some(turn) = self.turns.remove(&trace) else { return 0 };
        self.held_bytes -= turn.held.iter().map(SpanRecord::weight).sum::<usize>();
        turn.held.len() as u64
    }

    /// Lets the span wait in its turn, which is known.
    fn hold(&mut self, span: SpanRecord, out: &mut SampledOut) {
        let trace = span.trace_id;
        self.held_bytes += span.weight();
        if let Some(turn) = self.turns.get_mut(&trace) {
            turn.held.push(span);
        }
        while self.held_bytes > self.limits.held_bytes {
            let oldest =
                self.order.iter().find(|trace| self.turns.get(trace).is_some_and(|turn| !turn.held.is_empty()));
            let Some(turn) = oldest.and_then(|trace| self.turns.get_mut(trace)) else { break };
            let held = std::mem::take(&mut turn.held);
            self.held_bytes -= held.iter().map(SpanRecord::weight).sum::<usize>();
            out.no_room += held.len() as u64;
        }
    }
}

/// What is decided by.
struct Chance {
    randomness: u64,
    /// It hangs under a span of its program's own.
    is_remote: bool,
    /// The threshold of who sampled before. One that the randomness contradicts means nothing.
    earlier: Option<u64>,
}

impl Chance {
    fn of(span: &SpanRecord) -> Self {
        let incoming = incoming(span.trace_state.as_deref());
        let randomness = incoming.randomness.unwrap_or_else(|| least_significant_56_bits(span.trace_id));
        Self {
            randomness,
            is_remote: span.parent.is_some_and(|parent| parent.remote),
            earlier: incoming.threshold.filter(|threshold| *threshold <= randomness),
        }
    }
}

impl Options {
    /// The ratio for a span: that of the first rule that fits.
    fn of(&self, span: &SpanRecord) -> Ratio {
        self.rules.iter().find(|rule| rule.fits(span)).map_or(self.ratio, |rule| rule.ratio)
    }
}

impl Rule {
    /// Whether all that it states holds.
    fn fits(&self, span: &SpanRecord) -> bool {
        let seconds = (span.end - span.start) as f64 / NANOS_PER_SECOND;
        let text = |name: &str| span.attribute(name).and_then(Value::as_str);
        let cost = match span.attribute(semconv::COST_TOTAL) {
            Some(Value::Double(cost)) => Some(*cost),
            _ => None,
        };
        let is_model = |pattern: &Pattern| {
            [semconv::REQUEST_MODEL, semconv::RESPONSE_MODEL]
                .iter()
                .any(|name| text(name).is_some_and(|model| pattern.matches(model)))
        };
        let is_service = |pattern: &Pattern| {
            span.resource
                .attribute(semconv::SERVICE_NAME)
                .and_then(Value::as_str)
                .is_some_and(|service| pattern.matches(service))
        };
        self.error.is_none_or(|wanted| wanted == (span.status == Status::Error))
            && self.aborted.is_none_or(|wanted| wanted == span.attribute(semconv::ABORTED).is_some())
            && self.slower_than.is_none_or(|limit| seconds > limit.as_secs_f64())
            && self.dearer_than.is_none_or(|limit| cost.is_some_and(|cost| cost > limit))
            && self.model.as_ref().is_none_or(is_model)
            && self.service.as_ref().is_none_or(is_service)
            && span.kind == Kind::Client
    }
}

/// W3C Trace Context Level 2: they are random.
fn least_significant_56_bits(trace: TraceId) -> u64 {
    u128::from_be_bytes(trace.0) as u64 & options::MAX_THRESHOLD
}

#[cfg(test)]
mod tests;
