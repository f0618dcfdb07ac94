//! Spans of what is no model call: requests of the Model Context Protocol, queries of vector stores. Names and attributes
//! follow the GenAI semantic conventions ("MCP", "Retrievals"). Arguments, results and query texts are payload.

use std::borrow::Cow;

use super::{Attributes, Synth, completeness, connection};
use crate::{
    agent::Place,
    carrier::Carrier,
    llm::call::CallError,
    mcp,
    retrieval::Retrieval,
    span::{
        ids::Purpose,
        record::{Kind, SpanRecord, Status},
        semconv,
    },
};

impl Synth {
    /// The span of one request or notification of MCP.
    pub fn mcp(&mut self, request: &mcp::Request, place: Option<&Place>) -> SpanRecord {
        let mut attributes = Attributes(Vec::with_capacity(24));
        // Readers of tool spans find the calls of MCP's tools, too.
        attributes.maybe(semconv::OPERATION_NAME, request.tool.as_ref().map(|_| "execute_tool"));
        attributes.set(semconv::MCP_METHOD_NAME, request.method.clone());
        attributes.maybe(semconv::TOOL_NAME, request.tool.clone());
        attributes.maybe(semconv::PROMPT_NAME, request.prompt.clone());
        attributes.maybe(semconv::MCP_RESOURCE_URI, request.resource.clone());
        attributes.maybe(semconv::MCP_PROTOCOL_VERSION, request.protocol_version.clone());
        attributes.maybe(semconv::MCP_SESSION_ID, request.session_id.clone());
        attributes.maybe(semconv::JSONRPC_REQUEST_ID, request.id.as_ref().map(|id| id.as_str().to_owned()));
        attributes.maybe(semconv::RPC_RESPONSE_STATUS_CODE, request.error_code.clone());
        attributes.set(semconv::NETWORK_TRANSPORT, "tcp");
        attributes.set(semconv::NETWORK_PROTOCOL_NAME, "http");
        let name = match request.tool.as_ref().or(request.prompt.as_ref()) {
            Some(target) => format!("{} {target}", request.method),
            None => request.method.clone(),
        };
        let purpose = Purpose::Message(request.number);
        self.carried(name, &request.carrier, purpose, request.error.as_ref(), attributes, place)
    }

    /// The span of one query of a vector store.
    pub fn retrieval(&mut self, retrieval: &Retrieval, place: Option<&Place>) -> SpanRecord {
        let mut attributes = Attributes(Vec::with_capacity(20));
        attributes.set(semconv::OPERATION_NAME, "retrieval");
        attributes.maybe(semconv::DATA_SOURCE_ID, retrieval.collection.clone());
        attributes.maybe(semconv::RETRIEVAL_TOP_K, retrieval.top_k);
        attributes.set(semconv::DB_SYSTEM_NAME, retrieval.store);
        attributes.set(semconv::DB_OPERATION_NAME, retrieval.operation);
        attributes.maybe(semconv::DB_COLLECTION_NAME, retrieval.collection.clone());
        attributes.maybe(semconv::DB_NAMESPACE, retrieval.namespace.clone());
        attributes.maybe(semconv::DB_RESPONSE_RETURNED_ROWS, retrieval.returned);
        attributes.maybe(semconv::DB_RESPONSE_STATUS_CODE, retrieval.status_code.clone());
        let name = match &retrieval.collection {
            Some(collection) => format!("retrieval {collection}"),
            None => "retrieval".to_owned(),
        };
        self.carried(name, &retrieval.carrier, Purpose::Call, retrieval.error.as_ref(), attributes, place)
    }

    fn carried(
        &mut self,
        name: String,
        carrier: &Carrier,
        purpose: Purpose,
        error: Option<&CallError>,
        mut attributes: Attributes,
        place: Option<&Place>,
    ) -> SpanRecord {
        attributes.maybe(semconv::SERVER_ADDRESS, carrier.server_address.clone());
        attributes.maybe(semconv::SERVER_PORT, carrier.server_port);
        attributes.maybe(semconv::HTTP_RESPONSE_STATUS_CODE, carrier.status);
        attributes.set(semconv::NETWORK_PROTOCOL_VERSION, carrier.protocol_version);
        attributes.maybe(semconv::ERROR_TYPE, error.map(|error| error.kind.clone()));
        completeness(&mut attributes, carrier.completeness, carrier.lost_bytes);
        connection(&mut attributes, &carrier.connection, carrier.id);
        let own = self.ids.trace(&carrier.connection, carrier.id);
        let context = self.placed(carrier.trace_parent.as_ref(), place, own);
        SpanRecord {
            trace_id: context.trace_id,
            span_id: self.ids.span(&carrier.connection, carrier.id, purpose),
            parent: context.parent,
            flags: context.flags,
            trace_state: context.state,
            name: Cow::Owned(name),
            kind: Kind::Client,
            start: carrier.start,
            end: carrier.end,
            status: if error.is_some() { Status::Error } else { Status::Unset },
            attributes: attributes.0,
            links: Vec::new(),
            resource: self.resources.of(&carrier.connection),
        }
    }
}
