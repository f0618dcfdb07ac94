//! `.gopclntab`, the table of functions that Go's runtime needs for its own stack traces and that therefore stands in
//! every Go program, stripped or not.
//!
//! Its layout is that of Go's `src/runtime/symtab.go` (`pcHeader`, `functab`, `_func`): a header with the offsets of
//! the parts; an index of functions, ascending by address, closed by the end of the last one; a record for each, with
//! the offset of its name.

use std::collections::{HashMap, HashSet};

use super::super::elf::Elf;

/// `go12magic`: Go 1.2 to 1.15.
const BEFORE_1_16: u32 = 0xffff_fffb;
/// `go116magic`: Go 1.16 and 1.17, with whole addresses in the index.
const SINCE_1_16: u32 = 0xffff_fffa;
/// `go118magic` and `go120magic`: with distances from the start of the code.
const SINCE_1_18: [u32; 2] = [0xffff_fff0, 0xffff_fff1];

/// The words of a `moduledata` up to the start of the code: a pointer to the header, six slices of three words,
/// `findfunctab`, `minpc`, `maxpc`, `text`. The same from Go 1.16 to 1.27.
const MODULE_WORDS: usize = 23;
/// Places that hold the table's address and are looked at as a `moduledata`.
const MAX_MODULES: usize = 16;
/// Functions longer than this, bytes, are none of those that are looked for.
const MAX_FUNCTION: u64 = 64 << 10;
/// Functions of one prefix that are taken; the most seen are 60.
const MAX_STARTS: usize = 256;

pub(super) struct Table<'a, 'e> {
    elf: &'e Elf<'a>,
    address: u64,
    bytes: &'a [u8],
    functions: usize,
    /// Where the names begin.
    names: usize,
    /// Where the index begins, and what the offsets in it count from.
    index: usize,
    code: Code,
}

/// What the index gives as a function's address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Code {
    /// The address itself, as the dynamic linker leaves it.
    Absolute,
    /// The distance from this address.
    From(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unusable {
    /// Go 1.15 or older.
    Old,
    /// Not of a known form.
    Unknown,
}

/// A function's code, without what follows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Function<'a> {
    pub(super) address: u64,
    pub(super) code: &'a [u8],
}

impl<'a, 'e> Table<'a, 'e> {
    /// The section's address and bytes; `None` in programs that are not Go's.
    pub(super) fn section(elf: &Elf<'a>) -> Option<(u64, &'a [u8])> {
        // Position-independent programs of releases before 1.26 have it among what is relocated.
        [&b".gopclntab"[..], b".data.rel.ro.gopclntab"].into_iter().find_map(|name| elf.section(name))
    }

    pub(super) fn read(elf: &'e Elf<'a>, (address, bytes): (u64, &'a [u8])) -> Result<Self, Unusable> {
        let word = |index: usize| word64(bytes, 8 * index).ok_or(Unusable::Unknown);
        let magic = word32(bytes, 0).ok_or(Unusable::Unknown)?;
        // The size of an address, 8 bytes.
        if bytes.get(7) != Some(&8) {
            return Err(Unusable::Unknown);
        }
        // Number of functions, number of files, from 1.18 on a word for the start of the code, offsets of the parts.
        let (parts, relative) = match magic {
            BEFORE_1_16 => return Err(Unusable::Old),
            SINCE_1_16 => (3, false),
            magic if SINCE_1_18.contains(&magic) => (4, true),
            _ => return Err(Unusable::Unknown),
        };
        let offset = |value: u64| usize::try_from(value).ok().filter(|at| *at < bytes.len()).ok_or(Unusable::Unknown);
        let (names, index) = (offset(word(parts)?)?, offset(word(parts + 4)?)?);
        let functions = offset(word(1)?)?;
        let mut table = Self { elf, address, bytes, functions, names, index, code: Code::Absolute };
        if relative {
            // The header's own word for the start is 0 in releases from 1.26 on.
            table.code = Code::From(table.start_of_code().ok_or(Unusable::Unknown)?);
        }
        Ok(table)
    }

    /// The `text` of the `moduledata` that points here.
    fn start_of_code(&self) -> Option<u64> {
        let names = self.address.checked_add(self.names as u64)?;
        self.elf.pointers_to(self.address).take(MAX_MODULES).find_map(|module| {
            let words = self.elf.pointers::<MODULE_WORDS>(module);
            (words[0] == Some(self.address) && words[1] == Some(names)).then_some(words[MODULE_WORDS - 1])?
        })
    }

    /// The functions of these names, in their order, as far as they are there.
    pub(super) fn functions<const N: usize>(&self, names: [&[u8]; N]) -> [Option<Function<'a>>; N] {
        let mut rows = [None; N];
        for row in 0..self.functions {
            let Some(name) = self.name(row) else { break };
            let is_it = |wanted: &&[u8]| name.strip_prefix(*wanted).is_some_and(|rest| rest.first() == Some(&0));
            if let Some(at) = names.iter().position(is_it) {
                rows[at] = rows[at].or(Some(row));
            }
        }
        // Where the next one begins, each ends.
        let starts = self.starts_of(rows.iter().flatten().flat_map(|row| [*row, row + 1]).collect());
        rows.map(|row| {
            let (address, end) = (*starts.get(&row?)?, *starts.get(&(row? + 1))?);
            let size = end.checked_sub(address).filter(|size| *size <= MAX_FUNCTION)?;
            Some(Function { address, code: self.elf.code(address)?.get(..usize::try_from(size).ok()?)? })
        })
    }

    /// Whether it is in the form of Go 1.16 and 1.17.
    pub(super) fn is_1_16(&self) -> bool {
        self.code == Code::Absolute
    }

    /// Where the functions begin whose names begin with `prefix`.
    pub(super) fn starts(&self, prefix: &[u8]) -> HashSet<u64> {
        let wanted = |row: &usize| self.name(*row).is_some_and(|name| name.starts_with(prefix));
        let rows = (0..self.functions).filter(wanted).take(MAX_STARTS).collect();
        self.starts_of(rows).into_values().collect()
    }

    /// From a function's name to the end of all names.
    fn name(&self, row: usize) -> Option<&'a [u8]> {
        let (record, name) = match self.code {
            Code::Absolute => (word64(self.bytes, self.row(row)? + 8)?, 8),
            Code::From(_) => (u64::from(word32(self.bytes, self.row(row)? + 4)?), 4),
        };
        let record = self.index.checked_add(usize::try_from(record).ok()?)?;
        let name = word32(self.bytes, record.checked_add(name)?)?;
        self.bytes.get(self.names.checked_add(usize::try_from(name).ok()?)?..)
    }

    fn row(&self, row: usize) -> Option<usize> {
        let size = if self.code == Code::Absolute { 16 } else { 8 };
        self.index.checked_add(row.checked_mul(size)?).filter(|at| *at < self.bytes.len())
    }

    /// The addresses by row.
    fn starts_of(&self, mut rows: Vec<usize>) -> HashMap<usize, u64> {
        rows.sort_unstable();
        rows.dedup();
        rows.retain(|row| self.row(*row).is_some());
        let places = rows.iter().filter_map(|row| Some((*row, self.row(*row)?)));
        match self.code {
            Code::From(start) => places
                .filter_map(|(row, at)| Some((row, start.checked_add(u64::from(word32(self.bytes, at)?))?)))
                .collect(),
            Code::Absolute => {
                let places: Vec<u64> = places.map(|(_, at)| self.address.wrapping_add(at as u64)).collect();
                let found = self.elf.pointers_at(&places);
                rows.into_iter().zip(found).filter_map(|(row, start)| Some((row, start?))).collect()
            }
        }
    }
}

fn word32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
