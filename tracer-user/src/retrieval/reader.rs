//! Reads the two bodies of a query: one set of fields for all stores.

use super::graphql::Graphql;
use crate::json::{Container, Scalar, Sink};
use crate::llm::{
    decode::{CallLimits, Keep},
    failure::{Failure, Part},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The request is of the store's shape.
    Fits,
    /// A part of a query that only a search by vectors has.
    Vector,
    /// The same, of OpenSearch's own.
    Neural,
    /// A part that only Elasticsearch has.
    Semantic,
    TopK,
    /// Documents asked for where nothing says it better.
    Size,
    Collection,
    Namespace,
    /// The text of a GraphQL query.
    Graphql,
    /// A list of documents; each of its items is a [`Field::Row`].
    Rows,
    Row,
    /// A number that is a code of failure unless it says that all went well.
    Code,
    /// Only failures have it.
    Failed,
    Failure(Part),
}

use Field as F;

/// What was read so far.
pub struct Seen {
    pub fits: bool,
    pub neural: bool,
    pub semantic: bool,
    pub vector: bool,
    pub top_k: Option<u64>,
    pub size: Option<u64>,
    pub collection: Option<String>,
    pub namespace: Option<String>,
    /// `None` until a list of documents was seen.
    pub rows: Option<u64>,
    pub code: Option<i64>,
    pub failed: bool,
    pub failure: Failure,
    pub graphql: Graphql,
    keep: Keep,
}

impl Seen {
    pub fn new(limits: CallLimits) -> Self {
        Self {
            fits: false,
            neural: false,
            semantic: false,
            vector: false,
            top_k: None,
            size: None,
            collection: None,
            namespace: None,
            rows: None,
            code: None,
            failed: false,
            failure: Failure::default(),
            graphql: Graphql::default(),
            keep: Keep::new(limits),
        }
    }

    fn is(&mut self, field: Field) {
        match field {
            F::Fits => self.fits = true,
            F::Vector => self.vector = true,
            F::Neural => self.neural = true,
            F::Semantic => self.semantic = true,
            F::Row => self.rows = Some(self.rows.unwrap_or(0).saturating_add(1)),
            F::Failed => self.failed = true,
            _ => {}
        }
    }
}

impl Sink<Field> for Seen {
    fn scalar(&mut self, field: Field, value: Scalar<'_>) {
        match field {
            // A batch asks several times: the first stands for it.
            F::TopK => {
                self.fits = true;
                self.top_k = self.top_k.or(value.count());
            }
            F::Size => self.size = self.size.or(value.count()),
            F::Collection => {
                self.fits = true;
                self.keep.first(&mut self.collection, value);
            }
            F::Namespace => self.keep.first(&mut self.namespace, value),
            F::Code => self.code = value.signed(),
            F::Failure(part) => self.failure.scalar(part, value),
            F::Row => self.is(field),
            _ if value.is_present() => self.is(field),
            _ => {}
        }
    }

    fn open(&mut self, field: Field, _: Container) {
        match field {
            F::Rows => self.rows = Some(self.rows.unwrap_or(0)),
            F::Failure(Part::Error) => self.failure.begin(),
            _ => self.is(field),
        }
    }

    fn text(&mut self, field: Field, piece: &[u8]) {
        if field == F::Graphql {
            self.graphql.push(piece);
        }
    }
}
