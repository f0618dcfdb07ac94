//! OpenSSL, and what keeps its exported functions.

use memchr::memmem;

use super::disasm::{self, Callee, Value};
use super::elf::Elf;
use super::{Entry, Function, Hooks, Reason, Stack, method};

/// OpenSSL 1.1.1 and later, and BoringSSL, with their exported functions.
pub(super) struct OpenSsl;

impl Stack for OpenSsl {
    fn hooks(&self, elf: &Elf<'_>) -> Option<Result<Hooks, Reason>> {
        hooks(elf)
    }
}

fn hooks(elf: &Elf<'_>) -> Option<Result<Hooks, Reason>> {
    let [read, read_ex, write, write_ex, write_ex2] =
        elf.functions([b"SSL_read", b"SSL_read_ex", b"SSL_write", b"SSL_write_ex", b"SSL_write_ex2"]);
    let (Some(_), Some(_)) = (read, write) else { return None };
    let [free, shutdown, clear, ctrl, sendfile, table] =
        elf.functions([b"SSL_free", b"SSL_shutdown", b"SSL_clear", b"SSL_ctrl", b"SSL_sendfile", b"TLS_method"]);
    // Functions that only the one fork has; the last is a macro elsewhere.
    let [boring, libre, host_name] =
        elf.functions([b"SSL_CTX_set_custom_verify", b"SSL_CTX_load_verify_mem", b"SSL_set_tlsext_host_name"]);
    let library = match (boring, libre, read_ex) {
        (Some(_), ..) => "boringssl".to_owned(),
        (_, Some(_), _) => return Some(Err(Reason::LibreSsl)),
        // A static link keeps only the functions that the program calls: the missing one alone tells nothing.
        (.., None) if version(elf).is_none_or(|version| is_old(&version)) => return Some(Err(Reason::OldOpenSsl)),
        _ => version(elf).map_or_else(|| "openssl".to_owned(), |version| format!("openssl {version}")),
    };
    let table = table.filter(|_| boring.is_none());
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
        method: table.and_then(|entry| method::hooks(elf, entry)),
        exported: exported
            .into_iter()
            .filter(|(function, ..)| *function != Function::WriteEx || !passes_on(elf, write_ex, write_ex2))
            .filter_map(|(function, address, arguments)| Some(Entry { function, site: site(address, arguments)? }))
            .collect(),
        free: site(free, 1),
        shutdown: site(shutdown, 1),
        clear: site(clear, 1),
        ctrl: site(ctrl, 4),
        host_name: site(host_name, 2),
        sendfile: site(sendfile, 5),
        stripped: None,
        probes: Vec::new(),
    }))
}

/// Whether the function at `from` is only a way into the one at `to`: `SSL_write_ex` calls `SSL_write_ex2` in most
/// builds of OpenSSL 3.3 and later, through the procedure linkage table or not. With both hooked, each call would count
/// twice.
fn passes_on(elf: &Elf<'_>, from: Option<u64>, to: Option<u64>) -> bool {
    /// Each costs a search of the relocations. Two calls are the most that were seen.
    const MAX_LOOKUPS: usize = 8;
    let (Some(from), Some(to)) = (from, to) else { return false };
    let calls = disasm::read(elf, from).calls;
    let linked = calls.iter().filter_map(|call| match call.callee {
        Callee::Value(Value::Global(at)) => Some(at),
        _ => None,
    });
    calls.iter().any(|call| call.callee == Callee::Address(to))
        || linked.take(MAX_LOOKUPS).any(|at| elf.pointers::<1>(at) == [Some(to)])
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

/// Before 1.1.1, whose `SSL_CTX` and return codes this version does not know.
fn is_old(version: &str) -> bool {
    ["0.", "1.0.", "1.1.0"].iter().any(|old| version.starts_with(old))
}
