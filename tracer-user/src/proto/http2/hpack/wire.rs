//! The bytes of a header block (RFC 7541 section 6), without any table.

use std::ops::Range;

use super::Invalid;

/// Bytes of one string in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub huffman: bool,
    /// Where the string's own bytes, without their length, stand in the block.
    pub range: Range<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// Never 0.
    Index(usize),
    Text(Text),
}

/// One instruction of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Representation {
    Indexed(usize),
    Literal {
        name: Name,
        value: Text,
        /// The field enters the dynamic table.
        stored: bool,
    },
    /// The encoder's new maximum of the dynamic table, in bytes.
    TableSize(usize),
}

/// Reads a block from its start to its end.
pub struct Reader<'a> {
    block: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(block: &'a [u8]) -> Self {
        Self { block, at: 0 }
    }

    pub fn read(&mut self) -> Result<Option<Representation>, Invalid> {
        let Some(first) = self.block.get(self.at).copied() else { return Ok(None) };
        let representation = match first {
            0x80.. => Representation::Indexed(self.integer(7)?),
            0x40.. => self.literal(6, true)?,
            0x20.. => Representation::TableSize(self.integer(5)?),
            // Without indexing, and never indexed: the difference concerns who forwards them.
            _ => self.literal(4, false)?,
        };
        Ok(Some(representation))
    }

    fn literal(&mut self, prefix: u32, stored: bool) -> Result<Representation, Invalid> {
        let name = match self.integer(prefix)? {
            0 => Name::Text(self.text()?),
            index => Name::Index(index),
        };
        Ok(Representation::Literal { name, value: self.text()?, stored })
    }

    fn text(&mut self) -> Result<Text, Invalid> {
        let huffman = self.block.get(self.at).is_some_and(|byte| byte & 0x80 != 0);
        let length = self.integer(7)?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.block.len()).ok_or(Invalid)?;
        let range = self.at..end;
        self.at = end;
        Ok(Text { huffman, range })
    }

    /// An integer whose first byte has `prefix` bits of it (section 5.1).
    fn integer(&mut self, prefix: u32) -> Result<usize, Invalid> {
        let most = (1_usize << prefix) - 1;
        let mut value = usize::from(self.byte()?) & most;
        if value < most {
            return Ok(value);
        }
        // 28 bits are more than any length or index that can be meant.
        for shift in [0, 7, 14, 21] {
            let byte = usize::from(self.byte()?);
            value += (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Invalid)
    }

    fn byte(&mut self) -> Result<u8, Invalid> {
        let byte = self.block.get(self.at).copied().ok_or(Invalid)?;
        self.at += 1;
        Ok(byte)
    }
}
