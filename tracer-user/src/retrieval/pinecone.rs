//! Pinecone: each index has a host of its own, `{index}-{project}.svc.{environment}.pinecone.io`.
//!
//! - <https://docs.pinecone.io/reference/api/latest/data-plane/query>
//! - <https://docs.pinecone.io/reference/api/latest/data-plane/search_records>

use super::{Proof, Query, Store, reader::Field as F};
use crate::json::Shape;
use crate::llm::{failure::Part, recognise::percent_decoded};

pub struct Pinecone;

const REQUEST: Shape<F> = Shape::through().members(&[
    ("topK", Shape::value(F::TopK)),
    ("namespace", Shape::value(F::Namespace)),
    // Records are searched by text.
    ("query", Shape::container(F::Fits).members(&[("top_k", Shape::value(F::TopK))])),
]);
const HITS: Shape<F> = Shape::container(F::Rows).items(&Shape::container(F::Row));
const RESPONSE: Shape<F> = Shape::through().members(&[
    ("matches", HITS),
    ("result", Shape::through().members(&[("hits", HITS)])),
    // `{"code": 3, "message": …}`, and in later versions `{"error": {"code": "NOT_FOUND", …}, "status": 404}`.
    ("code", Shape::value(F::Failure(Part::TopCode))),
    ("error", Shape::container(F::Failure(Part::Error)).members(&[("code", Shape::value(F::Failure(Part::Code)))])),
]);

impl Store for Pinecone {
    fn query(&self, path: &[&str], host: Option<&str>) -> Option<Query> {
        let own = host.and_then(|host| host.strip_suffix(".pinecone.io"));
        let (operation, namespace) = match path {
            ["query"] => ("query", None),
            ["records", "namespaces", namespace, "search"] => ("search", Some(percent_decoded(namespace))),
            _ => return None,
        };
        // The project's id stands behind the index's name.
        let index = own.and_then(|own| own.split('.').next()?.rsplit_once('-')).map(|(index, _)| index.to_owned());
        Some(Query {
            system: "pinecone",
            operation,
            collection: index,
            namespace,
            request: &REQUEST,
            response: &RESPONSE,
            // A local server has any host, and `/query` is anybody's path.
            proof: if own.is_some() { Proof::Path } else { Proof::Both },
        })
    }
}
