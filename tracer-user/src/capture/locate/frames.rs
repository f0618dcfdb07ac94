//! Bounds of functions from `.eh_frame_hdr` (Linux Standard Base Core 5.0, section 10.6.2), where a file has it.

use std::ops::Range;

use super::elf::Elf;

/// `DW_EH_PE_pcrel | DW_EH_PE_sdata4`, `DW_EH_PE_udata4`, `DW_EH_PE_datarel | DW_EH_PE_sdata4` (same document, section
/// 10.5.1): what linkers write for 64-bit files.
const ENCODINGS: [u8; 3] = [0x1b, 0x03, 0x3b];

/// The table of functions, ascending by their starts.
#[derive(Clone, Copy)]
pub(super) struct Frames<'a> {
    base: u64,
    rows: &'a [[u8; 8]],
}

impl<'a> Frames<'a> {
    pub(super) fn of(elf: &Elf<'a>) -> Option<Self> {
        let base = elf.frames()?;
        let header = elf.bytes(base)?;
        let (&[1, frames, count, rows], rest) = header.split_first_chunk()? else { return None };
        if [frames, count, rows] != ENCODINGS {
            return None;
        }
        let (_, rest) = rest.split_first_chunk::<4>()?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let (rows, _) = rest.as_chunks();
        Some(Self { base, rows: rows.get(..usize::try_from(u32::from_le_bytes(*count)).ok()?)? })
    }

    /// The function that `address` lies in.
    pub(super) fn holding(&self, elf: &Elf<'_>, address: u64) -> Option<Range<u64>> {
        let after = self.rows.partition_point(|row| self.start(row) <= address);
        let row = self.rows.get(after.checked_sub(1)?)?;
        let start = self.start(row);
        // Length, the common part's distance, the start once more, the size: 4 bytes each.
        let [.., a, b, c, d] = row;
        let entry = self.base.wrapping_add_signed(i64::from(i32::from_le_bytes([*a, *b, *c, *d])));
        let word = |index: u64| -> Option<u32> {
            Some(u32::from_le_bytes(*elf.bytes(entry.checked_add(4 * index)?)?.first_chunk()?))
        };
        // Relative to itself, as compilers write it. Otherwise the size would not be where it is looked for.
        let repeated = entry.wrapping_add(8).wrapping_add_signed(i64::from(word(2)?.cast_signed()));
        let range = start..start.checked_add(u64::from(word(3)?))?;
        (repeated == start && range.contains(&address)).then_some(range)
    }

    /// The starts of functions in `range`.
    pub(super) fn starts(&self, range: Range<u64>) -> impl Iterator<Item = u64> + '_ {
        let first = self.rows.partition_point(|row| self.start(row) < range.start);
        let rows = self.rows.get(first..).unwrap_or_default();
        rows.iter().map(|row| self.start(row)).take_while(move |start| *start < range.end)
    }

    fn start(&self, row: &[u8; 8]) -> u64 {
        let [a, b, c, d, ..] = row;
        self.base.wrapping_add_signed(i64::from(i32::from_le_bytes([*a, *b, *c, *d])))
    }
}
