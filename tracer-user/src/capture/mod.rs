//! Capture: from kernel hooks (or a capture file) to [`Event`]s. The only stage that knows the kernel.

pub mod attach;
pub mod btf;
mod cache;
pub mod clock;
pub mod container;
mod dynamic;
pub mod event;
pub mod format;
pub mod gate;
pub mod libraries;
pub mod load;
pub mod locate;
mod mapped;
pub mod mask;
mod order;
mod packages;
pub mod perf;
mod plan;
pub mod process;
pub mod program;
pub mod rcu;
pub mod record;
pub mod replay;
mod rest;
pub mod returns;
pub mod ring;
mod root;
pub mod seam;
pub mod survey;
pub mod target;

pub use attach::{Refusal, Verdict};
pub use event::{ByConnection, ClosedBy, Connection, ConnectionKey, Direction, Event, KeyHasher, Process, Role};
pub use load::{Counters, LoadError, Options, ProcessNews, ProcessNotice, TargetMode, Tracer};
pub use ring::RingReader;
