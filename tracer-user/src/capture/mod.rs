//! Capture: from kernel hooks (or a capture file) to [`Event`]s. The only stage that knows the kernel.

pub mod event;
pub mod locate;

pub use event::{ClosedBy, Connection, ConnectionKey, Direction, Event, Process, Role};
