//! GnuTLS.

use super::elf::Elf;
use super::{Hooks, Reason, Stack};

pub(super) struct GnuTls;

impl Stack for GnuTls {
    fn hooks(&self, elf: &Elf<'_>) -> Option<Result<Hooks, Reason>> {
        let [receive] = elf.functions([b"gnutls_record_recv"]);
        receive.map(|_| Err(Reason::GnuTls))
    }
}
