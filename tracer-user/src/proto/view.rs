//! A part of a record that is being read.

use std::ops::{Deref, Range};

use bytes::Bytes;

/// Reading on in a record does not count references to it: only what is kept of it does.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    record: &'a Bytes,
    bytes: &'a [u8],
}

impl<'a> View<'a> {
    pub(super) fn of(record: &'a Bytes) -> Self {
        Self { record, bytes: record }
    }

    /// The bytes, for as long as the record lives.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn part(&self, range: Range<usize>) -> Self {
        Self { record: self.record, bytes: &self.bytes[range] }
    }

    /// Passes over the first bytes.
    pub(super) fn advance(&mut self, count: usize) {
        self.bytes = &self.bytes[count..];
    }

    /// Takes the first bytes.
    pub(super) fn split_to(&mut self, count: usize) -> Self {
        let (first, rest) = self.bytes.split_at(count);
        self.bytes = rest;
        Self { record: self.record, bytes: first }
    }

    pub(super) fn clear(&mut self) {
        self.bytes = &[];
    }

    /// The bytes, to be kept.
    pub(super) fn keep(&self) -> Bytes {
        self.record.slice_ref(self.bytes)
    }
}

impl Deref for View<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}
