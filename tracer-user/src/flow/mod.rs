//! Flow: puts each connection's bytes in order, says what is missing, bounds what is kept.

#[doc(hidden)]
pub mod fuzz;
mod table;

use std::sync::Arc;

use bytes::Bytes;

pub use self::table::{Counters, Flows, Limits};
use crate::capture::{ClosedBy, Connection, ConnectionKey, Direction};

/// In-order input of the decoders, one connection at a time. Times never decrease within a connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Open {
        at: u64,
        key: ConnectionKey,
        connection: Arc<Connection>,
    },
    Bytes {
        at: u64,
        key: ConnectionKey,
        direction: Direction,
        bytes: Bytes,
    },
    /// `lost` bytes are missing here; `None` when their number is unknown.
    Gap {
        at: u64,
        key: ConnectionKey,
        direction: Direction,
        lost: Option<u64>,
    },
    Close {
        at: u64,
        key: ConnectionKey,
        by: ClosedBy,
    },
    /// llmtap forgets the connection while it lives: the table is full, or llmtap stops.
    Abandon {
        at: u64,
        key: ConnectionKey,
    },
}

#[cfg(test)]
mod tests;
