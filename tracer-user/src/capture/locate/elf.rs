//! What the search needs of an ELF file: bytes by address, symbols by name, pointers after relocation.
//!
//! The file belongs to a traced process and may say anything. Every read is checked, and every loop is bounded by
//! the size of the file.

use std::ops::Range;

use object::LittleEndian;
use object::elf;
use object::read::elf::{Dyn, FileHeader, ProgramHeader, Rela, RelrIterator, SectionHeader, Sym};

use super::Reason;

type Header = elf::FileHeader64<LittleEndian>;
type Segment = elf::ProgramHeader64<LittleEndian>;
type Section = elf::SectionHeader64<LittleEndian>;
type Symbol = elf::Sym64<LittleEndian>;
type Relocation = elf::Rela64<LittleEndian>;

const LE: LittleEndian = LittleEndian;

/// More loadable segments than any linker writes (the largest seen has 7).
const MAX_SEGMENTS: usize = 64;

pub(super) struct Elf<'a> {
    data: &'a [u8],
    /// An executable linked to a fixed address: its data needs no relocation.
    fixed: bool,
    loads: Vec<&'a Segment>,
    /// Address of `.eh_frame_hdr`.
    frames: Option<u64>,
    dynamic: &'a [elf::Dyn64<LittleEndian>],
    sections: &'a [Section],
}

impl<'a> Elf<'a> {
    pub(super) fn parse(data: &'a [u8]) -> Result<Self, Reason> {
        if !data.starts_with(&elf::ELFMAG) {
            return Err(Reason::NotElf);
        }
        // Class 64, little-endian: the two bytes after the magic (System V ABI, "ELF Identification").
        if data.get(4..6) != Some(&[2, 1]) {
            return Err(Reason::Architecture);
        }
        let header = Header::parse(data).map_err(|_| Reason::Malformed)?;
        // A breakpoint of this machine would only corrupt what an emulator runs.
        if header.e_machine(LE) != elf::EM_X86_64 {
            return Err(Reason::Architecture);
        }
        let kind = header.e_type(LE);
        if kind != elf::ET_EXEC && kind != elf::ET_DYN {
            return Err(Reason::Malformed);
        }
        let segments = header.program_headers(LE, data).map_err(|_| Reason::Malformed)?;
        let loads: Vec<_> = segments.iter().filter(|s| s.p_type(LE) == elf::PT_LOAD).take(MAX_SEGMENTS).collect();
        if loads.is_empty() {
            return Err(Reason::Malformed);
        }
        let frames = segments.iter().find(|s| s.p_type(LE) == elf::PT_GNU_EH_FRAME).map(|s| s.p_vaddr(LE));
        let dynamic = segments.iter().find_map(|s| s.dynamic(LE, data).ok().flatten()).unwrap_or(&[]);
        // A file without section headers still loads: what needs them is then not found.
        let sections = header.section_headers(LE, data).unwrap_or(&[]);
        Ok(Self { data, fixed: kind == elf::ET_EXEC, loads, frames, dynamic, sections })
    }

    /// The bytes from `address` to the end of what the file holds of its segment.
    pub(super) fn bytes(&self, address: u64) -> Option<&'a [u8]> {
        self.within(address, |_| true)
    }

    /// The same, for code only.
    pub(super) fn code(&self, address: u64) -> Option<&'a [u8]> {
        self.within(address, |s| s.p_flags(LE).0 & elf::PF_X.0 != 0)
    }

    fn within(&self, address: u64, wanted: impl Fn(&Segment) -> bool) -> Option<&'a [u8]> {
        self.loads.iter().filter(|s| wanted(s)).find_map(|s| {
            let skip = address.checked_sub(s.p_vaddr(LE))?;
            let rest = s.p_filesz(LE).checked_sub(skip).filter(|rest| *rest > 0)?;
            let start = usize::try_from(s.p_offset(LE).checked_add(skip)?).ok()?;
            let end = start.checked_add(usize::try_from(rest).ok()?)?.min(self.data.len());
            self.data.get(start..end).filter(|bytes| !bytes.is_empty())
        })
    }

    /// Where code at `address` stands in the file: what a uprobe is attached by.
    pub(super) fn offset(&self, address: u64) -> Option<u64> {
        let code = self.code(address)?;
        u64::try_from(code.as_ptr().addr() - self.data.as_ptr().addr()).ok()
    }

    /// Where the table of functions with unwinding information stands.
    pub(super) fn frames(&self) -> Option<u64> {
        self.frames
    }

    /// The executable segments, with their addresses. Together at most the size of the file, as [`Self::constants`].
    pub(super) fn texts(&self) -> impl Iterator<Item = (u64, &'a [u8])> + '_ {
        let mut left = self.data.len();
        let code = self.loads.iter().filter(|s| s.p_flags(LE).0 & elf::PF_X.0 != 0);
        code.filter_map(|s| Some((s.p_vaddr(LE), s.data(LE, self.data).ok()?))).map_while(move |(address, bytes)| {
            left = left.checked_sub(bytes.len())?;
            Some((address, bytes))
        })
    }

    /// All segments, with their addresses. Together at most the size of the file, as [`Self::constants`].
    pub(super) fn segments(&self) -> impl Iterator<Item = (u64, &'a [u8])> + '_ {
        let mut left = self.data.len();
        let loads = self.loads.iter().filter_map(|s| Some((s.p_vaddr(LE), s.data(LE, self.data).ok()?)));
        loads.map_while(move |(address, bytes)| {
            left = left.checked_sub(bytes.len())?;
            Some((address, bytes))
        })
    }

    /// The address of a place in a segment that is not writable, by its position in the file.
    pub(super) fn address(&self, position: usize) -> Option<u64> {
        let position = u64::try_from(position).ok()?;
        let constant = self.loads.iter().filter(|s| s.p_flags(LE).0 & elf::PF_W.0 == 0);
        constant
            .filter_map(|s| Some((s, position.checked_sub(s.p_offset(LE))?)))
            .find(|(s, skip)| *skip < s.p_filesz(LE))
            .and_then(|(s, skip)| s.p_vaddr(LE).checked_add(skip))
    }

    /// The position in the file of bytes that one of the other methods gave.
    pub(super) fn position(&self, bytes: &[u8]) -> usize {
        bytes.as_ptr().addr() - self.data.as_ptr().addr()
    }

    /// The segments that are not writable: where a library keeps its strings. Together at most the size of the file,
    /// though hostile segments may overlap.
    pub(super) fn constants(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        let mut left = self.data.len();
        let constant = self.loads.iter().filter(|s| s.p_flags(LE).0 & elf::PF_W.0 == 0);
        constant.filter_map(|s| s.data(LE, self.data).ok()).map_while(move |bytes| {
            left = left.checked_sub(bytes.len())?;
            Some(bytes)
        })
    }

    /// The address and the bytes of a section.
    pub(super) fn section(&self, name: &[u8]) -> Option<(u64, &'a [u8])> {
        let table = Header::parse(self.data).ok()?.sections(LE, self.data).ok()?;
        let (_, section) = table.section_by_name(LE, name)?;
        Some((section.sh_addr(LE), section.data(LE, self.data).ok()?))
    }

    /// The addresses of the functions that this file defines under `names`, in their order.
    ///
    /// `.dynsym` first, `.symtab` for the names that it lacks. A name may carry a version there (`name@@VERSION`).
    pub(super) fn functions<const N: usize>(&self, names: [&[u8]; N]) -> [Option<u64>; N] {
        let mut found = [None; N];
        for kind in [elf::SHT_DYNSYM, elf::SHT_SYMTAB] {
            if found.iter().all(Option::is_some) {
                break;
            }
            let Some((symbols, strings)) = self.symbols(kind) else { continue };
            for symbol in symbols {
                let Some(rest) = usize::try_from(symbol.st_name(LE)).ok().and_then(|at| strings.get(at..)) else {
                    continue;
                };
                let matches =
                    |name: &[u8]| rest.strip_prefix(name).is_some_and(|rest| matches!(rest.first(), Some(0 | b'@')));
                let Some(index) = names.iter().position(|name| matches(name)) else { continue };
                let address = symbol.st_value(LE);
                let defined = !symbol.is_undefined(LE) && symbol.st_type() == elf::STT_FUNC;
                if defined && found[index].is_none() && self.code(address).is_some() {
                    found[index] = Some(address);
                }
            }
        }
        found
    }

    fn symbols(&self, kind: elf::SectionType) -> Option<(&'a [Symbol], &'a [u8])> {
        let section = self.sections.iter().find(|s| s.sh_type(LE) == kind)?;
        let symbols = section.data_as_array(LE, self.data).ok()?;
        let strings = self.sections.get(usize::try_from(section.sh_link(LE)).ok()?)?;
        Some((symbols, strings.data(LE, self.data).ok()?))
    }

    /// The `N` pointers from `address` on, as the dynamic linker leaves them on x86-64. `None` for what it writes from elsewhere
    /// (an undefined symbol) and for what is no pointer.
    pub(super) fn pointers<const N: usize>(&self, address: u64) -> [Option<u64>; N] {
        let places: [u64; N] = std::array::from_fn(|index| address.wrapping_add(8 * index as u64));
        let mut found = [None; N];
        found.iter_mut().zip(self.pointers_at(&places)).for_each(|(slot, pointer)| *slot = pointer);
        found
    }

    /// The same for places in ascending order, in one pass over the relocations.
    pub(super) fn pointers_at(&self, places: &[u64]) -> Vec<Option<u64>> {
        let mut found = vec![None; places.len()];
        let stored = |index: usize| -> Option<u64> {
            Some(u64::from_le_bytes(*self.bytes(*places.get(index)?)?.first_chunk()?))
        };
        let index_of = |at: u64| places.binary_search(&at).ok();
        if self.fixed {
            for (index, slot) in found.iter_mut().enumerate() {
                *slot = stored(index);
            }
        }
        let relocations = self.table::<Relocation>(elf::DT_RELA, elf::DT_RELASZ).iter();
        for relocation in relocations.chain(self.table(elf::DT_JMPREL, elf::DT_PLTRELSZ)) {
            let Some(index) = index_of(relocation.r_offset(LE)) else { continue };
            let addend = relocation.r_addend(LE).cast_unsigned();
            found[index] = match relocation.r_type(LE, false) {
                elf::R_X86_64_RELATIVE => Some(addend),
                elf::R_X86_64_64 | elf::R_X86_64_GLOB_DAT | elf::R_X86_64_JUMP_SLOT => {
                    self.dynamic_symbol(relocation.r_sym(LE, false)).map(|at| at.wrapping_add(addend))
                }
                _ => None,
            };
        }
        for at in RelrIterator::<Header>::new(LE, self.table(elf::DT_RELR, elf::DT_RELRSZ)) {
            if let Some(index) = index_of(at) {
                found[index] = stored(index);
            }
        }
        found
    }

    /// Where data points to `address`, as the dynamic linker leaves it on x86-64; also words that only look like it.
    pub(super) fn pointers_to(&self, address: u64) -> impl Iterator<Item = u64> + '_ {
        let relocated = self.table::<Relocation>(elf::DT_RELA, elf::DT_RELASZ).iter().filter(move |relocation| {
            relocation.r_type(LE, false) == elf::R_X86_64_RELATIVE && relocation.r_addend(LE).cast_unsigned() == address
        });
        let mut left = self.data.len();
        let writable = self.loads.iter().filter(|s| s.p_flags(LE).0 & elf::PF_W.0 != 0);
        let writable = writable.filter_map(|s| Some((s.p_vaddr(LE), s.data(LE, self.data).ok()?)));
        let stored = writable.map_while(move |(start, bytes)| {
            left = left.checked_sub(bytes.len())?;
            let words = bytes.as_chunks().0.iter().enumerate();
            let found = words.filter(move |(_, word)| u64::from_le_bytes(**word) == address);
            Some(found.filter_map(move |(index, _)| start.checked_add(8 * index as u64)))
        });
        relocated.map(|relocation| relocation.r_offset(LE)).chain(stored.flatten())
    }

    /// Where data points into `targets`, and where exactly to, as the dynamic linker leaves it on x86-64; also words that
    /// only look like it.
    pub(super) fn pointers_into(&self, targets: Range<u64>) -> impl Iterator<Item = (u64, u64)> + '_ {
        let within = targets.clone();
        let relocated = self.table::<Relocation>(elf::DT_RELA, elf::DT_RELASZ).iter().filter_map(move |relocation| {
            let target = relocation.r_addend(LE).cast_unsigned();
            let is_one = relocation.r_type(LE, false) == elf::R_X86_64_RELATIVE && within.contains(&target);
            is_one.then(|| (relocation.r_offset(LE), target))
        });
        let stored = self.segments().flat_map(move |(start, bytes)| {
            let targets = targets.clone();
            let words = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).enumerate();
            let found = words.filter(move |(_, word)| targets.contains(word));
            found.filter_map(move |(index, word)| Some((start.checked_add(8 * index as u64)?, word)))
        });
        relocated.chain(stored)
    }

    fn dynamic_symbol(&self, index: u32) -> Option<u64> {
        let (symbols, _) = self.symbols(elf::SHT_DYNSYM)?;
        let symbol = symbols.get(usize::try_from(index).ok()?)?;
        (!symbol.is_undefined(LE)).then(|| symbol.st_value(LE))
    }

    fn table<T: object::Pod>(&self, start: elf::DynamicTag, size: elf::DynamicTag) -> &'a [T] {
        let value = |tag| self.dynamic.iter().find(|d| d.d_tag(LE) == tag).map(|d| d.d_val(LE));
        let read = || {
            let bytes = self.bytes(value(start)?)?;
            let bytes = bytes.get(..usize::try_from(value(size)?).ok()?)?;
            object::slice_from_all_bytes(&bytes[..bytes.len() / size_of::<T>() * size_of::<T>()]).ok()
        };
        read().unwrap_or(&[])
    }
}
