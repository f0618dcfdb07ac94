//! Agent: links the calls of one process into turns by the ids of their tool calls.
//!
//! A call that answers with tool calls opens a turn; a request that carries a result of one of them belongs to it; an
//! answer that asks for no tool ends it. What is concluded so, a tool's run and the turn itself, is known only when a
//! later call has ended, but the turn has its name, its first call, from the start.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use crate::{
    capture::Connection,
    carrier::Carrier,
    exchange::{ExchangeId, Outcome},
    llm::{
        LlmCall,
        call::{Operation, TraceParent},
    },
};

/// Names a call after it is gone.
#[derive(Debug, Clone, PartialEq)]
pub struct CallRef {
    pub id: ExchangeId,
    pub connection: Arc<Connection>,
    pub trace_parent: Option<TraceParent>,
}

impl CallRef {
    fn of(call: &LlmCall) -> Self {
        Self { id: call.id, connection: Arc::clone(&call.connection), trace_parent: call.trace_parent.clone() }
    }
}

/// What follows from several calls.
#[derive(Debug, Clone, PartialEq)]
pub enum Concluded {
    Tool(ToolRun),
    Turn(Turn),
}

/// Where in an agent's work something belongs that the traced program did.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// In the turn that begins with this call.
    Turn(CallRef),
    /// In the run of a tool that an answer asks for.
    Tool {
        asked_by: CallRef,
        /// First call of the turn, when the turn has a root of ours.
        turn: Option<CallRef>,
        /// 0-based among the tool calls of the answer.
        number: u32,
        /// Of the tool call.
        id: String,
    },
}

/// What a process did between its model calls, as far as its place depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Deed<'a> {
    pub process: Option<u32>,
    /// The tool that it called, when it called one.
    pub tool: Option<&'a str>,
    /// Nanoseconds since the Unix epoch.
    pub start: u64,
    pub end: u64,
    /// It says itself where it belongs.
    pub has_parent: bool,
}

impl<'a> Deed<'a> {
    pub fn of(carrier: &Carrier, tool: Option<&'a str>) -> Self {
        let Carrier { connection, start, end, trace_parent, .. } = carrier;
        Self { process: connection.pid, tool, start: *start, end: *end, has_parent: trace_parent.is_some() }
    }
}

/// One run of a tool by the traced program, from the end of the answer that asks for it to the start of the request
/// that carries its result: an upper bound.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolRun {
    pub asked_by: CallRef,
    /// First call of the turn, when the turn has a root of ours.
    pub turn: Option<CallRef>,
    /// 0-based among the tool calls of the answer.
    pub number: u32,
    pub name: String,
    pub id: String,
    /// Nanoseconds since the Unix epoch.
    pub start: u64,
    pub end: u64,
}

/// One agent turn: the calls from a question to the answer that asks for no further tool.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    pub first: CallRef,
    /// `gen_ai.provider.name` of its first call.
    pub provider: Cow<'static, str>,
    /// Nanoseconds since the Unix epoch.
    pub start: u64,
    /// End of its last call, or of what was done in it later.
    pub end: u64,
}

/// Turns of one process in which the tool is looked for that something belongs to.
const MAX_TURNS_LOOKED_AT: usize = 64;

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open turns; beyond it the one idle longest ends.
    pub turns: usize,
    /// Tool calls remembered of one turn; those beyond it are not followed.
    pub tool_calls: usize,
    /// A turn without a call for so long, in nanoseconds, has ended.
    pub idle: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { turns: 1024, tool_calls: 256, idle: 10 * 60 * 1_000_000_000 }
    }
}

/// What was given up for the limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub evicted_turns: u64,
    pub untracked_tool_calls: u64,
}

/// The open turns of all processes.
#[derive(Debug, Default)]
pub struct Turns {
    limits: Limits,
    counters: Counters,
    open: HashMap<TurnKey, Open>,
    asked: HashMap<ToolKey, Asked>,
    /// Turns are numbered in the order in which they begin.
    next: u64,
    /// Latest end of any call: this stage's clock.
    now: u64,
    next_sweep: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct TurnKey(u64);

/// Ids are a provider's choice and unique at best within a process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ToolKey {
    process: Option<u32>,
    id: String,
}

#[derive(Debug)]
struct Open {
    turn: Turn,
    process: Option<u32>,
    /// Keys into `asked`.
    tools: Vec<String>,
}

impl Open {
    /// A turn that begins under a `traceparent` hangs in the traced program's own trace, and gets no root of ours.
    fn root(&self) -> Option<&CallRef> {
        self.turn.first.trace_parent.is_none().then_some(&self.turn.first)
    }
}

#[derive(Debug)]
struct Asked {
    turn: TurnKey,
    by: CallRef,
    number: u32,
    name: String,
    /// End of the answer.
    at: u64,
    /// Its result was seen: a repeated result (a retry, or the history that most APIs want anew) is no second run.
    ran: bool,
    /// End of the last thing that was done in its run, as far as seen.
    done: Option<u64>,
}

impl Turns {
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Takes a call that has ended. Returns its place: in its turn when that has a root of ours, or, of embeddings, which
    /// belong to no turn by themselves, where their process made them.
    pub fn push(&mut self, call: &LlmCall, out: &mut Vec<Concluded>) -> Option<Place> {
        self.now = self.now.max(call.times.end);
        let asks = call.response.tool_calls.iter().any(|tool| tool.id.is_some());
        let key = match self.continued(call) {
            Some(key) => key,
            None if asks => self.begin(call, out),
            None => {
                self.sweep(out);
                let (process, times) = (call.connection.pid, &call.times);
                let has_parent = call.trace_parent.is_some();
                let deed = Deed { process, tool: None, start: times.start, end: times.end, has_parent };
                let is_search = matches!(call.operation, Operation::Embeddings | Operation::Rerank);
                return is_search.then(|| self.place(&deed)).flatten();
            }
        };
        self.results(key, call, out);
        let open = self.open.get_mut(&key)?;
        open.turn.end = open.turn.end.max(call.times.end);
        let root = open.root().cloned();
        if asks {
            self.ask(key, call);
        } else if call.error.is_none() && call.outcome == Outcome::Complete {
            self.end(key, out);
        }
        self.sweep(out);
        root.map(Place::Turn)
    }

    /// Where something belongs that a process did. Between an answer that asks for a tool and the request that carries
    /// the result, the process runs the tool: what it does then is part of that run if only one can be meant, else of the
    /// turn if only one is open.
    pub fn place(&mut self, deed: &Deed<'_>) -> Option<Place> {
        if deed.has_parent {
            return None;
        }
        let mut turns: Vec<TurnKey> = self
            .open
            .iter()
            .filter(|(_, open)| open.process == deed.process && open.turn.start <= deed.start)
            .map(|(key, _)| *key)
            .collect();
        turns.sort_unstable();
        // Where so many go on at once, the older ones are hardly what is meant.
        let latest = &turns[turns.len().saturating_sub(MAX_TURNS_LOOKED_AT)..];
        let running: Vec<(TurnKey, ToolKey)> = latest
            .iter()
            .filter_map(|key| Some((key, self.open.get(key)?)))
            .flat_map(|(key, open)| {
                open.tools.iter().map(|id| (*key, ToolKey { process: deed.process, id: id.clone() }))
            })
            .filter(|(key, tool)| {
                let asked = self.asked.get(tool);
                asked.is_some_and(|asked| asked.turn == *key && !asked.ran && asked.at <= deed.start)
            })
            .collect();
        let named: Vec<&(TurnKey, ToolKey)> = running
            .iter()
            .filter(|(_, tool)| {
                deed.tool.is_some_and(|name| self.asked.get(tool).is_some_and(|asked| is_tool(&asked.name, name)))
            })
            .collect();
        let tool = match (named.as_slice(), turns.as_slice(), running.as_slice()) {
            ([only], ..) => Some((*only).clone()),
            ([], [_], [only]) => Some(only.clone()),
            _ => None,
        };
        if let Some((key, tool)) = tool {
            let turn = self.include(key, deed)?.root().cloned();
            let asked = self.asked.get_mut(&tool)?;
            asked.done = asked.done.max(Some(deed.end));
            return Some(Place::Tool { asked_by: asked.by.clone(), turn, number: asked.number, id: tool.id });
        }
        // Several calls of one tool in one answer: which of them it is, nothing tells.
        let key = match named.as_slice() {
            [(first, _), rest @ ..] if rest.iter().all(|(key, _)| key == first) => *first,
            [] if turns.len() == 1 => *turns.first()?,
            _ => return None,
        };
        self.include(key, deed).map(|open| Place::Turn(open.turn.first.clone()))
    }

    /// A turn lasts as long as what is done in it.
    fn include(&mut self, key: TurnKey, deed: &Deed<'_>) -> Option<&Open> {
        let open = self.open.get_mut(&key)?;
        open.turn.end = open.turn.end.max(deed.end);
        self.now = self.now.max(deed.end);
        Some(open)
    }

    /// The process has ended or replaced its image: its turns have ended.
    pub fn end_process(&mut self, pid: u32, out: &mut Vec<Concluded>) {
        self.end_where(out, |open| open.process == Some(pid));
    }

    /// Nothing more comes: what is open has ended.
    pub fn finish(&mut self, out: &mut Vec<Concluded>) {
        self.end_where(out, |_| true);
    }

    /// The turn whose tool results this request carries: the one that asked last, before the request began.
    fn continued(&self, call: &LlmCall) -> Option<TurnKey> {
        let process = call.connection.pid;
        call.request
            .tool_results
            .iter()
            .filter_map(|id| self.asked.get(&ToolKey { process, id: id.clone() }))
            .filter(|asked| asked.at <= call.times.start)
            .max_by_key(|asked| (asked.at, asked.turn))
            .map(|asked| asked.turn)
    }

    fn begin(&mut self, call: &LlmCall, out: &mut Vec<Concluded>) -> TurnKey {
        if self.open.len() >= self.limits.turns
            && let Some((key, _)) = self.open.iter().min_by_key(|(key, open)| (open.turn.end, **key))
        {
            self.counters.evicted_turns += 1;
            self.end(*key, out);
        }
        let key = TurnKey(self.next);
        self.next += 1;
        let turn = Turn {
            first: CallRef::of(call),
            provider: call.provider.clone(),
            start: call.times.start,
            end: call.times.end,
        };
        self.open.insert(key, Open { turn, process: call.connection.pid, tools: Vec::new() });
        key
    }

    /// Tells the runs whose results the request carries for the first time.
    fn results(&mut self, key: TurnKey, call: &LlmCall, out: &mut Vec<Concluded>) {
        let Some(open) = self.open.get(&key) else { return };
        for id in &call.request.tool_results {
            let tool = ToolKey { process: open.process, id: id.clone() };
            let Some(asked) = self.asked.get_mut(&tool) else { continue };
            if asked.turn != key || asked.ran || asked.at > call.times.start {
                continue;
            }
            asked.ran = true;
            out.push(Concluded::Tool(ToolRun {
                asked_by: asked.by.clone(),
                turn: open.root().cloned(),
                number: asked.number,
                name: asked.name.clone(),
                id: tool.id,
                start: asked.at,
                end: call.times.start,
            }));
        }
    }

    fn ask(&mut self, key: TurnKey, call: &LlmCall) {
        let Some(open) = self.open.get_mut(&key) else { return };
        for (number, tool) in (0..).zip(&call.response.tool_calls) {
            let Some(id) = &tool.id else { continue };
            if open.tools.len() >= self.limits.tool_calls {
                self.counters.untracked_tool_calls += 1;
                continue;
            }
            let asked = Asked {
                turn: key,
                by: CallRef::of(call),
                number,
                name: tool.name.clone(),
                at: call.times.end,
                ran: false,
                done: None,
            };
            self.asked.insert(ToolKey { process: open.process, id: id.clone() }, asked);
            open.tools.push(id.clone());
        }
    }

    fn end(&mut self, key: TurnKey, out: &mut Vec<Concluded>) {
        let Some(open) = self.open.remove(&key) else { return };
        let root = open.root().cloned();
        for id in open.tools {
            let tool = ToolKey { process: open.process, id };
            // A later turn may have used the id again.
            if !self.asked.get(&tool).is_some_and(|asked| asked.turn == key) {
                continue;
            }
            // What was done in its run shows that it ran, although nobody was told of its result.
            if let Some(Asked { by, number, name, at, ran: false, done: Some(done), .. }) = self.asked.remove(&tool) {
                let (turn, id) = (root.clone(), tool.id);
                out.push(Concluded::Tool(ToolRun { asked_by: by, turn, number, name, id, start: at, end: done }));
            }
        }
        if root.is_some() {
            out.push(Concluded::Turn(open.turn));
        }
    }

    /// Ends idle turns. It looks at all of them, but at most ten times in the idle time.
    fn sweep(&mut self, out: &mut Vec<Concluded>) {
        if self.now < self.next_sweep {
            return;
        }
        self.next_sweep = self.now + self.limits.idle / 10;
        let (now, idle) = (self.now, self.limits.idle);
        self.end_where(out, |open| now - open.turn.end > idle);
    }

    /// In the order in which the turns began, so that a replay tells them in the same order every time.
    fn end_where(&mut self, out: &mut Vec<Concluded>, ended: impl Fn(&Open) -> bool) {
        let mut keys: Vec<TurnKey> = self.open.iter().filter(|(_, open)| ended(open)).map(|(key, _)| *key).collect();
        keys.sort_unstable();
        for key in keys {
            self.end(key, out);
        }
    }
}

/// Whether the tool that a model asks for is the one that the program called. Claude Code and others offer the tools of
/// MCP servers as `mcp__{server}__{tool}`.
fn is_tool(asked: &str, called: &str) -> bool {
    asked == called
        || asked
            .strip_prefix("mcp__")
            .and_then(|rest| rest.strip_suffix(called))
            .is_some_and(|server| server.len() > 2 && server.ends_with("__"))
}

#[cfg(test)]
mod tests;
