//! Qdrant: `/collections/{collection}/points/…`.
//!
//! - <https://api.qdrant.tech/api-reference/search>

use super::{Proof, Query, Store, reader::Field as F};
use crate::json::Shape;
use crate::llm::recognise::percent_decoded;

pub struct Qdrant;

const REQUEST: Shape<F> = Shape::through().members(&[
    ("limit", Shape::value(F::TopK)),
    ("vector", Shape::container(F::Fits)),
    ("query", Shape::presence(F::Fits)),
    ("positive", Shape::container(F::Fits)),
    ("prefetch", Shape::container(F::Fits)),
    ("target", Shape::presence(F::Fits)),
    ("group_by", Shape::presence(F::Fits)),
]);
const BATCH: Shape<F> = Shape::through().members(&[("searches", Shape::container(F::Fits).items(&REQUEST))]);

const HIT: Shape<F> = Shape::container(F::Row);
const HITS: Shape<F> = Shape::container(F::Rows).items(&HIT);
/// `query` and its like answer with an object around the list.
const POINTS: Shape<F> = Shape::through().members(&[("points", HITS)]);
const GROUP: Shape<F> = Shape::through().members(&[("hits", HITS)]);
const GROUPS: Shape<F> = Shape::through().members(&[("groups", Shape::container(F::Rows).items(&GROUP))]);

/// A failure is `{"status": {"error": message}}`, and messages are not read.
const STATUS: Shape<F> = Shape::through().members(&[("error", Shape::presence(F::Failed))]);
const LIST: Shape<F> = Shape::through().members(&[("result", HITS), ("status", STATUS)]);
const LISTS: Shape<F> =
    Shape::through().members(&[("result", Shape::container(F::Rows).items(&HITS)), ("status", STATUS)]);
const OBJECT: Shape<F> = Shape::through().members(&[("result", POINTS), ("status", STATUS)]);
const OBJECTS: Shape<F> =
    Shape::through().members(&[("result", Shape::container(F::Rows).items(&POINTS)), ("status", STATUS)]);
const GROUPED: Shape<F> = Shape::through().members(&[("result", GROUPS), ("status", STATUS)]);

impl Store for Qdrant {
    fn query(&self, path: &[&str], _: Option<&str>) -> Option<Query> {
        let at = path.iter().position(|segment| *segment == "collections")?;
        let [collection, "points", operation @ ..] = &path[at + 1..] else { return None };
        let (operation, request, response) = match operation {
            ["search"] => ("search", &REQUEST, &LIST),
            ["search", "batch"] => ("search/batch", &BATCH, &LISTS),
            ["search", "groups"] => ("search/groups", &REQUEST, &GROUPED),
            ["query"] => ("query", &REQUEST, &OBJECT),
            ["query", "batch"] => ("query/batch", &BATCH, &OBJECTS),
            ["query", "groups"] => ("query/groups", &REQUEST, &GROUPED),
            ["recommend"] => ("recommend", &REQUEST, &LIST),
            ["recommend", "batch"] => ("recommend/batch", &BATCH, &LISTS),
            ["recommend", "groups"] => ("recommend/groups", &REQUEST, &GROUPED),
            ["discover"] => ("discover", &REQUEST, &LIST),
            ["discover", "batch"] => ("discover/batch", &BATCH, &LISTS),
            _ => return None,
        };
        Some(Query {
            system: "qdrant",
            operation,
            collection: Some(percent_decoded(collection)),
            namespace: None,
            request,
            response,
            proof: Proof::Path,
        })
    }
}
