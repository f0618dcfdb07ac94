//! BoringSSL linked into an executable and stripped of its symbols (Bun, and what is built with it).
//!
//! What stays true across builds is the error queue. `OPENSSL_PUT_ERROR(SSL, reason)` compiles to a call with the
//! library's number, the reason's number, the address of the source file's name and the line (BoringSSL, `err.h`). The
//! name is a string to look for, the numbers are part of the library's interface (`ssl.h`), and each function has its own
//! set of them. That gives candidates. What a candidate does with its arguments is then read from its instructions; only
//! a function that does what its source says is taken:
//!
//! | function | reasons | and |
//! |---|---|---|
//! | the read loop | 215, 226; not 66 | |
//! | `SSL_peek` | 66 | gives its `ssl` to the read loop, then copies to its `buf` from a field of the connection's state |
//! | `SSL_read` | as `SSL_peek`, or it calls that with its own arguments | writes that field afterwards: what was read is consumed |
//! | `SSL_write` | 66, 226 and 111 or 215 | gives its `ssl` and `buf` to the method `write_app_data` |
//! | `SSL_shutdown` | 226, 291; not 66 | |
//! | `SSL_set_tlsext_host_name` | 213 | hands its `name` on |
//! | the end of an `SSL` | – | gives its `ssl` to the method `ssl_free`, not to `ssl_new` as `SSL_clear` does, and a constant to `CRYPTO_free_ex_data` |
//!
//! Each function is found on its own, a missing one costs only what it would have told, and two that fit are none.

mod reports;

use super::disasm::{self, Call, Callee, Reading, Value};
use super::elf::Elf;
use super::functions::Functions;
use super::{Entry, Function, Hooks, Reason, Stack, Stripped, sources};

/// Numbers of `ssl.h` and `err.h`.
mod reason {
    /// `ERR_R_SHOULD_NOT_HAVE_BEEN_CALLED`
    pub(super) const NOT_FOR_QUIC: u32 = 66;
    /// `SSL_R_BAD_LENGTH`
    pub(super) const BAD_LENGTH: u32 = 111;
    /// `SSL_R_NULL_SSL_CTX`
    pub(super) const NULL_CONTEXT: u32 = 185;
    /// `SSL_R_SSL3_EXT_INVALID_SERVERNAME`
    pub(super) const INVALID_SERVER_NAME: u32 = 213;
    /// `SSL_R_SSL_HANDSHAKE_FAILURE`
    pub(super) const HANDSHAKE_FAILURE: u32 = 215;
    /// `SSL_R_UNINITIALIZED`
    pub(super) const UNINITIALIZED: u32 = 226;
    /// `SSL_R_APPLICATION_DATA_ON_SHUTDOWN`
    pub(super) const DATA_ON_SHUTDOWN: u32 = 291;
}

/// `SSL_PROTOCOL_METHOD` (`internal.h`): a flag, `ssl_new`, `ssl_free`.
const SSL_NEW: u64 = 0x8;
const SSL_FREE: u8 = 0x10;
/// Smaller constants are no address of data: the first page holds the file's headers.
const MIN_ADDRESS: u64 = 0x1000;

/// A function that reports errors of `ssl_lib.cc`.
struct Candidate {
    entry: u64,
    reasons: Vec<u32>,
    reading: Reading,
}

impl Candidate {
    fn has(&self, reason: u32) -> bool {
        self.reasons.contains(&reason)
    }

    /// The method table is the first field of an `SSL`.
    fn calls_method(&self, fits: impl Fn(&Call) -> bool) -> bool {
        let method = |call: &Call| matches!(call.callee, Callee::Value(Value::Slot { field: 0, .. }));
        self.reading.calls.iter().any(|call| method(call) && call.arguments[0] == Value::Argument(0) && fits(call))
    }
}

/// The hooks of a file with BoringSSL inside; `None` if it has none.
pub(super) struct BoringSsl;

impl Stack for BoringSsl {
    fn hooks(&self, elf: &Elf<'_>) -> Option<Result<Hooks, Reason>> {
        hooks(elf)
    }
}

fn hooks(elf: &Elf<'_>) -> Option<Result<Hooks, Reason>> {
    let names = reports::file_names(elf);
    let library = reports::library(names.first()?);
    let loads = sources::loads(elf, &names);
    let functions = Functions::around(elf, loads.iter().map(|load| load.address));
    let candidates = candidates(elf, &functions, &loads);
    // A program that only holds the name has no such library.
    if candidates.is_empty() && !sources::are_reported(&loads) {
        return None;
    }
    let read = read(elf, &candidates);
    let write = only(candidates.iter().filter(|one| is_write(one)).map(|one| one.entry));
    if read.is_none() && write.is_none() {
        return Some(Err(Reason::StrippedBoringSsl));
    }
    let reported = |fits: fn(&Candidate) -> bool| only(candidates.iter().filter(|one| fits(one)).map(|one| one.entry));
    let site = |address: Option<u64>, arguments| disasm::site(elf, address?, arguments);
    let exported: Vec<Entry> = [(Function::Read, read), (Function::Write, write)]
        .into_iter()
        .filter_map(|(function, address)| Some(Entry { function, site: site(address, 3)? }))
        .collect();
    let returns: Option<Vec<Vec<u64>>> =
        [read, write].into_iter().flatten().map(|entry| returns(elf, &functions, entry)).collect();
    Some(Ok(Hooks {
        library: library.to_owned(),
        method: None,
        exported,
        free: site(end_of_connection(elf, &functions, &candidates), 1),
        shutdown: site(reported(is_shutdown), 1),
        clear: None,
        ctrl: None,
        host_name: site(reported(is_host_name), 2),
        sendfile: None,
        stripped: Some(Stripped { returns: returns.map(|returns| returns.concat()), beside: None }),
        probes: Vec::new(),
    }))
}

/// The functions around the loads, with the reasons that each reports.
fn candidates(elf: &Elf<'_>, functions: &Functions<'_>, loads: &[sources::Load]) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    for load in loads {
        let Some(reason) = reports::reason(elf, load) else { continue };
        let Some((entry, reading)) = functions.holding(elf, load.address) else { continue };
        match found.iter_mut().find(|known| known.entry == entry) {
            Some(known) => known.reasons.push(reason),
            None => found.push(Candidate { entry, reasons: vec![reason], reading }),
        }
    }
    found
}

fn is_write(one: &Candidate) -> bool {
    one.has(reason::NOT_FOR_QUIC)
        && one.has(reason::UNINITIALIZED)
        && (one.has(reason::BAD_LENGTH) || one.has(reason::HANDSHAKE_FAILURE))
        && one.calls_method(|call| {
            matches!(call.arguments[1], Value::Frame(_)) && call.arguments[2..5].contains(&Value::Argument(1))
        })
}

fn is_shutdown(one: &Candidate) -> bool {
    one.has(reason::UNINITIALIZED) && one.has(reason::DATA_ON_SHUTDOWN) && !one.has(reason::NOT_FOR_QUIC)
}

fn is_host_name(one: &Candidate) -> bool {
    one.has(reason::INVALID_SERVER_NAME) && one.reading.calls.iter().any(|call| call.arguments[0] == Value::Argument(1))
}

/// Where in the connection's state the data stands that waits to be read: a pointer and, behind it, a length.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Pending {
    state: u64,
    pointer: u64,
}

impl Pending {
    /// What the function copies to its `buf` by a call.
    fn of(reading: &Reading) -> Option<Self> {
        reading.calls.iter().find_map(|call| match call.arguments {
            [Value::Argument(1), Value::Slot { field, slot }, ..] => Some(Self { state: field, pointer: slot }),
            _ => None,
        })
    }

    fn is_consumed_by(self, reading: &Reading) -> bool {
        let fields = [self.pointer, self.pointer.wrapping_add(8)];
        fields.iter().any(|field| reading.stores.contains(&(Value::Field(self.state), *field)))
    }
}

/// `SSL_read`: itself a copy of `SSL_peek` that consumes, or the one that calls `SSL_peek` and consumes.
fn read(elf: &Elf<'_>, candidates: &[Candidate]) -> Option<u64> {
    let loops: Vec<u64> = candidates
        .iter()
        .filter(|one| {
            one.has(reason::UNINITIALIZED)
                && one.has(reason::HANDSHAKE_FAILURE)
                && !one.has(reason::NOT_FOR_QUIC)
                && !one.has(reason::DATA_ON_SHUTDOWN)
        })
        .map(|one| one.entry)
        .collect();
    let peeks: Vec<(&Candidate, Pending)> = candidates
        .iter()
        .filter(|one| one.has(reason::NOT_FOR_QUIC))
        .filter(|one| {
            // The loop may be part of it.
            one.has(reason::UNINITIALIZED)
                || one.reading.calls.iter().any(|call| {
                    call.arguments[0] == Value::Argument(0)
                        && loops.iter().any(|entry| call.callee == Callee::Address(*entry))
                })
        })
        .filter_map(|one| Some((one, Pending::of(&one.reading)?)))
        .collect();
    let consuming = peeks.iter().filter(|(one, pending)| pending.is_consumed_by(&one.reading));
    let consuming: Vec<u64> = consuming.map(|(one, _)| one.entry).collect();
    if !consuming.is_empty() {
        return only(consuming.into_iter());
    }
    let (peek, pending) = only(peeks.into_iter())?;
    let callers = Functions::callers(elf, peek.entry).into_iter().filter(|(_, reading)| {
        pending.is_consumed_by(reading)
            && reading.calls.iter().any(|call| {
                call.callee == Callee::Address(peek.entry)
                    && call.arguments[..2] == [0, 1].map(Value::Argument)
                    && matches!(call.arguments[2], Value::Argument(2) | Value::Low(2))
            })
    });
    only(callers.map(|(entry, _)| entry))
}

/// What ends the life of an `SSL`: `SSL_free`, or the destructor below it. It also gives the place of the extra data's
/// class, a constant, to another function; `SSL_clear` makes the state anew.
fn end_of_connection(elf: &Elf<'_>, functions: &Functions<'_>, candidates: &[Candidate]) -> Option<u64> {
    let new = candidates.iter().find(|one| one.has(reason::NULL_CONTEXT));
    let ends = functions.calling_slot(elf, SSL_FREE).into_iter().filter(|(entry, reading)| {
        let method = |wanted: u64| {
            reading.calls.iter().any(|call| {
                call.arguments[0] == Value::Argument(0)
                    && call.callee == Callee::Value(Value::Slot { field: 0, slot: wanted })
            })
        };
        let names_class =
            reading.calls.iter().any(|call| matches!(call.arguments[0], Value::Constant(at) if at >= MIN_ADDRESS));
        let is_other = !candidates.iter().any(|one| one.entry == *entry);
        // A copy that only `SSL_new` calls tells nothing.
        let is_called =
            || Functions::calls_of(elf, *entry).iter().any(|at| new.is_none_or(|new| !new.reading.seen.contains(at)));
        method(SSL_FREE.into()) && !method(SSL_NEW) && names_class && is_other && is_called()
    });
    only(ends.map(|(entry, _)| entry))
}

/// The return instructions of a function; `None` if it may end otherwise.
fn returns(elf: &Elf<'_>, functions: &Functions<'_>, entry: u64) -> Option<Vec<u64>> {
    let reading = functions.read(elf, entry);
    if !reading.complete || reading.returns.is_empty() || reading.calls.iter().any(Call::is_last) {
        return None;
    }
    reading.returns.iter().map(|address| elf.offset(*address)).collect()
}

/// The one, if it is the only one.
fn only<T>(mut found: impl Iterator<Item = T>) -> Option<T> {
    let first = found.next()?;
    found.next().is_none().then_some(first)
}
