//! Source files of a library that its error reports name: which of these names the file holds, and where code loads them.
//!
//! That a name is there says little: a program may look for it, or print it. A library hands it to its error queue
//! wherever something can fail, so it is loaded in many places.

use memchr::{memchr_iter, memmem};

use super::elf::Elf;

/// Longest directory before a name.
const MAX_DIRECTORY: usize = 512;
/// Copies of the library in one file that are looked at.
const MAX_NAMES: usize = 4;
/// Places that name the file: BoringSSL has some fifty, OpenSSL some four hundred.
const MAX_LOADS: usize = 512;
/// Places from which on it is the library that names it. Programs that look for such names load each in one place or
/// two; the smallest client that connects, writes and reads keeps more than twenty reports.
const MIN_LOADS: usize = 8;

/// The name of a source file, with the directory that `__FILE__` gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name<'a> {
    pub(super) directory: &'a [u8],
    pub(super) address: u64,
}

/// An instruction that puts a name into a register.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) address: u64,
    pub(super) name: u64,
}

/// The names that end in `file`, the zero at its end included.
pub(super) fn names<'a>(elf: &Elf<'a>, file: &[u8]) -> Vec<Name<'a>> {
    let finder = memmem::Finder::new(file);
    let mut found: Vec<Name<'a>> = Vec::new();
    for bytes in elf.constants() {
        for at in finder.find_iter(bytes) {
            let before = &bytes[at.saturating_sub(MAX_DIRECTORY)..at];
            let length = before.iter().rev().take_while(|byte| byte.is_ascii_graphic() || **byte == b' ').count();
            let start = at - length;
            if let Some(address) = elf.address(elf.position(bytes) + start)
                && found.len() < MAX_NAMES
                && !found.iter().any(|known| known.address == address)
            {
                found.push(Name { directory: &bytes[start..at], address });
            }
        }
    }
    found
}

/// Whether so many places load a name as only the library itself has.
pub(super) fn are_reported(loads: &[Load]) -> bool {
    loads.len() >= MIN_LOADS
}

/// All instructions that load one of the names, ascending: `lea` relative to the instruction pointer, or `mov` of the
/// address itself in executables that are linked to a fixed place.
pub(super) fn loads(elf: &Elf<'_>, names: &[Name<'_>]) -> Vec<Load> {
    let mut found = Vec::new();
    for (start, text) in elf.texts() {
        let mut add = |at: usize, name: u64| {
            if found.len() < MAX_LOADS {
                found.push(Load { address: start.wrapping_add(at as u64), name });
            }
        };
        // 48 or 4c, 8d, a ModRM byte without base and index, the distance from the end of the instruction.
        for at in memchr_iter(0x8d, text) {
            if let Some([prefix, _, operands, a, b, c, d]) = at.checked_sub(1).and_then(|from| text.get(from..from + 7))
                && prefix & 0xfb == 0x48
                && operands & 0xc7 == 0x05
            {
                let distance = i64::from(i32::from_le_bytes([*a, *b, *c, *d]));
                let target = start.wrapping_add(at as u64 + 6).wrapping_add_signed(distance);
                if names.iter().any(|name| name.address == target) {
                    add(at - 1, target);
                }
            }
        }
        for Name { address, .. } in names {
            let Ok(immediate) = u32::try_from(*address) else { continue };
            for at in memmem::find_iter(text, &immediate.to_le_bytes()) {
                // b8 to bf; with the prefix 41 the register is one of the upper eight, which carry no such argument.
                let code = at.checked_sub(1).and_then(|at| text.get(at));
                if code.is_some_and(|code| code & 0xf8 == 0xb8) {
                    add(at - 1, *address);
                }
            }
        }
    }
    found.sort_by_key(|load| load.address);
    found
}
