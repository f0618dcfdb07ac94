//! Stacks that are known, to be told of, but not hooked.

use super::elf::Elf;
use super::{Hooks, Reason, Stack};

/// Mozilla's NSS, and language runtimes whose TLS is code of their own language. Each is known by a function that all of
/// its builds export: to programs, to native modules and to embedding programs.
pub(super) struct Unhooked;

impl Stack for Unhooked {
    fn hooks(&self, elf: &Elf<'_>) -> Option<Result<Hooks, Reason>> {
        let known = elf.functions([b"SSL_ImportFD", b"JNI_CreateJavaVM", b"driver_output_term"]);
        let reasons = [Reason::Nss, Reason::Java, Reason::Otp];
        known.iter().zip(reasons).find_map(|(function, reason)| function.map(|_| Err(reason)))
    }
}
