//! rustls, which a Rust program carries in itself, mostly without symbols.

use super::elf::Elf;
use super::{Hooks, Reason, Stack};

pub(super) struct Rustls;

impl Stack for Rustls {
    fn hooks(&self, elf: &Elf<'_>) -> Option<Result<Hooks, Reason>> {
        // Panics name the source file, whose path holds the name of the crate.
        elf.holds(b"/rustls-0.").then_some(Err(Reason::Rustls))
    }
}
