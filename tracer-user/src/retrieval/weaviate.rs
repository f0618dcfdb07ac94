//! Weaviate over GraphQL: `/v1/graphql`. Its newer clients query by gRPC, which this does not read.
//!
//! - <https://docs.weaviate.io/weaviate/api/graphql/get>

use super::{Proof, Query, Store, reader::Field as F};
use crate::json::Shape;

pub struct Weaviate;

const REQUEST: Shape<F> = Shape::through().members(&[("query", Shape::text(F::Graphql))]);
/// The list stands under the class, whose name no shape can know: documents are not counted.
const RESPONSE: Shape<F> =
    Shape::through().members(&[("errors", Shape::through().items(&Shape::container(F::Failed)))]);

impl Store for Weaviate {
    fn query(&self, path: &[&str], _: Option<&str>) -> Option<Query> {
        let [.., "v1", "graphql"] = path else { return None };
        Some(Query {
            system: "weaviate",
            operation: "get",
            collection: None,
            namespace: None,
            request: &REQUEST,
            response: &RESPONSE,
            proof: Proof::Request,
        })
    }
}
