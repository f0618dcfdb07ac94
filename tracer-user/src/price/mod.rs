//! Price: what a call cost, by a built-in table that names its source, or by the user's own.

use std::sync::Arc;

/// What one call cost, in USD. A part that cannot be told is absent, never 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    pub total: f64,
    /// Input tokens that were neither read from nor written to a cache, audio included.
    pub input: Option<f64>,
    /// Output tokens, reasoning and audio included.
    pub output: Option<f64>,
    pub cache_read: Option<f64>,
    pub cache_write: Option<f64>,
    pub source: CostSource,
    /// `llmtap.price.version`: which table said so. Absent where the provider itself stated the cost.
    pub version: Option<Arc<str>>,
}

/// `llmtap.cost.source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CostSource {
    /// The provider states the cost on the wire.
    Provider,
    /// The built-in table.
    Table,
    /// The user's own prices.
    Override,
    /// A subscription pays for the call: what it would have cost at the list price.
    ListPrice,
}

impl CostSource {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Table => "table",
            Self::Override => "override",
            Self::ListPrice => "list_price",
        }
    }
}
