//! Stacks that are known, to be told of, but not hooked.

use super::elf::Elf;
use super::{Hooks, Reason, Stack, crates};

/// Mozilla's NSS, and language runtimes whose TLS is code of their own language, each known by a function that all of its
/// builds export: to programs, to native modules and to embedding programs. WebRTC in Rust, which seals what it sends by
/// UDP with DTLS.
pub(super) struct Unhooked;

impl Stack for Unhooked {
    fn hooks(&self, elf: &Elf<'_>) -> Option<Result<Hooks, Reason>> {
        let known = elf.functions([b"SSL_ImportFD", b"JNI_CreateJavaVM", b"driver_output_term"]);
        let reasons = [Reason::Nss, Reason::Java, Reason::Otp];
        let exported = known.iter().zip(reasons).find_map(|(function, reason)| function.map(|_| Err(reason)));
        // Of webrtc-rs, before and from 0.20 on.
        let is_web_rtc = || {
            let crates: [&[u8]; 2] = [b"webrtc-dtls-", b"rtc-dtls-"];
            crates.iter().any(|name| crates::releases(elf, name).iter().any(|release| release.has(elf, &[b""])))
        };
        exported.or_else(|| is_web_rtc().then_some(Err(Reason::WebRtc)))
    }
}
