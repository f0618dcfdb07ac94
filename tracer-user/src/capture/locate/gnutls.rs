//! GnuTLS.
//!
//! Its exported functions lead into each other: `gnutls_record_send` into `gnutls_record_send2`, `gnutls_record_uncork`
//! into `gnutls_record_send` for what was told to the former before. Below them stand two functions without a name that
//! each byte passes once (`record.c` of GnuTLS 3.6.3 and later):
//!
//! | function | arguments | known by |
//! |---|---|---|
//! | `_gnutls_recv_int` | session, content type, buffer, size, … | `gnutls_record_recv_seq` ends in it, with its own session, buffer and size |
//! | `_gnutls_send_tlen_int` | session, content type, handshake type, epoch, data, size, … | `gnutls_record_send2` calls it for application data (23) without a handshake type (-1) in the current epoch (70001) |
//!
//! They also carry handshakes and alerts: the content type tells. Both begin with a `push`. What goes another way is
//! not seen: kernel TLS, which is off unless the system's configuration of GnuTLS asks for it, and
//! `gnutls_record_recv_packet`.

use super::disasm::{self, Bounds, Call, Callee, Value};
use super::elf::Elf;
use super::frames::Frames;
use super::{Entry, Function, Hooks, Reason, Stack};

/// `GNUTLS_APPLICATION_DATA` (`gnutls.h`), the number of RFC 8446 section 5.1.
const APPLICATION_DATA: Value = Value::Constant(23);
/// `(gnutls_handshake_description_t) -1`.
const NO_HANDSHAKE: Value = Value::Constant(u32::MAX as u64);
/// `EPOCH_WRITE_CURRENT` (`gnutls_int.h`).
const CURRENT_EPOCH: Value = Value::Constant(70_001);

/// Bounds of reading the two: the larger one has some 600 instructions.
const MAX_INSTRUCTIONS: usize = 4_000;
const MAX_PATHS: usize = 512;

pub(super) struct GnuTls;

impl Stack for GnuTls {
    fn hooks(&self, elf: &Elf<'_>) -> Option<Result<Hooks, Reason>> {
        let [receive] = elf.functions([b"gnutls_record_recv"]);
        receive.map(|_| hooks(elf).ok_or(Reason::GnuTls))
    }
}

fn hooks(elf: &Elf<'_>) -> Option<Hooks> {
    let [receive, send] = inner(elf)?;
    let [free, shutdown, host_name, version] =
        elf.functions([b"gnutls_deinit", b"gnutls_bye", b"gnutls_server_name_set", b"gnutls_check_version"]);
    let site = |address: Option<u64>, arguments| disasm::site(elf, address?, arguments);
    let version = version.and_then(|entry| text_of_version(elf, entry));
    Some(Hooks {
        library: version.map_or_else(|| "gnutls".to_owned(), |version| format!("gnutls {version}")),
        method: None,
        exported: vec![
            Entry { function: Function::ReceiveRecord, site: site(Some(receive), 4)? },
            Entry { function: Function::SendRecord, site: site(Some(send), 6)? },
        ],
        free: site(free, 1),
        shutdown: site(shutdown, 1),
        clear: None,
        ctrl: None,
        host_name: site(host_name, 4),
        sendfile: None,
        stripped: None,
        probes: Vec::new(),
    })
}

/// The return instructions of the two functions; `None` if one of them may end otherwise.
pub(super) fn returns(elf: &Elf<'_>) -> Option<Vec<u64>> {
    let mut found = Vec::new();
    for entry in inner(elf)? {
        let reading = disasm::read_within(
            elf,
            entry,
            Bounds { instructions: MAX_INSTRUCTIONS, paths: MAX_PATHS, others: &[], parts: false },
        );
        if !reading.complete || reading.returns.is_empty() || reading.calls.iter().any(Call::is_last) {
            return None;
        }
        for address in reading.returns {
            found.push(elf.offset(address)?);
        }
    }
    Some(found)
}

/// Entries of the functions that received and sent records pass.
fn inner(elf: &Elf<'_>) -> Option<[u64; 2]> {
    let frames = Frames::of(elf)?;
    let [receive, send] = elf.functions([b"gnutls_record_recv_seq", b"gnutls_record_send2"]);
    let calls = |entry: u64| Some(disasm::calls_in(elf, frames.holding(elf, entry)?));
    let receive = only(calls(receive?)?, |call| {
        call.arguments[..4] == [Value::Argument(0), APPLICATION_DATA, Value::Argument(1), Value::Argument(2)]
    })?;
    let send = only(calls(send?)?, |call| call.arguments[1..4] == [APPLICATION_DATA, NO_HANDSHAKE, CURRENT_EPOCH])?;
    Some([receive, send])
}

/// The one function that is called so.
fn only(calls: Vec<Call>, fits: impl Fn(&Call) -> bool) -> Option<u64> {
    let mut callees = calls.iter().filter(|call| fits(call)).map(|call| call.callee);
    let first = callees.next()?;
    match first {
        Callee::Address(address) if callees.all(|other| other == first) => Some(address),
        _ => None,
    }
}

/// What `gnutls_check_version` compares its argument with.
fn text_of_version(elf: &Elf<'_>, entry: u64) -> Option<String> {
    const MAX: usize = 16;
    disasm::read(elf, entry).calls.iter().find_map(|call| {
        let (Value::Argument(0), Value::Constant(at)) = (call.arguments[0], call.arguments[1]) else { return None };
        let text = elf.bytes(at)?;
        let text = text.get(..text.iter().take(MAX).position(|byte| *byte == 0)?)?;
        let numbered = text.first()?.is_ascii_digit() && text.contains(&b'.');
        numbered.then(|| String::from_utf8_lossy(text).into_owned())
    })
}
