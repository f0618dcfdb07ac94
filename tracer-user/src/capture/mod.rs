//! Capture: from kernel hooks (or a capture file) to [`Event`]s. The only stage that knows the kernel.

pub mod credentials;
pub mod event;
pub mod format;
pub mod locate;
pub mod process;
pub mod record;
pub mod replay;
pub mod seam;

pub use event::{ClosedBy, Connection, ConnectionKey, Direction, Event, Process, Role};
