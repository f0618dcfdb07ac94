//! The functions behind the `ssl_read` and `ssl_write` slots of OpenSSL's method table.
//!
//! The slots moved between releases (0x38 and 0x48 in 1.1.1 and 3.0, 0x50 and 0x60 from 3.2 on), but what the functions do
//! did not: `ssl_read` and `ssl_peek` ask the method that stands six slots after `ssl_read`, `ssl_read_bytes`, for
//! application data, with the buffer, the length and the count that they were given and with the flag `peek` 0 and 1;
//! `ssl_write` gives its own arguments to the one that follows it, `ssl_write_bytes`. That is what is looked for, and a
//! table where it is not found, or found twice, is not used. Releases before 1.1.1 pass no count and do not match.
//!
//! **Reads need no return probe.** Compilers make one shape of it in every build seen (1.1.1 to 3.6, by GCC and Clang):
//!
//! ```text
//! ret = s->method->ssl_read_bytes(…);        call *0x68(%rax)
//! if (ret == -1 && …)                        cmp $-1,%eax ; je …
//! ```
//!
//! The jump stands on the way of every return, the kernel emulates it, and the registers that survive calls still hold
//! `ssl`, `buf`, `done` and `peek`: one ordinary probe sees a whole read. It needs no state between two probes, and no
//! return address is replaced, so that it is safe where the target switches stacks in a BIO callback. After a handshake
//! in the middle of a read there is a second call, whose result meets a jump in the same way.
//!
//! Writes have no such place: `ssl_write` and its caller leave by tail calls, and `SSL_write_ex` has no emulated
//! instruction after its call. They take an entry and a return probe.

use super::disasm::{self, Call, Callee, Reading, Value};
use super::elf::Elf;
use super::functions::Functions;
use super::{Method, Peek, ReadReturn};

/// `SSL3_RT_APPLICATION_DATA`: the record type that the functions ask for (RFC 8446 section 5.1).
const APPLICATION_DATA: u64 = 23;

/// Words of a method table that are looked at. OpenSSL 3.6 has 32.
pub(super) const TABLE: usize = 32;

/// The functions in the table that `TLS_method`, at `entry`, returns.
pub(super) fn hooks(elf: &Elf<'_>, entry: u64) -> Option<Method> {
    let table = disasm::returned_address(elf, entry)?;
    proven(elf, &elf.pointers(table))?.hooks(elf)
}

/// The functions of the table with these words, if they do what those of a method table do.
pub(super) fn proven(elf: &Elf<'_>, words: &[Option<u64>; TABLE]) -> Option<Found> {
    let slots = words.map(|word| word.filter(|address| elf.code(*address).is_some()));
    let mut proven = (0..TABLE).filter_map(|first| prove(elf, &slots, first));
    proven.next().filter(|_| proven.next().is_none())
}

/// Functions of a method table, by their addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    read: u64,
    peek: u64,
    write: u64,
    /// `ssl_read_bytes`, as seen from the `SSL`.
    read_bytes: Value,
    /// `ssl_write_bytes`, as seen from the `SSL`, and its address.
    write_bytes: (Value, u64),
    pub(super) neighbours: Neighbours,
}

/// The functions around them; `None` where a table has another form than those of the releases that are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Neighbours {
    /// `ssl_free(ssl)`: called when the last reference is dropped.
    pub(super) free: Option<u64>,
    /// `ssl_clear(ssl)`.
    pub(super) clear: Option<u64>,
    /// `ssl_shutdown(ssl)`.
    pub(super) shutdown: Option<u64>,
    /// `ssl_ctrl(ssl, command, larg, parg)`: what `SSL_ctrl` hands on, the server name among it.
    pub(super) ctrl: Option<u64>,
}

impl Neighbours {
    /// In 1.1.1 to 3.1 the table begins `ssl_new, ssl_clear, ssl_free, ssl_accept, ssl_connect, ssl_read`; from 3.2 on
    /// `ssl_new, ssl_free, ssl_reset, ssl_init, ssl_clear, ssl_deinit, ssl_accept, ssl_connect, ssl_read` (OpenSSL's
    /// `ssl_local.h`). Behind `ssl_read` nothing has moved.
    fn of(slots: &[Option<u64>; TABLE], first: usize) -> Self {
        let (clear, free) = match first {
            7 => (3, 4),
            10 => (6, 3),
            _ => return Self::default(),
        };
        let slot = |index: usize| slots.get(index).copied().flatten();
        Self { free: slot(free), clear: slot(clear), shutdown: slot(first + 3), ctrl: slot(first + 9) }
    }
}

impl Found {
    pub(super) fn hooks(&self, elf: &Elf<'_>) -> Option<Method> {
        Some(Method {
            read: disasm::site(elf, self.read, 4)?,
            read_returns: read_returns(elf, self).unwrap_or_default(),
            write: disasm::site(elf, self.write, 4)?,
        })
    }

    /// The return instructions that every write passes when it ends: `ssl_write` leaves by a call of `ssl_write_bytes`,
    /// whose returns are its own. Offsets in the file; `None` if it may end otherwise. Messages of a handshake pass some of
    /// them too, at other places of the stack.
    pub(super) fn write_returns(&self, elf: &Elf<'_>) -> Option<Vec<u64>> {
        let (method, inner) = self.write_bytes;
        let functions = Functions::around(elf, [self.write, inner].into_iter());
        let returns =
            functions.returns(elf, self.write, |callee| (*callee == Callee::Value(method)).then_some(inner))?;
        returns.into_iter().map(|address| elf.offset(address)).collect()
    }
}

/// Proves that the slots from `first` on are `ssl_read`, `ssl_peek` and `ssl_write`.
fn prove(elf: &Elf<'_>, slots: &[Option<u64>; TABLE], first: usize) -> Option<Found> {
    let slot = |step: usize| slots.get(first + step).copied().flatten();
    let (read, peek, write) = (slot(0)?, slot(1)?, slot(2)?);
    if slot(6).is_none() || slot(7).is_none() || read == peek || peek == write || read == write {
        return None;
    }
    let field = asks_for(elf, read, 8 * (first as u64 + 6), 0)?;
    let proven = asks_for(elf, peek, 8 * (first as u64 + 6), 1)? == field
        && gives(elf, write, Value::Slot { field, slot: 8 * (first as u64 + 7) });
    let method = |step: u64| Value::Slot { field, slot: 8 * (first as u64 + step) };
    let (read_bytes, write_bytes) = (method(6), (method(7), slot(7)?));
    proven.then_some(Found { read, peek, write, read_bytes, write_bytes, neighbours: Neighbours::of(slots, first) })
}

/// Where the method table hangs in the `SSL`, if the function at `entry` hands its arguments to the method
/// `ssl_read_bytes(ssl, type, NULL, buf, len, peek, done)` at `slot`, always with the same `peek`.
fn asks_for(elf: &Elf<'_>, entry: u64, slot: u64, peek: u64) -> Option<u64> {
    let mut found = None;
    for call in calls(elf, entry) {
        let Callee::Value(method @ Value::Slot { field, slot: called }) = call.callee else { continue };
        if called == slot && is_read(&call, method, Value::Argument(3)) {
            if call.arguments[5] != Value::Constant(peek) || found.is_some_and(|earlier| earlier != field) {
                return None;
            }
            found = Some(field);
        }
    }
    found
}

fn is_read(call: &Call, method: Value, done: Value) -> bool {
    let [ssl, kind, _, buf, len, _] = call.arguments;
    call.callee == Callee::Value(method)
        && kind == Value::Constant(APPLICATION_DATA)
        && [ssl, buf, len] == [0, 1, 2].map(Value::Argument)
        && call.seventh == done
}

/// Whether the function hands its arguments to the method `ssl_write_bytes(ssl, type, buf, len, done)`.
fn gives(elf: &Elf<'_>, entry: u64, method: Value) -> bool {
    calls(elf, entry).iter().any(|call| {
        let [ssl, kind, buf, len, done, _] = call.arguments;
        call.callee == Callee::Value(method)
            && kind == Value::Constant(APPLICATION_DATA)
            && [ssl, buf, len, done] == [0, 1, 2, 3].map(Value::Argument)
    })
}

/// The calls that the function at `entry` makes, itself or in the first functions that it hands its arguments to.
fn calls(elf: &Elf<'_>, entry: u64) -> Vec<Call> {
    /// One in every build seen.
    const MAX_INNER: usize = 4;
    let Reading { mut calls, .. } = disasm::read(elf, entry);
    let inner: Vec<Call> = calls
        .iter()
        .filter(|call| call.arguments[..3] == [0, 1, 2].map(Value::Argument))
        .filter(|call| matches!(call.callee, Callee::Address(_)))
        .take(MAX_INNER)
        .filter_map(|call| disasm::read_callee(elf, call))
        .flat_map(|reading| reading.calls)
        .collect();
    calls.extend(inner);
    calls
}

/// The places that all returns of `ssl_read_bytes` to reads pass; `None` if there is one without such a place.
fn read_returns(elf: &Elf<'_>, found: &Found) -> Option<Vec<ReadReturn>> {
    // Either both functions hand their arguments and the flag to a third, or the compiler made two copies of it.
    let shared = |entry, peek| {
        let arguments = [0, 1, 2].map(Value::Argument);
        disasm::read(elf, entry).calls.into_iter().find_map(|call| match call.callee {
            Callee::Address(callee)
                if call.arguments[..3] == arguments
                    && call.arguments[3..5] == [Value::Constant(peek), Value::Argument(3)] =>
            {
                Some(callee)
            }
            _ => None,
        })
    };
    let (function, peek, done) = match (shared(found.read, 0), shared(found.peek, 1)) {
        (Some(one), Some(same)) if one == same => (one, Some(Value::Low(3)), Value::Argument(4)),
        (None, None) => (found.read, None, Value::Argument(3)),
        _ => return None,
    };
    let reading = disasm::read(elf, function);
    if !reading.complete {
        return None;
    }
    let mut returns = Vec::new();
    for call in reading.calls.iter().filter(|call| call.callee == Callee::Value(found.read_bytes)) {
        let flag = call.arguments[5];
        if !is_read(call, found.read_bytes, done) || flag != peek.unwrap_or(Value::Constant(0)) {
            return None;
        }
        let common = [0, 1, 2].map(Value::Argument);
        let with_flag = peek.and_then(|peek| {
            let wanted = [common[0], common[1], common[2], done, peek];
            let (offset, emulated, [ssl, buf, len, done, flag]) = disasm::after(elf, &reading, call, wanted)?;
            Some(ReadReturn { offset, ssl, buf, len, done, peek: Peek::Flag(flag), emulated })
        });
        let without = || {
            let wanted = [common[0], common[1], common[2], done];
            let (offset, emulated, [ssl, buf, len, done]) = disasm::after(elf, &reading, call, wanted)?;
            let peek = if peek.is_some() { Peek::Lost } else { Peek::Never };
            Some(ReadReturn { offset, ssl, buf, len, done, peek, emulated })
        };
        returns.push(with_flag.or_else(without)?);
    }
    // Only the result of the second call, after a handshake in the middle of a read, may come without the flag.
    let usual = |one: &ReadReturn| one.peek != Peek::Lost;
    (returns.iter().filter(|one| !usual(one)).count() <= 1 && returns.iter().any(usual)).then_some(returns)
}
