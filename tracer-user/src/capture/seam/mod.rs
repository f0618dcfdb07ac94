//! The seam between the two halves of llmtap.
//!
//! One process holds the privileges: it loads programs, discovers processes, attaches hooks, starts the command. The
//! other parses other people's bytes: it reads the ring, and does all that stands right of capture; it has no
//! privilege, cannot open files and cannot start programs. Nothing right of capture knows of this.

mod channel;
mod confine;
mod launch;
mod privileges;
mod user;
mod wait;

pub use channel::{Channel, Health, MAX_DESCRIPTORS, ToParser, ToTracer, Totals, Verdicts, memory_file};
pub use confine::{close_others, confine};
pub use launch::{Command, LaunchError, Starting, Status, close_behind, fork_parser, raise_descriptor_limit, reap};
pub use privileges::{CAPABILITIES, Capability, Unconfinable, keep_for_tracing, may_confine, missing};
pub use user::{User, as_user, user_name};
pub use wait::{Signals, ignore, local_offset, poll, process_end, send_signal, terminal_columns};
