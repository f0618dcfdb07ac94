//! Go's `crypto/tls`: its functions are named by the table that the runtime itself needs, and all that a probe wants to
//! know stands in registers and in their frames. Nothing is remembered between two probes, so that it does not matter
//! which thread runs the goroutine, nor whether its stack has moved.
//!
//! - `(*Conn).writeRecordLocked` is where every written byte passes once, in the order of sending, with its lock held and
//!   the handshake done. It is seen at its beginning: a reader in another goroutine may have the answer before it ends.
//! - `(*Conn).Read`, where it has ended: `read.rs`.
//! - `(*Conn).Close`.
//! - `(*Conn).clientHandshake` and `serverHandshake` by their `-fm` wrappers, which are what a `Conn` holds of them: called once
//!   in the life of a `Conn` and not when it renegotiates. The memory of one that was never closed may hold another.

mod code;
mod read;
mod table;

use tracer_common::event::GoPlace;

use super::elf::Elf;
use super::{Hooks, Probe, Program, Reason, Stack};
use code::Body;
use table::{Function, Table, Unusable};

const READ: &[u8] = b"crypto/tls.(*Conn).Read";
const WRITE: &[u8] = b"crypto/tls.(*Conn).Write";
const WRITE_RECORD: &[u8] = b"crypto/tls.(*Conn).writeRecordLocked";
const CLOSE: &[u8] = b"crypto/tls.(*Conn).Close";
const HANDSHAKES: [&[u8]; 2] = [b"crypto/tls.(*Conn).clientHandshake-fm", b"crypto/tls.(*Conn).serverHandshake-fm"];

/// The type of records with application data (RFC 8446 section 5.1), as `writeRecordLocked` is told it.
const APPLICATION_DATA: u64 = 23;

/// The linker's text about the build (Go's `src/debug/buildinfo`), and where the version stands in it since Go 1.18: its
/// length, then its bytes.
const BUILD_INFO: &[u8] = b"\xff Go buildinf:";
const BUILD_VERSION: usize = 32;

pub(super) struct Go;

impl Stack for Go {
    fn hooks(&self, elf: &Elf<'_>) -> Option<Result<Hooks, Reason>> {
        let section = Table::section(elf)?;
        // Many Go programs never make a TLS connection, also some that hold parts of the package.
        HANDSHAKES.iter().find(|name| memchr::memmem::find(section.1, name).is_some())?;
        Some(probes(elf, section).map(|probes| Hooks {
            library: version(elf).map_or_else(|| "go".into(), |version| format!("go {version}")),
            probes,
            ..Hooks::default()
        }))
    }
}

fn probes(elf: &Elf<'_>, section: (u64, &[u8])) -> Result<Vec<Probe>, Reason> {
    let table = Table::read(elf, section).map_err(|why| match why {
        Unusable::Old => Reason::OldGo,
        Unusable::Unknown => Reason::Go,
    })?;
    let [client, server] = HANDSHAKES;
    let found = table.functions([READ, WRITE, WRITE_RECORD, CLOSE, client, server]);
    let more_stack = table.starts(b"runtime.morestack");
    let never_return = table.starts(b"runtime.panic");
    let body = |function: Option<Function<'_>>| Body::of(&function?, &more_stack);
    let [Some(read), Some(write), Some(record), Some(close)] = [0, 1, 2, 3].map(|at: usize| body(found[at])) else {
        // Go 1.16 has the table of 1.17, and passes arguments on the stack.
        return Err(if table.is_1_16() { Reason::OldGo } else { Reason::Go });
    };
    let handshakes: Vec<Body> = found[4..].iter().filter_map(|function| body(*function)).collect();
    let reads = read::finished(&read, &never_return).ok_or(Reason::Go)?;
    let is_record = found[2].is_some_and(|record| write.calls_with(record.address, APPLICATION_DATA));
    if !is_record || handshakes.is_empty() {
        return Err(Reason::Go);
    }
    let mut sites = vec![(Program::GoWrite, record.entry(), 0), (Program::GoClose, close.entry(), 0)];
    sites.extend(handshakes.iter().map(|one| (Program::GoHandshake, one.entry(), 0)));
    for one in reads {
        let place = GoPlace::new(one.register, one.frame).ok_or(Reason::Go)?;
        sites.push((Program::GoRead, one.address, place.0));
    }
    let probe = |(program, address, place)| Some(Probe { program, offset: elf.offset(address)?, place });
    sites.into_iter().map(probe).collect::<Option<_>>().ok_or(Reason::Go)
}

/// `1.27.3`, as the linker wrote it.
fn version(elf: &Elf<'_>) -> Option<String> {
    let (_, info) = elf.section(b".go.buildinfo")?;
    let text = info.strip_prefix(BUILD_INFO)?.get(BUILD_VERSION - BUILD_INFO.len()..)?;
    let (length, text) = text.split_first()?;
    let version = std::str::from_utf8(text.get(..usize::from(*length))?).ok()?.strip_prefix("go")?;
    let number = version.split(|c: char| c != '.' && !c.is_ascii_digit()).next()?;
    (!number.is_empty()).then(|| number.to_owned())
}
