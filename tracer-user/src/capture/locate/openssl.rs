//! OpenSSL, and what keeps its exported functions.

use memchr::memmem;

use super::disasm::{self, Call, Callee, Reading, Value};
use super::elf::{Architecture, Elf};
use super::{Entry, Function, Hooks, Method, Reason};

/// `SSL3_RT_APPLICATION_DATA`: the record type that read and write functions ask for (RFC 8446 section 5.1).
const APPLICATION_DATA: u64 = 23;

/// Words of a method table that are looked at. OpenSSL 3.6 has 32.
const TABLE: usize = 32;

/// The hooks of a file with OpenSSL's symbols; `None` if it has none.
pub(super) fn hooks(elf: &Elf<'_>) -> Option<Result<Hooks, Reason>> {
    let [read, read_ex, write, write_ex, write_ex2] =
        elf.functions([b"SSL_read", b"SSL_read_ex", b"SSL_write", b"SSL_write_ex", b"SSL_write_ex2"]);
    let (Some(_), Some(_)) = (read, write) else { return None };
    let [free, shutdown, clear, ctrl, sendfile, method] =
        elf.functions([b"SSL_free", b"SSL_shutdown", b"SSL_clear", b"SSL_ctrl", b"SSL_sendfile", b"TLS_method"]);
    // Functions that only the one fork has.
    let [boring, libre] = elf.functions([b"SSL_CTX_set_custom_verify", b"SSL_CTX_load_verify_mem"]);
    let library = match (boring, libre, read_ex) {
        (Some(_), ..) => "boringssl".to_owned(),
        (_, Some(_), _) => return Some(Err(Reason::LibreSsl)),
        (.., None) => return Some(Err(Reason::OldOpenSsl)),
        _ => version(elf).map_or_else(|| "openssl".to_owned(), |version| format!("openssl {version}")),
    };
    let method = method.filter(|_| boring.is_none() && elf.architecture == Architecture::X86_64);
    let site = |address: Option<u64>, arguments| address.and_then(|address| disasm::site(elf, address, arguments));
    let exported = [
        (Function::Read, read, 3),
        (Function::ReadEx, read_ex, 4),
        (Function::Write, write, 3),
        (Function::WriteEx, write_ex, 4),
        (Function::WriteEx2, write_ex2, 5),
    ];
    Some(Ok(Hooks {
        library,
        method: method.and_then(|entry| method_hooks(elf, entry)),
        exported: exported
            .into_iter()
            .filter(|(_, address, _)| !exported.iter().any(|(_, outer, _)| passes_on(elf, *address, *outer)))
            .filter_map(|(function, address, arguments)| Some(Entry { function, site: site(address, arguments)? }))
            .collect(),
        free: site(free, 1),
        shutdown: site(shutdown, 1),
        clear: site(clear, 1),
        ctrl: site(ctrl, 4),
        sendfile: site(sendfile, 5),
    }))
}

/// Whether the function at `from` is only a way into the one at `to`: `SSL_write_ex` calls `SSL_write_ex2` in most
/// builds of OpenSSL 3.3 and later, through the procedure linkage table or not. With both hooked, each call would count
/// twice.
fn passes_on(elf: &Elf<'_>, from: Option<u64>, to: Option<u64>) -> bool {
    let (Some(from), Some(to)) = (from, to) else { return false };
    elf.architecture == Architecture::X86_64
        && from != to
        && disasm::read(elf, from).calls.iter().any(|call| {
            let callee = match call.callee {
                Callee::Address(address) => Some(address),
                Callee::Value(Value::Global(at)) => elf.pointers::<1>(at)[0],
                Callee::Value(_) => None,
            };
            callee == Some(to)
        })
}

/// The version in the text `OpenSSL 3.0.15 3 Sep 2024`. The date tells it from other texts that begin so.
pub(super) fn version(elf: &Elf<'_>) -> Option<String> {
    const BEFORE: &[u8] = b"OpenSSL ";
    /// `3.0.15+quic 3 Sep 2024`, with room.
    const MAX: usize = 48;
    let finder = memmem::Finder::new(BEFORE);
    elf.constants().find_map(|bytes| {
        finder.find_iter(bytes).find_map(|at| {
            let text = bytes.get(at + BEFORE.len()..)?;
            let text = text.get(..text.iter().take(MAX).position(|byte| *byte == 0)?)?;
            let mut words = std::str::from_utf8(text).ok()?.split_ascii_whitespace();
            let [version, day, month, year] = [words.next()?, words.next()?, words.next()?, words.next()?];
            let dated = day.parse::<u8>().is_ok() && month.len() == 3 && year.parse::<u16>().is_ok();
            let numbered = version.bytes().filter(|byte| *byte == b'.').count() == 2
                && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+-".contains(&byte));
            (dated && numbered).then(|| version.to_owned())
        })
    })
}

/// The functions behind the `ssl_read` and `ssl_write` slots of the table that `TLS_method`, at `entry`, returns.
fn method_hooks(elf: &Elf<'_>, entry: u64) -> Option<Method> {
    let table = disasm::returned_address(elf, entry)?;
    let slots: [Option<u64>; TABLE] = elf.pointers(table);
    let slots = slots.map(|slot| slot.filter(|address| elf.code(*address).is_some()));
    let mut proven = (0..TABLE).filter_map(|first| prove(elf, &slots, first));
    let (read, write) = proven.next()?;
    // Two places that look right: neither is certain.
    if proven.next().is_some() {
        return None;
    }
    Some(Method { read: disasm::site(elf, read, 4)?, write: disasm::site(elf, write, 4)? })
}

/// Proves that the slots from `first` on are `ssl_read`, `ssl_peek`, `ssl_write`, and returns the first and the third.
///
/// The slots moved between releases (0x38 in 1.1.1 and 3.0, 0x50 from 3.2 on), but what the functions do did not. `ssl_read`
/// and `ssl_peek` ask the method that stands six slots after `ssl_read`, `ssl_read_bytes`, for application data with
/// the buffer, the length and the count that they were given, and with the flag `peek` 0 and 1. `ssl_write` gives its
/// own arguments to the one that follows it, `ssl_write_bytes`. Older releases pass no count; they do not match.
fn prove(elf: &Elf<'_>, slots: &[Option<u64>; TABLE], first: usize) -> Option<(u64, u64)> {
    let [read, peek, write] = [0, 1, 2].map(|step| slots.get(first + step).copied().flatten());
    let (read, peek, write) = (read?, peek?, write?);
    slots.get(first + 7).copied().flatten()?;
    if read == peek || peek == write || read == write {
        return None;
    }
    let read_bytes = 8 * (first as u64 + 6);
    let write_bytes = 8 * (first as u64 + 7);
    let (field, flag) = asks_for(elf, read, read_bytes)?;
    let matches = flag == 0
        && asks_for(elf, peek, read_bytes)? == (field, 1)
        && gives(elf, write, Value::Slot { field, slot: write_bytes });
    matches.then_some((read, write))
}

/// The calls that the function at `entry` makes, itself or in a function that it calls.
fn calls(elf: &Elf<'_>, entry: u64) -> Vec<Call> {
    let Reading { mut calls, .. } = disasm::read(elf, entry);
    let inner: Vec<Call> = calls
        .iter()
        .filter(|call| call.arguments[..3] == [0, 1, 2].map(Value::Argument))
        .filter_map(|call| disasm::read_callee(elf, call))
        .flat_map(|reading| reading.calls)
        .collect();
    calls.extend(inner);
    calls
}

/// Where the method table hangs in the `SSL` and what the flag `peek` is, if the function hands its arguments to the
/// method `ssl_read_bytes(ssl, type, NULL, buf, len, peek, done)` at `slot`, always with one flag.
fn asks_for(elf: &Elf<'_>, entry: u64, slot: u64) -> Option<(u64, u64)> {
    let mut answer = None;
    for call in calls(elf, entry) {
        let Callee::Value(Value::Slot { field, slot: called }) = call.callee else { continue };
        let [ssl, kind, _, buf, len, Value::Constant(flag)] = call.arguments else { continue };
        let expected = called == slot
            && ssl == Value::Argument(0)
            && kind == Value::Constant(APPLICATION_DATA)
            && [buf, len, call.seventh] == [1, 2, 3].map(Value::Argument);
        if !expected {
            continue;
        }
        if answer.is_some_and(|earlier| earlier != (field, flag)) {
            return None;
        }
        answer = Some((field, flag));
    }
    answer
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
