//! HPACK (RFC 7541), as an observer reads it. The libraries at hand fail for good at the first reference that they cannot
//! resolve; here a loss or joining late leaves single fields unknown, and the others are read.

pub mod huffman;
mod table;
pub mod wire;

use std::sync::Arc;

use bytes::Bytes;

use self::{
    table::{Dynamic, STATIC},
    wire::{Name, Reader, Representation, Text},
};
use crate::credentials;

/// The block breaks the rules: what its encoder's table holds now is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid;

/// One field of a block. Its value shows in no `Debug`: it can be a secret.
pub struct Field {
    /// `None`: it refers to an entry that was not seen.
    pub name: Option<Arc<str>>,
    /// `None`: it refers to an entry that was not seen. Credentials are empty.
    pub value: Option<Bytes>,
    /// Where the value stands, if it stands in this block.
    pub literal: Option<Text>,
}

/// Reads the header blocks of one direction, in their order.
pub struct Decoder {
    dynamic: Dynamic,
}

impl Decoder {
    /// `table_bytes` caps the dynamic table: older entries of an encoder that uses more are unknown.
    pub fn new(table_bytes: usize) -> Self {
        Self { dynamic: Dynamic::new(table_bytes) }
    }

    /// Blocks were missed, or capture began in the middle: what they put into the table is unknown.
    pub fn lose(&mut self) {
        self.dynamic.lose();
    }

    /// Gives every field of a whole block to `sink`. Behind an error nothing of the table is known.
    pub fn decode(&mut self, block: &[u8], sink: impl FnMut(Field)) -> Result<(), Invalid> {
        let read = self.read(block, sink);
        if read.is_err() {
            self.lose();
        }
        read
    }

    fn read(&mut self, block: &[u8], mut sink: impl FnMut(Field)) -> Result<(), Invalid> {
        let mut reader = Reader::new(block);
        while let Some(representation) = reader.read()? {
            match representation {
                Representation::TableSize(size) => self.dynamic.resize(size),
                Representation::Indexed(index) => {
                    let (name, value) = self.entry(index)?.unzip();
                    sink(Field { name, value, literal: None });
                }
                Representation::Literal { name, value: text, stored } => {
                    let name = match name {
                        Name::Index(index) => self.entry(index)?.map(|(name, _)| name),
                        Name::Text(text) => Some(String::from_utf8_lossy(&string(block, &text)?).as_ref().into()),
                    };
                    let value = string(block, &text)?;
                    let length = value.len();
                    let value = name.as_ref().map_or_else(Bytes::new, |name| without_credentials(name, value));
                    match &name {
                        Some(name) if stored => self.dynamic.insert(name.clone(), value.clone(), name.len() + length),
                        // Its size is unknown as well, and with it what it evicts: older entries only.
                        None if stored => self.dynamic.lose(),
                        _ => {}
                    }
                    let known = name.is_some();
                    sink(Field { name, value: known.then_some(value), literal: Some(text) });
                }
            }
        }
        Ok(())
    }

    /// The entry of an index; `None` when it was not seen.
    fn entry(&self, index: usize) -> Result<Option<(Arc<str>, Bytes)>, Invalid> {
        let place = index.checked_sub(1).ok_or(Invalid)?;
        if let Some((name, value)) = STATIC.get(place) {
            return Ok(Some(((*name).into(), Bytes::from_static(value.as_bytes()))));
        }
        match self.dynamic.entry(place - STATIC.len()) {
            Some(entry) => Ok(Some((entry.name.clone(), entry.value.clone()))),
            None if self.dynamic.is_whole() => Err(Invalid),
            None => Ok(None),
        }
    }
}

/// The decoded string.
pub fn string(block: &[u8], text: &Text) -> Result<Vec<u8>, Invalid> {
    let bytes = block.get(text.range.clone()).ok_or(Invalid)?;
    if !text.huffman {
        return Ok(bytes.to_vec());
    }
    let mut decoded = Vec::new();
    huffman::decode(bytes, &mut decoded)?;
    Ok(decoded)
}

/// Here fields are named first, and here credentials end: neither the table nor any other stage has them.
fn without_credentials(name: &str, value: Vec<u8>) -> Bytes {
    if credentials::is_credential_header(name) {
        return Bytes::new();
    }
    let query = if name == ":path" { memchr::memchr(b'?', &value) } else { None };
    let Some(query) = query else { return value.into() };
    let (path, query) = value.split_at(query + 1);
    let query = credentials::redact_query(&String::from_utf8_lossy(query));
    [path, query.as_bytes()].concat().into()
}

#[cfg(test)]
mod tests;
