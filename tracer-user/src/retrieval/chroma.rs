//! Chroma: `/api/v1/collections/{id}/query`, `/api/v2/tenants/{t}/databases/{d}/collections/{id}/query`. The collection
//! is named by its id.
//!
//! - <https://docs.trychroma.com/reference/server-api>

use super::{Proof, Query, Store, reader::Field as F};
use crate::json::Shape;
use crate::llm::{failure::Part, recognise::percent_decoded};

pub struct Chroma;

const SEARCH: Shape<F> =
    Shape::container(F::Fits).members(&[("limit", Shape::value(F::Size).members(&[("limit", Shape::value(F::TopK))]))]);
const REQUEST: Shape<F> = Shape::through().members(&[
    ("query_embeddings", Shape::container(F::Fits)),
    ("query_texts", Shape::container(F::Fits)),
    ("n_results", Shape::value(F::TopK)),
    ("searches", Shape::container(F::Fits).items(&SEARCH)),
]);
/// One list of ids for each query.
const RESPONSE: Shape<F> = Shape::through().members(&[
    ("ids", Shape::container(F::Rows).items(&Shape::container(F::Rows).items(&Shape::presence(F::Row)))),
    // `{"error": "InvalidDimensionException", "message": …}`
    ("error", Shape::value(F::Failure(Part::TopCode))),
]);

impl Store for Chroma {
    fn query(&self, path: &[&str], _: Option<&str>) -> Option<Query> {
        let [.., "collections", collection, operation] = path else { return None };
        let operation = match *operation {
            "query" => "query",
            "search" => "search",
            _ => return None,
        };
        let api = path.windows(2).position(|pair| matches!(pair, ["api", "v1" | "v2"]))?;
        let namespace = match &path[api + 2..] {
            ["tenants", tenant, "databases", database, ..] => {
                // From the general to the specific, as the conventions want it.
                Some(format!("{}|{}", percent_decoded(tenant), percent_decoded(database)))
            }
            _ => None,
        };
        Some(Query {
            system: "chroma",
            operation,
            collection: Some(percent_decoded(collection)),
            namespace,
            request: &REQUEST,
            response: &RESPONSE,
            proof: Proof::Path,
        })
    }
}
