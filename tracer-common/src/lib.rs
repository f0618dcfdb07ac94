//! What the eBPF programs and user space must agree on: record layouts, limits, loss causes and the pure decisions
//! that both sides (and the unit tests) run.
#![cfg_attr(not(test), no_std)]

pub mod counter;
pub mod decide;
pub mod event;
pub mod limits;
