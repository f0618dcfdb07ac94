//! A part of a record that is being read.

use std::{
    borrow::Cow,
    ops::{Deref, Range},
};

use bytes::Bytes;

/// Reading on in a record does not count references to it: only what is kept of it does.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    record: &'a Bytes,
    /// Where in the record the bytes begin.
    start: usize,
    bytes: &'a [u8],
}

impl<'a> View<'a> {
    pub(super) fn of(record: &'a Bytes) -> Self {
        Self { record, start: 0, bytes: record }
    }

    /// The bytes, for as long as the record lives.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn part(&self, range: Range<usize>) -> Self {
        Self { record: self.record, start: self.start + range.start, bytes: &self.bytes[range] }
    }

    /// Passes over the first bytes.
    pub(super) fn advance(&mut self, count: usize) {
        self.bytes = &self.bytes[count..];
        self.start += count;
    }

    /// Takes the first bytes.
    pub(super) fn split_to(&mut self, count: usize) -> Self {
        let (first, rest) = self.bytes.split_at(count);
        let start = self.start;
        self.bytes = rest;
        self.start += count;
        Self { record: self.record, start, bytes: first }
    }

    pub(super) fn clear(&mut self) {
        self.bytes = &[];
    }

    /// The bytes, where they lie.
    pub(super) fn borrow(&self) -> Cow<'a, [u8]> {
        Cow::Borrowed(self.bytes)
    }

    /// The bytes, to be kept.
    pub(super) fn keep(&self) -> Bytes {
        self.record.slice(self.start..self.start + self.bytes.len())
    }
}

impl Deref for View<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}
