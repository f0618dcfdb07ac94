//! Telling a TLS stack that cannot be hooked from no TLS stack at all.

use memchr::memmem;

use super::Reason;
use super::elf::Elf;

/// Says why there is nothing to hook in a file without OpenSSL's symbols.
///
/// Stripped libraries are known by texts that their error reports and panics need at run time.
pub(super) fn recognise(elf: &Elf<'_>) -> Reason {
    let [receive] = elf.functions([b"gnutls_record_recv"]);
    if receive.is_some() {
        return Reason::GnuTls;
    }
    if elf.has_section(b".gopclntab") || elf.has_section(b".go.buildinfo") {
        return Reason::Go;
    }
    // `OPENSSL_PUT_ERROR` and `ERR_raise` record the source file; rustls is a crate whose panics name its directory.
    let texts: [(&[u8], Reason); 2] = [(b"/rustls-0.", Reason::Rustls), (b"ssl/ssl_lib.c\0", Reason::StrippedOpenSsl)];
    for (text, reason) in texts {
        let finder = memmem::Finder::new(text);
        if elf.constants().any(|bytes| finder.find(bytes).is_some()) {
            return reason;
        }
    }
    Reason::NotTls
}
