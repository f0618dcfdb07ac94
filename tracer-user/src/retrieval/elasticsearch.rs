//! Elasticsearch and OpenSearch: `_search` with a part that searches by vectors, and `_knn_search`.
//!
//! - <https://www.elastic.co/docs/solutions/search/vector/knn>
//! - <https://docs.opensearch.org/latest/vector-search/>

use super::{
    Proof, Query, Store,
    reader::{Field as F, Seen},
};
use crate::json::Shape;
use crate::{
    llm::{failure::Part, recognise::percent_decoded},
    proto::ResponseHead,
};

pub struct Elasticsearch;

/// A `knn` section: one, or a list of them.
const KNN_ONE: Shape<F> = Shape::container(F::Vector).members(&[("k", Shape::value(F::TopK))]);
const KNN: Shape<F> = KNN_ONE.items(&KNN_ONE);
/// Queries by vectors, each under its kind's name.
const BY_VECTOR: [(&str, Shape<F>); 4] = [
    ("knn", KNN),
    ("neural", Shape::container(F::Neural)),
    ("neural_sparse", Shape::container(F::Neural)),
    ("semantic", Shape::container(F::Semantic)),
];
const CLAUSE: Shape<F> = Shape::through().members(&BY_VECTOR);
const CLAUSES: Shape<F> = CLAUSE.items(&CLAUSE);
const QUERY: Shape<F> = Shape::through().members(&[
    BY_VECTOR[0],
    BY_VECTOR[1],
    BY_VECTOR[2],
    BY_VECTOR[3],
    ("bool", Shape::through().members(&[("must", CLAUSES), ("should", CLAUSES), ("filter", CLAUSES)])),
    ("hybrid", Shape::through().members(&[("queries", CLAUSES)])),
]);
const RETRIEVER: Shape<F> =
    Shape::through().members(&[BY_VECTOR[0], ("standard", Shape::through().members(&[("query", QUERY)]))]);
const RETRIEVERS: Shape<F> = Shape::through().members(&[("retrievers", Shape::through().items(&RETRIEVER))]);
const REQUEST: Shape<F> = Shape::through().members(&[
    ("knn", KNN),
    ("query", QUERY),
    (
        "retriever",
        Shape::through().members(&[
            BY_VECTOR[0],
            ("standard", Shape::through().members(&[("query", QUERY)])),
            ("rrf", RETRIEVERS),
            ("linear", RETRIEVERS),
        ]),
    ),
    ("size", Shape::value(F::Size)),
]);
const RESPONSE: Shape<F> = Shape::through().members(&[
    ("hits", Shape::through().members(&[("hits", Shape::container(F::Rows).items(&Shape::container(F::Row)))])),
    ("error", Shape::container(F::Failure(Part::Error)).members(&[("type", Shape::value(F::Failure(Part::Type)))])),
]);

impl Store for Elasticsearch {
    fn query(&self, path: &[&str], host: Option<&str>) -> Option<Query> {
        let [index @ .., last] = path else { return None };
        let operation = match *last {
            "_search" => "search",
            "_knn_search" => "knn_search",
            _ => return None,
        };
        // A gateway's prefix stands before the index, never behind it.
        let index = index.last().filter(|index| !index.starts_with('_')).map(|index| percent_decoded(index));
        let opensearch = host.is_some_and(|host| {
            host.ends_with(".es.amazonaws.com")
                || host.ends_with(".aoss.amazonaws.com")
                || host.starts_with("opensearch")
        });
        Some(Query {
            system: if opensearch { "opensearch" } else { "elasticsearch" },
            operation,
            collection: index,
            namespace: None,
            request: &REQUEST,
            response: &RESPONSE,
            proof: Proof::Request,
        })
    }

    /// Elasticsearch says in each answer what it is (`X-Elastic-Product`, since 7.14); OpenSearch does not.
    fn system(&self, query: &Query, seen: &Seen, response: Option<&ResponseHead>) -> &'static str {
        let says = response.map(|head| head.headers.get("x-elastic-product").is_some());
        match says {
            Some(true) => "elasticsearch",
            _ if seen.neural => "opensearch",
            _ if seen.semantic => "elasticsearch",
            Some(false) => "opensearch",
            None => query.system,
        }
    }
}
