//! What is shown of a hop that is no model call: a request of MCP, a query of a vector store.

use super::{columns::State, text};
use crate::{
    agent::Place,
    carrier::Carrier,
    llm::call::{CallError, Completeness},
    mcp,
    retrieval::Retrieval,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Mcp,
    Retrieval,
}

#[derive(Debug)]
pub struct Aside<'a> {
    pub kind: Kind,
    /// Stands where a call has its model.
    pub subject: String,
    /// Stands where a call has its provider.
    pub provider: &'static str,
    pub carrier: &'a Carrier,
    pub state: State,
    pub words: String,
    /// Id of the tool call in whose run it was made.
    pub tool_call: Option<&'a str>,
}

impl<'a> Aside<'a> {
    pub fn mcp(request: &'a mcp::Request, place: Option<&'a Place>) -> Self {
        let target = request.tool.as_ref().or(request.prompt.as_ref());
        let subject = match target {
            Some(target) => format!("{} {target}", request.method),
            None => request.method.clone(),
        };
        Self::new(Kind::Mcp, &subject, "mcp", &request.carrier, request.error.as_ref(), place)
    }

    pub fn retrieval(retrieval: &'a Retrieval, place: Option<&'a Place>) -> Self {
        let subject = match &retrieval.collection {
            Some(collection) => format!("retrieval {collection}"),
            None => "retrieval".to_owned(),
        };
        let (carrier, error) = (&retrieval.carrier, retrieval.error.as_ref());
        let mut aside = Self::new(Kind::Retrieval, &subject, retrieval.store, carrier, error, place);
        if let Some(returned) = retrieval.returned {
            aside.words = format!("{} {}", aside.words, text::plural(returned, "document"));
        }
        aside
    }

    fn new(
        kind: Kind,
        subject: &str,
        provider: &'static str,
        carrier: &'a Carrier,
        error: Option<&CallError>,
        place: Option<&'a Place>,
    ) -> Self {
        let status = carrier.status.map(|status| status.to_string());
        let error = error.map(|error| text::clean(&error.kind, 48));
        let state = match (&error, carrier.completeness) {
            (Some(_), _) => State::Failed,
            (None, Completeness::Full) => State::Done,
            (None, _) => State::Partial,
        };
        // An answer on another connection may come before the exchange's own status.
        let unstated = if state == State::Done { "answered" } else { "no answer seen" };
        let words = match (status, error) {
            // A kind that only repeats the status says nothing.
            (Some(status), Some(error)) if status != error => format!("{status} {error}"),
            (status, error) => status.or(error).unwrap_or_else(|| unstated.to_owned()),
        };
        let tool_call = match place {
            Some(Place::Tool { id, .. }) => Some(id.as_str()),
            _ => None,
        };
        Self { kind, subject: text::clean(subject, 128), provider, carrier, state, words, tool_call }
    }

    /// Nanoseconds.
    pub fn total(&self) -> u64 {
        self.carrier.end.saturating_sub(self.carrier.start)
    }
}
