//! Retrieval: tells queries of vector stores over HTTP from other traffic and reads each into one [`Retrieval`].
//!
//! A store is one file and one line in [`STORES`]: which paths are its queries, and the places of its bodies that are
//! wanted. What writes, deletes or lists is no retrieval, and neither is a search without vectors.

mod chroma;
mod elasticsearch;
mod fuzz;
mod graphql;
mod milvus;
mod pinecone;
mod qdrant;
mod queries;
mod reader;
mod weaviate;

#[cfg(test)]
mod tests;

pub use fuzz::fuzz;
pub use queries::{Limits, Queries};

use crate::json::Shape;
use crate::{carrier::Carrier, llm::call::CallError, proto::RequestHead};
use reader::Field;

/// One query of a vector store, as it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Retrieval {
    pub carrier: Carrier,
    /// `db.system.name`.
    pub store: &'static str,
    /// The store's own word for it, as its path has it: `search`, `query/groups`, ….
    pub operation: &'static str,
    pub collection: Option<String>,
    /// Database, tenant, or what else the store calls the space above or below its collections.
    pub namespace: Option<String>,
    /// Documents asked for.
    pub top_k: Option<u64>,
    /// Documents returned; `None` when the answer was not wholly seen.
    pub returned: Option<u64>,
    /// The store's own code of a failure, when its body states one.
    pub status_code: Option<String>,
    pub error: Option<CallError>,
}

/// A kind of vector store.
trait Store: Sync {
    /// What a POST asks, as the segments of its path and, if known, its host tell; `None` when it is none of this store's
    /// queries. Without a host the answer must be at least as generous: what is refused then is never looked at again.
    fn query(&self, path: &[&str], host: Option<&str>) -> Option<Query>;

    /// Adjusts the store's name by what else was seen.
    fn system(&self, query: &Query, _: &reader::Seen, _: Option<&crate::proto::ResponseHead>) -> &'static str {
        query.system
    }
}

/// What the head of a request asks, and where its bodies tell the rest.
#[derive(Clone)]
struct Query {
    system: &'static str,
    operation: &'static str,
    collection: Option<String>,
    namespace: Option<String>,
    request: &'static Shape<Field>,
    response: &'static Shape<Field>,
    /// How much of the bodies has to be of the store's shape.
    proof: Proof,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// The path is the store's own: a request that was not seen does not refute it.
    Path,
    /// The request's body has to say it.
    Request,
    /// Both bodies have to: the path is anybody's.
    Both,
}

static STORES: &[&dyn Store] = &[
    &qdrant::Qdrant,
    &chroma::Chroma,
    &milvus::Milvus,
    &pinecone::Pinecone,
    &weaviate::Weaviate,
    &elasticsearch::Elasticsearch,
];

/// Whether a request's bodies are worth reading, as its method and path tell.
pub fn could_be_retrieval(head: &RequestHead) -> bool {
    queried(head, None).is_some()
}

/// The store that a request queries, and what it asks.
fn queried(head: &RequestHead, host: Option<&str>) -> Option<(&'static dyn Store, Query)> {
    if head.method != "POST" {
        return None;
    }
    // No store's path is longer: what follows could not fit.
    let mut path = [""; 16];
    let segments = head.path.split('/').filter(|segment| !segment.is_empty());
    let count = path.iter_mut().zip(segments).map(|(place, segment)| *place = segment).count();
    STORES.iter().find_map(|store| Some((*store, store.query(&path[..count], host)?)))
}
