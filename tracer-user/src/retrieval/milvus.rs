//! Milvus and Zilliz Cloud over REST: `/v2/vectordb/entities/…`, `/v1/vector/…`. Failures come with HTTP status 200 and
//! a code.
//!
//! - <https://milvus.io/api-reference/restful/v2.6.x/v2/Vector%20(v2)/Search.md>

use super::{Proof, Query, Store, reader::Field as F};
use crate::json::Shape;

pub struct Milvus;

const REQUEST: Shape<F> = Shape::through().members(&[
    ("collectionName", Shape::value(F::Collection)),
    ("dbName", Shape::value(F::Namespace)),
    ("limit", Shape::value(F::TopK)),
]);
const RESPONSE: Shape<F> = Shape::through()
    .members(&[("code", Shape::value(F::Code)), ("data", Shape::container(F::Rows).items(&Shape::container(F::Row)))]);

impl Store for Milvus {
    fn query(&self, path: &[&str], _: Option<&str>) -> Option<Query> {
        let operation = match path {
            [.., "v2", "vectordb", "entities", operation] => match *operation {
                "search" => "search",
                "query" => "query",
                "hybrid_search" => "hybrid_search",
                "advanced_search" => "advanced_search",
                _ => return None,
            },
            [.., "v1", "vector", "search"] => "search",
            [.., "v1", "vector", "query"] => "query",
            _ => return None,
        };
        Some(Query {
            system: "milvus",
            operation,
            collection: None,
            namespace: None,
            request: &REQUEST,
            response: &RESPONSE,
            proof: Proof::Request,
        })
    }
}
