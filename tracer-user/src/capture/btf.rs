//! The kernel's own type information (BTF, `Documentation/bpf/btf.rst`): field offsets for the eBPF programs, which
//! have no relocations of their own for them, and the ids of kernel functions.

use std::{collections::HashMap, io};

/// Where kernels since 5.4 with `CONFIG_DEBUG_INFO_BTF` show it.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const KIND_INT: u32 = 1;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_ENUM64: u32 = 19;

/// Anonymous structures inside structures: how deep their fields are looked for.
const NESTING: u32 = 8;

#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    #[error("{VMLINUX}: {0}")]
    Read(#[from] io::Error),
    #[error("{VMLINUX} is not BTF of this machine's byte order, or is cut short")]
    Malformed,
    #[error("this kernel's `struct {structure}` has no field `{field}`")]
    Missing { structure: String, field: String },
}

/// A parsed table of types.
pub struct Btf {
    data: Vec<u8>,
    /// Offset in `data` of each type's record; type ids start at 1.
    types: Vec<usize>,
    strings: usize,
    /// Structures by name.
    structures: HashMap<Vec<u8>, usize>,
    functions: HashMap<Vec<u8>, u32>,
}

impl Btf {
    /// Reads the running kernel's.
    pub fn of_kernel() -> Result<Self, BtfError> {
        Self::parse(std::fs::read(VMLINUX)?)
    }

    fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let mut btf = Self { data, types: vec![0], strings: 0, structures: HashMap::new(), functions: HashMap::new() };
        btf.index().ok_or(BtfError::Malformed)?;
        Ok(btf)
    }

    fn index(&mut self) -> Option<()> {
        let magic = u16::from_ne_bytes(self.data.get(..2)?.try_into().ok()?);
        if magic != MAGIC {
            return None;
        }
        let header = self.word(4)? as usize;
        let (type_offset, type_length) = (self.word(8)? as usize, self.word(12)? as usize);
        self.strings = header.checked_add(self.word(16)? as usize)?;
        let mut at = header.checked_add(type_offset)?;
        let end = at.checked_add(type_length)?;
        while at < end {
            let info = self.word(at + 4)?;
            let (kind, members) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
            let extra = match kind {
                KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
                KIND_ARRAY => 12,
                KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => members * 12,
                KIND_ENUM | KIND_FUNC_PROTO => members * 8,
                _ => 0,
            };
            if kind == KIND_STRUCT || kind == KIND_FUNC {
                let name = self.name(self.word(at)?)?.to_vec();
                if kind == KIND_FUNC {
                    self.functions.insert(name, u32::try_from(self.types.len()).ok()?);
                } else if !name.is_empty() {
                    self.structures.entry(name).or_insert(at);
                }
            }
            self.types.push(at);
            at += 12 + extra;
        }
        (at == end).then_some(())
    }

    /// Byte offset of a field, also of one inside anonymous structures and unions.
    pub fn offset(&self, structure: &str, field: &str) -> Result<u32, BtfError> {
        self.structures
            .get(structure.as_bytes())
            .and_then(|at| self.field(*at, field.as_bytes(), NESTING))
            .map(|bits| bits / 8)
            .ok_or_else(|| BtfError::Missing { structure: structure.into(), field: field.into() })
    }

    /// The id by which a program calls a kernel function, where this kernel has it.
    pub fn function(&self, name: &str) -> Option<u32> {
        self.functions.get(name.as_bytes()).copied()
    }

    /// Offset in bits.
    fn field(&self, structure: usize, field: &[u8], depth: u32) -> Option<u32> {
        let info = self.word(structure + 4)?;
        let has_bitfields = info >> 31 != 0;
        for member in 0..(info & 0xffff) as usize {
            let at = structure + 12 + member * 12;
            let (name, member_type, offset) = (self.word(at)?, self.word(at + 4)?, self.word(at + 8)?);
            let offset = if has_bitfields { offset & 0x00ff_ffff } else { offset };
            let name = self.name(name)?;
            if name == field {
                return Some(offset);
            }
            if name.is_empty() && depth > 0 {
                let inner = *self.types.get(member_type as usize)?;
                let kind = (self.word(inner + 4)? >> 24) & 0x1f;
                if matches!(kind, KIND_STRUCT | KIND_UNION)
                    && let Some(found) = self.field(inner, field, depth - 1)
                {
                    return Some(offset + found);
                }
            }
        }
        None
    }

    fn word(&self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(self.data.get(at..at + 4)?.try_into().ok()?))
    }

    fn name(&self, offset: u32) -> Option<&[u8]> {
        let rest = self.data.get(self.strings.checked_add(offset as usize)?..)?;
        Some(&rest[..memchr::memchr(0, rest)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of `struct outer { int a; struct { int b; int c; }; }` and a function, as the kernel's tools write it.
    fn table() -> Vec<u8> {
        let strings = b"\0int\0outer\0a\0b\0c\0call\0";
        let mut types: Vec<u32> = Vec::new();
        types.extend([1, KIND_INT << 24, 4, 32]); // 1: int
        types.extend([0, KIND_STRUCT << 24 | 2, 8, 13, 1, 0, 15, 1, 32]); // 2: anonymous { b, c }
        types.extend([5, KIND_STRUCT << 24 | 2, 12, 11, 1, 0, 0, 2, 32]); // 3: outer { a, anonymous }
        types.extend([17, KIND_FUNC << 24, 1]); // 4: call
        let type_bytes = types.len() as u32 * 4;
        let mut data = MAGIC.to_ne_bytes().to_vec();
        data.extend([1, 0]);
        for word in [24, 0, type_bytes, type_bytes, strings.len() as u32] {
            data.extend(u32::to_ne_bytes(word));
        }
        for word in types {
            data.extend(word.to_ne_bytes());
        }
        data.extend(strings);
        data
    }

    #[test]
    fn fields_inside_anonymous_structures_are_found() {
        let btf = Btf::parse(table()).unwrap();
        assert_eq!(btf.offset("outer", "a").unwrap(), 0);
        assert_eq!(btf.offset("outer", "b").unwrap(), 4);
        assert_eq!(btf.offset("outer", "c").unwrap(), 8);
        assert!(btf.offset("outer", "d").is_err());
        assert!(btf.offset("inner", "a").is_err());
        assert_eq!(btf.function("call"), Some(4));
    }

    #[test]
    fn a_table_cut_anywhere_is_refused_or_read_without_panic() {
        let whole = table();
        for length in 0..whole.len() {
            if let Ok(btf) = Btf::parse(whole[..length].to_vec()) {
                let _ = btf.offset("outer", "c");
            }
        }
    }
}
