//! Hop: one step of an agent's work as seen on the wire, of whatever kind. Three readers look at each exchange side by
//! side: model calls (`llm`), requests of the Model Context Protocol (`mcp`), queries of vector stores (`retrieval`). A
//! fourth only learns which processes tell of their calls themselves.

mod telemetry;

use self::telemetry::{Exports, exports_spans};
use crate::{
    attribution::Attribution,
    capture::Connection,
    content,
    exchange::Event,
    llm::{self, Calls, EndedCall},
    mcp::{self, could_be_mcp},
    proto::RequestHead,
    retrieval::{self, Queries, Retrieval, could_be_retrieval},
};

/// What the readers tell.
#[derive(Debug, Clone, PartialEq)]
pub enum Hop {
    Model(EndedCall),
    Mcp(mcp::Request),
    Retrieval(Retrieval),
}

impl Hop {
    /// The connection on which it was made.
    pub fn connection(&self) -> &Connection {
        match self {
            Self::Model(call) => &call.connection,
            Self::Mcp(request) => &request.carrier.connection,
            Self::Retrieval(retrieval) => &retrieval.carrier.connection,
        }
    }
}

/// Whether a request's bodies are worth reading, as its head tells. It misses none, and most other traffic is refused
/// here.
pub fn could_be_hop(head: &RequestHead) -> bool {
    llm::could_be_model_call(head) || could_be_mcp(head) || could_be_retrieval(head) || exports_spans(head)
}

/// The readers, each with its open exchanges.
pub struct Hops {
    calls: Calls,
    requests: mcp::Requests,
    queries: Queries,
    exports: Exports,
    // Kept so that their memory is used again.
    called: Vec<EndedCall>,
    requested: Vec<mcp::Request>,
    queried: Vec<Retrieval>,
}

impl Hops {
    pub fn new(calls: Calls) -> Self {
        Self {
            calls,
            requests: mcp::Requests::new(mcp::Limits::default()),
            queries: Queries::new(retrieval::Limits::default()),
            exports: Exports::default(),
            called: Vec::new(),
            requested: Vec::new(),
            queried: Vec::new(),
        }
    }

    /// Takes the next event. Returns whether it shows that its connection carries such traffic: a model call by its
    /// head, all else by what its bodies say.
    pub fn push(&mut self, event: &Event, out: &mut Vec<Hop>) -> bool {
        let call = self.calls.push(event, &mut self.called);
        let mcp = self.requests.push(event, &mut self.requested);
        let retrieval = self.queries.push(event, &mut self.queried);
        self.exports.push(event);
        if !(self.called.is_empty() && self.requested.is_empty() && self.queried.is_empty()) {
            self.hand_over(out);
        }
        call || mcp || retrieval
    }

    /// Ends what is still open.
    pub fn finish(&mut self, out: &mut Vec<Hop>) {
        self.calls.finish(&mut self.called);
        self.requests.finish(&mut self.requested);
        self.queries.finish(&mut self.queried);
        self.hand_over(out);
    }

    /// From now on calls are recognised so.
    pub fn set_options(&mut self, options: llm::Options) {
        self.calls.set_options(options);
    }

    /// From now on contents of model calls are read, or not.
    pub fn set_content(&mut self, read: bool) {
        self.calls.set_content(read.then(|| (content::Limits::default(), content::POOL_BYTES)));
    }

    /// From now on model calls are attributed by these rules.
    pub fn set_attribution(&mut self, attribution: Attribution) {
        self.calls.set_attribution(attribution);
    }

    /// The model calls that are open.
    pub fn active(&self) -> impl Iterator<Item = llm::Active<'_>> {
        self.calls.active()
    }

    /// Whether the process was seen to export spans of its model calls.
    pub fn tells_of_itself(&self, pid: u32) -> bool {
        self.exports.tells(pid)
    }

    /// The process has another image now.
    pub fn replaced(&mut self, pid: u32) {
        self.exports.forget(pid);
    }

    /// What the reader of model calls left out.
    pub fn counts(&self) -> llm::Counts {
        self.calls.counts()
    }

    fn hand_over(&mut self, out: &mut Vec<Hop>) {
        out.extend(self.called.drain(..).map(Hop::Model));
        out.extend(self.requested.drain(..).map(Hop::Mcp));
        out.extend(self.queried.drain(..).map(Hop::Retrieval));
    }
}

#[cfg(test)]
mod tests;
