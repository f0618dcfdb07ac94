//! OpenSSL without its functions' names, as programs carry it in themselves: its method tables are found by their form.
//!
//! What `TLS_method` returns is a constant: a version that stands for any (`TLS_ANY_VERSION`, 0x10000), no flags, no
//! mask, and pointers to functions. So every place in the file is looked at that holds the former and, after relocation,
//! the latter. That it is a method table, and which of its functions read and write, [`method`] proves by what they do,
//! as it does where a symbol leads to the table. A file has several tables, for clients, servers and both, with the same
//! functions. Where two of them differ, the file holds two libraries, and none is taken.

use memchr::memmem;

use super::elf::Elf;
use super::method::{self, Found, TABLE};
use super::{Hooks, Reason, Stack, Stripped, disasm, openssl, sources};

/// How OpenSSL is known in a file: the source file that its error reports name.
const FILE: &[u8] = b"ssl/ssl_lib.c\0";
/// `version`, `flags` and `mask` of a table for any version of TLS.
const HEAD: [u8; 16] = [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Places that begin like a table. Each costs a look at the relocations; an executable of 100 MB has some hundreds.
const MAX_PLACES: usize = 4096;
/// Tables with pointers to functions that are examined. A file with one OpenSSL has three.
const MAX_TABLES: usize = 64;
/// Words behind the head that all point to functions: up to `ssl_write_bytes` in 1.1.1.
const FUNCTIONS: std::ops::Range<usize> = 2..15;

pub(super) struct StrippedOpenSsl;

impl Stack for StrippedOpenSsl {
    fn hooks(&self, elf: &Elf<'_>) -> Option<Result<Hooks, Reason>> {
        let names = sources::names(elf, FILE);
        if names.is_empty() {
            return None;
        }
        // Without a table, a program that only holds the name is no OpenSSL.
        let is_library = || sources::are_reported(&sources::loads(elf, &names));
        hooks(elf).map(Ok).or_else(|| is_library().then_some(Err(Reason::StrippedOpenSsl)))
    }
}

fn hooks(elf: &Elf<'_>) -> Option<Hooks> {
    let found = table(elf)?;
    let site = |address: Option<u64>, arguments| disasm::site(elf, address?, arguments);
    let method = found.hooks(elf)?;
    // Where reads need a return probe, the returns of writes alone are of no use.
    let returns = found.write_returns(elf).filter(|_| !method.read_returns.is_empty());
    Some(Hooks {
        library: openssl::version(elf).map_or_else(|| "openssl".to_owned(), |version| format!("openssl {version}")),
        method: Some(method),
        free: site(found.neighbours.free, 1),
        shutdown: site(found.neighbours.shutdown, 1),
        clear: site(found.neighbours.clear, 1),
        ctrl: site(found.neighbours.ctrl, 4),
        stripped: Some(Stripped { returns, beside: None }),
        ..Hooks::default()
    })
}

/// What all tables of the file agree on.
fn table(elf: &Elf<'_>) -> Option<Found> {
    let places = places(elf);
    let words = |place: &u64| std::array::from_fn::<u64, TABLE, _>(|index| place.wrapping_add(8 * index as u64));
    let mut wanted: Vec<u64> = places.iter().flat_map(words).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let pointers = elf.pointers_at(&wanted);
    let tables = places.iter().filter_map(|place| {
        let pointer = |at: u64| wanted.binary_search(&at).ok().and_then(|index| pointers.get(index).copied().flatten());
        let table = words(place).map(pointer);
        let is_code = |word: &Option<u64>| word.is_some_and(|address| elf.code(address).is_some());
        table.get(FUNCTIONS)?.iter().all(is_code).then_some(table)
    });
    let mut found = tables.take(MAX_TABLES).filter_map(|table| method::proven(elf, &table));
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

/// Where a table may begin, ascending.
fn places(elf: &Elf<'_>) -> Vec<u64> {
    let finder = memmem::Finder::new(&HEAD);
    let mut places = Vec::new();
    for (start, bytes) in elf.segments() {
        let all = finder.find_iter(bytes).map(|at| start.wrapping_add(at as u64));
        places.extend(all.filter(|place| place.is_multiple_of(8)).take(MAX_PLACES - places.len()));
    }
    places.sort_unstable();
    places.dedup();
    places
}
