//! Fixtures: each dialect's cases as capture files with the values that a span needs, driven through the real stages.

mod calls;
pub mod drive;
mod fixtures;
