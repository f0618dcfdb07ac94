//! The open calls: follows each exchange that could be a model call, and tells one [`LlmCall`](super::LlmCall) when it ends.

use std::{collections::HashMap, hash::BuildHasherDefault, sync::Arc};

use super::{
    ALL, Claim, EndedCall,
    background::{Background, retrieved},
    could_be_model_call,
    decode::CallLimits,
    open::{Active, Candidate, Open},
    recognise::{Options, Target},
};
use crate::{
    attribution::Attribution,
    capture::{Connection, KeyHasher, Role},
    content,
    exchange::{Event, ExchangeId, Outcome},
    proto::RequestHead,
};

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Exchanges that are followed at the same time.
    pub open_calls: usize,
    /// Responses in the background that are waited for.
    pub background_calls: usize,
    pub call: CallLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self { open_calls: 4096, background_calls: 256, call: CallLimits::default() }
    }
}

/// What was left out, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that were not followed because too many were open.
    pub refused: u64,
    /// Values of calls that a cap left out; contents for which the memory of all contents did not suffice among them.
    pub dropped_values: u64,
}

pub struct Calls {
    limits: Limits,
    /// Contents are read, in this memory.
    content: Option<(content::Limits, content::Pool)>,
    options: Options,
    attribution: Attribution,
    open: HashMap<ExchangeId, Box<Open>, BuildHasherDefault<KeyHasher>>,
    background: Background,
    counts: Counts,
}

impl Calls {
    /// From now on calls are recognised so; those that are open stay what they are.
    pub fn set_options(&mut self, options: Options) {
        self.options = options;
    }

    pub fn new(limits: Limits, options: Options) -> Self {
        Self {
            limits,
            content: None,
            options,
            attribution: Attribution::default(),
            open: HashMap::default(),
            background: Background::default(),
            counts: Counts::default(),
        }
    }

    /// Also reads what is asked and answered: not even a test is made of bodies otherwise.
    #[must_use]
    pub fn with_content(mut self, limits: content::Limits, pool_bytes: usize) -> Self {
        self.set_content(Some((limits, pool_bytes)));
        self
    }

    /// From now on contents are read or not; of calls that are open it stays as it is.
    pub fn set_content(&mut self, content: Option<(content::Limits, usize)>) {
        self.content = content.map(|(limits, pool_bytes)| (limits, content::Pool::new(pool_bytes)));
    }

    /// From now on calls are attributed by these rules; those that are open keep theirs.
    pub fn set_attribution(&mut self, attribution: Attribution) {
        self.attribution = attribution;
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Number of calls that are open now.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// The open calls that are surely calls, as far as they are known.
    pub fn active(&self) -> impl Iterator<Item = Active<'_>> {
        self.open.values().filter_map(|open| open.active())
    }

    /// Takes the next event. Returns whether it begins what its head does not refuse as a model call.
    pub fn push(&mut self, event: &Event, calls: &mut Vec<EndedCall>) -> bool {
        match event {
            Event::Request { id, at, connection, head } => {
                self.background.expire(*at, calls);
                let Some(head) = head else {
                    self.begin(*id, *at, connection, None);
                    return true;
                };
                // Whatever is claimed here could be one.
                if head.method == "POST" && self.begin(*id, *at, connection, Some(head)) {
                    return true;
                }
                let by_head = could_be_model_call(head);
                // Without a method the head was seen in part: only the bodies can say what it is.
                if head.method.is_empty() || by_head && head.method != "POST" {
                    self.begin(*id, *at, connection, Some(head));
                }
                return by_head;
            }
            Event::RequestPiece { id, at, piece } => self.on(id, |open| open.request_piece(*at, piece)),
            Event::RequestEnd { id, at, end } => self.on(id, |open| open.request_end(*at, *end)),
            Event::Response { id, at, head } => self.on(id, |open| open.response(*at, head)),
            Event::ResponsePiece { id, at, piece } => self.on(id, |open| open.response_piece(*at, piece)),
            Event::Lost { id, at, request, bytes } => self.on(id, |open| open.lost(*at, *request, *bytes)),
            Event::End { id, at, outcome } => {
                if let Some(open) = self.open.remove(id) {
                    self.end(*id, open, *at, *outcome, calls);
                }
            }
        }
        false
    }

    /// Ends what is still open, in the order of the exchanges.
    pub fn finish(&mut self, calls: &mut Vec<EndedCall>) {
        let mut open: Vec<_> = self.open.drain().collect();
        open.sort_unstable_by_key(|(id, _)| *id);
        for (id, open) in open {
            let at = open.last_at;
            self.end(id, open, at, Outcome::Unfinished, calls);
        }
        self.background.finish(calls);
    }

    /// Follows the exchange if a dialect claims it; whether one does.
    fn begin(
        &mut self,
        id: ExchangeId,
        at: u64,
        connection: &Arc<Connection>,
        head: Option<&Arc<RequestHead>>,
    ) -> bool {
        let unseen = Arc::default();
        let head = head.unwrap_or(&unseen);
        if connection.role == Role::Server && !self.options.server_side {
            return false;
        }
        let target = Target::new(head, connection, &self.options);
        let websocket = head.is_websocket();
        // What is asked for with GET was asked of the model before.
        let retrieves = head.method == "GET" && !websocket;
        let awaited = || retrieved(&head.path).is_some_and(|id| self.background.awaits(target.host.as_deref(), id));
        if retrieves && !awaited() {
            return false;
        }
        let candidates: Vec<_> = ALL
            .iter()
            .filter(|dialect| !websocket || dialect.over_websocket())
            .filter_map(|dialect| {
                // Without its path only the bodies can say what a request is.
                let claim = match head.path.is_empty() {
                    true => Claim::Unseen,
                    false => dialect.claim(head, Some(&target)),
                };
                (claim != Claim::None).then(|| {
                    let decoder = dialect.decoder(&target, self.limits.call);
                    Candidate { dialect: *dialect, claim, decoder }
                })
            })
            .collect();
        if candidates.is_empty() {
            return false;
        }
        if self.open.len() >= self.limits.open_calls {
            self.counts.refused += 1;
            return true;
        }
        let reads = candidates.iter().any(|candidate| candidate.dialect.content().is_some());
        let content = self.content.as_ref().filter(|_| reads);
        let reading = self.attribution.reading(&head.headers);
        let mut open = Box::new(Open::new(at, connection, target, head, candidates, reading));
        open.content = content.map(|(limits, pool)| Box::new(content::Reader::new(*limits, pool)));
        open.retrieves = retrieves;
        self.open.insert(id, open);
        true
    }

    fn on(&mut self, id: &ExchangeId, action: impl FnOnce(&mut Open)) {
        if let Some(open) = self.open.get_mut(id) {
            action(open);
        }
    }

    fn end(&mut self, id: ExchangeId, open: Box<Open>, at: u64, outcome: Outcome, calls: &mut Vec<EndedCall>) {
        let retrieves = open.retrieves;
        let Some((call, dropped)) = open.end(id, at, outcome) else { return };
        self.counts.dropped_values += dropped;
        if retrieves {
            self.background.retrieved(call, calls);
        } else {
            self.background.hold(call, self.limits.background_calls, calls);
        }
    }
}
