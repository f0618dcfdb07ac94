//! Go's `crypto/tls`.

use super::elf::Elf;
use super::{Hooks, Reason, Stack};

pub(super) struct Go;

impl Stack for Go {
    fn hooks(&self, elf: &Elf<'_>) -> Option<Result<Hooks, Reason>> {
        (elf.has_section(b".gopclntab") || elf.has_section(b".go.buildinfo")).then_some(Err(Reason::Go))
    }
}
